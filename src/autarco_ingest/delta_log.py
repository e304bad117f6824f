"""Which part of a Delta log survives a power cut, and how does a torn one heal?

deltalake writes log entries and checkpoints without asking the disk to keep them. `sync` and
`sync_checkpoint` do that afterwards; a power cut in between can leave the newest entries or the
newest checkpoint torn. `repair` removes those at start: a torn entry was never reported as
committed, so its rows are still in some node's journal, and a checkpoint only repeats entries,
which are never deleted before the checkpoint is on disk.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from autarco_ingest import durable, paths

if TYPE_CHECKING:
    from pathlib import Path


def sync(table: Path, first: int, last: int) -> None:
    """Returns when log entries `first` to `last` are on disk; missing ones are older than that.

    A missing entry is one that log maintenance has already replaced by a checkpoint.
    """
    if first > last:
        return
    for version in range(max(first, 0), last + 1):
        entry = paths.log_entry(table, version)
        if entry.exists():
            durable.sync(entry)
    durable.sync(paths.log_directory(table))


def sync_checkpoint(table: Path, version: int) -> None:
    """Returns when the checkpoint of that version and the hint to it are on disk."""
    for path in paths.checkpoints(table).get(version, []):
        durable.sync(path)
    hint = paths.last_checkpoint(table)
    # A server that started a moment ago may have removed a stale one.
    if hint.exists():
        durable.sync(hint)
    durable.sync(paths.log_directory(table))


def checkpoint_version(table: Path) -> int:
    """Returns the version of the newest checkpoint; -1 without one."""
    return max(paths.checkpoints(table), default=-1)


def repair(table: Path) -> list[Path]:
    """Removes the torn end of the log; returns what it removed."""
    removed = _remove_torn_entries(table)
    _write_anew(table, above=checkpoint_version(table))
    return removed + _remove_doubtful_checkpoint(table) + _remove_stale_hint(table)


def _remove_torn_entries(table: Path) -> list[Path]:
    removed = []
    for _, entry in sorted(paths.log_entries(table).items(), reverse=True):
        if _is_whole_entry(entry):
            break
        removed.append(_remove(entry))
    return removed


def _write_anew(table: Path, *, above: int) -> None:
    """Puts entries on disk that an earlier run may have failed to put there.

    After a failed `fsync` the kernel takes their pages for clean: the same call would succeed
    without writing anything. Bytes that are written again are written.
    """
    entries = [path for version, path in paths.log_entries(table).items() if version > above]
    for entry in entries:
        # Another node may start at the same moment.
        draft = paths.draft(entry).with_suffix(f".{uuid.uuid4().hex}")
        draft.write_bytes(entry.read_bytes())
        durable.sync(draft)
        draft.replace(entry)
    if entries:
        durable.sync(paths.log_directory(table))


def _remove_doubtful_checkpoint(table: Path) -> list[Path]:
    """The newest one may lack pages without looking torn; the entries it repeats tell it all."""
    checkpoints = paths.checkpoints(table)
    if not checkpoints:
        return []
    newest = checkpoints[max(checkpoints)]
    entries = paths.log_entries(table)
    has_all = len(entries) == max(entries, default=-1) + 1
    if not has_all and all(_is_whole_checkpoint(path) for path in newest):
        return []
    # Without the hint a reader lists the directory and takes the newest checkpoint there is.
    return [_remove(path) for path in (paths.last_checkpoint(table), *newest) if path.exists()]


def _remove_stale_hint(table: Path) -> list[Path]:
    """A hint that is torn, or whose checkpoint did not reach the disk; readers do without one."""
    hint = paths.last_checkpoint(table)
    if not hint.exists():
        return []
    try:
        named = json.loads(hint.read_bytes())
    except ValueError:
        named = None
    if isinstance(named, dict) and named.get("version") in paths.checkpoints(table):
        return []
    return [_remove(hint)]


def _is_whole_entry(entry: Path) -> bool:
    lines = entry.read_bytes().splitlines()
    try:
        return bool(lines) and all(isinstance(json.loads(line), dict) for line in lines)
    except ValueError:
        return False


def _is_whole_checkpoint(path: Path) -> bool:
    # Read first: a disk that cannot is for the caller, bytes that make no sense are the answer.
    content = pa.BufferReader(path.read_bytes())
    try:
        # All of it: a power cut can leave the footer, which was written last, and not the pages.
        pq.read_table(content)
    except (pa.ArrowException, OSError):
        return False
    return True


def _remove(path: Path) -> Path:
    path.unlink(missing_ok=True)
    durable.sync(path.parent)
    return path
