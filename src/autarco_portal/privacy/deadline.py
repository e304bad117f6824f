"""Until when must a request be answered, and when is somebody warned?

One month from receipt, two more with a reason (article 12(3)), counted by the calendar as
Regulation 1182/71 counts months: the day of receipt is not counted, the period ends with the last
hour of the same day of a later month, or of its last day where that month is shorter. It moves a
deadline on a Saturday, Sunday or holiday to the next working day; we do not take that day. Waiting
for proof of identity stops the clock, and only whole days of it are given back.
"""

from __future__ import annotations

import calendar
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

MONTHS = 1
EXTENDED_MONTHS = 3
WARN_DAYS = (10, 3)
"""Before the deadline, the longest first."""
ZONE = ZoneInfo("Europe/Amsterdam")
"""Days are those of the controller's place."""

_DAY = timedelta(days=1)


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Time that proof of identity was waited for; `to_at` is None while it still is. UTC."""

    from_at: datetime
    to_at: datetime | None = None


def add_months(day: date, months: int) -> date:
    """Returns the same day of a later month, or the last one of a month that is shorter."""
    count = day.year * 12 + day.month - 1 + months
    year, month = divmod(count, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def deadline(
    received_at: datetime,
    now: datetime,
    *,
    pauses: tuple[Pause, ...] = (),
    is_extended: bool = False,
    zone: ZoneInfo = ZONE,
) -> datetime:
    """Returns the end of the last day on which the answer is in time, UTC.

    A pause that lasts is counted up to `now`, so the deadline moves with it.
    """
    months = EXTENDED_MONTHS if is_extended else MONTHS
    last_day = add_months(received_at.astimezone(zone).date(), months)
    waited = sum(((pause.to_at or now) - pause.from_at for pause in pauses), timedelta())
    last_day += timedelta(days=max(0, waited // _DAY))
    return datetime.combine(last_day + _DAY, time(), zone).astimezone(received_at.tzinfo)


def last_day(deadline_at: datetime, zone: ZoneInfo = ZONE) -> date:
    """Returns the day that ends with the deadline, for people to read."""
    return (deadline_at.astimezone(zone) - timedelta(seconds=1)).date()


def warnings_due(
    deadline_at: datetime, now: datetime, warned: frozenset[int] = frozenset()
) -> tuple[int, ...]:
    """Returns the warnings to give now, as days before the deadline; 0 is said when it is missed.

    `warned` are those given before. Where several are due at once, the last one says it all.
    """
    left = deadline_at - now
    due = [days for days in (*WARN_DAYS, 0) if left <= timedelta(days=days)]
    return (due[-1],) if due and due[-1] not in warned else ()
