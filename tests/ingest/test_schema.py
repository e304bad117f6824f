"""Are the tables described completely, and is data that differs from them refused?"""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rows
from autarco_ingest import paths, schema

ROOT = Path(__file__).parents[2]
RUST_TYPES = {
    "timestamp[us, tz=UTC]": "Instant",
    "timestamp[us]": "WallClock",
    "string": "Text",
    "bool": "Bool",
    "int64": "Int64",
    "int32": "Int32",
    "int16": "Int16",
    "float": "Float32",
    "date32[day]": "Date",
}
INSTANTS = st.datetimes(datetime(2015, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


class TestDescription:
    @pytest.mark.parametrize("table", schema.TABLES, ids=lambda table: table.name)
    def test_names_are_unique_and_the_partition_is_last(self, table: schema.Table) -> None:
        names = [column.name for column in table.columns]

        assert len(set(names)) == len(names)
        assert names[-1] == "date"
        assert set(table.sort_columns) | {table.time_column} <= set(names)

    @pytest.mark.parametrize("table", schema.TABLES, ids=lambda table: table.name)
    def test_names_that_promise_a_unit_have_it(self, table: schema.Table) -> None:
        promised = {"_wh": "Wh", "_pct": "%", "_s": "s", "power": "W"}
        for column in table.columns:
            for ending, unit in promised.items():
                if column.name.endswith(ending) and column.name not in {
                    "ac_apparent_power",
                    "ac_reactive_power",
                }:
                    assert column.unit == unit, column.name

    @pytest.mark.parametrize("table", schema.TABLES, ids=lambda table: table.name)
    def test_delta_lake_can_store_every_type(self, table: schema.Table) -> None:
        for column in table.columns:
            assert not pa.types.is_unsigned_integer(column.type), column.name
            if pa.types.is_timestamp(column.type):
                assert column.type.unit == "us", column.name

    def test_fields_carry_unit_sunspec_point_and_description(self) -> None:
        field = schema.arrow_schema(schema.READINGS).field("ac_voltage_l2")

        assert field.metadata is not None
        assert field.metadata[b"unit"] == b"V"
        assert field.metadata[b"sunspec"] == b"103.PhVphB"
        assert field.metadata[b"description"].startswith(b"Voltage to neutral of phase 2")

    def test_importing_the_schema_loads_no_engine(self) -> None:
        program = (
            "import sys, autarco_ingest.schema; "
            "print([m for m in ('duckdb', 'deltalake', 'trio', 'polars') if m in sys.modules])"
        )
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

        assert result.stdout.strip() == b"[]"


def test_rust_lists_the_same_columns_with_the_same_types() -> None:
    source = (ROOT / "rust/protocol/src/columns.rs").read_text(encoding="utf-8")
    listed = re.findall(r'^\s*\("(\w+)", ColumnType::(\w+)\),$', source, re.MULTILINE)

    assert listed == [
        (column.name, RUST_TYPES[str(column.type)]) for column in schema.READINGS.columns
    ]


class TestConform:
    def test_columns_come_out_in_table_order_with_exact_types(self) -> None:
        given_columns = rows.samples(2)
        shuffled = given_columns.select(sorted(given_columns.column_names))

        conformed = schema.conform(schema.READINGS, shuffled)

        assert conformed.schema.equals(schema.arrow_schema(schema.READINGS, metadata=False))

    @given(INSTANTS)
    def test_date_is_the_utc_date_of_the_time_column(self, ts: datetime) -> None:
        conformed = schema.conform(schema.READINGS, rows.readings(rows.reading(ts=ts)))

        assert conformed.column("date").to_pylist() == [ts.astimezone(UTC).date()]

    def test_a_date_that_disagrees_with_the_time_is_corrected(self) -> None:
        wrong = rows.samples(1).append_column("date", pa.array([date(1999, 1, 1)]))

        conformed = schema.conform(schema.READINGS, wrong)

        assert conformed.column("date").to_pylist() == [date(2026, 6, 15)]

    def test_other_string_types_of_the_same_meaning_are_taken(self) -> None:
        batch = rows.samples(2)
        index = batch.column_names.index("inverter_sn")
        serials = batch.column("inverter_sn").cast(pa.string_view())

        conformed = schema.conform(schema.READINGS, batch.set_column(index, "inverter_sn", serials))

        assert conformed.column("inverter_sn").type == pa.string()

    def test_record_batches_are_taken_by_the_capsule_interface(self) -> None:
        class Foreign:
            def __init__(self, batch: pa.RecordBatch) -> None:
                self._batch = batch

            def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
                capsules: tuple[object, object] = self._batch.__arrow_c_array__(requested_schema)  # type: ignore[no-untyped-call]
                return capsules

        batch = rows.samples(3).combine_chunks().to_batches()[0]

        assert schema.conform(schema.READINGS, Foreign(batch)).num_rows == 3

    def test_missing_and_unexpected_columns_are_named(self) -> None:
        wrong = rows.samples(1).drop_columns(["ac_power"]).append_column("wind", pa.array([1.0]))

        with pytest.raises(schema.SchemaError, match=r"missing.*ac_power.*unexpected.*wind"):
            schema.conform(schema.READINGS, wrong)

    def test_a_null_where_none_is_allowed_is_refused(self) -> None:
        with pytest.raises(schema.SchemaError, match=r"inverter_sn: 1 nulls"):
            schema.conform(schema.READINGS, rows.readings(rows.reading(inverter_sn=None)))

    def test_a_value_that_does_not_fit_is_refused(self) -> None:
        batch = rows.samples(1)
        index = batch.column_names.index("status")
        too_large = batch.set_column(index, "status", pa.array([70_000], pa.int64()))

        with pytest.raises(schema.SchemaError, match=r"readings\.status"):
            schema.conform(schema.READINGS, too_large)

    def test_a_time_that_would_lose_digits_is_refused(self) -> None:
        batch = rows.samples(1)
        odd = pa.array([1], pa.timestamp("ns", tz="UTC"))

        with pytest.raises(schema.SchemaError, match=r"readings\.ts"):
            schema.conform(schema.READINGS, batch.set_column(0, "ts", odd))


def test_empty_has_all_columns_and_no_rows() -> None:
    assert schema.empty(schema.SESSIONS).num_rows == 0
    assert schema.empty(schema.SESSIONS).column_names == [
        column.name for column in schema.SESSIONS.columns
    ]


def test_column_is_found_by_name() -> None:
    assert schema.column(schema.READINGS, "energy_total_wh").unit == "Wh"


def test_names_of_data_files_tell_the_version_of_the_schema() -> None:
    for name in (paths.data_file("n.v9", 12, "2026-06-15"), paths.compacted_file("2026-06-15")):
        assert paths.schema_version(name) == schema.SCHEMA_VERSION
        assert paths.schema_version(f"s3://bucket.v9.parquet/readings/{name}") == (
            schema.SCHEMA_VERSION
        )
    assert paths.schema_version("date=2026-06-15/part-n1-000000000012.parquet") == 2
    assert paths.schema_version("date=2026-06-15/compact-00ff.v14.parquet") == 14


def test_no_column_is_of_a_later_version() -> None:
    for table in schema.TABLES:
        assert all(1 <= column.since <= schema.SCHEMA_VERSION for column in table.columns)
