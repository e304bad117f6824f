"""What is in this Parquet file, and which files does that table have? Asked in a second process.

Arrow ends the whole process at some damaged footers, and so could any library that trusts a length
it has read. `Reader` therefore asks a child, one question at a time; a child that dies is an answer
too. Nothing here writes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Self, cast
from urllib.parse import unquote

import msgspec

from autarco_ingest import schema

if TYPE_CHECKING:
    from types import TracebackType

    import pyarrow as pa

ANSWER_S = 600.0
"""Reading half a million rows takes two seconds; a child that is silent for so long is stuck."""

NICENESS = 10
"""A check must not keep a server on the same machine from its sticks."""

_OURS = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Failures that say nothing about the file."""


TableName = Literal["readings", "sessions", "quarantine"]


class ReaderError(Exception):
    """Whether a file is sound cannot be said; the message is one sentence."""


class OpenTable(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """Asks what a Delta table's newest version holds."""

    directory: str
    node: str


class ReadFile(msgspec.Struct, tag=True, frozen=True, kw_only=True):
    """Asks whether every value of a Parquet file can be read."""

    path: str
    columns: TableName
    partitioned: bool
    """Whether the date is in the path, not in the file."""
    rows: int | None = None
    """What the log says."""
    entry: str | None = None
    """The log entry that added the file, for what it says of the values."""


class DataFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a table as its log describes it; the name is relative to the table."""

    name: str
    bytes: int
    rows: int | None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the child found; `fault` is what is wrong, in a few words."""

    fault: str | None = None
    is_ours: bool = False
    """The fault is one of this machine or user, not of the file."""
    files: list[DataFile] = []
    committed: int = 0
    other_version: str | None = None
    """Set when the table has not the columns of this program's schema: which version it has."""


class Reader:
    """The child process and what it answers; use it as a context manager."""

    def __init__(self) -> None:
        """Starts no process yet."""
        self._child: subprocess.Popen[bytes] | None = None
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the child."""
        self._end()
        self._complaints.close()

    def ask(self, question: OpenTable | ReadFile) -> Answer:
        """Returns what the child says; raises ReaderError when nothing can be said."""
        child = self._child = self._child or self._start()
        questions = cast("IO[bytes]", child.stdin)
        try:
            questions.write(msgspec.json.encode(question) + b"\n")
            questions.flush()
            line = self._line(child)
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            return self._death()
        answer = msgspec.json.decode(line, type=Answer)
        if answer.is_ours:
            raise ReaderError(f"cannot read {_subject(question)}: {answer.fault}")
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
        )

    def _line(self, child: subprocess.Popen[bytes]) -> bytes:
        answers = cast("IO[bytes]", child.stdout)
        with selectors.DefaultSelector() as selector:
            selector.register(answers, selectors.EVENT_READ)
            if not selector.select(ANSWER_S):
                child.kill()
                return b""
        return answers.readline()

    def _death(self) -> Answer:
        code = self._end()
        self._complaints.seek(0)
        complaint = self._complaints.read().decode(errors="replace").strip().rpartition("\n")[2]
        self._complaints.seek(0)
        self._complaints.truncate()
        if code >= 0 or code in (-9, -15):
            # Not a crash: somebody or the memory killer ended it, or it could not even start.
            raise ReaderError(f"the reading process ended with {code}: {complaint or 'no word'}")
        return Answer(fault=f"reading it crashes the reader: {complaint or f'signal {-code}'}")

    def _end(self) -> int:
        child, self._child = self._child, None
        if child is None:
            return 0
        with contextlib.suppress(BrokenPipeError):
            cast("IO[bytes]", child.stdin).close()
        cast("IO[bytes]", child.stdout).close()
        return child.wait(ANSWER_S)


def _subject(question: OpenTable | ReadFile) -> str:
    return question.directory if isinstance(question, OpenTable) else question.path


# --- in the child ---------------------------------------------------------------------------


def main() -> None:
    """Answers questions, one JSON object per line, until there are no more."""
    os.nice(NICENESS)
    for line in sys.stdin.buffer:
        question = msgspec.json.decode(line, type=OpenTable | ReadFile)
        sys.stdout.buffer.write(msgspec.json.encode(_answer(question)) + b"\n")
        sys.stdout.buffer.flush()


def _answer(question: OpenTable | ReadFile) -> Answer:
    try:
        return _table(question) if isinstance(question, OpenTable) else _file(question)
    except MemoryError as error:
        return Answer(fault=f"not enough memory: {error}", is_ours=True)
    except OSError as error:
        return Answer(fault=_sentence(error), is_ours=error.errno in _OURS)
    except Exception as error:
        # Whatever a library makes of damaged bytes: text that is not UTF-8, a date that is none.
        return Answer(fault=_sentence(error))


def _sentence(error: Exception) -> str:
    from autarco_ingest.lake import one_line

    return one_line(error) or type(error).__name__


def _table(question: OpenTable) -> Answer:
    import pyarrow as pa
    from deltalake import DeltaTable

    from autarco_ingest.lake import other_version

    delta = DeltaTable(question.directory)
    added = pa.table(delta.get_add_actions(flatten=True)).to_pylist()
    return Answer(
        files=[
            DataFile(name=file["path"], bytes=file["size_bytes"], rows=file.get("num_records"))
            for file in added
        ],
        committed=delta.transaction_version(question.node) or 0,
        other_version=other_version(Path(question.directory).name, delta),
    )


def _file(question: ReadFile) -> Answer:
    import pyarrow.parquet as pq

    table = next(table for table in schema.TABLES if table.name == question.columns)
    values = _Values()
    with pq.ParquetFile(question.path, page_checksum_verification=True) as file:
        wanted = [
            (column.name, column.type)
            for column in table.columns
            if column.name != "date" or not question.partitioned
        ]
        # The footer has no checksum: what it says is compared with what else is known.
        if [(field.name, field.type) for field in file.schema_arrow] != wanted:
            return Answer(fault="its columns are not those of the table")
        for number in range(file.num_row_groups):
            part = file.read_row_group(number)
            if fault := values.take(part, file.metadata.row_group(number)):
                return Answer(fault=fault)
    if question.rows is not None and values.rows != question.rows:
        return Answer(fault=f"{values.rows} rows, {question.rows} in the log")
    if question.entry is None:
        return Answer()
    return Answer(fault=values.differ_from(_statistics(Path(question.entry), question.path)))


class _Values:
    """How many values there are, and between which limits: queries skip files and rows by it."""

    def __init__(self) -> None:
        self.rows = 0
        self._nulls: Counter[str] = Counter()
        self._smallest: dict[str, Any] = {}
        self._largest: dict[str, Any] = {}

    def take(self, rows: pa.Table, footer: Any) -> str | None:
        """Adds a row group, and says where the footer differs from it."""
        import pyarrow.compute as pc

        self.rows += rows.num_rows
        if footer.num_rows != rows.num_rows:
            return f"a row group has {rows.num_rows} rows, {footer.num_rows} in the footer"
        for number, (name, values) in enumerate(zip(rows.column_names, rows.columns, strict=True)):
            self._nulls[name] += values.null_count
            if values.null_count == len(values):
                continue
            limits: Any = pc.min_max(values)
            smallest, largest = limits["min"].as_py(), limits["max"].as_py()
            self._smallest[name] = min(self._smallest.get(name, smallest), smallest)
            self._largest[name] = max(self._largest.get(name, largest), largest)
            said = footer.column(number).statistics
            if said is None:
                continue
            if said.has_null_count and said.null_count != values.null_count:
                return f"column {name} has other nulls than the footer says"
            if said.has_min_max and (said.min, said.max) != (smallest, largest):
                return f"column {name} has other limits than the footer says"
        return None

    def differ_from(self, said: dict[str, Any]) -> str | None:
        """Says where a log entry would let a reader skip rows that are there."""
        from autarco_ingest.lake import bound

        for name, nulls in said.get("nullCount", {}).items():
            if nulls != self._nulls[name]:
                return f"column {name} has other nulls than the log says"
        for name, smallest in said.get("minValues", {}).items():
            if name not in self._smallest or smallest > bound(self._smallest[name]):
                return f"column {name} has smaller values than the log says"
        for name, largest in said.get("maxValues", {}).items():
            if name not in self._largest or largest < bound(self._largest[name], up=True):
                return f"column {name} has larger values than the log says"
        return None


def _statistics(entry: Path, path: str) -> dict[str, Any]:
    for line in entry.read_bytes().splitlines():
        add = json.loads(line).get("add")
        if add and path.endswith("/" + unquote(add["path"])):
            statistics: dict[str, Any] = json.loads(add.get("stats") or "{}")
            return statistics
    return {}


if __name__ == "__main__":
    main()
