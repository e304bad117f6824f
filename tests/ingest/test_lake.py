"""Is every batch in the tables exactly once and on disk, whatever fails in between?"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Schema, write_deltalake
from deltalake.table import TableAlterer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rows
from autarco_ingest import delta_log, durable, lake, paths, schema
from autarco_ingest.lake import Lake, LakeError
from autarco_ingest.table_store import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

NO_SESSIONS = schema.empty(schema.SESSIONS)
NO_QUARANTINE = schema.empty(schema.QUARANTINE)


def commit(target: Lake, version: int, readings: pa.Table) -> lake.Commit:
    return target.commit(version, readings, NO_SESSIONS, NO_QUARANTINE)


def stored(root: Path, table: str = "readings") -> pa.Table:
    """Reads a table as a stranger would, by its Delta log."""
    return DeltaTable(root / table).to_pyarrow_table()


def rows_per_inverter(root: Path) -> dict[object, int]:
    return Counter(stored(root).column("inverter_sn").to_pylist())


def recorded_syncs(monkeypatch: pytest.MonkeyPatch, root: Path) -> list[str]:
    """Returns a list that grows by each file or directory that is forced to disk."""
    synced: list[str] = []
    real = durable.sync

    def record(path: Path) -> None:
        real(path)
        synced.append(str(path.relative_to(root)))

    monkeypatch.setattr(durable, "sync", record)
    return synced


class TestCommit:
    def test_rows_are_stored_as_given(self, tmp_path: Path) -> None:
        batch = rows.readings(
            rows.reading(
                ac_power=1234.5,
                energy_total_wh=5_000_000_000,
                inverter_clock=datetime(2026, 6, 15, 13, 59, 58),
                repeat=None,
                source="192.0.2.0",
            )
        )

        summary = commit(Lake(LocalStore(tmp_path), "n1"), 1, batch)

        assert stored(tmp_path).select(batch.column_names).to_pylist() == batch.to_pylist()
        assert summary.readings.rows == 1
        assert summary.readings.files == 1
        assert summary.readings.bytes > 0
        assert not summary.repeated

    def test_all_three_tables_take_their_rows(self, tmp_path: Path) -> None:
        target = Lake(LocalStore(tmp_path), "n1")

        summary = target.commit(
            1, rows.samples(3), rows.sessions({}, {"event": "close"}), rows.quarantine({})
        )

        written = (summary.readings.rows, summary.sessions.rows, summary.quarantine.rows)
        assert written == (3, 2, 1)
        assert stored(tmp_path, "sessions").num_rows == 2
        assert stored(tmp_path, "quarantine").column("frame").to_pylist() == [b"\xa5\x15"]

    def test_each_utc_date_gets_one_file_sorted_by_inverter_and_time(self, tmp_path: Path) -> None:
        midnight = datetime(2026, 6, 16, tzinfo=UTC)
        batch = rows.readings(
            rows.reading(ts=midnight, inverter_sn="B"),
            rows.reading(ts=midnight + timedelta(seconds=1), inverter_sn="A"),
            rows.reading(ts=midnight - timedelta(microseconds=1), inverter_sn="B"),
            rows.reading(ts=midnight, inverter_sn="A"),
        )
        target = Lake(LocalStore(tmp_path), "n1")

        commit(target, 7, batch)

        names = [os.path.relpath(file, tmp_path / "readings") for file in target.files("readings")]
        assert names == [
            f"date=2026-06-15/part-n1-000000000007.v{schema.SCHEMA_VERSION}.parquet",
            f"date=2026-06-16/part-n1-000000000007.v{schema.SCHEMA_VERSION}.parquet",
        ]
        second = pq.ParquetFile(target.files("readings")[1]).read()
        assert list(
            zip(*second.select(["inverter_sn", "ts"]).to_pydict().values(), strict=True)
        ) == [
            ("A", midnight),
            ("A", midnight + timedelta(seconds=1)),
            ("B", midnight),
        ]
        assert "date" not in second.column_names

    def test_the_same_version_twice_is_stored_once(self, tmp_path: Path) -> None:
        target = Lake(LocalStore(tmp_path), "n1")
        batch = (rows.samples(3), rows.sessions({}), rows.quarantine({}))

        target.commit(1, *batch)
        again = target.commit(1, *batch)

        assert again.repeated
        assert again.readings == again.sessions == again.quarantine == lake.Written()
        assert [stored(tmp_path, name).num_rows for name in ("readings", "sessions")] == [3, 1]

    def test_the_same_version_after_a_restart_is_stored_once(self, tmp_path: Path) -> None:
        commit(Lake(LocalStore(tmp_path), "n1"), 1, rows.samples(3))

        commit(Lake(LocalStore(tmp_path), "n1"), 1, rows.samples(3))

        assert stored(tmp_path).num_rows == 3

    def test_an_empty_batch_advances_the_version(self, tmp_path: Path) -> None:
        target = Lake(LocalStore(tmp_path), "n1")

        target.commit(4, rows.readings(), rows.sessions({}), NO_QUARANTINE)

        assert target.committed_version() == 4
        assert Lake(LocalStore(tmp_path), "n1").committed_version() == 4
        assert stored(tmp_path, "sessions").num_rows == 1

    def test_quiet_tables_get_no_log_entries(self, tmp_path: Path) -> None:
        target = Lake(LocalStore(tmp_path), "n1")

        for version in range(1, 4):
            commit(target, version, rows.samples(1))

        assert DeltaTable(tmp_path / "quarantine").version() == 0
        assert DeltaTable(tmp_path / "readings").version() == 3

    def test_wrong_columns_leave_every_table_untouched(self, tmp_path: Path) -> None:
        target = Lake(LocalStore(tmp_path), "n1")

        with pytest.raises(schema.SchemaError):
            target.commit(1, rows.samples(1).drop_columns(["ts"]), rows.sessions({}), NO_QUARANTINE)

        assert stored(tmp_path, "sessions").num_rows == 0

    def test_log_tells_readers_what_a_file_holds(self, tmp_path: Path) -> None:
        ts = datetime(2026, 6, 15, 12, 0, 0, 123_456, tzinfo=UTC)
        commit(
            Lake(LocalStore(tmp_path), "n1"),
            1,
            rows.readings(
                rows.reading(ts=ts, inverter_sn="B", logger_sn=4_012_345_678, source="192.0.2.0"),
                rows.reading(ts=ts, inverter_sn="A"),
            ),
        )

        entry = paths.log_entry(tmp_path / "readings", 1).read_text()
        added = next(json.loads(line)["add"] for line in entry.splitlines() if '"add"' in line)
        statistics = json.loads(added["stats"])
        assert added["partitionValues"] == {"date": "2026-06-15"}
        assert statistics["numRecords"] == 2
        # Milliseconds, rounded outwards: a bound never excludes a row.
        assert statistics["minValues"]["ts"] == "2026-06-15T12:00:00.123Z"
        assert statistics["maxValues"]["ts"] == "2026-06-15T12:00:00.124Z"
        # The log cannot be rewritten as a data file can: it names nobody.
        assert statistics["minValues"].keys() == {"ts", "received_at"}
        assert not any(secret in entry for secret in ("4012345678", "192.0.2.0", '\\"A\\"'))

    def test_other_writers_put_no_serial_numbers_into_the_log(self, tmp_path: Path) -> None:
        target = Lake(LocalStore(tmp_path), "n1")
        for version in (1, 2):
            commit(target, version, rows.samples(1, inverter_sn="SECRET01"))

        delta = DeltaTable(tmp_path / "readings")
        delta.optimize.compact()
        delta.create_checkpoint()

        log = list(paths.log_directory(tmp_path / "readings").iterdir())
        assert len(log) >= 5
        assert not any(b"SECRET01" in path.read_bytes() for path in log)
        assert Lake(LocalStore(tmp_path), "n1").committed_version() == 2

    def test_thousands_of_dates_become_a_file_each(self, tmp_path: Path) -> None:
        days = 400
        batch = rows.readings(
            *(
                rows.reading(ts=rows.NOON - timedelta(days=day % days), inverter_sn=f"SIM{day:04d}")
                for day in range(2 * days)
            )
        )

        summary = commit(Lake(LocalStore(tmp_path), "n1"), 1, batch)

        assert (summary.readings.files, summary.readings.rows) == (days, 2 * days)
        table = stored(tmp_path)
        assert rows_per_inverter(tmp_path) == {f"SIM{number:04d}": 1 for number in range(2 * days)}
        assert table.column("date") == table.column("ts").cast(pa.date32())

    def test_other_engines_read_the_table(self, tmp_path: Path) -> None:
        import polars as pl

        commit(Lake(LocalStore(tmp_path), "n1"), 1, rows.samples(5))
        commit(
            Lake(LocalStore(tmp_path), "n2"),
            1,
            rows.samples(5, start=rows.NOON - timedelta(days=1)),
        )

        counted = (
            pl.scan_delta(str(tmp_path / "readings"))
            .filter(pl.col("date") == date(2026, 6, 15))
            .select(pl.len(), pl.col("ts").max())
            .collect()
        )

        assert counted.row(0) == (5, rows.NOON + timedelta(seconds=4))


class TestCrash:
    def test_files_without_a_commit_are_replaced_by_the_retry(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = Lake(LocalStore(tmp_path), "n1")
        with monkeypatch.context() as patch:
            patch.setattr(DeltaTable, "create_write_transaction", _power_cut)
            with pytest.raises(_PowerCutError):
                commit(target, 1, rows.samples(9))
        assert stored(tmp_path).num_rows == 0
        assert len(list(tmp_path.rglob("part-*.parquet"))) == 1

        retried = Lake(LocalStore(tmp_path), "n1")
        commit(retried, 1, rows.samples(3))

        assert stored(tmp_path).num_rows == 3
        assert [str(path) for path in tmp_path.rglob("*.parquet")] == retried.files("readings")

    def test_a_half_written_file_is_replaced_by_the_retry(self, tmp_path: Path) -> None:
        target = Lake(LocalStore(tmp_path), "n1")
        orphan = tmp_path / "readings" / paths.data_file("n1", 1, "2026-06-15")
        orphan.parent.mkdir()
        orphan.write_bytes(b"PAR1 torn")

        commit(target, 1, rows.samples(3))

        assert stored(tmp_path).num_rows == 3

    @pytest.mark.parametrize("survivors", [1, 2])
    def test_a_commit_that_reached_some_tables_is_completed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survivors: int
    ) -> None:
        batch = (rows.samples(3), rows.sessions({}), rows.quarantine({}))
        real = DeltaTable.create_write_transaction
        done = 0

        def dies_after_some(self: DeltaTable, *args: Any, **options: Any) -> None:
            nonlocal done
            if done == survivors:
                raise _PowerCutError
            done += 1
            real(self, *args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(DeltaTable, "create_write_transaction", dies_after_some)
            with pytest.raises(_PowerCutError):
                Lake(LocalStore(tmp_path), "n1").commit(1, *batch)

        replayed = Lake(LocalStore(tmp_path), "n1")
        assert replayed.committed_version() == 0
        replayed.commit(1, *batch)

        counts = [stored(tmp_path, table.name).num_rows for table in schema.TABLES]
        assert counts == [3, 1, 1]

    @pytest.mark.parametrize("torn", [b"", b'{"commitInfo":{}}\n{"add":{"pa'])
    def test_a_torn_log_entry_is_cut_and_the_batch_comes_again(
        self, tmp_path: Path, torn: bytes
    ) -> None:
        target = Lake(LocalStore(tmp_path), "n1")
        commit(target, 1, rows.samples(3))
        commit(target, 2, rows.samples(2, inverter_sn="SIM0002"))
        paths.log_entry(tmp_path / "readings", 2).write_bytes(torn)

        restarted = Lake(LocalStore(tmp_path), "n1")
        assert restarted.committed_version() == 1
        commit(restarted, 2, rows.samples(2, inverter_sn="SIM0002"))

        assert stored(tmp_path).num_rows == 5

    # Which part of the file a power cut has left as zeros; the footer is at its end.
    @pytest.mark.parametrize("torn", [(0.0, 1.0), (0.0, 0.1), (0.3, 0.5), (0.8, 0.95), (0.5, 1.0)])
    def test_a_torn_checkpoint_is_cut_and_loses_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: tuple[float, float]
    ) -> None:
        monkeypatch.setattr(lake, "ENTRIES_PER_CHECKPOINT", 2)
        target = Lake(LocalStore(tmp_path), "n1")
        for version in range(1, 6):
            commit(target, version, rows.samples(1, inverter_sn=f"SIM{version}"))
        found = paths.checkpoints(tmp_path / "readings")
        assert len(found) >= 2
        for path in found[max(found)]:
            content = path.read_bytes()
            start, end = (int(part * len(content)) for part in torn)
            path.write_bytes(content[:start] + bytes(end - start) + content[end:])

        restarted = Lake(LocalStore(tmp_path), "n1")

        assert restarted.committed_version() == 5
        assert stored(tmp_path).num_rows == 5
        assert max(paths.checkpoints(tmp_path / "readings")) < max(found)

    @pytest.mark.parametrize("hint", ["", '{"version":4,"si', '{"version":999,"size":3}', "[]"])
    def test_a_hint_without_its_checkpoint_is_removed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hint: str
    ) -> None:
        monkeypatch.setattr(lake, "ENTRIES_PER_CHECKPOINT", 2)
        target = Lake(LocalStore(tmp_path), "n1")
        for version in range(1, 6):
            commit(target, version, rows.samples(1, inverter_sn=f"SIM{version}"))
        paths.last_checkpoint(tmp_path / "readings").write_text(hint)
        for checkpoint in paths.checkpoints(tmp_path / "readings").values():
            for path in checkpoint:
                path.unlink()

        assert Lake(LocalStore(tmp_path), "n1").committed_version() == 5
        assert stored(tmp_path).num_rows == 5

    @settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.data())
    def test_any_replay_of_any_prefix_stores_each_version_once(
        self, tmp_path_factory: pytest.TempPathFactory, replays: list[int], data: st.DataObject
    ) -> None:
        root = tmp_path_factory.mktemp("lake")
        newest = 0
        for length in replays:
            target = Lake(LocalStore(root), "n1")
            assert target.committed_version() == newest
            # The journal is retired up to some version the table certainly has, never further.
            first = data.draw(st.integers(1, newest + 1))
            for version in range(first, newest + length + 1):
                commit(target, version, rows.samples(2, inverter_sn=f"SIM{version:04d}"))
            newest += length

        assert rows_per_inverter(root) == {
            f"SIM{version:04d}": 2 for version in range(1, newest + 1)
        }


class TestDisk:
    def test_everything_is_on_disk_before_commit_returns(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = Lake(LocalStore(tmp_path), "n1")
        synced = recorded_syncs(monkeypatch, tmp_path)
        commit(target, 1, rows.samples(1))

        assert synced == [
            "readings",  # the partition's directory is new
            f"readings/{paths.data_file('n1', 1, '2026-06-15')}",
            "readings/date=2026-06-15",
            "readings/_delta_log/00000000000000000001.json",
            "readings/_delta_log",
        ]

    def test_data_is_on_disk_before_the_log_names_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = Lake(LocalStore(tmp_path), "n1")
        entry = paths.log_entry(tmp_path / "readings", 1)
        real = durable.sync

        def checked(path: Path) -> None:
            real(path)
            if path.suffix == ".parquet":
                assert not entry.exists()

        monkeypatch.setattr(durable, "sync", checked)
        commit(target, 1, rows.samples(1))

        assert entry.exists()

    def test_sync_asks_the_kernel(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []
        monkeypatch.setattr(
            os, "fsync", lambda number: asked.append(os.readlink(f"/proc/self/fd/{number}"))
        )

        durable.sync(tmp_path)

        assert asked == [str(tmp_path)]

    def test_a_commit_left_unsynced_by_a_crash_is_synced_at_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit(Lake(LocalStore(tmp_path), "n1"), 1, rows.samples(1))
        synced = recorded_syncs(monkeypatch, tmp_path)

        Lake(LocalStore(tmp_path), "n1")

        assert "readings/_delta_log/00000000000000000001.json" in synced

    def test_checkpoints_are_synced(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lake, "ENTRIES_PER_CHECKPOINT", 2)
        synced = recorded_syncs(monkeypatch, tmp_path)
        target = Lake(LocalStore(tmp_path), "n1")

        for version in range(1, 4):
            commit(target, version, rows.samples(1))

        assert delta_log.checkpoint_version(tmp_path / "readings") >= 1
        assert any(name.endswith(".checkpoint.parquet") for name in synced)
        assert "readings/_delta_log/_last_checkpoint" in synced

    def test_a_full_disk_is_reported_and_the_retry_succeeds(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = Lake(LocalStore(tmp_path), "n1")
        with monkeypatch.context() as patch:
            patch.setattr(durable, "sync", _no_space)
            with pytest.raises(LakeError, match=r"table readings: .*No space left"):
                commit(target, 1, rows.samples(1))

        commit(target, 1, rows.samples(1))

        assert stored(tmp_path).num_rows == 1

    def test_after_a_failed_write_to_the_log_nothing_more_is_promised(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = Lake(LocalStore(tmp_path), "n1")
        with monkeypatch.context() as patch:
            patch.setattr(delta_log, "sync", _no_space)
            with pytest.raises(LakeError):
                commit(target, 1, rows.samples(1))

        with pytest.raises(LakeError, match="restart the server"):
            commit(target, 1, rows.samples(1))

        restarted = Lake(LocalStore(tmp_path), "n1")
        commit(restarted, 1, rows.samples(1))
        assert stored(tmp_path).num_rows == 1


class TestNodes:
    def test_two_nodes_with_the_same_versions_both_store(self, tmp_path: Path) -> None:
        first, second = Lake(LocalStore(tmp_path), "n1"), Lake(LocalStore(tmp_path), "n2")

        for version in (1, 2):
            commit(first, version, rows.samples(2, inverter_sn="A"))
            commit(second, version, rows.samples(3, inverter_sn="B"))

        assert stored(tmp_path).num_rows == 10
        assert first.committed_version() == second.committed_version() == 2
        assert first.files("readings") == second.files("readings")

    def test_nodes_that_commit_at_once_lose_and_repeat_nothing(self, tmp_path: Path) -> None:
        Lake(LocalStore(tmp_path), "n0")
        failures: list[BaseException] = []

        def write(node: str) -> None:
            try:
                target = Lake(LocalStore(tmp_path), node)
                for version in range(1, 9):
                    commit(target, version, rows.samples(2, inverter_sn=node))
            except BaseException as error:
                failures.append(error)

        writers = [threading.Thread(target=write, args=(f"n{number}",)) for number in range(3)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(timeout=60)

        assert failures == []
        assert rows_per_inverter(tmp_path) == {"n0": 16, "n1": 16, "n2": 16}

    def test_a_second_writer_of_the_same_name_adds_nothing(self, tmp_path: Path) -> None:
        first, twin = Lake(LocalStore(tmp_path), "n1"), Lake(LocalStore(tmp_path), "n1")

        commit(first, 1, rows.samples(2))
        repeated = commit(twin, 1, rows.samples(2))

        assert repeated.readings == lake.Written()
        assert stored(tmp_path).num_rows == 2

    def test_the_race_for_one_transaction_has_one_winner(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, twin = Lake(LocalStore(tmp_path), "n1"), Lake(LocalStore(tmp_path), "n1")
        # The twin looks before the first commits, and commits after it.
        write = lake._write_files

        def overtaken(*arguments: Any) -> Any:
            monkeypatch.setattr(lake, "_write_files", write)
            commit(first, 1, rows.samples(2))
            return write(*arguments)

        monkeypatch.setattr(lake, "_write_files", overtaken)
        repeated = commit(twin, 1, rows.samples(2))

        assert repeated.readings == lake.Written()
        assert stored(tmp_path).num_rows == 2


class TestSchemaVersion:
    def test_a_new_table_says_which_version_it_has(self, tmp_path: Path) -> None:
        Lake(LocalStore(tmp_path), "n1")

        assert version_of(tmp_path, "readings") == str(schema.SCHEMA_VERSION)

    def test_a_newer_table_is_refused_with_what_to_do(self, tmp_path: Path) -> None:
        Lake(LocalStore(tmp_path), "n1")
        newer = str(schema.SCHEMA_VERSION + 2)
        DeltaTable(tmp_path / "sessions").alter.set_table_properties(
            {lake.SCHEMA_VERSION_KEY: newer}, raise_if_not_exists=False
        )

        expected = (
            f"table sessions: schema version {newer}, this program knows "
            f"{schema.SCHEMA_VERSION}: update autarco-ingest"
        )
        with pytest.raises(LakeError, match=f"^{expected}$"):
            Lake(LocalStore(tmp_path), "n1")

    def test_a_directory_of_version_1_is_brought_up_to_date(self, tmp_path: Path) -> None:
        make_version_1(tmp_path)

        for _ in range(2):
            target = Lake(LocalStore(tmp_path), "n1")

        assert target.committed_version() == 0
        target.commit(1, rows.samples(1), rows.sessions({"claimed": True}), NO_QUARANTINE)
        table = stored(tmp_path, "sessions").sort_by("at")
        assert table.column("firmware").to_pylist() == ["old 1", "old 2", None]
        assert table.column("claimed").to_pylist() == [None, None, True]
        assert {version_of(tmp_path, name) for name in ("readings", "sessions", "quarantine")} == {
            str(schema.SCHEMA_VERSION)
        }
        # One footer speaks for all files: each must have every column.
        wanted = schema.arrow_schema(schema.SESSIONS, metadata=False).remove(
            len(schema.SESSIONS.columns) - 1
        )
        assert all(pq.read_schema(file).names == wanted.names for file in target.files("sessions"))

    @pytest.mark.parametrize("step", ["create_write_transaction", "set_table_properties"])
    def test_adapting_that_was_interrupted_is_finished_by_the_next_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        make_version_1(tmp_path)
        owner = DeltaTable if step == "create_write_transaction" else TableAlterer
        with monkeypatch.context() as patch:
            patch.setattr(owner, step, _power_cut)
            with pytest.raises(_PowerCutError):
                Lake(LocalStore(tmp_path), "n1")

        Lake(LocalStore(tmp_path), "n1")

        assert stored(tmp_path, "sessions").sort_by("at").column("firmware").to_pylist() == [
            "old 1",
            "old 2",
        ]
        assert version_of(tmp_path, "sessions") == str(schema.SCHEMA_VERSION)

    def test_a_column_that_a_later_version_brings_is_added(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit(Lake(LocalStore(tmp_path), "n1"), 1, rows.samples(2))
        extended = msgspec.structs.replace(
            schema.READINGS,
            columns=(
                schema.Column(name="wind_speed", type=pa.float32(), description="Wind."),
                *schema.READINGS.columns,
            ),
        )
        monkeypatch.setattr(schema, "TABLES", (extended, schema.SESSIONS, schema.QUARANTINE))
        monkeypatch.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)

        target = Lake(LocalStore(tmp_path), "n1")

        windy = rows.samples(1).append_column("wind_speed", pa.array([5.0], pa.float32()))
        commit(target, 2, windy)
        assert stored(tmp_path).column("wind_speed").to_pylist().count(None) == 2
        assert version_of(tmp_path, "readings") == str(schema.SCHEMA_VERSION)

    def test_a_type_that_changed_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Lake(LocalStore(tmp_path), "n1")
        *others, date_column = schema.QUARANTINE.columns
        changed = msgspec.structs.replace(others[0], type=pa.int64())
        other = msgspec.structs.replace(
            schema.QUARANTINE, columns=(changed, *others[1:], date_column)
        )
        monkeypatch.setattr(schema, "TABLES", (schema.READINGS, schema.SESSIONS, other))

        with pytest.raises(LakeError, match=r"table quarantine: .*received_at"):
            Lake(LocalStore(tmp_path), "n1")


def version_of(root: Path, table: str) -> str | None:
    return DeltaTable(root / table).metadata().configuration.get(lake.SCHEMA_VERSION_KEY)


def make_version_1(root: Path) -> None:
    """Makes tables as the first version did: no property, `sessions` without `claimed`."""
    for table in schema.TABLES:
        columns = schema.arrow_schema(table)
        if table is schema.SESSIONS:
            columns = columns.remove(columns.get_field_index("claimed"))
        delta = DeltaTable.create(
            root / table.name, schema=Schema.from_arrow(columns), partition_by=["date"]
        )
    for number in (1, 2):
        old = rows.sessions(
            {"firmware": f"old {number}", "at": rows.NOON - timedelta(days=3 - number)}
        )
        old = schema.conform(schema.SESSIONS, old).drop_columns(["claimed"])
        write_deltalake(root / "sessions", old, mode="append")
    assert delta.metadata().configuration == {}


class TestOwner:
    """Where other machines can write, a name that is given twice must not swallow batches."""

    def test_the_same_directory_comes_again(self, tmp_path: Path) -> None:
        for _ in range(2):
            target = Lake(LocalStore(tmp_path), "n1", owner=1 << 61)

        assert target.committed_version() == 0
        assert DeltaTable(tmp_path / "readings").version() == 1

    @pytest.mark.parametrize("other", [3, 5])
    def test_a_name_of_another_directory_is_refused(self, tmp_path: Path, other: int) -> None:
        Lake(LocalStore(tmp_path), "n1", owner=4)

        with pytest.raises(LakeError, match=r"^node name 'n1' belongs to another data directory"):
            Lake(LocalStore(tmp_path), "n1", owner=other)
        Lake(LocalStore(tmp_path), "n2", owner=other)

    def test_of_two_that_claim_at_once_one_gets_the_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Lake(LocalStore(tmp_path), "n0")
        real = DeltaTable.create_write_transaction

        def overtaken(self: DeltaTable, *arguments: Any, **options: Any) -> None:
            monkeypatch.setattr(DeltaTable, "create_write_transaction", real)
            Lake(LocalStore(tmp_path), "n1", owner=3)
            real(self, *arguments, **options)

        monkeypatch.setattr(DeltaTable, "create_write_transaction", overtaken)
        with pytest.raises(LakeError, match="another data directory"):
            Lake(LocalStore(tmp_path), "n1", owner=4)


class TestOpen:
    def test_a_table_with_other_columns_is_refused_with_their_names(self, tmp_path: Path) -> None:
        Lake(LocalStore(tmp_path), "n1")
        DeltaTable(tmp_path / "readings").alter.add_columns(
            [_delta_field("wind_speed", pa.float32())]
        )

        with pytest.raises(LakeError, match=r"table readings: .*wind_speed"):
            Lake(LocalStore(tmp_path), "n1")

    def test_field_descriptions_are_in_the_table(self, tmp_path: Path) -> None:
        Lake(LocalStore(tmp_path), "n1")

        fields = {field.name: field for field in DeltaTable(tmp_path / "readings").schema().fields}

        assert fields["energy_total_wh"].metadata["unit"] == "Wh"

    def test_versions_start_at_one(self, tmp_path: Path) -> None:
        target = Lake(LocalStore(tmp_path), "n1")

        assert target.committed_version() == 0
        with pytest.raises(ValueError, match="version too small"):
            commit(target, 0, rows.samples(1))

    def test_names_with_blanks_and_accents_work(self, tmp_path: Path) -> None:
        target = Lake(LocalStore(tmp_path / "zonne dak é'"), "n1")

        commit(target, 1, rows.samples(1))

        assert all(os.path.exists(file) for file in target.files("readings"))


class _PowerCutError(Exception):
    """Stands for the end of the process: nothing after it runs."""


def _power_cut(*_: Any, **__: Any) -> None:
    raise _PowerCutError


def _no_space(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def _delta_field(name: str, kind: pa.DataType) -> Any:
    from deltalake import Schema

    return Schema.from_arrow(pa.schema([pa.field(name, kind)])).fields[0]
