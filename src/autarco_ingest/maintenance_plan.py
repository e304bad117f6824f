"""Which days are worth compacting now, which are too old to keep, and which files may go?

Pure: what there is and what time it is come in, names come out.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from autarco_ingest import paths
from autarco_ingest.ageing import Age

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from autarco_ingest.lake_table import DataFile

COMMIT_MAX = timedelta(days=1)
"""A file that no version has named for so long belongs to no commit that is still being made,
however short the grace period for readers is."""

DAY_END_WAIT = timedelta(minutes=30)
"""A day's last samples are flushed within minutes of its end."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When a day is compacted."""

    small_files_max: int
    """More small files than this slow every query down: compact the day, whether over or not."""
    late_wait: timedelta
    """How long a few small files in a day that is over may wait for more."""


def days_due(files: Iterable[DataFile], now: datetime, policy: Policy) -> list[str]:
    """Returns the dates to compact, oldest first.

    A small file is one that a batch made. A day that is over is due when the oldest of its small
    files has waited long enough for others that come late; any day when it has too many of them.
    """
    small: dict[str, list[DataFile]] = defaultdict(list)
    for file in files:
        if not paths.is_compacted(file.name):
            small[file.date].append(file)
    return sorted(
        day
        for day, waiting in small.items()
        if len(waiting) > policy.small_files_max
        or (
            _is_over(day, now)
            and now - min(file.modified_at for file in waiting) >= policy.late_wait
        )
    )


def days_over(files: Iterable[DataFile], now: datetime) -> list[str]:
    """Returns the dates that are over and have small files, oldest first."""
    small = {file.date for file in files if not paths.is_compacted(file.name)}
    return sorted(day for day in small if _is_over(day, now))


def days_expired(files: Iterable[DataFile], today: date, keep_days: int) -> list[str]:
    """Returns the dates that end more than `keep_days` days before today; 0 keeps for ever."""
    if keep_days == 0:
        return []
    oldest_kept = today - timedelta(days=keep_days)
    return sorted({file.date for file in files if date.fromisoformat(file.date) < oldest_kept})


def days_ageing(
    files: Iterable[DataFile], today: date, after_days: Mapping[Age, int]
) -> dict[str, Age]:
    """Returns the dates with rows that have not aged as far as they must, and how far that is.

    Rows age when their date ends more than `after_days` days before today; 0 is never.
    """
    oldest_kept = {age: today - timedelta(days=days) for age, days in after_days.items() if days}
    found: dict[str, Age] = {}
    for file in files:
        day = date.fromisoformat(file.date)
        wanted = max((age for age, kept in oldest_kept.items() if day < kept), default=Age.WHOLE)
        if paths.age(file.name) < wanted:
            found[file.date] = wanted
    return dict(sorted(found.items()))


def files_to_delete(
    stored: Mapping[str, datetime],
    kept: AbstractSet[str],
    removed: Mapping[str, datetime],
    now: datetime,
    grace: timedelta,
) -> list[str]:
    """Returns the stored files that no version of the table needs any more, by name.

    `stored` says when each file was written, `kept` which ones the newest version names or a commit
    may still name, and `removed` since when a version does without a file, as far as the log
    remembers.
    """

    def is_over(name: str, written_at: datetime) -> bool:
        if name in removed:
            return now - max(written_at, removed[name]) >= grace
        return now - written_at >= max(grace, COMMIT_MAX)

    return sorted(
        name
        for name, written_at in stored.items()
        if name not in kept and is_over(name, written_at)
    )


def _is_over(day: str, now: datetime) -> bool:
    end = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC) + timedelta(days=1)
    return now >= end + DAY_END_WAIT
