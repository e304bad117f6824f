"""What is the newest reading of each inverter, and which readings are not in the table yet?

Two small Parquet files answer, so that a view need not wait for the next flush. `Latest` keeps
one row per inverter in one file that is replaced whole. `Tail` writes the acknowledged rows that
no commit holds yet to a file with a fresh name each time: a reader that still has the old name
finds the old rows, until the grace period is over.

Both follow from journal and table: losing one costs freshness, never a reading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog

from autarco_ingest import durable, paths, schema

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from autarco_ingest.forgotten import Forgotten

log = structlog.get_logger(__name__)

INVERTERS_MAX = 1_000_000
"""Rows of the file, some 60 MB. Serial numbers are what peers claim: a flood of invented ones must
not grow without end. Beyond, those not heard of for longest go; a real one is back in minutes."""

_NEWEST_LAST: list[tuple[str, Literal["ascending"]]] = [
    ("inverter_sn", "ascending"),
    ("ts", "ascending"),
    ("received_at", "ascending"),
]


class Latest:
    """The newest reading per inverter, kept in one file. One caller at a time."""

    def __init__(self, data: paths.DataDirectory) -> None:
        """Takes up the file of an earlier run; without a usable one, starts with an empty one.

        There is a file from here on, so a catalog can always name it. Raises OSError.
        """
        self._path = data.latest
        found = _load(self._path)
        self._rows = schema.empty(schema.READINGS) if found is None else found
        if found is None:
            _write(self._rows, self._path)
        self._unwritten = False
        self._holds_forgotten = False

    @property
    def file(self) -> Path | None:
        """The file that belongs into the catalog; None while rows must go that it still has."""
        return None if self._holds_forgotten or not self._path.exists() else self._path

    @property
    def rows(self) -> pa.Table:
        """The rows as in the file, ordered by inverter."""
        return self._rows

    def merge(self, readings: schema.ArrowData) -> bool:
        """Takes newer readings up and rewrites the file; returns whether anything was newer.

        Newest is the latest `ts`; of two samples of one instant, the one received later. Raises
        OSError; the rows are kept and the next merge writes them.
        """
        known = pa.concat_tables([self._rows, schema.conform(schema.READINGS, readings)])
        merged = bounded(newest(known), INVERTERS_MAX)
        if merged.equals(self._rows) and not self._unwritten:
            return False
        self._rows = merged
        self._rewrite()
        return True

    def forget(self, forgotten: Forgotten, *, anew: bool = False) -> None:
        """Drops the rows of forgotten loggers and inverters and rewrites the file without them.

        With `anew`, also where there are none: an interrupted write may have left a draft. Raises
        OSError; then `file` is None until a later write succeeds.
        """
        kept = forgotten.without(schema.READINGS, self._rows)
        self._holds_forgotten |= kept is not self._rows
        self._rows = kept
        if anew or self._holds_forgotten:
            self._rewrite()

    def _rewrite(self) -> None:
        self._unwritten = True
        _write(self._rows, self._path)
        self._unwritten = False
        self._holds_forgotten = False


class Tail:
    """The acknowledged readings that no commit holds yet. One caller at a time."""

    def __init__(self, data: paths.DataDirectory, *, grace_s: float, now_s: float) -> None:
        """Starts without a current tail.

        Tails of an earlier run are superseded: when the server starts, their rows come back from
        the journal. Readers may still use them, so they go after the grace period like others.
        `now_s` is any clock that only moves forward, the same one as for `sweep`.
        """
        self._data = data
        self._grace_s = grace_s
        for draft in data.tail_drafts():
            draft.unlink(missing_ok=True)
        found = data.tail_files()
        self._number = max(found, default=0)
        self._superseded = dict.fromkeys(found.values(), now_s)
        self._current: Path | None = None

    @property
    def current(self) -> Path | None:
        """The file that belongs into the catalog now; None when every row is in the table."""
        return self._current

    def write(self, parts: Iterable[schema.ArrowData], *, now_s: float) -> Path | None:
        """Replaces the tail by the given rows and returns its file, None without rows.

        `parts` must together be every durable row that no commit holds: those not yet sealed and
        those of sealed batches whose commit is still to come. Raises OSError; then the tail
        before this one stays current.
        """
        rows = pa.concat_tables(
            [
                schema.empty(schema.READINGS),
                *(schema.conform(schema.READINGS, part) for part in parts),
            ]
        )
        path = None
        if rows.num_rows:
            self._number += 1
            path = self._data.tail_file(self._number)
            _write(rows, path)
        if self._current is not None:
            self._superseded[self._current] = now_s
        self._current = path
        return path

    def sweep(self, *, now_s: float) -> int:
        """Deletes tails that were superseded longer ago than the grace period; returns how many.

        Call it after the catalog without them is in place.
        """
        due = [path for path, since in self._superseded.items() if now_s - since > self._grace_s]
        self._delete(due)
        return len(due)

    def purge(self) -> None:
        """Deletes superseded tails and drafts, grace or not; when this returns, on disk.

        A query that has one open reads it to its end. Raises OSError.
        """
        self._delete(list(self._superseded))
        for draft in self._data.tail_drafts():
            draft.unlink(missing_ok=True)
        durable.sync(self._data.tail)

    def _delete(self, files: Iterable[Path]) -> None:
        for path in files:
            path.unlink(missing_ok=True)
            del self._superseded[path]


def newest(readings: pa.Table) -> pa.Table:
    """Returns the newest row of each inverter, ordered by inverter."""
    ordered = readings.take(pc.sort_indices(readings, sort_keys=_NEWEST_LAST)).combine_chunks()
    if ordered.num_rows < 2:
        return ordered
    serials = ordered.column("inverter_sn").combine_chunks()
    is_last = pc.not_equal(serials.slice(0, len(serials) - 1), serials.slice(1))
    return ordered.filter(pa.concat_arrays([is_last, pa.array([True])]))


def bounded(readings: pa.Table, rows_max: int) -> pa.Table:
    """Returns the rows received last, in the order they have, if there are too many."""
    if readings.num_rows <= rows_max:
        return readings
    by_age = pc.sort_indices(readings, sort_keys=[("received_at", "descending")])
    kept = by_age.slice(0, rows_max)
    return readings.take(pc.take(kept, pc.array_sort_indices(kept)))


def _load(path: Path) -> pa.Table | None:
    if not path.exists():
        return None
    # Read first: a disk that cannot is for the caller, bytes that make no sense are not.
    content = pa.BufferReader(path.read_bytes())
    try:
        return schema.conform(schema.READINGS, pq.read_table(content))
    except (OSError, pa.ArrowException, schema.SchemaError) as error:
        # Written by another version, or damaged: each inverter comes back with its next sample.
        log.warning("latest readings cannot be used", path=str(path), error=str(error))
        return None


def _write(rows: pa.Table, path: Path) -> None:
    draft = paths.draft(path)
    try:
        pq.write_table(rows, draft, compression="zstd", compression_level=1, store_schema=False)
        durable.replace(draft, path)
    except (OSError, pa.ArrowException):
        # On a full disk half a file would take the room that recovery needs.
        draft.unlink(missing_ok=True)
        raise
