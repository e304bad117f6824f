"""Which days must be analysed: those that nobody did, and those for which something came since?

Pure: what was received, what was done and what is asked come in, days go out.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from autarco_portal.counter import moment
from autarco_portal.energy import midnights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autarco_portal.weather_store import Index

LOOK_BACK_DAYS = 14
"""So far before the asked days it is looked whether something came late. A stick without internet
keeps some days; what comes later than that is taken up when somebody asks for those days."""

DAY = timedelta(days=1)


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """What there is for a day: more of it, or newer, and the day must be done again."""

    readings: int
    """Of the hours of the day."""
    received_at: datetime | None
    """When the newest of them came."""
    weather: str
    """Checksums of the files that tell of its weather."""


class Days(msgspec.Struct, frozen=True, kw_only=True):
    """What is there for each day, and by what it would be done now."""

    received: Mapping[int, tuple[int, datetime]]
    """By hour since 1970: how many readings, and when the newest came."""
    index: Index
    time_zone: str
    sites: int
    rules: str

    def came(self, day: date) -> Came:
        """Returns what there is for a local day."""
        begins, ends = span(day, self.time_zone)
        hours = range(int(begins.timestamp() // 3_600), int(-(-ends.timestamp() // 3_600)))
        told = [self.received[hour] for hour in hours if hour in self.received]
        files = [one.sha256 for one in self.index.files if one.begins < ends and one.ends >= begins]
        return Came(
            readings=sum(count for count, _ in told),
            received_at=max((at for _, at in told), default=None),
            weather="+".join(sorted(files)),
        )

    def due(
        self,
        first: date,
        last: date,
        analysed: Mapping[date, Mapping[str, Any]],
        *,
        again: bool,
    ) -> list[date]:
        """Returns the days to do, without a gap, from the first that must be.

        `analysed` are the rows of the table `analysed_days`. All later days that were ever done
        are done again too: they stand on what the days before left behind.
        """
        due = [
            day
            for day in between(first, last)
            if again or day not in analysed or self._is_other(day, analysed[day])
        ]
        late = [
            day
            for day in between(first - LOOK_BACK_DAYS * DAY, first - DAY)
            if day in analysed and self._has_news(day, analysed[day])
        ]
        if not due and not late:
            return []
        begin = min([*due, *late])
        end = max([last if due else begin, *(day for day in analysed if day > begin)])
        return between(begin, end)

    def _is_other(self, day: date, known: Mapping[str, Any]) -> bool:
        return (
            self._has_news(day, known)
            or known["rules"] != self.rules
            or known["sites"] != self.sites
        )

    def _has_news(self, day: date, known: Mapping[str, Any]) -> bool:
        """Whether readings or weather came; compaction only makes them fewer, and changes none."""
        now, before = self.came(day), known["received_at"]
        newer = now.received_at is not None and (before is None or now.received_at > before)
        return newer or now.readings > known["readings"] or now.weather != known["weather"]


def between(first: date, last: date) -> list[date]:
    """Returns the days from `first` to `last`, both included."""
    return [first + number * DAY for number in range((last - first).days + 1)]


def span(day: date, time_zone: str) -> tuple[datetime, datetime]:
    """Returns when a local day begins and ends, UTC."""
    begins, ends = midnights(day, day, time_zone)
    return moment(int(begins)), moment(int(ends))
