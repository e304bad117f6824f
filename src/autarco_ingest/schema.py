"""Which columns do the tables have, in what unit, and what do they mean?

This is the truth for the three tables `readings`, `sessions` and `quarantine`; docs/data.md and
the Rust column list are checked against it by tests. Everything that stores, shows or documents
a column asks here. Where tables live is the business of `paths`, writing them of `lake`.

Delta Lake knows neither unsigned integers nor milliseconds: serial numbers are int64, sensor
types int32 and timestamps count microseconds (docs/decisions/0001-delta-types.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_VERSION = 2
"""Raised whenever a column is added, removed or changes its type or meaning."""

INSTANT = pa.timestamp("us", tz="UTC")
WALL_CLOCK = pa.timestamp("us")


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column: its Arrow type, unit, SunSpec point (model.point) and meaning."""

    name: str
    type: pa.DataType
    description: str
    unit: str | None = None
    sunspec: str | None = None
    nullable: bool = True
    since: int = 1
    """The first SCHEMA_VERSION with it: files of older ones lack the column."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One table; `date` is the UTC date of `time_column` and partitions the files."""

    name: str
    description: str
    time_column: str
    sort_columns: tuple[str, ...]
    columns: tuple[Column, ...]


class SchemaError(ValueError):
    """Data does not have the columns of its table."""


class ArrowArray(Protocol):
    """A record batch of any library, by the Arrow PyCapsule interface."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        """Exports schema and array."""


class ArrowStream(Protocol):
    """A table or stream of any library, by the Arrow PyCapsule interface."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Exports a stream of batches."""


ArrowData: TypeAlias = ArrowArray | ArrowStream


def arrow_schema(table: Table, *, metadata: bool = True) -> pa.Schema:
    """Returns the Arrow schema; with `metadata`, fields carry unit, sunspec and description."""
    return pa.schema([_field(column, metadata=metadata) for column in table.columns])


def column(table: Table, name: str) -> Column:
    """Returns the column of that name."""
    return next(column for column in table.columns if column.name == name)


def empty(table: Table) -> pa.Table:
    """Returns the table without rows."""
    return arrow_schema(table, metadata=False).empty_table()


def conform(table: Table, data: ArrowData) -> pa.Table:
    """Returns `data` with exactly the table's columns, types and order, `date` filled in.

    `date` is always derived from the time column: a partition that disagrees with its rows would
    hide them from every query that filters by date.

    Raises SchemaError for a missing, unexpected or unconvertible column and for a null where the
    table allows none.
    """
    given = pa.table(data)
    _check_names(table, given.column_names)
    arrays: list[pa.ChunkedArray[Any]] = []
    for wanted in table.columns:
        source = table.time_column if wanted.name == "date" else wanted.name
        arrays.append(_as_column(table, wanted, given.column(source)))
    return pa.Table.from_arrays(arrays, schema=arrow_schema(table, metadata=False))


def _check_names(table: Table, given: Sequence[str]) -> None:
    wanted = {column.name for column in table.columns}
    missing = sorted(wanted - set(given) - {"date"})
    unexpected = sorted(set(given) - wanted)
    if missing or unexpected or len(set(given)) != len(given):
        raise SchemaError(
            f"{table.name}: missing columns {missing}, unexpected columns {unexpected}, "
            f"{len(given)} columns given, {len(wanted)} wanted"
        )


def _as_column(table: Table, wanted: Column, array: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    try:
        cast = array if array.type == wanted.type else pc.cast(array, wanted.type)
    except pa.ArrowInvalid as error:
        raise SchemaError(f"{table.name}.{wanted.name}: {error}") from error
    if cast.null_count and not wanted.nullable:
        raise SchemaError(f"{table.name}.{wanted.name}: {cast.null_count} nulls, none allowed")
    return cast


def _field(column: Column, *, metadata: bool) -> pa.Field[Any]:
    notes = {"description": column.description}
    if column.unit is not None:
        notes["unit"] = column.unit
    if column.sunspec is not None:
        notes["sunspec"] = column.sunspec
    return pa.field(
        column.name, column.type, nullable=column.nullable, metadata=notes if metadata else None
    )


def _measure(
    name: str, unit: str | None, description: str, *, sunspec: str | None = None
) -> Column:
    return Column(name=name, type=pa.float32(), unit=unit, description=description, sunspec=sunspec)


def _counter(name: str, description: str, *, sunspec: str | None = None) -> Column:
    return Column(name=name, type=pa.int64(), unit="Wh", description=description, sunspec=sunspec)


def _date(of: str) -> Column:
    return Column(
        name="date",
        type=pa.date32(),
        description=f"UTC date of {of}; the partition. Filter on it to read few files.",
        nullable=False,
    )


def _phases(name: str, unit: str, what: str, sunspec: str) -> list[Column]:
    return [
        _measure(
            f"{name}_l{number}",
            unit,
            f"{what} of phase {number}; a single-phase inverter fills phase 1.",
            sunspec=f"103.{sunspec}{letter}",
        )
        for number, letter in enumerate("ABC", start=1)
    ]


def _trackers(name: str, unit: str, what: str, sunspec: str) -> list[Column]:
    return [
        _measure(f"{name}_mppt{number}", unit, f"{what} of DC input {number}.", sunspec=sunspec)
        for number in range(1, 5)
    ]


READINGS = Table(
    name="readings",
    description="One row per accepted data frame: what an inverter or meter measured, and when.",
    time_column="ts",
    sort_columns=("inverter_sn", "ts"),
    columns=(
        Column(
            name="ts",
            type=INSTANT,
            description="When the sample was taken; time_source says by which clock.",
            nullable=False,
        ),
        Column(
            name="received_at",
            type=INSTANT,
            description="When the frame arrived here.",
            nullable=False,
        ),
        Column(
            name="time_source",
            type=pa.string(),
            description="Clock behind ts: stick, inverter, or received (the frame had no time); "
            "quarter: an old row that stands for the quarter of an hour it is in.",
            nullable=False,
        ),
        Column(
            name="inverter_sn",
            type=pa.string(),
            description="Serial number of the inverter (or meter) as the stick sends it.",
            sunspec="1.SN",
            nullable=False,
        ),
        Column(
            name="logger_sn",
            type=pa.int64(),
            description="Serial number of the stick; 10 digits, printed on it.",
            nullable=False,
        ),
        Column(
            name="protocol",
            type=pa.string(),
            description="Envelope of the frame: v5 (Solarman) or v4 (Ginlong, Omnik).",
            nullable=False,
        ),
        Column(
            name="sensor_type",
            type=pa.int32(),
            description="Layout of the payload, e.g. 1287 = 0x0507.",
            nullable=False,
        ),
        Column(
            name="historic",
            type=pa.bool_(),
            description="The stick replayed the sample from its memory after a lost connection.",
            nullable=False,
        ),
        Column(
            name="record_no",
            type=pa.int64(),
            description="Record number of the stick; repeats, so never a key.",
        ),
        Column(
            name="uptime_s",
            type=pa.int64(),
            unit="s",
            description="Time since the stick started.",
        ),
        Column(
            name="repeat",
            type=pa.bool_(),
            description="The row only repeats an earlier measurement (the stick resent cached "
            "registers); null until the day is compacted.",
        ),
        Column(
            name="source",
            type=pa.string(),
            description="Anonymised network address of the sender; null when switched off.",
        ),
        _measure(
            "ac_power", "W", "Active power to the grid side; + = generation.", sunspec="103.W"
        ),
        _measure("ac_apparent_power", "VA", "Apparent power.", sunspec="103.VA"),
        _measure("ac_reactive_power", "var", "Reactive power.", sunspec="103.VAr"),
        _measure("power_factor", None, "Power factor, -1 to 1.", sunspec="103.PF"),
        *_phases("ac_voltage", "V", "Voltage to neutral", "PhVph"),
        *_phases("ac_current", "A", "Current", "Aph"),
        _measure("ac_frequency", "Hz", "Grid frequency.", sunspec="103.Hz"),
        *_trackers("dc_voltage", "V", "Voltage", "160.DCV"),
        *_trackers("dc_current", "A", "Current", "160.DCA"),
        _measure("dc_power", "W", "Power of all DC inputs together.", sunspec="103.DCW"),
        _measure("dc_bus_voltage", "V", "Voltage of the internal DC bus."),
        _counter(
            "energy_total_wh",
            "Energy generated since the inverter was built; many count in steps of 1 kWh.",
            sunspec="103.WH",
        ),
        _counter(
            "energy_today_wh",
            "Energy generated today by the inverter's own clock; the first sample of a day may "
            "still show yesterday's value.",
        ),
        _counter("energy_yesterday_wh", "Energy generated yesterday, as the inverter keeps it."),
        _counter("energy_month_wh", "Energy generated this month, as the inverter keeps it."),
        _counter("energy_last_month_wh", "Energy generated last month, as the inverter keeps it."),
        _counter("energy_year_wh", "Energy generated this year, as the inverter keeps it."),
        _counter("energy_last_year_wh", "Energy generated last year, as the inverter keeps it."),
        _counter("grid_energy_total_wh", "Register of a grid meter; never generation."),
        _measure("temp_inverter", "°C", "Temperature inside the inverter.", sunspec="103.TmpCab"),
        Column(
            name="status",
            type=pa.int16(),
            description="Operating state: 1 off, 2 sleeping, 3 starting, 4 generating, "
            "5 throttled, 6 shutting down, 7 fault, 8 standby.",
            sunspec="103.St",
        ),
        Column(
            name="status_vendor",
            type=pa.int32(),
            description="Operating state as the inverter sends it.",
            sunspec="103.StVnd",
        ),
        Column(
            name="fault_vendor",
            type=pa.string(),
            description="Fault words as the inverter sends them, lower-case hexadecimal.",
            sunspec="103.EvtVnd1",
        ),
        _measure(
            "power_limit_pct", "%", "Power limit set in the inverter.", sunspec="123.WMaxLimPct"
        ),
        Column(
            name="inverter_clock",
            type=WALL_CLOCK,
            description="Clock of the inverter when it measured: local time, without a zone. Old "
            "while the stick resends cached registers.",
        ),
        _measure("battery_soc_pct", "%", "State of charge of the battery.", sunspec="802.SoC"),
        _measure("battery_power", "W", "Battery power; + = charging.", sunspec="802.W"),
        _measure("grid_power", "W", "Power at the grid connection; + = import.", sunspec="203.W"),
        _measure("load_power", "W", "Power the building uses."),
        Column(
            name="phase_slot",
            type=pa.int16(),
            description="Which of its three phase slots a single-phase inverter filled (the "
            "values are in phase 1 here); null when several phases are live.",
        ),
        _date("ts"),
    ),
)

SESSIONS = Table(
    name="sessions",
    description="What sticks say about themselves, and when connections end.",
    time_column="at",
    sort_columns=("at",),
    columns=(
        Column(name="at", type=INSTANT, description="When it happened.", nullable=False),
        Column(
            name="event",
            type=pa.string(),
            description="handshake, link, report, info, or close (the connection ended).",
            nullable=False,
        ),
        Column(
            name="logger_sn",
            type=pa.int64(),
            description="Serial number of the stick.",
            nullable=False,
        ),
        Column(name="protocol", type=pa.string(), description="v5 or v4.", nullable=False),
        Column(name="source", type=pa.string(), description="Anonymised network address."),
        Column(
            name="uptime_s",
            type=pa.int64(),
            unit="s",
            description="Time since the stick started.",
        ),
        Column(name="firmware", type=pa.string(), description="Firmware of the stick."),
        Column(
            name="upload_period_s",
            type=pa.int32(),
            unit="s",
            description="How often the stick sends a sample.",
        ),
        Column(
            name="sample_period_s",
            type=pa.int32(),
            unit="s",
            description="How often the stick asks the inverter.",
        ),
        Column(
            name="heartbeat_s",
            type=pa.int32(),
            unit="s",
            description="How often the stick sends a heartbeat.",
        ),
        Column(
            name="signal_pct",
            type=pa.int16(),
            unit="%",
            description="Strength of the wireless signal.",
        ),
        Column(name="code", type=pa.int32(), description="Code of a link event or report."),
        Column(
            name="sensor_type",
            type=pa.int32(),
            description="Layout of the stick's data frames.",
        ),
        Column(name="reason", type=pa.string(), description="Why the connection was closed."),
        Column(
            name="frames",
            type=pa.int64(),
            description="Frames the connection carried; on close.",
        ),
        Column(
            name="claimed",
            type=pa.bool_(),
            description="Whether the registry lists the stick; null without a registry.",
            since=2,
        ),
        _date("at"),
    ),
)

QUARANTINE = Table(
    name="quarantine",
    description="Data frames that were acknowledged but could not become a reading, kept raw.",
    time_column="received_at",
    sort_columns=("received_at",),
    columns=(
        Column(
            name="received_at",
            type=INSTANT,
            description="When the frame arrived.",
            nullable=False,
        ),
        Column(
            name="reason",
            type=pa.string(),
            description="unknown_sensor, short_payload, bad_serial, time_implausible or "
            "time_unknown.",
            nullable=False,
        ),
        Column(
            name="logger_sn",
            type=pa.int64(),
            description="Serial number of the stick.",
            nullable=False,
        ),
        Column(name="protocol", type=pa.string(), description="v5 or v4.", nullable=False),
        Column(name="sensor_type", type=pa.int32(), description="Layout the frame announces."),
        Column(name="source", type=pa.string(), description="Anonymised network address."),
        Column(
            name="frame",
            type=pa.binary(),
            description="The frame as received.",
            nullable=False,
        ),
        _date("received_at"),
    ),
)

TABLES = (READINGS, SESSIONS, QUARANTINE)
