"""What was agreed in a guarantee, and how much energy does it promise for a year?

Every default of a contract is an assumption; docs/guarantee.md says where it is from, and a test
compares it with `Contract`.

Source: reference document, sections 3.2 and 8.2.
"""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from autarco_portal.guarantee_evidence import (
    GuaranteeError,
    above_zero,
    check_code,
    not_negative,
)

EXACT = Context(prec=34, rounding=ROUND_HALF_UP)
"""Digits enough that only the last step rounds; our own, whatever the program around uses."""
DEADLINE_CAUSE = "alarm_not_acted_on"
"""The cause that counts only after the contract's deadline."""


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was agreed. Every default is an assumption; docs/guarantee.md says where it is from."""

    contract_id: Annotated[str, Meta(description="Identifies the contract; no name.")]
    site_id: Annotated[str, Meta(description="The site it is about.")]
    terms_version: Annotated[str, Meta(description="Which text of the terms was agreed.")]
    starts_on: Annotated[date, Meta(description="First local day of year 1.")]
    term_years: Annotated[int, Meta(description="Years the guarantee lasts.")]
    p50_kwh: Annotated[Decimal, Meta(description="Expected energy of year 1, in kWh.")]
    price_eur_per_kwh: Annotated[Decimal, Meta(description="What a missed kWh is worth.")]
    time_zone: Annotated[str, Meta(description="Zone of the local days.")] = "Europe/Amsterdam"
    fraction: Annotated[Decimal, Meta(description="Guaranteed share of expected energy.")] = (
        Decimal("0.90")
    )
    degradation: Annotated[Decimal, Meta(description="Share lost per year of age.")] = Decimal(
        "0.005"
    )
    degradation_kind: Annotated[
        Literal["geometric", "linear"],
        Meta(description="Whether each year loses of what is left, or of year 1."),
    ] = "geometric"
    settlement: Annotated[
        Literal["annual", "block", "carry_over"],
        Meta(description="Each year alone, several at once, or each with a buffer of surplus."),
    ] = "annual"
    block_years: Annotated[int, Meta(description="Years of a block.")] = 5
    weather: Annotated[
        Literal["absolute", "normalised"],
        Meta(description="Whether the guaranteed energy follows the year's weather."),
    ] = "absolute"
    coverage_min: Annotated[
        Decimal, Meta(description="Energy-weighted coverage below which a person must look.")
    ] = Decimal("0.90")
    uncovered: Annotated[
        Literal["estimate", "prorate"],
        Meta(description="What becomes of time no counter tells of."),
    ] = "estimate"
    uncovered_below_min: Annotated[
        Literal["estimate", "prorate"],
        Meta(description="The same, below coverage_min."),
    ] = "prorate"
    estimate_share_max: Annotated[
        Decimal, Meta(description="Most of a year's expected energy that may be estimated.")
    ] = Decimal("0.10")
    response_deadline_days: Annotated[
        int, Meta(description="Days the owner has to act on an alarm.")
    ] = 30
    exclusions: Annotated[
        tuple[str, ...], Meta(description="Causes whose lost energy is credited.")
    ] = ("curtailment", "grid_outage", "owner_switch_off", DEADLINE_CAUSE)
    deductible_kwh: Annotated[
        Decimal, Meta(description="Energy per year that is never paid, in kWh.")
    ] = Decimal(0)
    threshold_share: Annotated[
        Decimal,
        Meta(description="Share of guaranteed energy up to which a shortfall is not paid."),
    ] = Decimal(0)

    def __post_init__(self) -> None:
        """Raises GuaranteeError for what nobody can agree on."""
        for name in ("contract_id", "site_id", "terms_version"):
            check_code(name, getattr(self, name))
        for cause in self.exclusions:
            check_code("exclusions", cause)
        above_zero("p50_kwh", self.p50_kwh)
        not_negative("price_eur_per_kwh", self.price_eur_per_kwh)
        above_zero("fraction", self.fraction)
        not_negative("deductible_kwh", self.deductible_kwh)
        for name in ("degradation", "coverage_min", "estimate_share_max", "threshold_share"):
            value = getattr(self, name)
            not_negative(name, value)
            if value > 1:
                raise GuaranteeError(f"{name}: expected a share of at most 1, got {value}")
        if self.term_years < 1 or self.block_years < 1 or self.response_deadline_days < 0:
            raise GuaranteeError(
                "term_years and block_years are at least 1, response_deadline_days at least 0"
            )
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError) as error:
            raise GuaranteeError(f"no time zone {self.time_zone!r}") from error


def year_span(contract: Contract, year: int) -> tuple[datetime, datetime]:
    """Returns when a contract year begins and ends: two local midnights.

    A contract of 29 February has its anniversaries on 1 March. Raises GuaranteeError for a year
    outside the term.
    """
    zone = ZoneInfo(contract.time_zone)
    begins, ends = (
        datetime.combine(day, time(), zone)
        for day in (anniversary(contract, year), anniversary(contract, year + 1))
    )
    return begins, ends


def expected_kwh(contract: Contract, year: int) -> Decimal:
    """Returns the expected energy of a contract year, counted from 1: P50 after degradation."""
    with localcontext(EXACT):
        if contract.degradation_kind == "geometric":
            return contract.p50_kwh * (1 - contract.degradation) ** (year - 1)
        return contract.p50_kwh * max(Decimal(0), 1 - contract.degradation * (year - 1))


def guaranteed_kwh(contract: Contract, year: int) -> Decimal:
    """Returns the guaranteed energy of a contract year, before weather and coverage."""
    with localcontext(EXACT):
        return expected_kwh(contract, year) * contract.fraction


def anniversary(contract: Contract, year: int) -> date:
    """Returns the first local day of a contract year; of 29 February it may be 1 March."""
    start = contract.starts_on
    try:
        return start.replace(year=start.year + year - 1)
    except ValueError:
        return date(start.year + year - 1, 3, 1)
