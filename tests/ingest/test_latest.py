"""Do the small files show the newest readings, and only what belongs into them?"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rows
from autarco_ingest import durable, latest, paths, schema
from autarco_ingest.latest import Latest, Tail

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

GRACE_S = 900.0
SECOND = timedelta(seconds=1)


@pytest.fixture
def data(tmp_path: Path) -> paths.DataDirectory:
    directory = paths.DataDirectory.at(tmp_path)
    directory.create()
    return directory


def in_file(path: Path) -> pa.Table:
    return pq.ParquetFile(path).read()


def powers(table: pa.Table) -> dict[object, object]:
    columns = table.to_pydict()
    return dict(zip(columns["inverter_sn"], columns["ac_power"], strict=True))


class TestLatest:
    def test_each_inverter_shows_its_newest_sample(self, data: paths.DataDirectory) -> None:
        newest = Latest(data)
        newest.merge(
            rows.readings(
                rows.reading(inverter_sn="A", ts=rows.NOON, ac_power=1.0),
                rows.reading(inverter_sn="B", ts=rows.NOON, ac_power=2.0),
            )
        )

        changed = newest.merge(
            rows.readings(rows.reading(inverter_sn="A", ts=rows.NOON + SECOND, ac_power=3.0))
        )

        assert changed
        assert powers(in_file(data.latest)) == {"A": 3.0, "B": 2.0}

    def test_a_replayed_old_sample_changes_nothing(self, data: paths.DataDirectory) -> None:
        newest = Latest(data)
        newest.merge(rows.readings(rows.reading(ac_power=1.0)))
        before = data.latest.stat().st_ino

        changed = newest.merge(
            rows.readings(
                rows.reading(
                    ts=rows.NOON - SECOND, received_at=rows.NOON + 9 * SECOND, ac_power=2.0
                )
            )
        )

        assert not changed
        assert data.latest.stat().st_ino == before

    def test_of_one_instant_the_sample_received_later_counts(
        self, data: paths.DataDirectory
    ) -> None:
        newest = Latest(data)

        newest.merge(
            rows.readings(
                rows.reading(received_at=rows.NOON + 5 * SECOND, ac_power=2.0),
                rows.reading(received_at=rows.NOON + 4 * SECOND, ac_power=1.0),
            )
        )

        assert powers(in_file(data.latest)) == {"SIM0001": 2.0}

    def test_it_survives_a_restart(self, data: paths.DataDirectory) -> None:
        Latest(data).merge(rows.readings(rows.reading(inverter_sn="A", ac_power=1.0)))

        restarted = Latest(data)
        restarted.merge(rows.readings(rows.reading(inverter_sn="B", ac_power=2.0)))

        assert powers(in_file(data.latest)) == {"A": 1.0, "B": 2.0}

    def test_the_file_exists_from_the_start(self, data: paths.DataDirectory) -> None:
        Latest(data)

        assert in_file(data.latest).column_names == [c.name for c in schema.READINGS.columns]

    def test_a_damaged_file_starts_anew(self, data: paths.DataDirectory) -> None:
        data.latest.write_bytes(b"not Parquet")

        newest = Latest(data)
        newest.merge(rows.samples(1))

        assert in_file(data.latest).num_rows == 1

    def test_a_damaged_page_starts_anew_too(self, data: paths.DataDirectory) -> None:
        Latest(data).merge(rows.samples(50))
        content = bytearray(data.latest.read_bytes())
        content[8:100] = b"\xff" * 92
        data.latest.write_bytes(content)

        assert Latest(data).rows.num_rows == 0

    def test_a_failed_write_is_made_good_by_the_next_merge(
        self, data: paths.DataDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        newest = Latest(data)
        with monkeypatch.context() as patch:
            patch.setattr(durable, "replace", _no_space)
            with pytest.raises(OSError, match="No space"):
                newest.merge(rows.readings(rows.reading(ac_power=1.0)))

        changed = newest.merge(rows.readings())

        assert changed
        assert powers(in_file(data.latest)) == {"SIM0001": 1.0}

    @settings(
        deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        st.lists(
            st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 5), st.integers(0, 3))),
            max_size=4,
        )
    )
    def test_any_order_of_arrival_ends_the_same(
        self, data: paths.DataDirectory, arrivals: list[list[tuple[str, int, int]]]
    ) -> None:
        data.latest.unlink(missing_ok=True)
        newest = Latest(data)

        for batch in arrivals:
            newest.merge(
                rows.readings(
                    *(
                        rows.reading(
                            inverter_sn=serial,
                            ts=rows.NOON + ts * SECOND,
                            received_at=rows.NOON + received * SECOND,
                        )
                        for serial, ts, received in batch
                    )
                )
            )

        expected: dict[object, tuple[int, int]] = {}
        for serial, ts, received in (sample for batch in arrivals for sample in batch):
            expected[serial] = max(expected.get(serial, (-1, -1)), (ts, received))
        found = {
            row["inverter_sn"]: (
                int((row["ts"] - rows.NOON).total_seconds()),
                int((row["received_at"] - rows.NOON).total_seconds()),
            )
            for row in newest.rows.to_pylist()
        }
        assert found == expected

    def test_too_many_inverters_keep_those_heard_of_last(self) -> None:
        heard = rows.readings(
            *(
                rows.reading(inverter_sn=name, received_at=rows.NOON + seconds * SECOND)
                for name, seconds in [("A", 3), ("B", 1), ("C", 4), ("D", 2)]
            )
        )

        assert latest.bounded(heard, 2).column("inverter_sn").to_pylist() == ["A", "C"]
        assert latest.bounded(heard, 4).equals(heard)

    def test_newest_of_nothing_is_nothing(self) -> None:
        assert latest.newest(schema.empty(schema.READINGS)).num_rows == 0


class TestTail:
    def test_all_parts_are_in_one_file(self, data: paths.DataDirectory) -> None:
        tail = Tail(data, grace_s=GRACE_S, now_s=0.0)

        path = tail.write([rows.samples(3), rows.samples(2, inverter_sn="B")], now_s=1.0)

        assert path == tail.current
        assert path is not None
        assert in_file(path).num_rows == 5
        assert "date" in in_file(path).column_names

    def test_each_tail_has_a_name_of_its_own(self, data: paths.DataDirectory) -> None:
        tail = Tail(data, grace_s=GRACE_S, now_s=0.0)

        first = tail.write([rows.samples(1)], now_s=1.0)
        second = tail.write([rows.samples(2)], now_s=2.0)

        assert first is not None
        assert second is not None
        assert first != second
        assert (in_file(first).num_rows, in_file(second).num_rows) == (1, 2)

    def test_a_superseded_tail_stays_for_the_grace_period(self, data: paths.DataDirectory) -> None:
        tail = Tail(data, grace_s=GRACE_S, now_s=0.0)
        old = tail.write([rows.samples(1)], now_s=0.0)
        current = tail.write([rows.samples(1)], now_s=100.0)
        assert old is not None
        assert current is not None

        assert tail.sweep(now_s=100.0 + GRACE_S) == 0
        assert old.exists()
        assert tail.sweep(now_s=100.1 + GRACE_S) == 1
        assert not old.exists()
        assert current.exists()

    def test_the_current_tail_never_goes_however_old(self, data: paths.DataDirectory) -> None:
        tail = Tail(data, grace_s=GRACE_S, now_s=0.0)
        current = tail.write([rows.samples(1)], now_s=0.0)
        assert current is not None

        tail.sweep(now_s=100 * GRACE_S)

        assert current.exists()

    def test_without_rows_there_is_no_tail(self, data: paths.DataDirectory) -> None:
        tail = Tail(data, grace_s=GRACE_S, now_s=0.0)
        tail.write([rows.samples(1)], now_s=0.0)

        assert tail.write([rows.readings()], now_s=1.0) is None
        assert tail.current is None

    def test_tails_of_an_earlier_run_are_not_current_and_go_later(
        self, data: paths.DataDirectory
    ) -> None:
        left = Tail(data, grace_s=GRACE_S, now_s=0.0).write([rows.samples(1)], now_s=0.0)
        assert left is not None

        restarted = Tail(data, grace_s=GRACE_S, now_s=5_000.0)

        assert restarted.current is None
        assert restarted.sweep(now_s=5_000.0 + GRACE_S) == 0
        assert restarted.write([rows.samples(2)], now_s=5_001.0) != left
        assert in_file(left).num_rows == 1
        assert restarted.sweep(now_s=5_000.1 + GRACE_S) == 1
        assert not left.exists()

    def test_a_failed_write_keeps_the_tail_before(
        self, data: paths.DataDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tail = Tail(data, grace_s=GRACE_S, now_s=0.0)
        before = tail.write([rows.samples(1)], now_s=0.0)
        with monkeypatch.context() as patch:
            patch.setattr(durable, "replace", _no_space)
            with pytest.raises(OSError, match="No space"):
                tail.write([rows.samples(2)], now_s=1.0)

        assert tail.current == before

    def test_a_full_disk_and_a_killed_server_leave_no_half_file(
        self, data: paths.DataDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tail = Tail(data, grace_s=GRACE_S, now_s=0.0)

        with monkeypatch.context() as patch:
            patch.setattr(pq, "write_table", _half_a_file)
            with pytest.raises(OSError, match="No space"):
                tail.write([rows.samples(1)], now_s=1.0)
        assert list(data.tail.iterdir()) == []

        paths.draft(data.tail_file(7)).write_bytes(b"PAR1")
        Tail(data, grace_s=GRACE_S, now_s=2.0)
        assert list(data.tail.iterdir()) == []


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def _half_a_file(_: pa.Table, path: Path, **options: object) -> None:
    path.write_bytes(b"PAR1")
    _no_space(options)
