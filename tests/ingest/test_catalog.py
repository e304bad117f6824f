"""Do people see every reading once, and a day's energy as it was?"""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rows
from autarco_ingest import catalog, paths, schema, views
from autarco_ingest.catalog import CatalogError, NoCatalogError, QueryError
from autarco_ingest.lake import Lake
from autarco_ingest.latest import Latest, Tail
from autarco_ingest.table_store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

ZONE = "Europe/Amsterdam"
NO_SESSIONS = schema.empty(schema.SESSIONS)
NO_QUARANTINE = schema.empty(schema.QUARANTINE)


class Site:
    """A data directory with its tables, as a server would hold them."""

    def __init__(self, root: Path, *, grace_s: float = 0.0) -> None:
        self.data = paths.DataDirectory.at(root)
        self.data.create()
        self.lake = Lake(LocalStore(self.data.lake), "n1")
        self.latest = Latest(self.data)
        self.tail = Tail(self.data, grace_s=grace_s, now_s=0.0)
        self.version = 0

    def commit(
        self,
        readings: pa.Table,
        sessions: pa.Table = NO_SESSIONS,
        quarantine: pa.Table = NO_QUARANTINE,
    ) -> None:
        self.version += 1
        self.lake.commit(self.version, readings, sessions, quarantine)

    def show(self, waiting: Sequence[pa.Table] = (), *, now_s: float = 0.0) -> None:
        tail = self.tail.write(waiting, now_s=now_s)
        moment = catalog.Moment(
            readings=self.lake.files("readings"),
            sessions=self.lake.files("sessions"),
            quarantine=self.lake.files("quarantine"),
            tail=tail,
            latest=self.data.latest,
        )
        catalog.rebuild(self.data, moment, time_zone=ZONE)
        self.tail.sweep(now_s=now_s)

    def ask(self, sql: str) -> list[dict[str, Any]]:
        return catalog.query(self.data, sql).to_pylist()

    def one(self, sql: str) -> Any:
        (row,) = self.ask(sql)
        (value,) = row.values()
        return value


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


class TestViews:
    def test_an_empty_table_answers_with_no_rows(self, site: Site) -> None:
        site.show()

        sql = "SELECT inverter_sn, date, max(energy_today_wh) FROM readings GROUP BY ALL"
        assert site.ask(sql) == []
        for view in catalog.VIEWS:
            assert site.ask(f"FROM {view}") == []

    @pytest.mark.parametrize("state", ["empty", "table", "tail", "both"])
    def test_columns_are_those_of_the_schema_in_every_state(self, site: Site, state: str) -> None:
        if state in {"table", "both"}:
            site.commit(rows.samples(1), rows.sessions({}), rows.quarantine({}))
        site.show([rows.samples(1)] if state in {"tail", "both"} else [])

        tables = {table.name: table.columns for table in schema.TABLES}
        for name, columns in {**tables, **views.COLUMNS}.items():
            found = catalog.query(site.data, f"FROM {name}").schema
            expected = [(column.name, str(column.type)) for column in columns]
            assert [(field.name, str(field.type)) for field in found] == expected

    def test_table_and_tail_are_one(self, site: Site) -> None:
        site.commit(rows.samples(3, start=rows.NOON - timedelta(days=1)))
        site.show([rows.samples(2)])

        assert site.ask("SELECT date, count(*) AS n FROM readings GROUP BY ALL ORDER BY date") == [
            {"date": date(2026, 6, 14), "n": 3},
            {"date": date(2026, 6, 15), "n": 2},
        ]

    def test_values_come_back_as_stored(self, site: Site) -> None:
        clock = datetime(2026, 6, 15, 13, 59, 58)
        for place in ("table", "tail"):
            batch = rows.readings(
                rows.reading(inverter_sn=place, inverter_clock=clock, ac_power=1.5, repeat=True)
            )
            if place == "table":
                site.commit(batch)
            else:
                site.show([batch])

        for row in site.ask("FROM readings"):
            assert (row["ts"], row["inverter_clock"]) == (rows.NOON, clock)
            assert (row["ac_power"], row["repeat"], row["source"]) == (1.5, True, None)

    def test_sessions_quarantine_and_latest_are_there(self, site: Site) -> None:
        site.commit(
            rows.samples(1), rows.sessions({"firmware": "MW_08_0501_1.58"}), rows.quarantine({})
        )
        site.latest.merge(rows.samples(5))
        site.show()

        assert site.one("SELECT firmware FROM sessions") == "MW_08_0501_1.58"
        assert site.one("SELECT reason FROM quarantine WHERE date = '2026-06-15'") == (
            "unknown_sensor"
        )
        assert site.one("SELECT ts FROM latest") == rows.NOON + timedelta(seconds=4)

    def test_a_filter_on_the_date_reads_only_its_files(self, site: Site) -> None:
        for day in range(3):
            site.commit(rows.samples(1, start=rows.NOON - timedelta(days=day)))
        site.show()

        (plan,) = site.ask("EXPLAIN ANALYZE SELECT * FROM readings WHERE date = '2026-06-14'")

        assert "Total Files Read: 1" in plan["explain_value"]

    def test_every_view_and_column_is_commented(self, site: Site) -> None:
        site.commit(rows.samples(1))
        site.show([rows.samples(1)])

        commented = site.ask(
            "SELECT view_name, comment FROM duckdb_views() "
            "WHERE NOT internal AND schema_name = 'main'"
        )
        columns = site.ask(
            "SELECT table_name, column_name, comment FROM duckdb_columns() "
            "WHERE NOT internal AND schema_name = 'main'"
        )
        assert len(commented) == len(catalog.VIEWS)
        assert all(row["comment"] for row in commented + columns)
        comments = {(row["table_name"], row["column_name"]): row["comment"] for row in columns}
        assert comments["readings", "dc_power"] == (
            "Power of all DC inputs together. [W] SunSpec 103.DCW."
        )

    def test_directories_with_blanks_and_quotes_work(self, tmp_path: Path) -> None:
        site = Site(tmp_path / "zonne dak é'")
        site.commit(rows.samples(2))
        site.show([rows.samples(1)])

        assert site.one("SELECT count(*) FROM readings") == 3

    def test_files_of_several_schema_versions_are_one_view(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.commit(rows.samples(2), rows.sessions({"claimed": True}))
        (marked,) = map(Path, site.lake.files("readings"))
        version = schema.SCHEMA_VERSION
        unmarked = marked.with_name(marked.name.replace(f".v{version}", ""))
        unmarked.hardlink_to(marked)
        wind = schema.Column(
            name="wind_speed", type=pa.float32(), description="Wind.", since=version + 1
        )
        extended = msgspec.structs.replace(
            schema.READINGS, columns=(wind, *schema.READINGS.columns)
        )
        monkeypatch.setattr(schema, "READINGS", extended)
        monkeypatch.setattr(schema, "TABLES", (extended, schema.SESSIONS, schema.QUARANTINE))
        monkeypatch.setattr(schema, "SCHEMA_VERSION", version + 1)
        # Kept for as long as a program runs, which has one schema.
        monkeypatch.setattr(catalog, "_skeleton", catalog._skeleton.__wrapped__)
        newer = Site(site.data.root)
        newer.version = 1
        newer.commit(rows.readings(rows.reading(ts=rows.NOON + timedelta(days=1), wind_speed=5.0)))
        moment = catalog.Moment(
            readings=[str(unmarked), *newer.lake.files("readings")],
            sessions=newer.lake.files("sessions"),
            quarantine=[],
        )

        catalog.rebuild(site.data, moment, time_zone=ZONE)

        asked = "SELECT date, wind_speed, count(*) AS n FROM readings GROUP BY ALL ORDER BY ALL"
        assert site.ask(asked) == [
            {"date": date(2026, 6, 15), "wind_speed": None, "n": 4},
            {"date": date(2026, 6, 16), "wind_speed": 5.0, "n": 1},
        ]
        assert site.one("SELECT claimed FROM sessions") is True
        (plan,) = site.ask("EXPLAIN ANALYZE SELECT * FROM readings WHERE date = '2026-06-16'")
        assert "Total Files Read: 1" in plan["explain_value"]

    def test_nothing_is_written_outside_the_data_directory(
        self, site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(catalog, "_skeleton", catalog._skeleton.__wrapped__)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "no such directory"))

        catalog.rebuild(site.data, catalog.Moment(), time_zone=ZONE)

        assert site.one("SELECT count(*) FROM readings") == 0

    def test_a_thousand_files_are_one_view(self, site: Site) -> None:
        site.commit(rows.samples(1))
        file = Path(*site.lake.files("readings"))
        for number in range(1_000):
            file.with_name(f"copy-{number}.parquet").hardlink_to(file)
        moment = catalog.Moment(
            readings=sorted(file.parent.glob("*.parquet")), sessions=[], quarantine=[]
        )

        catalog.rebuild(site.data, moment, time_zone=ZONE)

        assert site.one("SELECT count(*) FROM readings WHERE date = '2026-06-15'") == 1_001


class TestMoments:
    def test_readers_see_every_commit_whole_and_every_reading_once(self, tmp_path: Path) -> None:
        """Rows come in groups of ten; any moment holds whole groups 0..n, each row once."""
        site = Site(tmp_path, grace_s=60.0)
        site.show()
        stop = threading.Event()
        seen: list[int] = []
        wrong: list[object] = []

        def read() -> None:
            sql = (
                "SELECT count(*) AS rows, count(DISTINCT ts) AS different, "
                "coalesce(max(record_no) + 1, 0) AS groups FROM readings"
            )
            while not stop.is_set():
                try:
                    (row,) = site.ask(sql)
                except Exception as error:
                    wrong.append(error)
                    return
                if not row["rows"] == row["different"] == 10 * row["groups"]:
                    wrong.append(row)
                seen.append(row["rows"])

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        try:
            for step in range(12):
                batch = _group(2 * step)
                site.show([batch], now_s=float(step))
                site.commit(batch)
                site.show([_group(2 * step + 1)], now_s=float(step))
                site.commit(_group(2 * step + 1))
                site.show(now_s=float(step))
        finally:
            stop.set()
            for reader in readers:
                reader.join(timeout=30)

        assert wrong == []
        assert len(set(seen)) > 3
        assert site.one("SELECT count(*) FROM readings") == 240

    def test_a_program_that_keeps_the_old_catalog_open_goes_on(self, tmp_path: Path) -> None:
        site = Site(tmp_path, grace_s=60.0)
        site.show([rows.samples(2)])
        with duckdb.connect(site.data.catalog, read_only=True) as old:
            site.commit(rows.samples(2))
            site.show([rows.samples(1, inverter_sn="new")], now_s=30.0)

            assert old.sql("SELECT count(*) FROM readings").fetchall() == [(2,)]
        assert site.one("SELECT count(*) FROM readings") == 3

    def test_latest_may_be_replaced_while_it_is_read(self, site: Site) -> None:
        site.latest.merge(rows.samples(1))
        site.show()
        stop = threading.Event()

        def replace() -> None:
            for second in range(1, 400):
                if stop.is_set():
                    return
                start = rows.NOON + timedelta(seconds=second)
                site.latest.merge(
                    rows.readings(
                        *(rows.reading(ts=start, inverter_sn=f"S{n}") for n in range(second))
                    )
                )

        writer = threading.Thread(target=replace)
        writer.start()
        try:
            for _ in range(40):
                (row,) = site.ask(
                    "SELECT count(*) AS n, count(DISTINCT inverter_sn) AS different FROM latest"
                )
                assert row["n"] == row["different"] > 0
        finally:
            stop.set()
            writer.join(timeout=30)

    def test_what_was_replaced_in_the_middle_of_a_question_is_asked_again(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.latest.merge(rows.samples(1))
        site.show()
        answer = catalog._answer
        replacing = [True, False]
        longer = itertools.count(2)

        def torn(*question: Any) -> pa.Table:
            if not replacing:
                return answer(*question)
            if replacing.pop(0):
                site.latest.merge(rows.samples(next(longer)))
            raise CatalogError("TProtocolException: Invalid data")

        monkeypatch.setattr(catalog, "_answer", torn)
        with pytest.raises(CatalogError):
            site.ask("SELECT * FROM latest")
        replacing[:] = [True]
        assert len(site.ask("SELECT * FROM latest")) == 1

    def test_the_old_catalog_stays_when_a_new_one_cannot_be_built(self, site: Site) -> None:
        site.commit(rows.samples(2))
        site.show()
        missing = catalog.Moment(
            readings=[site.data.root / "missing.parquet"], sessions=[], quarantine=[]
        )

        with pytest.raises(CatalogError, match="cannot build the catalog"):
            catalog.rebuild(site.data, missing, time_zone=ZONE)

        assert site.one("SELECT count(*) FROM readings") == 2
        site.show()

    def test_a_draft_left_by_a_crash_does_not_matter(self, site: Site) -> None:
        site.data.catalog_draft.write_bytes(b"half a database")

        site.show()

        assert site.ask("FROM readings") == []
        assert not site.data.catalog_draft.exists()

    def test_changes_by_hand_are_gone_with_the_next_catalog(self, site: Site) -> None:
        site.show()
        # Ends without closing the database, so its log stays behind.
        program = (
            "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); "
            "c.execute('PRAGMA disable_checkpoint_on_shutdown'); "
            "c.execute('CREATE VIEW mine AS SELECT 1 AS x'); os._exit(0)"
        )
        subprocess.run([sys.executable, "-c", program, site.data.catalog], check=True, timeout=60)
        assert site.data.catalog_wal.exists()

        site.commit(rows.samples(1))
        site.show()

        assert not site.data.catalog_wal.exists()
        assert site.one("SELECT count(*) FROM readings") == 1
        with pytest.raises(QueryError, match="mine"):
            site.ask("FROM mine")


class TestQuery:
    @pytest.mark.parametrize(
        "sql",
        [
            "CREATE TABLE t (x INTEGER)",
            "DROP VIEW readings",
            "CREATE OR REPLACE VIEW readings AS SELECT 1",
            "COMMENT ON VIEW readings IS 'mine'",
            "COPY (SELECT 1) TO 'catalog.duckdb'",
            "ATTACH 'catalog.duckdb' AS writable",
            "DETACH catalog",
            "INSTALL httpfs",
            "SET memory_limit = '1MB'",
        ],
    )
    def test_nothing_is_written(
        self, site: Site, sql: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.show()
        before = site.data.catalog.read_bytes()
        monkeypatch.chdir(site.data.root)

        with pytest.raises(QueryError, match="only reading statements"):
            site.ask(sql)

        assert site.data.catalog.read_bytes() == before

    def test_the_catalog_itself_is_attached_read_only(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.show()
        monkeypatch.setattr(catalog, "_check_reading", lambda statements: None)

        with pytest.raises(QueryError, match="read-only"):
            site.ask("CREATE TABLE t AS SELECT 1 AS x")

    @pytest.mark.parametrize(
        ("sql", "message"),
        [
            ("SELEC 1", "syntax error"),
            ("FROM nowhere", "nowhere"),
            ("SELECT watts FROM readings", "watts"),
            ("SELECT 'a'::INTEGER", "Could not convert"),
            ("", "no statements given, one wanted"),
            (" ; ", "no statements given, one wanted"),
            ("SELECT 1; DROP VIEW readings", "2 statements given, one wanted"),
        ],
    )
    def test_wrong_sql_is_explained(self, site: Site, sql: str, message: str) -> None:
        site.show()

        with pytest.raises(QueryError, match=message):
            site.ask(sql)

    def test_what_analysts_write_works(self, site: Site) -> None:
        site.commit(rows.samples(2))
        site.show()

        assert site.ask("SHOW TABLES")[0] == {"name": "comms_gaps"}
        assert site.ask("DESCRIBE readings")[0]["column_name"] == "ts"
        assert site.ask("SUMMARIZE SELECT logger_sn FROM readings")[0]["count"] == 2
        assert site.ask("PIVOT readings ON inverter_sn USING count(*) GROUP BY date") == [
            {"date": date(2026, 6, 15), "SIM0001": 2}
        ]
        assert site.one("WITH a AS (SELECT 1 AS x) FROM a;") == 1

    def test_times_come_in_utc(self, site: Site) -> None:
        site.commit(rows.samples(1))
        site.show()

        found = catalog.query(site.data, "SELECT ts FROM readings")

        assert str(found.schema.field("ts").type) == "timestamp[us, tz=UTC]"

    def test_without_a_catalog_the_way_out_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(NoCatalogError, match=r"start `autarco-ingest serve`"):
            catalog.query(paths.DataDirectory.at(tmp_path), "SELECT 1")

    def test_a_file_that_is_no_catalog_is_reported(self, tmp_path: Path) -> None:
        data = paths.DataDirectory.at(tmp_path)
        data.catalog.write_bytes(b"not a database" * 1000)

        with pytest.raises(CatalogError, match="cannot open"):
            catalog.query(data, "SELECT 1")

    def test_a_damaged_page_is_told_with_what_finds_the_file(self, tmp_path: Path) -> None:
        site = Site(tmp_path)
        site.commit(rows.samples(2000))
        site.show()
        (file,) = (tmp_path / "lake").glob("readings/date=*/*.parquet")
        content = bytearray(file.read_bytes())
        content[4:2000] = b"\xff" * 1996
        file.write_bytes(content)

        with pytest.raises(CatalogError, match="`autarco-ingest check` names it"):
            site.ask("SELECT * FROM readings")

    def test_somebody_who_opened_it_for_writing_locks_nobody_out(self, site: Site) -> None:
        site.commit(rows.samples(2))
        site.show()
        program = (
            "import duckdb, sys; c = duckdb.connect(sys.argv[1]); "
            "print('open', flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, site.data.catalog],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"open\n"
            with pytest.raises(duckdb.IOException, match="lock"):
                duckdb.connect(site.data.catalog, read_only=True)

            assert site.one("SELECT count(*) FROM readings") == 2
            assert holder.stdin is not None
            holder.stdin.close()


class TestDailyEnergy:
    def day(self, site: Site, samples: Sequence[dict[str, Any]]) -> dict[date, tuple[float, str]]:
        site.commit(rows.readings(*(rows.reading(**sample) for sample in samples)))
        site.show()
        sql = "SELECT day, energy_kwh, method FROM daily_energy ORDER BY day"
        return {row["day"]: (row["energy_kwh"], row["method"]) for row in site.ask(sql)}

    def test_the_daily_counter_is_finer_than_the_total(self, site: Site) -> None:
        found = self.day(
            site,
            [
                {"ts": _utc(15, 6), "energy_today_wh": 100, "energy_total_wh": 5_000_000},
                {"ts": _utc(15, 12), "energy_today_wh": 7_300, "energy_total_wh": 5_007_000},
                {"ts": _utc(15, 19), "energy_today_wh": 12_400, "energy_total_wh": 5_012_000},
            ],
        )

        assert found == {date(2026, 6, 15): (12.4, "today")}

    def test_a_sample_after_local_midnight_is_of_the_next_day(self, site: Site) -> None:
        # 22:30 UTC is half past midnight in Amsterdam.
        found = self.day(
            site,
            [
                {"ts": _utc(15, 19), "energy_today_wh": 9_000},
                {"ts": _utc(15, 22, 30), "energy_today_wh": 0},
            ],
        )

        assert found == {
            date(2026, 6, 15): (9.0, "today"),
            date(2026, 6, 16): (0.0, "today"),
        }

    def test_yesterdays_value_in_the_morning_is_not_todays(self, site: Site) -> None:
        found = self.day(
            site,
            [
                {"ts": _utc(15, 4), "energy_today_wh": 23_400, "energy_total_wh": 100_000},
                {"ts": _utc(15, 5), "energy_today_wh": 0, "energy_total_wh": 100_000},
                {"ts": _utc(15, 19), "energy_today_wh": 5_100, "energy_total_wh": 105_000},
            ],
        )

        assert found == {date(2026, 6, 15): (5.1, "today")}

    def test_cached_registers_stay_with_the_day_they_measured(self, site: Site) -> None:
        evening = datetime(2026, 6, 15, 21, 55)
        found = self.day(
            site,
            [
                {"ts": _utc(15, 20), "energy_today_wh": 23_400, "inverter_clock": evening},
                {"ts": _utc(16, 4), "energy_today_wh": 23_400, "inverter_clock": evening},
                {
                    "ts": _utc(16, 5),
                    "energy_today_wh": 300,
                    "inverter_clock": datetime(2026, 6, 16, 7, 0),
                },
            ],
        )

        assert found == {
            date(2026, 6, 15): (23.4, "today"),
            date(2026, 6, 16): (0.3, "today"),
        }

    def test_an_inverter_clock_of_another_year_is_ignored(self, site: Site) -> None:
        found = self.day(
            site,
            [{"ts": _utc(15, 12), "energy_today_wh": 700, "inverter_clock": datetime(2000, 1, 1)}],
        )

        assert found == {date(2026, 6, 15): (0.7, "today")}

    def test_a_counter_that_starts_anew_at_noon_loses_nothing(self, site: Site) -> None:
        found = self.day(
            site,
            [
                {"ts": _utc(15, 5), "energy_today_wh": 0, "energy_total_wh": 50_000},
                {"ts": _utc(15, 11), "energy_today_wh": 9_000, "energy_total_wh": 59_000},
                {"ts": _utc(15, 12), "energy_today_wh": 0, "energy_total_wh": 59_000},
                {"ts": _utc(15, 19), "energy_today_wh": 6_000, "energy_total_wh": 65_000},
            ],
        )

        assert found == {date(2026, 6, 15): (15.0, "today")}

    def test_energy_before_the_first_sample_counts(self, site: Site) -> None:
        found = self.day(
            site,
            [
                {"ts": _utc(15, 12), "energy_today_wh": 8_000, "energy_total_wh": 58_000},
                {"ts": _utc(15, 19), "energy_today_wh": 14_000, "energy_total_wh": 64_000},
            ],
        )

        assert found == {date(2026, 6, 15): (14.0, "today")}

    def test_without_a_daily_counter_the_total_answers(self, site: Site) -> None:
        found = self.day(
            site,
            [
                {"ts": _utc(15, 6), "energy_total_wh": 50_000},
                {"ts": _utc(15, 19), "energy_total_wh": 62_000},
            ],
        )

        assert found == {date(2026, 6, 15): (12.0, "total")}

    def test_meters_generate_nothing(self, site: Site) -> None:
        assert self.day(site, [{"ts": _utc(15, 12), "grid_energy_total_wh": 9_000_000}]) == {}

    def test_summer_time_moves_the_local_day(self, site: Site) -> None:
        # 23:30 UTC: past midnight in winter too; 22:30 UTC only in summer.
        found = self.day(
            site,
            [
                {"ts": datetime(2026, 1, 15, 22, 30, tzinfo=UTC), "energy_today_wh": 100},
                {"ts": datetime(2026, 7, 15, 22, 30, tzinfo=UTC), "energy_today_wh": 200},
            ],
        )

        assert set(found) == {date(2026, 1, 15), date(2026, 7, 16)}

    def test_two_restarts_lose_nothing_though_the_total_is_coarse(self, site: Site) -> None:
        today = [0, 2_400, 4_900, 100, 2_500, 5_100, 300, 1_900]
        found = self.day(site, _hourly(today, [50, 52, 54, 55, 57, 60, 60, 62]))

        assert found == {date(2026, 6, 15): (11.9, "today")}
        assert site.one("SELECT n_resets FROM daily_energy") == 2

    def test_a_total_that_is_set_lower_does_not_matter(self, site: Site) -> None:
        found = self.day(site, _hourly([0, 2_000, 4_100, 6_200], [5_000, 5_002, 3_000, 3_002]))

        assert found == {date(2026, 6, 15): (6.2, "today")}
        assert site.one("SELECT n_resets FROM daily_energy") == 1

    def test_without_a_daily_counter_a_total_that_is_set_lower_is_estimated(
        self, site: Site
    ) -> None:
        found = self.day(site, _hourly([None] * 4, [5_000, 5_002, 3_000, 3_002]))

        assert found == {date(2026, 6, 15): (4.0, "estimated")}

    @pytest.mark.parametrize("glitch", [0, 4_294_967])
    @pytest.mark.parametrize("place", range(5))
    @pytest.mark.parametrize("is_daily_there", [True, False])
    def test_one_absurd_total_does_not_matter(
        self, site: Site, glitch: int, place: int, is_daily_there: bool
    ) -> None:
        total: list[int | None] = [5_000, 5_002, 5_004, 5_006, 5_008]
        total[place] = glitch
        today: list[int | None] = [0, 2_000, 4_100, 6_200, 8_400]
        found = self.day(site, _hourly(today if is_daily_there else [None] * 5, total))

        # Without the daily counter, the hour at an end is lost with its sample.
        energy = 8.4 if is_daily_there else 6.0 if place in {0, 4} else 8.0
        assert found[date(2026, 6, 15)][0] == energy

    def test_an_absurd_daily_value_does_not_matter(self, site: Site) -> None:
        for glitch in (0, 6_553_500):
            today: list[int | None] = [1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000]
            for place in (3, 7):
                sn = f"{glitch} {place}"
                values = [*today]
                values[place] = glitch
                samples = _minutes(values, [60, 61, 62, 63, 64, 65, 66, 67], inverter_sn=sn)
                self.day(site, samples)

        found = {row["inverter_sn"]: row["energy_kwh"] for row in site.ask("FROM daily_energy")}
        # After a last value of 0 nobody can tell a glitch from a restart; neither loses energy.
        assert found == {"0 3": 8, "0 7": 7, "6553500 3": 8, "6553500 7": 7}

    def test_a_gap_at_noon_loses_nothing(self, site: Site) -> None:
        found = self.day(
            site,
            [
                {"ts": _utc(15, 6), "energy_total_wh": 50_000, "ac_power": 200.0},
                {"ts": _utc(15, 19), "energy_total_wh": 92_000, "ac_power": 100.0},
            ],
        )

        assert found == {date(2026, 6, 15): (42.0, "total")}

    def test_a_clock_that_is_fast_begins_its_day_in_the_evening(self, site: Site) -> None:
        samples = _hourly([0, 5_000, 9_000, 0], [70, 75, 79, 79])

        assert self.day(site, samples) == {date(2026, 6, 15): (9.0, "today")}
        assert site.one("SELECT n_resets FROM daily_energy") == 0

    def test_a_day_without_anything_new_is_no_second_yesterday(self, site: Site) -> None:
        registers = {"energy_today_wh": 23_400, "energy_total_wh": 100_000}
        found = self.day(
            site,
            [
                {"ts": _utc(15, 4), "energy_today_wh": 0, "energy_total_wh": 77_000},
                {"ts": _utc(15, 19), **registers},
                {"ts": _utc(16, 4), **registers},
            ],
        )

        assert found == {
            date(2026, 6, 15): (23.4, "today"),
            date(2026, 6, 16): (0.0, "estimated"),
        }

    def test_an_afternoon_without_connection_is_known_from_the_next_morning(
        self, site: Site
    ) -> None:
        """The sticks were off the net from 12:00 until 10:00: both days are whole all the same."""
        first = {"ac_power": 6_000.0}
        found = self.day(
            site,
            [
                {"ts": _utc(15, 5), "energy_today_wh": 0, "energy_total_wh": 50_000},
                {"ts": _utc(15, 12), "energy_today_wh": 9_000, "energy_total_wh": 59_000} | first,
                {"ts": _utc(16, 10), "energy_today_wh": 4_000, "energy_total_wh": 71_000},
                {"ts": _utc(16, 19), "energy_today_wh": 14_000, "energy_total_wh": 81_000},
            ],
        )

        assert found == {
            date(2026, 6, 15): (17.0, "estimated"),
            date(2026, 6, 16): (14.0, "today"),
        }

    def test_energy_of_days_without_samples_is_told_apart(self, site: Site) -> None:
        found = self.day(
            site,
            [
                {"ts": _utc(15, 5), "energy_today_wh": 0, "energy_total_wh": 50_000},
                {"ts": _utc(15, 19), "energy_today_wh": 9_000, "energy_total_wh": 59_000}
                | {"ac_power": 6_000.0},
                {"ts": _utc(18, 10), "energy_today_wh": 4_000, "energy_total_wh": 88_000},
                {"ts": _utc(18, 19), "energy_today_wh": 14_000, "energy_total_wh": 98_000},
            ],
        )

        assert found == {date(2026, 6, 15): (9.0, "today"), date(2026, 6, 18): (14.0, "today")}
        gaps = site.ask("SELECT day, energy_gap_kwh FROM daily_energy ORDER BY day")
        assert [row["energy_gap_kwh"] for row in gaps] == [None, 25.0]

    def test_without_a_daily_counter_a_night_gap_goes_to_the_morning(self, site: Site) -> None:
        found = self.day(
            site,
            [
                {"ts": _utc(15, 5), "energy_total_wh": 50_000, "ac_power": 6_000.0},
                {"ts": _utc(15, 12), "energy_total_wh": 59_000},
                {"ts": _utc(16, 10), "energy_total_wh": 71_000},
                {"ts": _utc(16, 19), "energy_total_wh": 81_000},
            ],
        )

        assert found == {
            date(2026, 6, 15): (9.0, "total"),
            date(2026, 6, 16): (22.0, "estimated"),
        }

    def test_a_single_sample_is_what_its_daily_counter_says(self, site: Site) -> None:
        found = self.day(
            site, [{"ts": _utc(15, 12), "energy_today_wh": 7_000, "energy_total_wh": 90_000}]
        )

        assert found == {date(2026, 6, 15): (7.0, "today")}

    def test_resends_and_repeats_change_no_energy(self, site: Site) -> None:
        samples = _hourly([0, 9_000, 0, 6_000], [50, 59, 59, 65])
        again = [
            {**sample, "received_at": sample["ts"] + timedelta(hours=3), "historic": True}
            for sample in samples
        ]
        repeats = [
            {**sample, "ts": sample["ts"] + timedelta(minutes=5), "repeat": True}
            for sample in samples
        ]

        assert self.day(site, samples + again + repeats) == {date(2026, 6, 15): (15.0, "today")}

    @pytest.mark.parametrize(
        ("day", "begins", "hours"),
        [
            (date(2026, 3, 29), datetime(2026, 3, 28, 23, tzinfo=UTC), 23),
            (date(2026, 10, 25), datetime(2026, 10, 24, 22, tzinfo=UTC), 25),
        ],
    )
    def test_days_on_which_the_clocks_change_are_whole(
        self, site: Site, day: date, begins: datetime, hours: int
    ) -> None:
        site.commit(
            rows.readings(
                *(
                    rows.reading(
                        ts=begins + timedelta(hours=hour, seconds=-1), energy_total_wh=1_000 * hour
                    )
                    for hour in range(hours + 2)
                )
            )
        )
        site.show()

        found = {row["day"]: row for row in site.ask("FROM daily_energy")}
        # One kWh in each hour, the one over the midnight before with it.
        assert (found[day]["energy_kwh"], found[day]["readings"]) == (float(hours), hours)

    def test_time_zones_behind_utc_have_their_own_days(self, site: Site) -> None:
        site.commit(
            rows.readings(
                rows.reading(ts=_utc(15, 6, 59), energy_today_wh=100),
                rows.reading(ts=_utc(15, 7), energy_today_wh=200),
            )
        )
        moment = catalog.Moment(readings=site.lake.files("readings"), sessions=[], quarantine=[])
        catalog.rebuild(site.data, moment, time_zone="America/Los_Angeles")

        assert site.ask("SELECT day, energy_kwh FROM daily_energy ORDER BY day") == [
            {"day": date(2026, 6, 14), "energy_kwh": 0.1},
            {"day": date(2026, 6, 15), "energy_kwh": 0.2},
        ]


class TestOtherViews:
    def test_gaps_of_more_than_half_an_hour_are_listed_with_their_energy(self, site: Site) -> None:
        site.commit(
            rows.readings(
                rows.reading(ts=_utc(15, 8), energy_total_wh=10_000),
                rows.reading(ts=_utc(15, 8, 30), energy_total_wh=11_000),
                rows.reading(ts=_utc(15, 10), energy_total_wh=15_000),
                rows.reading(ts=_utc(15, 12), energy_total_wh=1_000),
                rows.reading(ts=_utc(15, 12), inverter_sn="B"),
                rows.reading(ts=_utc(15, 22, 30), inverter_sn="B"),
            )
        )
        site.show()

        sql = "SELECT inverter_sn, to_at, gap_s, day, energy_wh FROM comms_gaps ORDER BY ALL"
        day = date(2026, 6, 15)
        assert [tuple(row.values()) for row in site.ask(sql)] == [
            ("B", _utc(15, 22, 30), 37_800.0, day, None),
            ("SIM0001", _utc(15, 10), 5_400.0, day, 4_000),
            ("SIM0001", _utc(15, 12), 7_200.0, day, None),
            # Silent until the newest arrival, two seconds after B's last sample.
            ("SIM0001", None, 37_802.0, day, None),
        ]

    def test_quality_counts_slots_gaps_and_power(self, site: Site) -> None:
        site.commit(
            rows.readings(
                *(
                    rows.reading(
                        ts=_utc(15, 10, minute),
                        ac_power=power,
                        energy_total_wh=1_000,
                        repeat=minute == 15,
                    )
                    for minute, power in ((0, 600.0), (5, 1200.0), (15, 9e9), (20, 1200.0), (50, 0))
                )
            )
        )
        site.show()

        assert site.ask("FROM daily_quality") == [
            {
                "inverter_sn": "SIM0001",
                "day": date(2026, 6, 15),
                "coverage": 5 / 11,
                "gap_max_s": 1_800.0,
                # 900 W for 5 minutes, 1200 W for 15; none over half an hour.
                "energy_integral_kwh": pytest.approx(0.375),
            }
        ]

    def test_the_fleet_is_told_by_day(self, site: Site) -> None:
        samples = []
        for day, serial, energy in (
            (1, "A", 4_000),
            (1, "B", 8_000),
            (2, "A", 3_000),
            (11, "A", 5_000),
        ):
            for hour, today in ((6, 0), (18, energy)):
                samples.append(
                    rows.reading(
                        ts=_utc(day, hour),
                        inverter_sn=serial,
                        energy_today_wh=today,
                        historic=hour == 6 and serial == "A",
                    )
                )
        samples.append(rows.reading(ts=_utc(1, 12), inverter_sn="meter"))
        site.commit(rows.readings(*samples))
        site.show()

        found = {row.pop("day").day: row for row in site.ask("FROM fleet_day")}
        assert found[1] == {
            "inverters": 2,
            "silent": 0,
            "energy_kwh": 12.0,
            "energy_mean_kwh": 6.0,
            "energy_median_kwh": 6.0,
            "energy_p10_kwh": pytest.approx(4.4),
            "readings": 4,
            "historic_share": 0.25,
        }
        counts = {day: (row["inverters"], row["silent"]) for day, row in sorted(found.items())}
        assert counts == {
            **{1: (2, 0), 2: (1, 1), 3: (0, 2), 4: (0, 2), 5: (0, 2), 6: (0, 2), 7: (0, 2)},
            **{8: (0, 2), 9: (0, 1), 11: (1, 0)},
        }

    def test_rows_that_are_only_in_the_tail_count(self, site: Site) -> None:
        site.show([rows.readings(rows.reading(energy_today_wh=100, ac_power=5.0))])

        for view in ("daily_energy", "daily_quality", "fleet_day"):
            assert [row["day"] for row in site.ask(f"FROM {view}")] == [date(2026, 6, 15)]
        assert site.ask("FROM comms_gaps") == []


def _hourly(today: Sequence[int | None], total_kwh: Sequence[int | None]) -> list[dict[str, Any]]:
    return [
        {
            "ts": _utc(15, 6 + hour),
            "energy_today_wh": one,
            "energy_total_wh": None if other is None else other * 1_000,
        }
        for hour, (one, other) in enumerate(zip(today, total_kwh, strict=True))
    ]


def _minutes(
    today: Sequence[int | None], total_kwh: Sequence[int | None], **chosen: Any
) -> list[dict[str, Any]]:
    """As _hourly, a quarter of an hour apart."""
    return [
        {**sample, **chosen, "ts": _utc(15, 6) + timedelta(minutes=15 * number)}
        for number, sample in enumerate(_hourly(today, total_kwh))
    ]


def _group(number: int) -> pa.Table:
    start = rows.NOON + timedelta(seconds=10 * number)
    return rows.readings(
        *(
            rows.reading(ts=start + timedelta(seconds=second), record_no=number)
            for second in range(10)
        )
    )


def _utc(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 6, day, hour, minute, tzinfo=UTC)


def derive(data: paths.DataDirectory, month: str, rows: int) -> None:
    """Writes a table as the portal does."""
    directory = data.root / "portal" / "analytics" / "site_day"
    directory.mkdir(parents=True, exist_ok=True)
    field = pa.field("kwh", pa.float64(), metadata={"description": "Energy.", "unit": "kWh"})
    fields = pa.schema([field], metadata={"description": "What a site did."})
    pq.write_table(pa.table({"kwh": [1.0] * rows}, schema=fields), directory / f"{month}.parquet")


def test_derived_tables_show_with_their_comments_and_new_months_by_themselves(site: Site) -> None:
    derive(site.data, "2026-05", 2)
    site.show()
    derive(site.data, "2026-06", 3)

    assert site.one("SELECT count(*) FROM analytics.site_day") == 5
    shown = "SELECT comment FROM duckdb_{}() WHERE database_name = 'catalog' AND {}_name = '{}'"
    assert site.one(shown.format("views", "view", "site_day")) == "What a site did."
    assert site.one(shown.format("columns", "column", "kwh")) == "Energy. [kWh]"
    assert catalog.inspect(site.data).faults == {}
    assert not any("analytics" in file for file in catalog.files(site.data))


@pytest.mark.parametrize("month", ["2026-05", "2026-06"])
def test_a_derived_table_that_cannot_be_read_hides_no_reading(site: Site, month: str) -> None:
    derive(site.data, "2026-05", 2)
    derive(site.data, "2026-06", 2)
    (site.data.root / f"portal/analytics/site_day/{month}.parquet").write_bytes(b"nonsense")
    site.commit(rows.samples(3))
    site.show()

    assert site.one("SELECT count(*) FROM readings") == 3


def test_publishing_adds_what_the_catalog_lacks_and_nothing_else(site: Site) -> None:
    catalog.publish(site.data)
    assert not site.data.catalog.exists()
    site.commit(rows.samples(3))
    site.show()
    before = site.data.catalog.stat().st_ino
    catalog.publish(site.data)
    assert site.data.catalog.stat().st_ino == before

    derive(site.data, "2026-05", 2)
    catalog.publish(site.data)

    assert site.one("SELECT count(*) FROM analytics.site_day") == 2
    assert site.one("SELECT count(*) FROM readings") == 3
