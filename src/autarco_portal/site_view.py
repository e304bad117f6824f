"""What does a site look like now: power, energy of today, this month and ever, flows, silences?

The numbers that programs poll and pages show, from the records of a site's inverters. They are
whole watts and kilowatt-hours, and they add up: each is the difference of two whole counters, so
that the days of a month sum to the month, today's bar is today's number, and no total falls. Pure.

A quarter that nobody measured is None, not zero. When clocks go back, two quarters have one name
on the wall: their power is averaged, their energy summed.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from autarco_portal.energy import midnights
from autarco_portal.inverter_record import FAULT
from autarco_portal.quarters import FLOWS, QUARTER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from autarco_portal.counter import Floats, Instants
    from autarco_portal.inverter_record import InverterRecord

Health: TypeAlias = Literal["OK", "ERROR", "OFFLINE"]
"""OFFLINE is one that nothing was heard of for a day; ERROR one that reports a fault."""

OFFLINE_US = 86_400_000_000
_QUARTER_US = QUARTER_S * 1_000_000
_PERCENT = 100


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Whole kWh."""

    today: int = 0
    month: int = 0
    to_date: int = 0


class InverterView(msgspec.Struct, frozen=True, kw_only=True):
    """One inverter now."""

    serial_number: str
    at: datetime | None
    """UTC of its newest reading."""
    power: int
    """W; 0 when it is silent or asleep."""
    energy_total: int
    """kWh of its counter; never falls."""
    grid_is_off: bool
    health: Health
    error: str | None
    days: dict[date, int | None]
    """kWh of each day of the month so far; None where the counter tells nothing."""


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody of the site was heard: site-local wall-clock times, `end` None while it lasts."""

    start: datetime
    end: datetime | None


class SiteView(msgspec.Struct, frozen=True, kw_only=True):
    """One site now; powers in W, energies in kWh."""

    now: datetime
    today: date
    inverters: tuple[InverterView, ...]
    pv_now: int
    pv: Sums
    consumption_now: int
    consumption: Sums
    grid_now: int
    """Positive is import."""
    grid_import: Sums
    grid_export: Sums
    battery_now: int
    """Positive is charging."""
    battery_soc: int
    battery_charged: Sums
    battery_discharged: Sums
    has_meter: bool
    has_battery: bool
    health: Health

    @property
    def self_consumption(self) -> Sums:
        """Percent of what was made that was used here; now, as `today`."""
        return _shares(self.pv, self.grid_export)

    @property
    def self_sufficiency(self) -> Sums:
        """Percent of what was used that was made here."""
        return _shares(self.consumption, self.grid_import)


def site_view(inverters: Sequence[InverterRecord], *, now: datetime, time_zone: str) -> SiteView:
    """Returns the site at `now`, an aware time."""
    now_us = _us(now)
    today = now.astimezone(ZoneInfo(time_zone)).date()
    first = today.replace(day=1)
    # Midnights of the month so far, and now instead of tonight's.
    edges = midnights(first, today, time_zone)
    edges[-1] = now_us
    views, made, base = [], np.zeros(len(edges)), 0
    for record in inverters:
        counter = record.counter()
        first_wh = record.first_wh(counter)
        register = np.floor((first_wh + record.made(counter, edges)) / 1_000)
        known = _known_days(record, edges)
        views.append(
            InverterView(
                serial_number=record.serial_number,
                at=_moment(record.latest.at_us) if record.latest is not None else None,
                power=_live(record, "ac_power", now_us),
                energy_total=int(register[-1]),
                grid_is_off=record.grid_is_off(now_us),
                health=_health(record, now_us),
                error=_error(record, now_us),
                days={
                    first + timedelta(days=n): int(kwh) if known[n] else None
                    for n, kwh in enumerate(np.diff(register))
                },
            )
        )
        made += register
        base += int(first_wh / 1_000) if record.is_replacement else 0
    flows = _Flows(inverters, first, today)
    pv = Sums(
        today=int(made[-1] - made[-2]),
        month=int(made[-1] - made[0]),
        to_date=int(made[-1]) - base,
    )
    battery_now = sum(_live(record, "battery_power", now_us) for record in inverters)
    grid_now = next(
        (_live(r, "grid_power", now_us) for r in inverters if _is_live(r, "grid_power", now_us)), 0
    )
    pv_now = sum(view.power for view in views)
    consumption = flows.sums("consumption_wh")
    if flows.has_grid and not flows.has_load:
        consumption = Sums(
            today=max(0, flows.balance(pv, "today")),
            month=max(0, flows.balance(pv, "month")),
            to_date=max(0, flows.balance(pv, "to_date") - _made_elsewhere(inverters)),
        )
    return SiteView(
        now=now,
        today=today,
        inverters=tuple(views),
        pv_now=pv_now,
        pv=pv,
        consumption_now=_consumption_now(inverters, pv_now, grid_now, battery_now, now_us),
        consumption=consumption,
        grid_now=grid_now,
        grid_import=flows.sums("import_wh"),
        grid_export=flows.sums("export_wh"),
        battery_now=battery_now,
        battery_soc=_soc(inverters),
        battery_charged=flows.sums("charged_wh"),
        battery_discharged=flows.sums("discharged_wh"),
        has_meter=flows.has_grid or flows.has_load,
        has_battery=any(_shown(record, "battery_soc_pct") is not None for record in inverters),
        health=max((view.health for view in views), key=_SEVERITY.__getitem__, default="OK"),
    )


def power_by_quarter(
    quarters: Iterable[tuple[Instants, Floats]],
    *,
    first: date,
    last: date,
    time_zone: str,
    minutes: int = 15,
) -> list[dict[datetime, int | None]]:
    """Returns W by site-local wall-clock time for each series, from the first to the last known.

    All have the same keys: from the first quarter in which any was measured to the last one, on the
    local days `first` to `last`. `minutes` is 15 or a multiple that divides an hour.
    """
    edges = midnights(first, last, time_zone)
    inside = []
    for at_us, watts in quarters:
        here = (at_us >= edges[0]) & (at_us < edges[-1]) & np.isfinite(watts)
        inside.append((at_us[here], watts[here]))
    known = [at_us for at_us, _ in inside if len(at_us)]
    if not known:
        return [{} for _ in inside]
    step_us = minutes * 60_000_000
    begin = min(int(at_us[0]) for at_us in known) // step_us * step_us
    end = max(int(at_us[-1]) for at_us in known)
    zone = ZoneInfo(time_zone)
    names = [_wall(at, zone) for at in range(begin, end + 1, step_us)]
    result = []
    for at_us, watts in inside:
        place = (at_us - begin) // step_us
        count = np.bincount(place, minlength=len(names))
        total = np.bincount(place, weights=watts, minlength=len(names))
        sums: dict[datetime, tuple[float, int]] = {}
        for n, name in enumerate(names):
            before = sums.get(name, (0.0, 0))
            sums[name] = (before[0] + float(total[n]), before[1] + int(count[n]))
        result.append({at: round(w / n) if n else None for at, (w, n) in sums.items()})
    return result


def silences(
    heard_us: Iterable[Instants],
    *,
    begin_us: int,
    now_us: int,
    time_zone: str,
    is_day: Callable[[Instants], Sequence[bool]],
) -> tuple[Silence, ...]:
    """Returns spans of quarters after `begin_us` in which no inverter of a site was heard.

    `heard_us` are the quarters with readings, by inverter; `is_day` says of quarters whether the
    sun is up. Silence in the dark is sleep, not a fault: only a span with a quarter of day in it
    counts. What lasts until now has no end. Before the first reading of all there is no silence.
    """
    parts = list(heard_us)
    heard = np.unique(np.concatenate(parts)) if parts else np.array([], dtype=np.int64)
    heard = heard[(heard >= begin_us - _QUARTER_US) & (heard <= now_us)]
    if not len(heard):
        return ()
    zone = ZoneInfo(time_zone)
    # The quarter that is running may still be heard.
    running = now_us // _QUARTER_US * _QUARTER_US
    edges = np.append(heard, max(running, int(heard[-1]) + _QUARTER_US))
    found = []
    for before, after in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        silent = np.arange(before + _QUARTER_US, after, _QUARTER_US)
        if len(silent) and any(is_day(silent)):
            lasts = after == edges[-1] and after > heard[-1]
            end = None if lasts else _wall(after, zone)
            found.append(Silence(start=_wall(int(silent[0]), zone), end=end))
    return tuple(found)


class _Flows:
    """What flowed through meter and battery, added up over a site's inverters.

    A house has one grid connection: of several inverters that measure it, the one with most days
    counts.
    """

    def __init__(self, inverters: Sequence[InverterRecord], first: date, today: date) -> None:
        self.parts: dict[str, list[tuple[Floats, Instants, float]]] = {}
        for place, name in enumerate(FLOWS):
            found = []
            for record in inverters:
                wh = record.days.flows_wh[place]
                before = record.anchor.flows_wh[place] if record.anchor is not None else 0.0
                if np.isfinite(wh).any() or before:
                    found.append((np.nan_to_num(wh), record.days.ordinal, before))
            if name in {"consumption_wh", "import_wh", "export_wh"}:
                found = sorted(found, key=lambda part: len(part[0]))[-1:]
            self.parts[name] = found
        self.first, self.today = first.toordinal(), today.toordinal()

    @property
    def has_load(self) -> bool:
        return bool(self.parts["consumption_wh"])

    @property
    def has_grid(self) -> bool:
        return bool(self.parts["import_wh"])

    def sums(self, name: str) -> Sums:
        until = [0, 0, 0]
        for wh, ordinal, before in self.parts[name]:
            for n, limit in enumerate((self.first, self.today, self.today + 1)):
                until[n] += int((before + float(wh[ordinal < limit].sum())) / 1_000)
        return Sums(today=until[2] - until[1], month=until[2] - until[0], to_date=until[2])

    def balance(self, pv: Sums, span: Literal["today", "month", "to_date"]) -> int:
        """What the house used: made and drawn, less what was fed in and stored, in kWh."""
        value: int = getattr(pv, span)
        for name, sign in (
            ("import_wh", 1), ("export_wh", -1), ("charged_wh", -1), ("discharged_wh", 1),
        ):  # fmt: skip
            value += sign * int(getattr(self.sums(name), span))
        return value


_SEVERITY: dict[Health, int] = {"OK": 0, "OFFLINE": 1, "ERROR": 2}


def _made_elsewhere(inverters: Sequence[InverterRecord]) -> int:
    """kWh on the counters before anything was measured here: nobody knows who used them."""
    return sum(
        int(record.first_wh(record.counter()) / 1_000)
        for record in inverters
        if not record.is_replacement
    )


def _known_days(record: InverterRecord, edges: Instants) -> list[bool]:
    """Whether a sample of the counter, or a gap on one counter, tells of each day."""
    at = np.concatenate((record.days.sample_at_us, record.quarters.counter_at_us))
    if not len(at):
        return [False] * (len(edges) - 1)
    known = np.histogram(at, bins=edges)[0] > 0
    return [bool(value) for value in known]


def _consumption_now(
    inverters: Sequence[InverterRecord], pv: int, grid: int, battery: int, now_us: int
) -> int:
    loads = [_live(r, "load_power", now_us) for r in inverters if _is_live(r, "load_power", now_us)]
    if loads:
        return max(loads)
    if any(_is_live(record, "grid_power", now_us) for record in inverters):
        return max(0, pv + grid - battery)
    return 0


def _is_live(record: InverterRecord, name: str, now_us: int) -> bool:
    return record.is_live(now_us) and getattr(record.latest, name, None) is not None


def _live(record: InverterRecord, name: str, now_us: int) -> int:
    value = getattr(record.latest, name, None) if record.is_live(now_us) else None
    return round(value) if value is not None else 0


def _soc(inverters: Sequence[InverterRecord]) -> int:
    shown = [_shown(record, "battery_soc_pct") for record in inverters]
    known = [value for value in shown if value is not None]
    return round(sum(known) / len(known)) if known else 0


def _shown(record: InverterRecord, name: str) -> float | None:
    """The last known value, however old."""
    value: float | None = getattr(record.latest, name, None)
    if value is None:
        known = record.quarters.values[name]
        known = known[np.isfinite(known)]
        value = float(known[-1]) if len(known) else None
    return value


def _health(record: InverterRecord, now_us: int) -> Health:
    at_us = record.latest.at_us if record.latest is not None else None
    if record.is_gone:
        return "OK"
    if at_us is None or now_us - at_us > OFFLINE_US:
        return "OFFLINE"
    return "ERROR" if _error(record, now_us) is not None else "OK"


def _error(record: InverterRecord, now_us: int) -> str | None:
    found = record.latest
    if found is None or found.status != FAULT or not record.is_live(now_us):
        return None
    return f"fault {found.fault_vendor or 'without a code'}"


def _shares(whole: Sums, elsewhere: Sums) -> Sums:
    def share(of: int, away: int) -> int:
        return min(_PERCENT, max(0, round(_PERCENT * (of - away) / of))) if of > 0 else 0

    return Sums(
        today=share(whole.today, elsewhere.today),
        month=share(whole.month, elsewhere.month),
        to_date=share(whole.to_date, elsewhere.to_date),
    )


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def _moment(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC)


def _wall(at_us: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at_us // 1_000_000, zone).replace(tzinfo=None, fold=0)
