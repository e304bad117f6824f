"""The lake gets small and young, loses nothing on the way, and readers notice nothing."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import rows
from autarco_ingest import (
    catalog,
    day_rewrite,
    lake,
    lake_table,
    maintenance,
    paths,
    settings,
    table_store,
)
from autarco_ingest.forgotten import Forgotten
from autarco_ingest.paths import DataDirectory
from autarco_ingest.storage import Storage
from test_compaction_race import Batch

if TYPE_CHECKING:
    from pathlib import Path

    from deltalake.transaction import AddAction

    from autarco_ingest.lake_table import DataFile, LakeTable
    from autarco_ingest.settings import Settings

DAY = datetime(2026, 6, 15, tzinfo=UTC)
NOW = DAY + timedelta(days=2)


class Place:
    """A data directory with a storage as a server has it."""

    def __init__(self, root: Path, **chosen: str) -> None:
        self.settings = settings.load(overrides={"data": str(root), **chosen})
        self.data = DataDirectory.at(root)
        self.data.create()
        self.storage = Storage(self.settings, self.data, Forgotten())
        self.version = 0

    def commit(
        self,
        readings: pa.Table,
        *,
        sessions: pa.Table | None = None,
        frames: pa.Table | None = None,
    ) -> None:
        self.version += 1
        batch = Batch(self.version, readings)
        batch.sessions = batch.sessions if sessions is None else sessions
        batch.quarantine = batch.quarantine if frames is None else frames
        self.storage.commit(batch)  # type: ignore[arg-type]

    def show(self) -> None:
        self.storage.show([])

    def maintain(self, now: datetime = NOW, **how: Any) -> maintenance.Outcome:
        return maintenance.run(self.settings, now, **{"every_day": True, **how})

    def stored(self, table: str = "readings") -> list[dict[str, Any]]:
        """Reads a table as a stranger would, by its Delta log."""
        found = DeltaTable(self.data.lake / table).to_pyarrow_table()
        return found.to_pylist()

    def files(self, table: str = "readings") -> list[str]:
        """The files of a table's newest version."""
        delta = DeltaTable(self.data.lake / table)
        names = pa.table(delta.get_add_actions(flatten=True)).column("path").to_pylist()
        return sorted(map(str, names))

    def on_disk(self, table: str = "readings") -> list[str]:
        root = self.data.lake / table
        found = (str(path.relative_to(root)) for path in root.rglob("*.parquet"))
        return sorted(name for name in found if not name.startswith("_"))

    def log_entries(self, table: str = "readings") -> list[int]:
        return sorted(paths.log_entries(self.data.lake / table))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data")


def sample(minute: int, inverter_sn: str = "SIM0001", **chosen: Any) -> dict[str, Any]:
    return rows.reading(
        ts=DAY + timedelta(minutes=minute), inverter_sn=inverter_sn, record_no=minute, **chosen
    )


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["inverter_sn"], row["ts"], row["record_no"])


class TestCompaction:
    def test_a_day_becomes_one_sorted_file(self, place: Place) -> None:
        for minute in (10, 0, 5):
            place.commit(rows.readings(sample(minute, "B"), sample(minute, "A")))

        outcome = place.maintain()

        assert len(place.files()) == 1
        assert [key(row) for row in place.stored()] == [
            (sn, DAY + timedelta(minutes=minute), minute)
            for sn in ("A", "B")
            for minute in (0, 5, 10)
        ]
        (day,) = outcome.days
        assert (day.table, day.date) == ("readings", "2026-06-15")
        assert (day.files_before, day.files_after, day.rows_before, day.rows_after) == (3, 1, 6, 6)

    def test_doing_it_again_does_nothing(self, place: Place) -> None:
        place.commit(rows.readings(sample(0)))
        place.maintain()
        before = (place.files(), place.log_entries())

        assert place.maintain().days == []

        assert (place.files(), place.log_entries()) == before

    def test_resends_go_and_repeats_are_marked_across_batches(self, place: Place) -> None:
        clock = datetime(2026, 6, 15, 2, 0)
        original = sample(0, inverter_clock=clock, ac_power=5.0)
        place.commit(rows.readings(original))
        place.commit(rows.readings(original | {"historic": True, "received_at": NOW}))
        place.commit(rows.readings(sample(5, inverter_clock=clock, ac_power=5.0)))

        place.maintain()

        assert [(row["record_no"], row["historic"], row["repeat"]) for row in place.stored()] == [
            (0, False, False),
            (5, False, True),
        ]

    def test_a_repeat_is_known_over_midnight(self, place: Place) -> None:
        clock = datetime(2026, 6, 14, 22, 0)
        for minute in (-5, 0, 5):
            place.commit(rows.readings(sample(minute, inverter_clock=clock, ac_power=0.0)))

        place.maintain()

        marked = {row["record_no"]: row["repeat"] for row in place.stored()}
        assert marked == {-5: False, 0: True, 5: True}

    def test_late_samples_are_folded_into_their_day(self, place: Place) -> None:
        place.commit(rows.readings(sample(0), sample(10)))
        place.maintain()
        place.commit(rows.readings(sample(5, historic=True)))
        assert len(place.files()) == 2

        place.maintain()

        assert len(place.files()) == 1
        assert [row["record_no"] for row in place.stored()] == [0, 5, 10]

    def test_a_day_that_is_not_over_waits_until_it_has_many_files(self, tmp_path: Path) -> None:
        place = Place(tmp_path / "data", **{"maintenance.small_files_max": "3"})
        for minute in range(3):
            place.commit(rows.readings(sample(minute)))
        noon = DAY + timedelta(hours=12)
        assert place.maintain(noon).days == []
        assert place.maintain(noon, every_day=False).days == []
        place.commit(rows.readings(sample(3)))
        assert len(place.maintain(noon, every_day=False).days) == 1

    def test_the_other_tables_keep_every_row(self, place: Place) -> None:
        events = [{"at": DAY + timedelta(minutes=minute)} for minute in (3, 1, 1)]
        for event in events:
            frame = rows.quarantine({"received_at": event["at"]})
            place.commit(rows.readings(), sessions=rows.sessions(event), frames=frame)

        place.maintain()

        for table, time_column in (("sessions", "at"), ("quarantine", "received_at")):
            assert len(place.files(table)) == 1
            assert [row[time_column] for row in place.stored(table)] == [
                DAY + timedelta(minutes=minute) for minute in (1, 1, 3)
            ]

    def test_a_large_day_becomes_several_files_of_whole_inverters(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(day_rewrite, "ROWS_MAX", 5)
        for minute in range(3):
            place.commit(rows.readings(*(sample(minute, f"SIM{n}") for n in range(4))))

        place.maintain()

        per_file = [
            pq.read_table(place.data.lake / "readings" / name).column("inverter_sn").unique()
            for name in place.files()
        ]
        assert sorted(serials.to_pylist() for serials in per_file) == [
            ["SIM0"],
            ["SIM1"],
            ["SIM2"],
            ["SIM3"],
        ]
        assert len(place.stored()) == 12


class TestTogether:
    def test_a_batch_that_comes_meanwhile_stays(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place.commit(rows.readings(sample(0)))
        place.commit(rows.readings(sample(1)))
        meanwhile(monkeypatch, lambda: place.commit(rows.readings(sample(2))))

        place.maintain()

        assert [row["record_no"] for row in sorted(place.stored(), key=key)] == [0, 1, 2]
        assert len(place.files()) == 2
        # The server's own handle goes on.
        place.commit(rows.readings(sample(3)))
        assert len(place.stored()) == 4

    def test_the_second_of_two_compactions_finds_out(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place.commit(rows.readings(sample(0)))
        place.commit(rows.readings(sample(1)))
        store = maintenance.open_tables(place.settings, place.data)
        meanwhile(monkeypatch, lambda: day_rewrite.rewrite_day(store[0], "2026-06-15"))

        place.maintain()

        assert [row["record_no"] for row in place.stored()] == [0, 1]
        assert len(place.files()) == 1

    def test_a_compaction_that_always_comes_second_gives_up_and_leaves_nothing(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place.commit(rows.readings(sample(0)))

        def refuse(*_: object) -> None:
            raise lake_table.ConflictError("somebody else was first")

        monkeypatch.setattr(lake_table.LakeTable, "replace", refuse)
        with pytest.raises(maintenance.MaintenanceError, match="somebody else"):
            place.maintain()
        assert set(place.files()) < set(place.on_disk()), "left for the sweep"
        monkeypatch.undo()
        place.maintain(datetime.now(UTC) + timedelta(days=2), compact=False)
        assert place.on_disk() == place.files()

    def test_a_commit_whose_answer_was_lost_keeps_its_files(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place.commit(rows.readings(sample(0)))
        place.commit(rows.readings(sample(1)))
        replace = lake_table.LakeTable.replace
        answers = ["lost"]

        def lose(table: LakeTable, old: list[DataFile], new: list[AddAction]) -> None:
            replace(table, old, new)
            if table.name == "readings" and answers:
                raise lake_table.ConflictError(answers.pop())

        monkeypatch.setattr(lake_table.LakeTable, "replace", lose)
        place.maintain()
        assert [row["record_no"] for row in place.stored()] == [0, 1]

    def test_killed_at_any_instant_it_leaves_all_rows_once(self, place: Place) -> None:
        dice = random.Random(7)
        expected: Counter[tuple[Any, ...]] = Counter()
        minute = 0
        for _ in range(12):
            for _ in range(3):
                batch = [sample(minute + n, f"SIM{n % 3}") for n in range(40)]
                minute += 40
                expected.update(key(row) for row in batch)
                place.commit(rows.readings(*batch))
            place.show()
            process = compacting(place.settings)
            time.sleep(dice.uniform(0.0, 0.25))
            process.kill()
            process.wait()
            assert Counter(key(row) for row in place.stored()) == expected
            answer = catalog.query(place.data, "SELECT count(*) AS n FROM readings").to_pylist()
            assert answer == [{"n": minute}]
        place.maintain()
        place.show()
        place.maintain(datetime.now(UTC) + timedelta(days=2))
        assert place.on_disk() == place.files(), "what killed runs left is swept in the end"
        assert Counter(key(row) for row in place.stored()) == expected


def meanwhile(monkeypatch: pytest.MonkeyPatch, do: Any) -> None:
    """Lets something happen once, between reading a day and exchanging its files."""
    replace = lake_table.LakeTable.replace
    todo = [do]

    def after_something(table: LakeTable, old: list[DataFile], new: list[AddAction]) -> None:
        if todo and table.name == "readings":
            todo.pop()()
        replace(table, old, new)

    monkeypatch.setattr(lake_table.LakeTable, "replace", after_something)


def compacting(chosen: Settings) -> subprocess.Popen[bytes]:
    """Starts a process that compacts; returns when it begins."""
    program = (
        "import sys; from datetime import UTC, datetime, timedelta\n"
        "from autarco_ingest import maintenance, settings\n"
        "chosen = settings.from_json(sys.stdin.buffer.read())\n"
        "print('ready', flush=True)\n"
        "maintenance.run(chosen, datetime(2026, 6, 17, tzinfo=UTC), every_day=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin as stdin:
        stdin.write(settings.to_json(chosen))
    with process.stdout as stdout:
        assert stdout.readline() == b"ready\n"
    return process


def test_a_day_that_cannot_be_read_keeps_nothing_else_from_being_done(tmp_path: Path) -> None:
    place = Place(tmp_path / "data", **{"retention.quarantine_days": "10"})
    place.commit(rows.readings(sample(0)))
    (damaged,) = place.files()
    (place.data.lake / "readings" / damaged).write_bytes(b"damaged")
    place.commit(
        rows.readings(sample(-2 * 24 * 60)),
        frames=rows.quarantine({"received_at": DAY - timedelta(days=40)}),
    )

    with pytest.raises(maintenance.MaintenanceError, match="2026-06-15"):
        place.maintain()

    assert [paths.is_compacted(name) for name in place.files()] == [True, False]
    assert place.files("quarantine") == []


def test_a_catalog_without_a_server_never_shows_the_rows_of_its_tail_twice(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server starts meanwhile, commits what the tail shows, and dies before its catalog."""
    place.commit(rows.readings(sample(0)))
    place.commit(rows.readings(sample(1)))
    place.storage.show([rows.readings(sample(2))])
    place.data.lock.touch()
    meanwhile(monkeypatch, lambda: place.commit(rows.readings(sample(2))))

    place.maintain()

    answer = catalog.query(place.data, "SELECT record_no FROM readings ORDER BY ALL").to_pylist()
    assert [row["record_no"] for row in answer] == [0, 1, 2]


class TestRetention:
    def test_days_leave_by_table_and_their_files_after_the_grace_period(
        self, tmp_path: Path
    ) -> None:
        place = Place(
            tmp_path / "data",
            **{"retention.readings_days": "10", "retention.quarantine_days": "0"},
        )
        for age in (0, 10, 11, 400):
            at = NOW - timedelta(days=age)
            place.commit(
                rows.readings(rows.reading(ts=at)),
                sessions=rows.sessions({"at": at}),
                frames=rows.quarantine({"received_at": at}),
            )

        outcome = maintenance.run(place.settings, NOW, compact=False)

        assert outcome.expired == {
            "readings": ["2025-05-13", "2026-06-06"],
            "sessions": ["2025-05-13"],
            "quarantine": [],
        }
        assert len(place.stored()) == 2
        assert len(place.stored("sessions")) == 3
        assert len(place.stored("quarantine")) == 4
        assert len(place.on_disk()) == 4, "readers of before still have them"
        maintenance.run(place.settings, datetime.now(UTC) + timedelta(hours=25), compact=False)
        assert place.on_disk() == place.files()


class TestSweep:
    def test_replaced_files_stay_for_the_grace_period(self, place: Place) -> None:
        place.commit(rows.readings(sample(0)))
        place.commit(rows.readings(sample(1)))
        place.maintain()
        assert len(place.on_disk()) == 3
        now = datetime.now(UTC)
        assert place.maintain(now + timedelta(hours=23)).deleted == 0
        assert place.maintain(now + timedelta(hours=25)).deleted == 2
        assert place.on_disk() == place.files()

    def test_what_the_catalog_names_stays(self, place: Place) -> None:
        place.commit(rows.readings(sample(0)))
        place.commit(rows.readings(sample(1)))
        place.show()
        place.maintain()
        late = datetime.now(UTC) + timedelta(days=3)
        assert place.maintain(late).deleted == 0
        assert catalog.query(place.data, "SELECT * FROM readings").num_rows == 2
        place.show()
        assert place.maintain(late).deleted == 2
        assert catalog.query(place.data, "SELECT * FROM readings").num_rows == 2

    def test_a_file_being_committed_is_left_alone(self, place: Place) -> None:
        place.commit(rows.readings(sample(0)))
        fresh = place.data.lake / "readings" / paths.compacted_file("2026-06-15")
        fresh.write_bytes(b"written, not committed yet")
        now = datetime.now(UTC)
        place.maintain(now)
        assert fresh.exists()
        place.maintain(now + timedelta(days=2))
        assert not fresh.exists()

    @pytest.mark.parametrize("grace_s", ["0", "86400"])
    def test_a_batch_that_a_node_may_come_back_for_is_left_alone(
        self, tmp_path: Path, grace_s: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = Place(tmp_path / "data", **{"maintenance.retired_grace_s": grace_s})
        place.commit(rows.readings(sample(0)))
        left = place.data.lake / "readings" / paths.data_file("node", 2, "2026-06-15")
        left.write_bytes(b"crashed before its commit")
        past = lake_table.LakeTable.past
        todo = [lambda: place.commit(rows.readings(sample(1)))]

        def come_back(table: LakeTable) -> lake_table.Past:
            if table.name == "readings" and todo:
                todo.pop()()
            return past(table)

        monkeypatch.setattr(lake_table.LakeTable, "past", come_back)
        place.maintain(datetime.now(UTC) + timedelta(days=9), compact=False)
        assert sorted(row["record_no"] for row in place.stored()) == [0, 1]

    def test_a_server_that_starts_while_the_log_is_pruned_keeps_its_table(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for minute in range(4):
            place.commit(rows.readings(sample(minute)))
        (table, *_) = maintenance.open_tables(place.settings, place.data)
        table.checkpoint()
        log_files = table_store.LocalStore.log_files
        starting: list[threading.Thread] = []

        def listed(store: table_store.LocalStore, name: str) -> list[table_store.Stored]:
            found = log_files(store, name)
            if not starting:
                starting.append(threading.Thread(target=store.repair, args=["readings"]))
                starting[0].start()
                starting[0].join(0.3)
            return found

        monkeypatch.setattr(table_store.LocalStore, "log_files", listed)
        table.prune_log(datetime.now(UTC) + timedelta(days=1))
        starting[0].join()
        assert len(place.stored()) == 4

    def test_log_entries_go_when_a_checkpoint_has_replaced_them(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lake, "ENTRIES_PER_CHECKPOINT", 5)
        for minute in range(12):
            place.commit(rows.readings(sample(minute)))
        now = datetime.now(UTC)
        place.maintain(now)
        assert place.log_entries()[0] == 0, "readers that began before may want them"

        place.maintain(now + timedelta(days=2))

        assert place.log_entries()[0] == 9
        assert len(place.stored()) == 12
        # Who has had the table open all the time goes on, and so does who opens it.
        place.commit(rows.readings(sample(12)))
        again = Storage(place.settings, place.data, Forgotten())
        assert again.committed_version() == 13
        assert len(place.stored()) == 13
