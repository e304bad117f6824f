"""Was a guarantee kept in a year, and what is owed?

The rules that turn a contract (`guarantee_contract`) and the evidence of its years
(`guarantee_evidence`) into settlements. A settlement is a document: it holds all inputs and every
step, so that anybody can do it again (`recompute`), and never changes; who decides otherwise writes
a `Decision` beside it. Nothing is rounded before the end. docs/guarantee.md explains the rules.

Source: reference document, sections 3.2, 3.3 and 8.2.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import msgspec

from autarco_portal.guarantee_contract import (
    DEADLINE_CAUSE,
    EXACT,
    Contract,
    anniversary,
    expected_kwh,
    year_span,
)
from autarco_portal.guarantee_evidence import (
    Credit,
    GuaranteeError,
    Measured,
    Uncovered,
    YearEvidence,
    check_code,
    not_negative,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODEL_VERSION = "guarantee-1"

_CENT = Decimal("0.01")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_NOBODY_TELLS = -1


class CountedCredit(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a credit counts, and if not all, why."""

    credit: Credit
    counted_kwh: Decimal
    reason: Literal["counted", "overlaps", "not_excluded", "before_deadline"]


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """One year by itself, in exact numbers: what was promised and what counts towards it."""

    evidence: YearEvidence
    starts_on: date
    ends_before: date
    expected_kwh: Decimal
    """P50 after degradation."""
    weather_index: Decimal
    coverage: Decimal
    treatment: Literal["none", "estimate", "prorate"]
    guaranteed_kwh: Decimal
    """After weather and coverage."""
    measured_kwh: Decimal
    estimates_kwh: tuple[Decimal, ...]
    """Of each uncovered time, before the cap."""
    estimate_max_kwh: Decimal
    estimated_kwh: Decimal
    credits: tuple[CountedCredit, ...]
    excluded_kwh: Decimal
    reasons: tuple[str, ...]
    """Why a person must look."""

    @property
    def assessed_kwh(self) -> Decimal:
        """What counts towards the guaranteed energy."""
        return self.measured_kwh + self.estimated_kwh + self.excluded_kwh

    @property
    def surplus_kwh(self) -> Decimal:
        """Energy above the guaranteed; what was not made is no surplus, so without credits."""
        return max(Decimal(0), self.measured_kwh + self.estimated_kwh - self.guaranteed_kwh)


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What one period of a contract owes, with everything it follows from."""

    contract: Contract
    years: tuple[Assessment, ...]
    buffer_before_kwh: Decimal
    buffer_after_kwh: Decimal
    guaranteed_kwh: Decimal
    assessed_kwh: Decimal
    shortfall_kwh: Decimal
    """Below the guaranteed, to 0.01."""
    compensated_kwh: Decimal
    """Of it paid, after buffer, threshold and deductible, to 0.01."""
    compensation_eur: Decimal
    """To the cent, from exact energy."""
    status: Literal["settled", "review"]
    reasons: tuple[str, ...]
    method: str
    model_version: str
    code_version: str
    input_sha256: dict[str, str]
    """Hashes of what the evidence was made of, by name."""


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word over a settlement's amount; the settlement stays as it is."""

    settlement_sha256: str
    compensation_eur: Decimal
    reason: str
    decided_by: str
    """An account's identifier, no name."""
    decided_at: datetime


def assess_year(contract: Contract, evidence: YearEvidence) -> Assessment:
    """Returns what was promised for a year and what counts towards it.

    Raises GuaranteeError for evidence outside the year, a missing weather index, and time that
    should be estimated but has no performance index.
    """
    if not 1 <= evidence.year <= contract.term_years:
        raise GuaranteeError(f"year {evidence.year}: the term has years 1 to {contract.term_years}")
    _check_inside(contract, evidence)
    with localcontext(EXACT):
        expected = expected_kwh(contract, evidence.year)
        index = _weather_index(contract, evidence)
        coverage = 1 - sum((part.weight for part in evidence.uncovered), Decimal(0))
        is_enough = coverage >= contract.coverage_min
        reasons = () if is_enough else ("coverage_below_minimum",)
        treatment = contract.uncovered if is_enough else contract.uncovered_below_min
        guaranteed = expected * contract.fraction * index
        estimates: tuple[Decimal, ...] = ()
        if treatment == "prorate":
            guaranteed *= coverage
        else:
            estimates = tuple(_estimate(part, expected) for part in evidence.uncovered)
        estimated, most = sum(estimates, Decimal(0)), expected * contract.estimate_share_max
        if estimated > most:
            estimated, reasons = most, (*reasons, "estimates_capped")
        credits = _counted(contract, evidence)
        return Assessment(
            evidence=evidence,
            starts_on=anniversary(contract, evidence.year),
            ends_before=anniversary(contract, evidence.year + 1),
            expected_kwh=expected,
            weather_index=index,
            coverage=coverage,
            treatment=treatment if evidence.uncovered else "none",
            guaranteed_kwh=guaranteed,
            measured_kwh=sum((part.energy_kwh for part in evidence.measured), Decimal(0)),
            estimates_kwh=estimates,
            estimate_max_kwh=most,
            estimated_kwh=estimated,
            credits=credits,
            excluded_kwh=sum((part.counted_kwh for part in credits), Decimal(0)),
            reasons=reasons,
        )


def settle_year(
    contract: Contract,
    evidence: YearEvidence,
    *,
    code_version: str,
    input_sha256: Mapping[str, str],
    buffer_kwh: Decimal = Decimal(0),
) -> Settlement:
    """Returns the settlement of one year of an annual or carry-over contract.

    `buffer_kwh` is what the years before left in the buffer. `code_version` says which release of
    the program did it; `input_sha256` names the hashes of what the evidence was made of.
    """
    if contract.settlement == "block":
        raise GuaranteeError(
            f"the contract settles {contract.block_years} years at once: give them to settle_term"
        )
    if contract.settlement == "annual" and buffer_kwh:
        raise GuaranteeError("the contract settles each year alone and has no buffer")
    return _settle(contract, [evidence], buffer_kwh, code_version, input_sha256)


def settle_years(
    contract: Contract,
    evidence: Sequence[YearEvidence],
    *,
    code_version: str,
    input_sha256: Mapping[str, str],
    buffer_kwh: Decimal = Decimal(0),
) -> Settlement:
    """Returns the settlement of one period by itself: a year, or the years of one block.

    Which years make a block is said by `period`; `buffer_kwh` as for `settle_year`. Raises
    GuaranteeError for other years.
    """
    years = [part.year for part in evidence]
    if not years or years != list(period(contract, years[0])):
        raise GuaranteeError(f"years {years} are no period of contract {contract.contract_id}")
    if contract.settlement != "carry_over" and buffer_kwh:
        raise GuaranteeError("only a contract that carries over has a buffer")
    return _settle(contract, evidence, buffer_kwh, code_version, input_sha256)


def period(contract: Contract, year: int) -> range:
    """Returns the contract years that are settled together with a year.

    Of a block contract those of its block, whose last one may be shorter; else the year alone.
    """
    if contract.settlement != "block":
        return range(year, year + 1)
    first = (year - 1) // contract.block_years * contract.block_years + 1
    return range(first, min(first + contract.block_years, contract.term_years + 1))


def settle_term(
    contract: Contract,
    evidence: Sequence[YearEvidence],
    *,
    code_version: str,
    input_sha256: Mapping[str, str],
) -> tuple[Settlement, ...]:
    """Returns the settlements of a contract's years so far, which follow each other from year 1.

    A block is settled when all of its years are there; the last one of a term may be shorter.
    """
    given = [part.year for part in evidence]
    if given != list(range(1, len(given) + 1)):
        raise GuaranteeError(f"expected the years from 1 on, one after the other, got {given}")
    size = contract.block_years if contract.settlement == "block" else 1
    result: list[Settlement] = []
    buffer = Decimal(0)
    for first in range(0, len(evidence), size):
        last = min(first + size, contract.term_years)
        if last > len(evidence):
            break
        settled = _settle(contract, evidence[first:last], buffer, code_version, input_sha256)
        buffer = settled.buffer_after_kwh
        result.append(settled)
    return tuple(result)


def recompute(settlement: Settlement) -> Settlement:
    """Returns what this version of the rules makes of a settlement's inputs."""
    return _settle(
        settlement.contract,
        [year.evidence for year in settlement.years],
        settlement.buffer_before_kwh,
        settlement.code_version,
        settlement.input_sha256,
    )


def digest(settlement: Settlement) -> str:
    """Returns the SHA-256 by which a decision refers to a settlement."""
    return hashlib.sha256(to_json(settlement)).hexdigest()


def to_json(settlement: Settlement) -> bytes:
    """Returns a settlement as one line of JSON, the same bytes each time."""
    return msgspec.json.encode(settlement, order="deterministic")


def from_json(data: bytes) -> Settlement:
    """Reads what `to_json` wrote; raises msgspec.ValidationError or DecodeError."""
    return msgspec.json.decode(data, type=Settlement)


def decide(
    settlement: Settlement,
    *,
    compensation_eur: Decimal,
    reason: str,
    decided_by: str,
    decided_at: datetime,
) -> Decision:
    """Returns a person's decision to pay another amount, in EUR to the cent, and why.

    `decided_by` identifies an account. Raises GuaranteeError without a reason or for an amount that
    nobody can pay.
    """
    not_negative("compensation_eur", compensation_eur)
    if compensation_eur != compensation_eur.quantize(_CENT):
        raise GuaranteeError(f"compensation_eur: expected whole cents, got {compensation_eur}")
    if not reason.strip():
        raise GuaranteeError("reason: a decision needs one")
    if not _ACCOUNT.fullmatch(decided_by):
        raise GuaranteeError(f"decided_by: expected an account's identifier, got {decided_by!r}")
    if decided_at.tzinfo is None:
        raise GuaranteeError("decided_at has no time zone")
    return Decision(
        settlement_sha256=digest(settlement),
        compensation_eur=compensation_eur,
        reason=reason,
        decided_by=decided_by,
        decided_at=decided_at,
    )


def _settle(
    contract: Contract,
    evidence: Sequence[YearEvidence],
    buffer_kwh: Decimal,
    code_version: str,
    input_sha256: Mapping[str, str],
) -> Settlement:
    not_negative("buffer_kwh", buffer_kwh)
    check_code("code_version", code_version)
    for name, found in input_sha256.items():
        check_code("name of an input", name)
        if not _SHA256.fullmatch(found):
            raise GuaranteeError(f"input_sha256 of {name}: expected 64 digits of hex")
    years = tuple(assess_year(contract, part) for part in evidence)
    with localcontext(EXACT):
        guaranteed = sum((year.guaranteed_kwh for year in years), Decimal(0))
        assessed = sum((year.assessed_kwh for year in years), Decimal(0))
        shortfall, owed, buffer_after = (
            max(Decimal(0), guaranteed - assessed),
            Decimal(0),
            buffer_kwh,
        )
        if contract.settlement == "carry_over":
            owed = max(Decimal(0), shortfall - buffer_kwh)
            surplus = sum((year.surplus_kwh for year in years), Decimal(0))
            buffer_after = max(Decimal(0), buffer_kwh + surplus - shortfall)
        else:
            owed = shortfall
        if owed <= contract.threshold_share * guaranteed:
            owed = Decimal(0)
        owed = max(Decimal(0), owed - contract.deductible_kwh * len(years))
        reasons = tuple(f"year_{y.evidence.year}_{why}" for y in years for why in y.reasons)
        return Settlement(
            contract=contract,
            years=years,
            buffer_before_kwh=buffer_kwh,
            buffer_after_kwh=buffer_after,
            guaranteed_kwh=_rounded(guaranteed),
            assessed_kwh=_rounded(assessed),
            shortfall_kwh=_rounded(shortfall),
            compensated_kwh=_rounded(owed),
            compensation_eur=_rounded(owed * contract.price_eur_per_kwh),
            status="review" if reasons else "settled",
            reasons=reasons,
            method=f"{contract.settlement}, {contract.weather}",
            model_version=MODEL_VERSION,
            code_version=code_version,
            input_sha256=dict(sorted(input_sha256.items())),
        )


def _rounded(value: Decimal) -> Decimal:
    return value.quantize(_CENT, rounding=ROUND_HALF_UP)


def _check_inside(contract: Contract, evidence: YearEvidence) -> None:
    begins, ends = year_span(contract, evidence.year)
    parts: tuple[Measured | Uncovered | Credit, ...] = (
        *evidence.measured,
        *evidence.uncovered,
        *evidence.credits,
    )
    for part in parts:
        if part.from_at < begins or part.to_at > ends:
            raise GuaranteeError(
                f"year {evidence.year}: {part.from_at.isoformat()} to {part.to_at.isoformat()} is "
                f"not within {begins.isoformat()} to {ends.isoformat()}"
            )


def _weather_index(contract: Contract, evidence: YearEvidence) -> Decimal:
    if contract.weather == "absolute":
        return Decimal(1)
    if evidence.weather_index is None:
        raise GuaranteeError(f"year {evidence.year}: a normalised guarantee needs a weather_index")
    return evidence.weather_index


def _estimate(part: Uncovered, expected_kwh: Decimal) -> Decimal:
    if part.performance_index is None:
        raise GuaranteeError(
            f"the time from {part.from_at.isoformat()} is to be estimated: it needs a "
            "performance_index"
        )
    model = part.expected_kwh if part.expected_kwh is not None else expected_kwh * part.weight
    return model * part.performance_index


def _counted(contract: Contract, evidence: YearEvidence) -> tuple[CountedCredit, ...]:
    """How much of each credit counts.

    At each moment only the largest loss counts, and none in time that no counter tells of: that is
    estimated or pro-rated already. Part of a credit's time has that part of its energy.
    """
    credits = sorted(evidence.credits, key=lambda c: (c.from_at, c.to_at, c.cause, c.energy_kwh))
    starts = [_counts_from(contract, credit) for credit in credits]
    rates = [c.energy_kwh / _us(c.to_at - c.from_at) for c in credits]
    counted_us = [0] * len(credits)
    events: list[tuple[datetime, int, int]] = []
    for number, (credit, start) in enumerate(zip(credits, starts, strict=True)):
        if start is not None and start < credit.to_at:
            events += [(start, 1, number), (credit.to_at, 0, number)]
    for part in evidence.uncovered:
        events += [(part.from_at, 1, _NOBODY_TELLS), (part.to_at, 0, _NOBODY_TELLS)]
    active: set[int] = set()
    for (at, begins, number), (until, _, _) in pairwise(sorted(events)):
        (active.add if begins else active.discard)(number)
        if active and _NOBODY_TELLS not in active:
            largest = max(active, key=lambda n: (rates[n], -n))
            counted_us[largest] += _us(until - at)
    result = []
    for credit, start, us in zip(credits, starts, counted_us, strict=True):
        whole = _us(credit.to_at - credit.from_at)
        reason: Literal["counted", "overlaps", "not_excluded", "before_deadline"] = "counted"
        if start is None:
            reason = "not_excluded"
        elif start > credit.from_at:
            reason = "before_deadline"
        elif us < whole:
            reason = "overlaps"
        counted = credit.energy_kwh * us / whole
        result.append(CountedCredit(credit=credit, counted_kwh=counted, reason=reason))
    return tuple(result)


def _counts_from(contract: Contract, credit: Credit) -> datetime | None:
    """When a credit begins to count; None if the contract does not excuse its cause."""
    if credit.cause not in contract.exclusions:
        return None
    if credit.cause != DEADLINE_CAUSE:
        return credit.from_at
    if credit.notified_at is None:
        raise GuaranteeError(f"credit for {credit.cause}: nobody was notified, so no deadline ran")
    deadline = credit.notified_at + timedelta(days=contract.response_deadline_days)
    return max(credit.from_at, deadline)


def _us(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
