"""How does the result of a query become text? As a table for people, as CSV, or as JSON."""

from __future__ import annotations

import csv
import datetime as dt
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TextIO

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_ROWS_AT_ONCE = 4_096


def table(result: pa.Table, out: TextIO) -> None:
    """Writes aligned columns, numbers to the right, and the number of rows."""
    names = result.column_names
    values = [_values(column) for column in result.columns]
    cells = [[_cell(value) for value in column] for column in values]
    widths = [
        max([len(name), *map(len, column)]) for name, column in zip(names, cells, strict=True)
    ]
    right = [_is_numeric(column) for column in values]
    _write_row(names, widths, right, out)
    _write_row(["-" * width for width in widths], widths, right, out)
    for row in zip(*cells, strict=True):
        _write_row(row, widths, right, out)
    out.write(f"({result.num_rows} row{'' if result.num_rows == 1 else 's'})\n")


def as_csv(result: pa.Table, out: TextIO) -> None:
    """Writes a header and one line per row; an absent value is an empty field."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(result.column_names)
    for batch in result.to_batches(max_chunksize=_ROWS_AT_ONCE):
        columns = [_values(column) for column in batch.columns]
        for row in zip(*columns, strict=True):
            writer.writerow(["" if value is None else _text(value) for value in row])


def as_json(result: pa.Table, out: TextIO) -> None:
    """Writes one JSON array with one object per line."""
    before = "[\n"
    for batch in result.to_batches(max_chunksize=_ROWS_AT_ONCE):
        columns = [_values(column) for column in batch.columns]
        for row in zip(*columns, strict=True):
            fields = dict(zip(result.column_names, map(_plain, row), strict=True))
            out.write(before + json.dumps(fields, ensure_ascii=False, allow_nan=False))
            before = ",\n"
    out.write("[]\n" if before == "[\n" else "\n]\n")


FORMATS: Mapping[str, Callable[[pa.Table, TextIO], None]] = {
    "table": table,
    "csv": as_csv,
    "json": as_json,
}


def _values(column: pa.Array[Any] | pa.ChunkedArray[Any]) -> list[Any]:
    """Returns Python values; float32 as short as it was before it became a double."""
    values = column.to_pylist()
    if column.type != pa.float32():
        return values
    return [None if value is None else float(f"{value:.7g}") for value in values]


def _write_row(
    cells: Sequence[str], widths: Sequence[int], right: Sequence[bool], out: TextIO
) -> None:
    padded = [
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    ]
    out.write("  ".join(padded).rstrip() + "\n")


def _is_numeric(column: Sequence[object]) -> bool:
    present = [value for value in column if value is not None]
    return bool(present) and all(
        isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        for value in present
    )


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        # Registers have at most four digits behind the point; more is noise of float32.
        return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) >= 0.001 else f"{value:g}"
    # Control characters in a value must not move the reader's cursor.
    return "".join(char if char.isprintable() else "�" for char in _text(value))


def _text(value: object) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | dict):
        return json.dumps(_plain(value), ensure_ascii=False)
    return str(value)


def _plain(value: object) -> object:
    """Returns a value that JSON knows; not-a-number becomes null."""
    match value:
        case bool() | int() | str() | None:
            return value
        case float():
            return value if abs(value) < float("inf") else None
        case Decimal():
            return float(value)
        case dt.datetime():
            return value.isoformat().replace("+00:00", "Z")
        case dict():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
        case bytes():
            return value.hex()
        case _:
            return str(value)
