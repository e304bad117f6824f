"""What do a site's readings prove of a guarantee year?

From samples of the counters, the model and the incidents to `YearEvidence`, with the tables that
go to an insurer. What follows from it is `guarantee`'s business.

Pure: values in, values out.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl

from autarco_portal import energy, guarantee_evidence
from autarco_portal.claim_file import Month, WeatherFile
from autarco_portal.counter import AGREEING, Counter, clean_counter, instant, samples
from autarco_portal.energy import DayEnergy, Expected, Span
from autarco_portal.guarantee_contract import anniversary, year_span
from autarco_portal.guarantee_evidence import Uncovered, YearEvidence
from autarco_portal.settle_credits import credits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from autarco_portal.guarantee_contract import Contract
    from autarco_portal.guarantee_terms import Guarantee
    from autarco_portal.incidents import Incident
    from autarco_portal.settle_model import Modelled
    from autarco_portal.site import Inverter, Site

READINGS_BEFORE = timedelta(days=60)
"""Of readings before the year: its first border may lie in a gap, and an estimate needs an index
of so many days."""
READINGS_AFTER = timedelta(days=60)
"""Of readings after it, of which the first few of each inverter count."""
SHARED_UNSEEN_US = 86_400_000_000
"""A gap over the year's border that is no longer may be shared out by the clear sky."""
COLUMNS = ("inverter_sn", "ts", "energy_total_wh")
"""Of the readings: what a settlement looks at."""

_KWH = Decimal("0.001")
_SHARE = Decimal("0.0001")


class SettleError(ValueError):
    """The year cannot be settled as things are; the message is one sentence."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One year's evidence, and what stands behind it."""

    evidence: YearEvidence
    counters: pa.Table
    """The samples that count, `COLUMNS`, each once, by inverter and time."""
    months: tuple[Month, ...]
    weather: tuple[WeatherFile, ...]
    incidents: tuple[Incident, ...]


def counted(readings: pa.Table, site: Site, contract: Contract, year: int) -> pa.Table:
    """Returns the samples of the site's counters that a year's settlement looks at.

    From 60 days before the year to the first few after it: what comes later changes nothing. Each
    sample once: sticks send again, and compaction removes that at some time.
    """
    begins, ends = _span(contract, year)
    serials = sorted({inverter.serial_number for inverter in site.inverters})
    rows: pl.DataFrame = pl.from_arrow(readings.select(COLUMNS))  # type: ignore[assignment]
    mine = rows.filter(
        pl.col("inverter_sn").is_in(serials),
        pl.col("energy_total_wh").is_not_null(),
        pl.col("ts") >= begins - READINGS_BEFORE,
        pl.col("ts") < ends + READINGS_AFTER,
    )
    # As numbers of a list, serial numbers sort ten times as fast.
    mine = mine.with_columns(pl.col("inverter_sn").cast(pl.Enum(serials))).sort(COLUMNS)
    twice = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in COLUMNS)
    # After the year as many as it takes to believe the first of them.
    after = pl.col("ts").ge(ends).cum_sum().over("inverter_sn")
    once = mine.filter(~twice.fill_null(value=False)).filter(after <= AGREEING + 1)
    return once.with_columns(pl.col("inverter_sn").cast(pl.String)).to_arrow()


def prepare(
    guaranteed: Guarantee,
    year: int,
    site: Site,
    readings: pa.Table,
    model: Modelled,
    *,
    monthly_share: Sequence[Decimal] = (),
    incidents: Sequence[Incident] = (),
    weather_index: Decimal | None = None,
) -> Prepared:
    """Returns the evidence of a contract year.

    `readings` has at least `COLUMNS`; `model` covers the year, 60 days before it and some after.
    `monthly_share` stands in for the contract's. Raises SettleError where something is missing that
    cannot be left out, and GuaranteeError or EnergyError for values that cannot be.
    """
    contract = guaranteed.contract
    begins, ends = _span(contract, year)
    _check_site(contract, year, site)
    rows = counted(readings, site, contract, year)
    counters = [_counter(rows, inverter) for inverter in site.inverters]
    if not any(np.any(_inside(found, begins, ends)) for found in counters):
        raise SettleError(
            f"no reading of {', '.join(_serials(site))} from {anniversary(contract, year)} to "
            f"before {anniversary(contract, year + 1)} has a counter: was the lake of that year "
            "kept elsewhere?"
        )
    expected = _expected(model)
    spans: list[Span] = []
    for found in counters:
        _check_borders(found, (begins, ends), model, ZoneInfo(contract.time_zone))
        spans += energy.spans(found, begins, ends, expected=expected)
    days = _days(counters, site, begins, ends, contract.time_zone)
    expected_kwh = model.daily_kwh(contract.time_zone)
    uncovered = _uncovered(
        spans, site, begins, ends, guaranteed.monthly_share or monthly_share, contract, model, days,
        expected_kwh,
    )  # fmt: skip
    mine = [one for one in incidents if one.site_id == site.site_id and _touches(one, begins, ends)]
    agreed = [one for one in guaranteed.credits if one.from_at < ends and one.to_at > begins]
    evidence = YearEvidence(
        year=year,
        measured=guarantee_evidence.measured(spans),
        uncovered=uncovered,
        credits=tuple(
            sorted((*agreed, *credits(mine, contract, begins, ends)), key=lambda c: c.from_at)
        ),
        weather_index=weather_index,
        weather_source=model.weather_source,
    )
    return Prepared(
        evidence=evidence,
        counters=rows,
        months=_months(days, expected_kwh, anniversary(contract, year)),
        weather=model.files,
        incidents=tuple(mine),
    )


def _check_site(contract: Contract, year: int, site: Site) -> None:
    begins, ends = _span(contract, year)
    if site.site_id != contract.site_id:
        raise SettleError(
            f"contract {contract.contract_id} is about site {contract.site_id}, not {site.site_id}"
        )
    there = [
        one
        for one in site.inverters
        if one.installed_at < ends and (one.uninstalled_at is None or one.uninstalled_at > begins)
    ]
    if not there:
        raise SettleError(
            f"site {site.site_id} had no inverter from {anniversary(contract, year)} to before "
            f"{anniversary(contract, year + 1)}: enter it with the day it was installed"
        )


def _span(contract: Contract, year: int) -> tuple[datetime, datetime]:
    """In UTC: Python subtracts times of one zone by the clock on the wall."""
    begins, ends = year_span(contract, year)
    return begins.astimezone(UTC), ends.astimezone(UTC)


def _serials(site: Site) -> list[str]:
    return sorted({inverter.serial_number for inverter in site.inverters})


def _counter(rows: pa.Table, inverter: Inverter) -> Counter:
    at_us, total = samples(rows, inverter)
    return clean_counter(at_us, total, serial_number=inverter.serial_number, pac0=inverter.pac0)


def _inside(found: Counter, begins: datetime, ends: datetime) -> np.ndarray:
    return (found.at_us >= instant(begins)) & (found.at_us < instant(ends))


def _expected(model: Modelled) -> Expected:
    """Energy to share gaps out by; where the weather is not known, that of the clear sky."""
    known = np.isfinite(model.energy_wh)
    return Expected(
        edges_us=model.edges_us, energy_wh=np.where(known, model.energy_wh, model.clearsky_wh)
    )


def _check_borders(
    found: Counter, borders: Sequence[datetime], model: Modelled, zone: ZoneInfo
) -> None:
    """Raises SettleError where a long gap over a border can only be shared out by guessing."""
    for border in borders:
        after = int(np.searchsorted(found.at_us, instant(border), side="right"))
        if not 0 < after < len(found.at_us):
            continue
        start, end = int(found.at_us[after - 1]), int(found.at_us[after])
        if start == instant(border) or found.made_wh[after] == found.made_wh[after - 1]:
            continue
        if end - start > SHARED_UNSEEN_US and not model.known(
            start, -(-end // 3_600_000_000) * 3_600_000_000
        ):
            days = (end - start) / 86_400_000_000
            raise SettleError(
                f"the counter of {found.serial_number} is silent for {days:.1f} days around "
                f"{border.astimezone(zone):%Y-%m-%d}, and without the weather of those days nobody "
                "can say how much of it belongs to the year: import it with import-weather"
            )


def _days(
    counters: Sequence[Counter],
    site: Site,
    begins: datetime,
    ends: datetime,
    time_zone: str,
) -> tuple[DayEnergy, ...]:
    """The site's local days of the year and of the 60 before, which the index is made of.

    Gaps over midnight are shared out by time here: months and the index are sums of days.
    """
    zone = ZoneInfo(time_zone)
    first = (begins - READINGS_BEFORE).astimezone(zone).date()
    last = ends.astimezone(zone).date() - timedelta(days=1)
    parts = [
        (inverter.pac0, energy.daily_energy(found, first, last, time_zone=time_zone))
        for inverter, found in zip(site.inverters, counters, strict=True)
    ]
    return energy.site_days(parts, pac0=site.pac0)


def _uncovered(
    spans: Sequence[Span],
    site: Site,
    begins: datetime,
    ends: datetime,
    shares: Sequence[Decimal],
    contract: Contract,
    model: Modelled,
    days: Sequence[DayEnergy],
    expected_kwh: Mapping[date, float],
) -> tuple[Uncovered, ...]:
    """Time no counter tells of, each with what the model says of it and the index before it."""
    even = shares or [Decimal(1) / 12] * 12
    zone = ZoneInfo(contract.time_zone)
    found = guarantee_evidence.uncovered(
        spans, site.inverters, begins, ends, monthly_share=even, time_zone=contract.time_zone
    )
    if found and not shares:
        raise SettleError(
            f"no counter tells of the time from {found[0].from_at.astimezone(zone):%Y-%m-%d} to "
            f"{found[0].to_at.astimezone(zone):%Y-%m-%d}, and what such time is worth is not "
            "known: give the contract its monthly_share, or import the weather of two whole years"
        )
    result = []
    for part in found:
        index = energy.trailing_index(days, expected_kwh, part.from_at.astimezone(zone).date())
        whole = guarantee_evidence.energy_weight(
            shares, part.from_at, part.to_at, time_zone=contract.time_zone
        )
        modelled_wh = model.made_wh(instant(part.from_at), instant(part.to_at))
        missing = float(part.weight / whole)
        result.append(
            msgspec.structs.replace(
                part,
                performance_index=None if index is None else _decimal(index, _SHARE),
                expected_kwh=(
                    _decimal(modelled_wh * missing / 1_000, _KWH)
                    if np.isfinite(modelled_wh)
                    else None
                ),
            )
        )
    return tuple(result)


def _months(
    days: Sequence[DayEnergy],
    expected_kwh: Mapping[date, float],
    first: date,
) -> tuple[Month, ...]:
    """Calendar months of the days from `first` on; at the year's ends they may be parts of one."""
    result = []
    inside = [day for day in days if day.day >= first]
    for month in sorted({day.day.replace(day=1) for day in inside}):
        here = [day for day in inside if day.day.replace(day=1) == month]
        expected = [expected_kwh.get(day.day) for day in here]
        known = [kwh for kwh in expected if kwh is not None]
        is_whole = len(known) == len(here)
        result.append(
            Month(
                month=month,
                energy_kwh=_decimal(sum(day.energy_kwh or 0.0 for day in here), _KWH),
                # Of a month without all of its weather there is no figure to compare with.
                expected_kwh=_decimal(sum(known), _KWH) if is_whole else Decimal(0),
                coverage=_decimal(sum(day.coverage for day in here) / len(here), _SHARE),
            )
        )
    return tuple(result)


def _decimal(value: float, step: Decimal) -> Decimal:
    return Decimal(str(value)).quantize(step)


def _touches(incident: Incident, begins: datetime, ends: datetime) -> bool:
    return incident.opened_at < ends and (incident.closed_at is None or incident.closed_at > begins)
