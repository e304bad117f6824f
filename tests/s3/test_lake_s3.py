"""Is every batch in tables on object storage exactly once, whatever fails in between?"""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import rows
from autarco_ingest import catalog, lake, paths, schema
from autarco_ingest.lake import Lake, LakeError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from s3_place import Place

NO_SESSIONS = schema.empty(schema.SESSIONS)
NO_QUARANTINE = schema.empty(schema.QUARANTINE)


def commit(target: Lake, version: int, readings: pa.Table) -> lake.Commit:
    return target.commit(version, readings, NO_SESSIONS, NO_QUARANTINE)


def test_a_batch_is_there_once_whatever_is_repeated_and_restarted(place: Place) -> None:
    target = Lake(place.store, "n1")
    batch = (rows.samples(3), rows.sessions({}), rows.quarantine({}))

    first = target.commit(1, *batch)
    again = target.commit(1, *batch)
    restarted = Lake(place.store, "n1")
    once_more = restarted.commit(1, *batch)

    assert (first.readings.rows, first.repeated) == (3, False)
    assert first.readings.bytes > 0
    assert again.repeated
    assert once_more.repeated
    assert restarted.committed_version() == 1
    assert [place.table(table.name).num_rows for table in schema.TABLES] == [3, 1, 1]
    assert restarted.files("readings") == [
        f"{place.location}/readings/{paths.data_file('n1', 1, '2026-06-15')}"
    ]


def test_what_is_stored_is_what_was_given(place: Place) -> None:
    midnight = rows.NOON.replace(hour=0)
    batch = rows.readings(
        rows.reading(ts=midnight, ac_power=1.5, inverter_sn="B é"),
        rows.reading(ts=midnight - timedelta(microseconds=1), energy_total_wh=5_000_000_000),
    )

    commit(Lake(place.store, "n1"), 1, batch)

    stored = place.table().sort_by([("ts", "descending")])
    assert stored.select(batch.column_names).to_pylist() == batch.to_pylist()


def test_a_large_file_goes_in_parts_and_comes_back_whole(place: Place) -> None:
    content = bytes(range(256)) * 100_000
    name = "date=2026-06-15/part-large.parquet"

    stored = place.store.write("readings", name, lambda sink: sink.write(content))

    assert stored.bytes == len(content)
    with place.store.open("readings", name) as file:
        assert file.read() == content


def test_files_are_listed_with_their_age_and_deleted(place: Place) -> None:
    store = place.store
    commit(Lake(store, "n1"), 1, rows.samples(3))
    commit(Lake(store, "n1"), 2, rows.samples(3))

    found = {file.name: file for file in store.names("readings")}
    first, second = (paths.data_file("n1", version, "2026-06-15") for version in (1, 2))
    assert found.keys() == {first, second}
    assert found[first].bytes > 0
    assert 0 <= found[second].modified_ms - found[first].modified_ms < 60_000
    store.delete("readings", [first, "date=2026-06-15/gone.parquet"])
    assert [file.name for file in store.names("readings")] == [second]
    store.delete("readings", [second])
    assert store.names("readings") == []
    assert store.names("nothing") == []


@pytest.mark.parametrize("has_committed", [False, True])
def test_a_commit_that_was_cut_before_or_after_its_log_entry_is_there_once(
    place: Place, monkeypatch: pytest.MonkeyPatch, has_committed: bool
) -> None:
    target = Lake(place.store, "n1")
    real = DeltaTable.create_write_transaction

    def cut(self: DeltaTable, *arguments: Any, **options: Any) -> None:
        if has_committed:
            real(self, *arguments, **options)
        raise _CutError

    with monkeypatch.context() as patch:
        patch.setattr(DeltaTable, "create_write_transaction", cut)
        with pytest.raises(_CutError):
            commit(target, 1, rows.samples(9))
    assert len(place.store.names("readings")) == 1

    restarted = Lake(place.store, "n1")
    assert restarted.committed_version() == int(has_committed)
    commit(restarted, 1, rows.samples(9))

    assert place.table().num_rows == 9
    assert len(place.store.names("readings")) == 1


def test_nodes_that_commit_at_once_lose_and_repeat_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They also start at once, where no table is yet, and make checkpoints in between."""
    monkeypatch.setattr(lake, "ENTRIES_PER_CHECKPOINT", 5)
    failures: list[BaseException] = []
    together = threading.Barrier(3)

    def write(node: str) -> None:
        try:
            together.wait()
            target = Lake(place.store, node)
            for version in range(1, 11):
                commit(target, version, rows.samples(2, inverter_sn=node))
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(f"n{number}",)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=60)

    assert failures == []
    stored = Counter(place.table().column("inverter_sn").to_pylist())
    assert stored == {"n0": 20, "n1": 20, "n2": 20}
    assert Lake(place.store, "n1").committed_version() == 10
    assert place.store.checkpoint_version("readings") >= 5


def test_the_entry_of_another_node_is_never_replaced(place: Place) -> None:
    """Both see version 0 and write entry 1: the service lets one of them."""
    Lake(place.store, "n0")
    handles = [lake.open_delta(place.store, "readings") for _ in range(2)]
    for number, handle in enumerate(handles):
        name = paths.data_file(f"n{number}", 1, "2026-06-15")
        samples = schema.conform(schema.READINGS, rows.samples(1 + number))
        ((_, part),) = lake.by_date(schema.READINGS, samples)
        actions = lake._write_files(place.store, schema.READINGS, {name: part})
        # deltalake takes the next number when the one it wanted is taken.
        handle.create_write_transaction([*actions], "append", handle.schema(), ["date"])

    assert place.table().num_rows == 3
    assert lake.open_delta(place.store, "readings").version() == 2


def test_thousands_of_dates_do_not_wait_for_one_another(place: Place) -> None:
    days = 300
    batch = rows.readings(
        *(rows.reading(ts=rows.NOON - timedelta(days=day)) for day in range(days))
    )

    summary = commit(Lake(place.store, "n1"), 1, batch)

    assert summary.readings.files == days
    assert place.table().num_rows == days


def test_a_service_that_refuses_the_keys_is_reported(place: Place) -> None:
    from autarco_ingest.table_store import Credentials, ObjectStore

    wrong = ObjectStore(
        place.location,
        endpoint=f"http://127.0.0.1:{place.port}",
        region="us-east-1",
        credentials=Credentials(access_key="autarco", secret_key="wr0ng-s3cret"),  # noqa: S106
    )

    with pytest.raises(LakeError, match="table readings: ") as caught:
        Lake(wrong, "n1")

    assert "wr0ng-s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


class TestReaders:
    def test_duckdb_and_polars_see_the_same(self, place: Place, tmp_path: Path) -> None:
        store = place.store
        target = Lake(store, "n1")
        for day in range(3):
            start = rows.NOON - timedelta(days=day)
            batch = rows.readings(
                *(
                    rows.reading(
                        ts=start + timedelta(minutes=minute),
                        inverter_sn=f"SIM{minute % 4}",
                        energy_total_wh=1_000 * day + minute,
                    )
                    for minute in range(60)
                )
            )
            commit(target, day + 1, batch)
        data = paths.DataDirectory.at(tmp_path, place.location)
        data.create()
        moment = catalog.Moment(readings=target.files("readings"), sessions=[], quarantine=[])
        catalog.rebuild(data, moment, time_zone="UTC", remote=store.file_system)

        duck = catalog.query(
            data,
            "SELECT inverter_sn, date, count(*) AS n, max(energy_total_wh) AS wh FROM readings "
            "GROUP BY ALL ORDER BY ALL",
            store.file_system,
        )
        polars = (
            place.scan()
            .group_by("inverter_sn", "date")
            .agg(n=pl.len(), wh=pl.col("energy_total_wh").max())
            .sort("inverter_sn", "date")
            .collect()
        )

        assert duck.num_rows == 12
        assert duck.to_pylist() == polars.to_dicts()
        few = catalog.query(
            data,
            "SELECT count(*) AS n FROM readings WHERE date = '2026-06-15'",
            store.file_system,
        )
        assert few.to_pylist() == [{"n": 60}]

    def test_every_view_answers_and_a_missing_object_is_told(
        self, place: Place, tmp_path: Path
    ) -> None:
        store = place.store
        target = Lake(store, "n1")
        target.commit(1, rows.samples(2), rows.sessions({}), rows.quarantine({}))
        data = paths.DataDirectory.at(tmp_path, place.location)
        data.create()
        files = {table.name: target.files(table.name) for table in schema.TABLES}
        moment = catalog.Moment(
            readings=files["readings"], sessions=files["sessions"], quarantine=files["quarantine"]
        )
        catalog.rebuild(data, moment, time_zone="UTC", remote=store.file_system)

        inspection = catalog.inspect(data, store.file_system)
        assert inspection.files == sorted(name for names in files.values() for name in names)
        assert inspection.faults == {}

        store.delete("readings", [paths.data_file("n1", 1, "2026-06-15")])
        assert "readings" in catalog.inspect(data, store.file_system).faults

    def test_a_row_group_larger_than_a_part_is_read_back(self, place: Place) -> None:
        many = rows.samples(1).take([0] * 200_000)

        target = Lake(place.store, "n1")
        commit(target, 1, many)

        with place.store.open("readings", paths.data_file("n1", 1, "2026-06-15")) as file:
            assert pq.ParquetFile(file).metadata.num_rows == 200_000


class _CutError(Exception):
    """Stands for the end of the process: nothing after it runs."""
