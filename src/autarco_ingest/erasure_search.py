"""Is there a trace of this serial in any stored byte?

Every file of the data directory is read whole and searched for the serial as text and for frames of
the logger. The pages of Parquet files are compressed, so their values are searched too, in every
such file that exists, whether a table names it or not. A file that cannot be read counts as a
trace: nobody knows what is in it.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
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
    pattern = _text(re.escape(inverter_sn.encode()), inverter_sn)
    return Needle("inverter_sn", inverter_sn, re.compile(pattern))


def _text(pattern: bytes, serial: str) -> bytes:
    """Returns the pattern, or one that is never found when the text is too short to say anything.

    Then only frames and the values of columns can tell.
    """
    return pattern if len(serial) >= TELLING_CHARACTERS else rb"(?!)"


def search(root: Path, tables: Iterable[LakeTable], needle: Needle) -> Search:
    """Searches every file below `root` and every file of the tables, wherever those are."""
    result = Search()
    for name, content in _contents(root, tables):
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


def _contents(root: Path, tables: Iterable[LakeTable]) -> Iterator[tuple[str, bytes | None]]:
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            try:
                yield str(path.relative_to(root)), path.read_bytes()
            except FileNotFoundError:
                # A running server replaces its small files all the time; the new one is as clean.
                continue
            except OSError:
                yield str(path.relative_to(root)), None
    for table in tables:
        if table.is_below(root):
            continue
        for name in table.everything():
            yield f"{table.name}/{name}", table.content(name)


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
