"""How did a settlement come about, line by line, so that a person can do it with a calculator?

Tables of a settlement: each step of the calculation with its numbers, what no counter told of, and
what was excused. `claim_file` puts them beside the settlement. Numbers here are shown to a
millionth of a kWh; the settlement has all digits.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from autarco_portal.guarantee import Assessment, Settlement
    from autarco_portal.guarantee_contract import Contract

Table: TypeAlias = "tuple[Sequence[str], Sequence[Sequence[object]]]"
"""Header and rows."""
Line: TypeAlias = "tuple[str, str, str, str, str]"
"""Year, step, how, value, unit."""

_SHOWN = Decimal("0.000001")


def calculation(settlement: Settlement) -> Table:
    """Returns the calculation, one step a row: year, step, how, value, unit."""
    lines = [line for year in settlement.years for line in _year(settlement.contract, year)]
    return ("year", "step", "how", "value", "unit"), [*lines, *_sum(settlement)]


def gap_rows(settlement: Settlement) -> Table:
    """Returns time without samples, and time no counter tells of, with what became of it."""
    header = (
        "year", "kind", "serial_number", "from_at", "to_at", "energy_kwh", "weight",
        "performance_index", "share_of_expected",
    )  # fmt: skip
    rows: list[Sequence[object]] = []
    for year in settlement.years:
        number = year.evidence.year
        rows += [
            (
                number, part.method, part.serial_number, _at(part.from_at), _at(part.to_at),
                part.energy_kwh, None, None, None,
            )
            for part in year.evidence.measured
            if part.method != "counter"
        ]  # fmt: skip
        for index, missing in enumerate(year.evidence.uncovered):
            energy = year.estimates_kwh[index] if year.treatment == "estimate" else None
            share = None if energy is None else _shown(energy / year.expected_kwh)
            rows.append(
                (
                    number, year.treatment, None, _at(missing.from_at), _at(missing.to_at),
                    None if energy is None else _shown(energy), missing.weight,
                    missing.performance_index, share,
                )
            )  # fmt: skip
    return header, rows


def credit_rows(settlement: Settlement) -> Table:
    """Returns each credit with what was claimed, what counts, and why not all."""
    header = (
        "year", "cause", "incident_id", "from_at", "to_at", "method", "energy_kwh", "counted_kwh",
        "reason",
    )  # fmt: skip
    return header, [
        (
            year.evidence.year,
            found.credit.cause,
            found.credit.incident_id,
            _at(found.credit.from_at),
            _at(found.credit.to_at),
            found.credit.method,
            found.credit.energy_kwh,
            _shown(found.counted_kwh),
            found.reason,
        )
        for year in settlement.years
        for found in year.credits
    ]


def markdown(settlement: Settlement, sheet: Table) -> str:
    """Returns the calculation as a page to read."""
    contract = settlement.contract
    header, rows = sheet
    lines = [
        f"# Settlement of contract {contract.contract_id}",
        "",
        f"Site {contract.site_id}, {settlement.years[0].starts_on} to before "
        f"{settlement.years[-1].ends_before}, terms {contract.terms_version}.",
        f"Rules {settlement.model_version} ({settlement.method}), program "
        f"{settlement.code_version}.",
        f"Status: {settlement.status}"
        + (f" ({', '.join(settlement.reasons)})" if settlement.reasons else "")
        + ".",
        "",
        f"**Shortfall {settlement.shortfall_kwh} kWh, compensated {settlement.compensated_kwh} "
        f"kWh, {settlement.compensation_eur} EUR.**",
        "",
        f"| {' | '.join(header)} |",
        f"|{'---|' * len(header)}",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
        "",
    ]
    return "\n".join(lines)


def _year(contract: Contract, year: Assessment) -> Iterator[Line]:
    number, age = str(year.evidence.year), year.evidence.year - 1

    def line(step: str, how: str, value: Decimal, unit: str = "kWh") -> Line:
        return (number, step, how, _shown(value), unit)

    if contract.degradation_kind == "geometric":
        aged = f"(1 - {contract.degradation})^{age}"
    else:
        aged = f"(1 - {contract.degradation} * {age})"
    yield line("expected", f"{contract.p50_kwh} * {aged}", year.expected_kwh)
    yield line("weather_index", contract.weather, year.weather_index, "1")
    weights = " - ".join(["1", *(f"{part.weight}" for part in year.evidence.uncovered)])
    yield line("coverage", weights, year.coverage, "1")
    factors = [f"{_shown(year.expected_kwh)}", f"{contract.fraction}"]
    if contract.weather == "normalised":
        factors.append(f"{year.weather_index}")
    if year.treatment == "prorate":
        factors.append(f"{_shown(year.coverage)}")
    yield line("guaranteed", " * ".join(factors), year.guaranteed_kwh)
    for part in year.evidence.measured:
        registers = "between two samples"
        if part.register_from_kwh is not None and part.register_to_kwh is not None:
            registers = f"register {part.register_from_kwh} to {part.register_to_kwh}"
        how = f"{part.serial_number} {_at(part.from_at)} to {_at(part.to_at)}: {registers}"
        yield line(f"measured_{part.method}", how, part.energy_kwh)
    yield line("measured", "sum", year.measured_kwh)
    for missing, energy in zip(year.evidence.uncovered, year.estimates_kwh, strict=False):
        if missing.expected_kwh is not None:
            model = f"{missing.expected_kwh}"
        else:
            model = f"{_shown(year.expected_kwh)} * {missing.weight}"
        span = f"{_at(missing.from_at)} to {_at(missing.to_at)}"
        yield line("estimate", f"{span}: {model} * {missing.performance_index}", energy)
    yield line("estimated", f"sum, at most {_shown(year.estimate_max_kwh)}", year.estimated_kwh)
    for found in year.credits:
        span = f"{_at(found.credit.from_at)} to {_at(found.credit.to_at)}"
        how = f"{found.credit.cause} {span}: {found.credit.energy_kwh}, {found.reason}"
        yield line("credit", how, found.counted_kwh)
    yield line("excluded", "sum", year.excluded_kwh)
    parts = " + ".join(map(_shown, (year.measured_kwh, year.estimated_kwh, year.excluded_kwh)))
    yield line("assessed", parts, year.assessed_kwh)


def _sum(settlement: Settlement) -> Iterator[Line]:
    contract = settlement.contract

    def line(step: str, how: str, value: Decimal, unit: str = "kWh") -> Line:
        return ("", step, how, _shown(value), unit)

    guaranteed, assessed = settlement.guaranteed_kwh, settlement.assessed_kwh
    yield line("guaranteed", "sum", guaranteed)
    yield line("assessed", "sum", assessed)
    yield line("shortfall", f"max(0, {guaranteed} - {assessed}), exact", settlement.shortfall_kwh)
    if contract.settlement == "carry_over":
        yield line("buffer_before", "of the year before", settlement.buffer_before_kwh)
        yield line(
            "buffer_after", "plus surplus, minus shortfall, at least 0", settlement.buffer_after_kwh
        )
    how = (
        f"shortfall minus buffer; 0 up to {contract.threshold_share} of guaranteed; minus "
        f"{contract.deductible_kwh} * {len(settlement.years)}"
    )
    yield line("compensated", how, settlement.compensated_kwh)
    how = f"compensated * {contract.price_eur_per_kwh}, exact, to the cent"
    yield line("compensation", how, settlement.compensation_eur, "EUR")


def _shown(value: Decimal) -> str:
    text = f"{value.quantize(_SHOWN, rounding=ROUND_HALF_UP):f}"
    whole, _, part = text.partition(".")
    return f"{whole}.{part[:2]}{part[2:].rstrip('0')}"


def _at(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
