"""What is known about one contract year: energy measured, time not covered, energy excused?

The values that `guarantee` settles by, and how they come from the counters (`energy.Span`). Money
depends on them, so they are decimals and refuse what cannot be; texts in them are short codes, so
that no name or address can slip into a settlement. What a contract makes of them is the business of
`guarantee`.

Source: reference document, sections 3.2 to 3.4.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autarco_portal.energy import Span
    from autarco_portal.site import Inverter

SHARES_SUM_TOLERANCE = Decimal("0.0001")
"""Shares of twelve months printed with six digits add up to 1 within this."""

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_KWH = Decimal("0.000001")


class GuaranteeError(ValueError):
    """A contract or its evidence cannot be as given; the message is one sentence."""


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Energy between two readings of one counter."""

    serial_number: str
    from_at: datetime
    to_at: datetime
    energy_kwh: Decimal
    register_from_kwh: Decimal | None = None
    register_to_kwh: Decimal | None = None
    method: str = "counter"
    """`counter`, `gap` (no samples within, exact as a whole) or `split` (at the year's border)."""

    def __post_init__(self) -> None:
        """Raises GuaranteeError for what no counter shows."""
        check_code("serial_number", self.serial_number)
        check_code("method", self.method)
        _keep_in_utc("measured", self)
        not_negative("measured energy_kwh", self.energy_kwh)


class Uncovered(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time of which no counter tells: an inverter was replaced, or its counter set anew."""

    from_at: datetime
    to_at: datetime
    weight: Decimal
    """Share of the year's energy, by climate, that is normally made in this time."""
    performance_index: Decimal | None = None
    """Measured over expected energy of the 60 days before; an estimate needs it."""
    expected_kwh: Decimal | None = None
    """Modelled energy of this time; by default the year's expected energy times `weight`."""

    def __post_init__(self) -> None:
        """Raises GuaranteeError for a weight that is no share."""
        _keep_in_utc("uncovered", self)
        not_negative("uncovered weight", self.weight)
        if self.weight > 1:
            raise GuaranteeError(f"uncovered weight: expected a share of 1, got {self.weight}")
        for name in ("performance_index", "expected_kwh"):
            value = getattr(self, name)
            if value is not None:
                not_negative(f"uncovered {name}", value)


class Credit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Energy that was not made for a reason that is not the guarantor's.

    Credits of all inverters together: where two overlap in time, only the larger loss counts.
    """

    cause: str
    from_at: datetime
    to_at: datetime
    energy_kwh: Decimal
    method: str
    """How the energy was found, for example `peers` or `model`."""
    notified_at: datetime | None = None
    """When the owner was told; a cause with a deadline counts from the deadline after it only."""
    incident_id: str = "none"

    def __post_init__(self) -> None:
        """Raises GuaranteeError for what no loss is."""
        for name in ("cause", "method", "incident_id"):
            check_code(name, getattr(self, name))
        _keep_in_utc("credit", self)
        not_negative("credit energy_kwh", self.energy_kwh)
        if self.notified_at is not None and self.notified_at.tzinfo is None:
            raise GuaranteeError(f"credit notified_at: {self.notified_at} has no time zone")


class YearEvidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is known about one contract year, counted from 1."""

    year: int
    measured: tuple[Measured, ...]
    uncovered: tuple[Uncovered, ...] = ()
    credits: tuple[Credit, ...] = ()
    weather_index: Decimal | None = None
    """Modelled energy with the year's weather over that with the reference climate."""
    weather_source: str = "none"

    def __post_init__(self) -> None:
        """Raises GuaranteeError where energy would count twice."""
        check_code("weather_source", self.weather_source)
        if self.weather_index is not None:
            above_zero("weather_index", self.weather_index)
        serials = sorted({part.serial_number for part in self.measured})
        for serial in serials:
            _check_apart(
                f"measured energy of {serial}",
                [(p.from_at, p.to_at) for p in self.measured if p.serial_number == serial],
            )
        _check_apart("uncovered time", [(part.from_at, part.to_at) for part in self.uncovered])
        if sum(part.weight for part in self.uncovered) > 1:
            raise GuaranteeError(f"year {self.year}: the weights of uncovered time exceed 1")


def kwh(energy_wh: float) -> Decimal:
    """Returns Wh as kWh, to a thousandth of a Wh."""
    value = Decimal(str(energy_wh)) / 1_000
    if not value.is_finite():
        raise GuaranteeError(f"energy: expected a number of Wh, got {energy_wh}")
    return value.quantize(_KWH)


def measured(spans: Sequence[Span]) -> tuple[Measured, ...]:
    """Returns the spans of which a counter tells."""
    return tuple(
        Measured(
            serial_number=span.serial_number,
            from_at=span.from_at,
            to_at=span.to_at,
            energy_kwh=kwh(span.energy_wh),
            register_from_kwh=_register(span.register_from_wh),
            register_to_kwh=_register(span.register_to_wh),
            method=span.method,
        )
        for span in spans
        if span.method != "lost"
    )


def uncovered(
    spans: Sequence[Span],
    inverters: Sequence[Inverter],
    begins_at: datetime,
    ends_at: datetime,
    *,
    monthly_share: Sequence[Decimal],
    time_zone: str,
    performance_index: Decimal | None = None,
) -> tuple[Uncovered, ...]:
    """Returns the time between two moments of which not all counters tell.

    `spans` are those of all inverters. Of inverters that hang there side by side, the missing one's
    share is that of its `pac0`; while none hangs there, all is missing. Time without a midnight
    weighs nothing and is left out (see `energy_weight`).
    """
    told = [span for span in spans if span.method != "lost"]
    lifetimes = [(i.installed_at, i.uninstalled_at or ends_at, i) for i in inverters]
    borders = {begins_at, ends_at}
    borders |= {at for span in told for at in (span.from_at, span.to_at)}
    borders |= {at for first, last, _ in lifetimes for at in (first, last)}
    found: list[tuple[datetime, datetime, Decimal]] = []
    for start, end in pairwise(sorted(at for at in borders if begins_at <= at <= ends_at)):
        present = [i for first, last, i in lifetimes if first <= start and end <= last]
        telling = {s.serial_number for s in told if s.from_at <= start and end <= s.to_at}
        rated = sum(i.pac0 for i in present)
        silent = sum(i.pac0 for i in present if i.serial_number not in telling)
        missing = Decimal(str(silent / rated)) if rated else Decimal(0 if telling else 1)
        if not missing:
            continue
        if found and found[-1][1:] == (start, missing):
            found[-1] = (found[-1][0], end, missing)
        else:
            found.append((start, end, missing))
    result = []
    for start, end, missing in found:
        weight = missing * energy_weight(monthly_share, start, end, time_zone=time_zone)
        if weight:
            result.append(
                Uncovered(
                    from_at=start, to_at=end, weight=weight, performance_index=performance_index
                )
            )
    return tuple(result)


def energy_weight(
    monthly_share: Sequence[Decimal], from_at: datetime, to_at: datetime, *, time_zone: str
) -> Decimal:
    """Returns the share of a year's energy that is normally made between two moments.

    `monthly_share` has the shares of January to December. Counted are whole local days, as many as
    the time has midnights: from the day it begins to the one before it ends. Raises GuaranteeError
    for shares that do not add up to 1.
    """
    if len(monthly_share) != 12:
        raise GuaranteeError(f"monthly shares: expected 12, got {len(monthly_share)}")
    for share in monthly_share:
        not_negative("monthly share", share)
    total = sum(monthly_share, Decimal(0))
    if abs(total - 1) > SHARES_SUM_TOLERANCE:
        raise GuaranteeError(f"monthly shares add up to {total}, not to 1")
    _check_span("time to weigh", from_at, to_at)
    zone = ZoneInfo(time_zone)
    day, until = from_at.astimezone(zone).date(), to_at.astimezone(zone).date()
    days_of_month: dict[tuple[int, int], int] = {}
    while day < until:
        first_of_next = date(day.year + day.month // 12, day.month % 12 + 1, 1)
        end = min(until, first_of_next)
        days_of_month[day.year, day.month] = (end - day).days
        day = end
    return sum(
        (
            monthly_share[month - 1] * days / monthrange(year, month)[1]
            for (year, month), days in days_of_month.items()
        ),
        Decimal(0),
    )


def not_negative(name: str, value: object) -> None:
    """Raises GuaranteeError for anything but a decimal of at least 0."""
    if not isinstance(value, Decimal) or not value.is_finite() or value < 0:
        raise GuaranteeError(f"{name}: expected a decimal of at least 0, got {value}")


def above_zero(name: str, value: object) -> None:
    """Raises GuaranteeError for anything but a decimal above 0."""
    if not isinstance(value, Decimal) or not value.is_finite() or value <= 0:
        raise GuaranteeError(f"{name}: expected a decimal above 0, got {value}")


def check_code(name: str, value: str) -> None:
    """Raises GuaranteeError for a text that is more than a short code."""
    if not _CODE.fullmatch(value):
        raise GuaranteeError(f"{name}: expected a code of letters and digits, got {value!r}")


def _register(register_wh: float | None) -> Decimal | None:
    return None if register_wh is None else kwh(register_wh)


def _keep_in_utc(name: str, part: Measured | Uncovered | Credit) -> None:
    # Python subtracts and compares times of one zone by the clock on the wall, and JSON knows
    # offsets only: in UTC a settlement read back is the one that was written.
    _check_span(name, part.from_at, part.to_at)
    for field in ("from_at", "to_at"):
        msgspec.structs.force_setattr(part, field, getattr(part, field).astimezone(UTC))


def _check_span(name: str, from_at: datetime, to_at: datetime) -> None:
    if from_at.tzinfo is None or to_at.tzinfo is None:
        raise GuaranteeError(f"{name}: from {from_at} to {to_at} has no time zone")
    if to_at.astimezone(UTC) - from_at.astimezone(UTC) <= timedelta(0):
        raise GuaranteeError(f"{name}: ends at {to_at}, not after {from_at}")


def _check_apart(name: str, parts: Sequence[tuple[datetime, datetime]]) -> None:
    for (_, end), (start, _) in pairwise(sorted(parts)):
        if start < end:
            raise GuaranteeError(f"{name} overlaps at {start.isoformat()}")
