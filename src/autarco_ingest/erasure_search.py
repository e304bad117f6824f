"""Is there a trace of this serial in any stored byte?

Every file of the data directory is read whole and searched for the serial as text and for frames of
the logger. The pages of Parquet files are compressed, so their values are searched too, in every
such file that exists, whether a table names it or not. A file that cannot be read counts as a
trace: nobody knows what is in it.
"""

from __future__ import annotations

import io
import re
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from autarco_ingest.forgotten import INVERTER_SN_CHARACTERS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from autarco_ingest.lake_table import LakeTable

TELLING_CHARACTERS = 6
"""Shorter texts are in any file by chance. Real serial numbers have ten digits and more."""

_SERIAL_COLUMNS = ("logger_sn", "inverter_sn")
_RAW_COLUMN = "frame"


class Needle(msgspec.Struct, frozen=True):
    """What a trace of one serial looks like."""

    column: str
    value: int | str
    pattern: re.Pattern[bytes]
    """In bytes of any file."""


class Search(msgspec.Struct, kw_only=True):
    """What was searched, and in which files something was found."""

    bytes: int = 0
    traces: list[str] = []


def logger_needle(logger_sn: int) -> Needle:
    """A logger is a number: in text, in the header of a V5 frame, twice in one of a V4 frame."""
    text = _text(rb"(?<!\d)%d(?!\d)" % logger_sn, str(logger_sn))
    number = re.escape(logger_sn.to_bytes(4, "little"))
    v5 = rb"\xa5..\x10..." + number
    v4 = rb"\x68..." + number + number
    pattern = re.compile(b"|".join((text, v5, v4)), re.DOTALL)
    return Needle("logger_sn", logger_sn, pattern)


def inverter_needle(inverter_sn: str) -> Needle:
    """An inverter is a text, in frames as well."""
    # A longer serial number may hold this one. One of full length has no blank behind it in frames.
    end = rb"" if len(inverter_sn) >= INVERTER_SN_CHARACTERS_MAX else rb"(?![0-9A-Za-z])"
    exact = rb"(?<![0-9A-Za-z])" + re.escape(inverter_sn.encode()) + end
    pattern = _text(exact, inverter_sn)
    return Needle("inverter_sn", inverter_sn, re.compile(pattern))


def _text(pattern: bytes, serial: str) -> bytes:
    """Returns the pattern, or one that is never found when the text is too short to say anything.

    Then only frames and the values of columns can tell.
    """
    return pattern if len(serial) >= TELLING_CHARACTERS else rb"(?!)"


def search(places: Sequence[Path], tables: Iterable[LakeTable], needle: Needle) -> Search:
    """Searches every file below the places, and of tables that are not there."""
    result = Search()
    for name, content in _contents(places, tables):
        if content is None:
            result.traces.append(f"{name}: cannot be read")
            continue
        result.bytes += len(content)
        try:
            found = _found(name, content, needle)
        except (pa.ArrowException, OSError):
            result.traces.append(f"{name}: cannot be read as Parquet")
            continue
        if found:
            result.traces.append(name)
    return result


def _contents(
    places: Sequence[Path], tables: Iterable[LakeTable]
) -> Iterator[tuple[str, bytes | None]]:
    for place in places:
        for path in sorted(place.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield from _content(str(path.relative_to(place)), path.read_bytes)
    for table in tables:
        if not any(map(table.is_below, places)):
            for name in table.everything():
                yield from _content(f"{table.name}/{name}", partial(table.content, name))


def _content(name: str, read: Callable[[], bytes]) -> Iterator[tuple[str, bytes | None]]:
    try:
        yield name, read()
    except FileNotFoundError:
        # A running server replaces its small files all the time; the new one is as clean.
        return
    except OSError:
        yield name, None


def _found(name: str, content: bytes, needle: Needle) -> bool:
    if needle.pattern.search(content):
        return True
    return name.endswith(".parquet") and _in_values(content, needle)


def _in_values(content: bytes, needle: Needle) -> bool:
    with pq.ParquetFile(io.BytesIO(content)) as file:
        names = {*_SERIAL_COLUMNS, _RAW_COLUMN} & set(file.schema_arrow.names)
        for batch in file.iter_batches(columns=sorted(names)) if names else ():
            for column_name, values in zip(batch.schema.names, batch.columns, strict=True):
                if column_name == _RAW_COLUMN:
                    if any(needle.pattern.search(frame.as_py()) for frame in values):
                        return True
                elif column_name == needle.column and needle.value in values.unique().to_pylist():
                    return True
    return False
