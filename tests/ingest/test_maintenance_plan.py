"""When is a day compacted, when does it expire, when is a file nobody's any more?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from autarco_ingest.lake_table import DataFile
from autarco_ingest.maintenance_plan import (
    Policy,
    days_due,
    days_expired,
    days_over,
    files_to_delete,
)

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
POLICY = Policy(small_files_max=3, late_wait=6 * HOUR)


def small(day: str, number: int = 1, age: timedelta = HOUR) -> DataFile:
    name = f"date={day}/part-n1-{number:012d}.parquet"
    return DataFile(name=name, date=day, bytes=10, rows=1, modified_at=NOW - age)


def compacted(day: str) -> DataFile:
    name = f"date={day}/compact-0123.parquet"
    return DataFile(name=name, date=day, bytes=10, rows=1, modified_at=NOW - 30 * HOUR)


def test_a_day_that_is_over_waits_for_late_samples_and_is_then_due() -> None:
    assert days_due([small("2026-06-14", age=5 * HOUR)], NOW, POLICY) == []
    assert days_due([small("2026-06-14", age=6 * HOUR)], NOW, POLICY) == ["2026-06-14"]


def test_the_oldest_small_file_decides() -> None:
    files = [small("2026-06-14", 1, 7 * HOUR), small("2026-06-14", 2, timedelta(0))]
    assert days_due(files, NOW, POLICY) == ["2026-06-14"]


def test_too_many_small_files_make_any_day_due() -> None:
    today = [small("2026-06-15", number, 11 * HOUR) for number in range(4)]
    assert days_due(today[:3], NOW, POLICY) == []
    assert days_due(today, NOW, POLICY) == ["2026-06-15"]


def test_compacted_days_rest_until_something_comes_late() -> None:
    files = [compacted("2026-06-13"), compacted("2026-06-14"), small("2026-06-14", age=7 * HOUR)]
    assert days_due(files, NOW, POLICY) == ["2026-06-14"]


def test_days_come_oldest_first() -> None:
    files = [small(f"2026-06-{day}", age=9 * HOUR) for day in ("14", "02", "10")]
    assert days_due(files, NOW, POLICY) == ["2026-06-02", "2026-06-10", "2026-06-14"]
    assert days_over(files, NOW) == ["2026-06-02", "2026-06-10", "2026-06-14"]


def test_a_day_is_over_half_an_hour_after_midnight() -> None:
    files = [small("2026-06-14"), small("2026-06-15")]
    midnight = datetime(2026, 6, 15, 0, 0, tzinfo=UTC)
    assert days_over(files, midnight + timedelta(minutes=29)) == []
    assert days_over(files, midnight + timedelta(minutes=30)) == ["2026-06-14"]


def test_retention_counts_whole_days_and_zero_keeps_all() -> None:
    files = [small("2026-06-14"), small("2026-05-16"), small("2026-05-15"), small("2016-01-01")]
    assert days_expired(files, date(2026, 6, 15), 30) == ["2016-01-01", "2026-05-15"]
    assert days_expired(files, date(2026, 6, 15), 0) == []


def test_files_go_when_nobody_has_named_them_for_the_grace_period() -> None:
    old = NOW - 100 * HOUR
    stored = {
        "active": old,
        "removed-long-ago": old,
        "removed-now": old,
        "left-behind": old,
        "being-committed": NOW,
    }
    removed = {"removed-long-ago": NOW - 25 * HOUR, "removed-now": NOW - HOUR, "gone": old}
    assert files_to_delete(stored, {"active"}, removed, NOW, 24 * HOUR) == [
        "left-behind",
        "removed-long-ago",
    ]
