"""Does a data file hold exactly the rows it was given, for every reader, in few bytes?"""

from __future__ import annotations

import io
import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import deltalake
import duckdb
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpus
import rows
from autarco_ingest import _core, parquet_format, schema
from autarco_ingest.fleet import Change, Plant, Sky, Span, new_working_s, sites
from autarco_ingest.stick import Kind, Stick

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DUSK = datetime(2026, 6, 15, 21, tzinfo=UTC)

VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    schema.INSTANT: st.datetimes(
        datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)
    ),
    schema.WALL_CLOCK: st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)),
    pa.string(): st.text(max_size=20),
    pa.binary(): st.binary(max_size=300),
    pa.bool_(): st.booleans(),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int16(): st.integers(-(2**15), 2**15 - 1),
    pa.float32(): st.floats(width=32, allow_nan=False),
}


def stored(table: schema.Table, *, nulls: bool = True) -> list[schema.Column]:
    """Returns the columns that are inside a data file."""
    return [c for c in table.columns if c.name != "date" and (nulls or not c.nullable)]


def any_rows(table: schema.Table) -> st.SearchStrategy[pa.Table]:
    """Draws tables of any values, among them nulls, extremes and empty ones."""
    row = st.fixed_dictionaries(
        {
            c.name: VALUES[c.type] | st.none() if c.nullable else VALUES[c.type]
            for c in stored(table)
        }
    )
    fields = pa.schema([(c.name, c.type) for c in stored(table)])
    return st.lists(row, max_size=12).map(lambda drawn: pa.Table.from_pylist(drawn, schema=fields))


def encoded(table: schema.Table, data: pa.Table, *, compacted: bool = True) -> bytes:
    sink = io.BytesIO()
    parquet_format.write(data, sink, table, compacted=compacted)
    return sink.getvalue()


def day_of_sticks(count: int) -> pa.Table:
    """Returns the readings that imaginary sticks send in one day, as the server decodes them."""
    span = Span.ending(DUSK, 1)
    sky = Sky(span, 7)
    decoded: list[dict[str, Any]] = []
    for site in sites(count, 7):
        machine = Stick(site.identity, working_s=new_working_s(site))
        for event in Plant(site, sky, span).life():
            if event.change is Change.POWER_ON:
                machine.power_on(event.at_s)
            elif event.change is Change.POWER_OFF:
                machine.power_off(event.at_s)
            elif event.measured is not None:
                machine.poll(event.at_s, event.measured)
                decoded += exchange(machine, event.at_s)
    return in_order(conformed(decoded))


def exchange(machine: Stick, now_s: int) -> Iterator[dict[str, Any]]:
    """Lets a stick say all it has to say; every frame is answered as the server does."""
    while frame := machine.next_frame(now_s):
        yield from decode(frame, datetime.fromtimestamp(now_s + 0.25, UTC))
        answer = bytearray(frame[:11]) + bytes(10)
        answer[1:3], answer[4] = (10).to_bytes(2, "little"), frame[4] - 0x30
        answer[11:13] = bytes([frame[11], 1])
        machine.accept(bytes(answer) + bytes([sum(answer[1:]) & 0xFF, 0x15]), now_s)
        if frame[4] == Kind.HEARTBEAT:
            return


def captured_session() -> pa.Table:
    """Returns what the long capture holds of its main day: 765 readings of one inverter."""
    seen = set()
    decoded: list[dict[str, Any]] = []
    for line in corpus.lines("solis-session.jsonl"):
        frame = bytes.fromhex(line["hex"])
        if line["direction"] == "stick->server" and frame[12:-2] not in seen:
            seen.add(frame[12:-2])
            at = datetime.fromisoformat(line["at"]).replace(tzinfo=UTC)
            decoded += decode(frame, at)
    table = conformed(decoded)
    dates = table.column("date")
    return in_order(table.filter(pc.equal(dates, pc.max(dates))))


def decode(frame: bytes, at: datetime) -> Iterator[dict[str, Any]]:
    received_at_us = round(at.timestamp() * 1e6)
    for text in _core.decode(frame, received_at_us=received_at_us, time_zone="Europe/London"):
        reading = json.loads(text)
        if reading["kind"] == "data":
            yield reading | {"received_at": at, "repeat": False, "source": "198.51.100.0"}


def conformed(decoded: list[dict[str, Any]]) -> pa.Table:
    for reading in decoded:
        for name in ("ts", "inverter_clock"):
            if name in reading:
                reading[name] = datetime.fromisoformat(reading[name])
    fields = pa.schema([(c.name, c.type) for c in stored(schema.READINGS)])
    return schema.conform(schema.READINGS, pa.Table.from_pylist(decoded, schema=fields))


def in_order(table: pa.Table) -> pa.Table:
    return table.sort_by([("inverter_sn", "ascending"), ("ts", "ascending")])


@pytest.fixture(scope="module")
def fleet_day() -> pa.Table:
    return day_of_sticks(12)


class TestRoundTrip:
    @pytest.mark.parametrize("compacted", [True, False], ids=["compacted", "flushed"])
    @pytest.mark.parametrize("table", schema.TABLES, ids=lambda table: table.name)
    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def test_any_values_come_back_as_they_were(
        self, table: schema.Table, compacted: bool, data: st.DataObject
    ) -> None:
        given_rows = data.draw(any_rows(table))

        read = pq.read_table(
            io.BytesIO(encoded(table, given_rows, compacted=compacted)),
            page_checksum_verification=True,
        )

        assert read.schema.equals(given_rows.schema)
        assert read.to_pylist() == given_rows.to_pylist()

    def test_many_rows_in_several_groups_come_back_as_they_were(self) -> None:
        count = parquet_format.ROW_GROUP_ROWS + 1
        wanted = rows.samples(1).take([0] * count)

        content = encoded(schema.READINGS, wanted)

        assert pq.ParquetFile(io.BytesIO(content)).num_row_groups == 2
        assert pq.read_table(io.BytesIO(content)).equals(wanted)

    def test_rows_leave_in_the_order_asked_for_and_others_not_at_all(self) -> None:
        count = parquet_format.ROW_GROUP_ROWS + 2
        given_rows = pa.concat_tables([rows.samples(1)] * (count + 5))
        numbers = pa.array(range(given_rows.num_rows), pa.int64())
        at = given_rows.schema.get_field_index("record_no")
        given_rows = given_rows.set_column(at, "record_no", numbers)
        order = pa.array(range(count, 0, -1), pa.uint64())
        sink = io.BytesIO()

        parquet_format.write(given_rows, sink, schema.READINGS, compacted=False, order=order)

        assert pq.ParquetFile(sink).num_row_groups == 2
        read = pq.read_table(sink, columns=["record_no"]).column("record_no")
        assert read.to_pylist() == list(range(count, 0, -1))

    def test_the_partition_column_is_left_out(self) -> None:
        given_rows = schema.conform(schema.READINGS, rows.samples(3))

        content = encoded(schema.READINGS, given_rows)

        assert pq.read_schema(io.BytesIO(content)).names == [
            c.name for c in stored(schema.READINGS)
        ]

    @pytest.mark.parametrize("table", schema.TABLES, ids=lambda table: table.name)
    def test_options_name_columns_of_the_table_only(self, table: schema.Table) -> None:
        names = {c.name for c in stored(table)}

        options = parquet_format.options(table, 10**6, compacted=True)

        assert set(options["use_dictionary"]) < names
        assert set(options["column_encoding"]) < names
        assert not set(options["use_dictionary"]) & set(options["column_encoding"])
        assert table.time_column in options["write_statistics"]


class TestReaders:
    @pytest.fixture(params=["few rows", "many rows"])
    def wanted(self, request: pytest.FixtureRequest, fleet_day: pa.Table) -> pa.Table:
        """One table below and one above the number of rows that get dictionaries."""
        day = fleet_day.drop_columns(["date"])
        if request.param == "few rows":
            return day
        return pa.concat_tables([day] * (parquet_format.DICTIONARY_ROWS_MIN // len(day) + 1))

    @pytest.fixture(params=["compacted", "flushed"])
    def file(self, request: pytest.FixtureRequest, tmp_path: Path, wanted: pa.Table) -> Path:
        path = tmp_path / "day.parquet"
        path.write_bytes(encoded(schema.READINGS, wanted, compacted=request.param == "compacted"))
        return path

    def test_pyarrow_reads_it(self, file: Path, wanted: pa.Table) -> None:
        read = pq.read_table(file, page_checksum_verification=True)

        assert read.equals(wanted)

    def test_duckdb_reads_it(self, file: Path, wanted: pa.Table) -> None:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            read = connection.read_parquet(str(file)).to_arrow_table()

        assert read.cast(wanted.schema).to_pylist() == wanted.to_pylist()

    def test_polars_reads_it(self, file: Path, wanted: pa.Table) -> None:
        read = polars.read_parquet(file).to_arrow()

        assert read.cast(wanted.schema).to_pylist() == wanted.to_pylist()

    def test_delta_lake_reads_it_with_both_its_readers(self, file: Path, wanted: pa.Table) -> None:
        fields = schema.arrow_schema(schema.READINGS)
        columns = pa.schema([fields.field(name) for name in wanted.column_names])
        table = deltalake.DeltaTable.create(file.parent, deltalake.Schema.from_arrow(columns))
        action = deltalake.transaction.AddAction(
            file.name, file.stat().st_size, {}, 0, True, json.dumps({"numRecords": len(wanted)})
        )
        table.create_write_transaction([action], "append", table.schema())
        table.update_incremental()

        query = deltalake.QueryBuilder().register("readings", table)
        by_rust = pa.table(query.execute("SELECT * FROM readings").read_all())

        assert table.to_pyarrow_table().to_pylist() == wanted.to_pylist()
        # A query without ORDER BY, read in parallel, promises no order.
        by_rust = by_rust.cast(wanted.schema)
        assert Counter(map(repr, by_rust.to_pylist())) == Counter(map(repr, wanted.to_pylist()))


class TestProtection:
    def test_a_flipped_bit_in_any_page_is_noticed(self, fleet_day: pa.Table) -> None:
        content = encoded(schema.READINGS, fleet_day)
        group = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0)
        missed = []
        for number in range(group.num_columns):
            column = group.column(number)
            damaged = bytearray(content)
            damaged[column.data_page_offset + column.total_compressed_size - 1] ^= 0x10
            try:
                pq.read_table(io.BytesIO(damaged), page_checksum_verification=True)
            except OSError as error:
                assert "CRC" in str(error)  # noqa: PT017 - some pages fail, all must by checksum
            else:
                missed.append(column.path_in_schema)

        assert not missed

    def test_searched_columns_have_limits_and_others_have_not(self, fleet_day: pa.Table) -> None:
        content = encoded(schema.READINGS, fleet_day)
        group = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0)
        limited = {
            group.column(number).path_in_schema
            for number in range(group.num_columns)
            if group.column(number).is_stats_set
        }

        assert limited == {"ts", "received_at", "inverter_sn", "logger_sn"}


class TestSize:
    def test_a_day_of_one_captured_inverter_takes_less_than_26_bytes_per_reading(self) -> None:
        day = captured_session()

        assert day.num_rows == 765
        assert len(encoded(schema.READINGS, day)) / day.num_rows < 26

    def test_a_day_of_a_small_fleet_takes_less_than_30_bytes_per_reading(
        self, fleet_day: pa.Table
    ) -> None:
        assert fleet_day.num_rows > 2_000
        assert len(encoded(schema.READINGS, fleet_day)) / fleet_day.num_rows < 30

    def test_it_is_smaller_than_what_pyarrow_writes_by_itself(self, fleet_day: pa.Table) -> None:
        sink = io.BytesIO()
        pq.write_table(fleet_day.drop_columns(["date"]), sink, compression="zstd")

        assert len(encoded(schema.READINGS, fleet_day)) < 0.7 * len(sink.getvalue())

    def test_a_compacted_file_is_not_larger_than_a_flushed_one(self, fleet_day: pa.Table) -> None:
        compacted = encoded(schema.READINGS, fleet_day, compacted=True)

        assert len(compacted) <= len(encoded(schema.READINGS, fleet_day, compacted=False))

    def test_whole_milliseconds_would_save_nothing_worth_having(self) -> None:
        """Why `received_at` keeps its microseconds: rounding them takes no byte off a reading."""
        day = captured_session()
        index = day.column_names.index("received_at")
        rounded = pc.floor_temporal(day.column("received_at"), unit="millisecond")

        saved = len(encoded(schema.READINGS, day)) - len(
            encoded(schema.READINGS, day.set_column(index, "received_at", rounded))
        )

        assert saved / day.num_rows < 1
