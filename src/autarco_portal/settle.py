"""What is owed for a year of a site, and what proves it?

Which year is meant and whether it is over, the settlement of prepared evidence
(`settle_evidence`), and the claim file for the insurer. The rules themselves are in `guarantee`;
where a settlement lies is known to `settlement_store`.

Pure: values in, values out. The same values give the same bytes.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa

from autarco_portal import claim_file, guarantee
from autarco_portal.guarantee_contract import Contract, anniversary, year_span
from autarco_portal.settle_evidence import SettleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autarco_portal.guarantee import Settlement
    from autarco_portal.guarantee_terms import Guarantee
    from autarco_portal.settle_evidence import Prepared
    from autarco_portal.site import Site

WAIT = timedelta(hours=48)
"""After the year's end; sticks send late, and days are judged again for so long."""


def contract_year(contract: Contract, named: int) -> int:
    """Returns which year of a contract is meant: its number, or the calendar year it begins in.

    Raises SettleError for one outside the term.
    """
    year = named if named < 1_000 else named - contract.starts_on.year + 1
    if not 1 <= year <= contract.term_years:
        last = anniversary(contract, contract.term_years + 1)
        raise SettleError(
            f"contract {contract.contract_id} has no year {named}: it has the years 1 to "
            f"{contract.term_years}, from {contract.starts_on} to before {last}"
        )
    return year


def check_over(contract: Contract, year: int, now: datetime) -> None:
    """Raises SettleError before a year is over and late readings had time to come."""
    _, ends = year_span(contract, year)
    if now < ends + WAIT:
        raise SettleError(
            f"year {year} of contract {contract.contract_id} ends before "
            f"{anniversary(contract, year + 1)}; settle it from "
            f"{(ends + WAIT).astimezone(UTC):%Y-%m-%d %H:%M} UTC on, when late readings are in"
        )


def settled(
    guaranteed: Guarantee,
    prepared: Sequence[Prepared],
    site: Site,
    *,
    code_version: str,
    buffer_kwh: Decimal = Decimal(0),
    former_sha256: str | None = None,
) -> Settlement:
    """Returns the settlement of a year, or of a block's years; raises GuaranteeError.

    Its inputs are named by the claim file's own files, so that whoever holds that file can check
    them. `former_sha256` is that of the settlement that this one stands in for.
    """
    inputs = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in _evidence_files(site, prepared).items()
    }
    if former_sha256 is not None:
        inputs["former_settlement"] = former_sha256
    return guarantee.settle_years(
        guaranteed.contract,
        [one.evidence for one in prepared],
        code_version=code_version,
        input_sha256=inputs,
        buffer_kwh=buffer_kwh,
    )


def claim(settlement: Settlement, prepared: Sequence[Prepared], site: Site) -> bytes:
    """Returns the claim file of a settlement: the zip for an insurer, without contact data."""
    return claim_file.sealed(settlement, _evidence_files(site, prepared))


def _evidence_files(site: Site, prepared: Sequence[Prepared]) -> dict[str, bytes]:
    weather = {one: None for year in prepared for one in year.weather}
    incidents = {one.incident_id: one for year in prepared for one in year.incidents}
    return claim_file.evidence(
        site=site,
        counters=pa.concat_tables([year.counters for year in prepared]),
        months=[month for year in prepared for month in year.months],
        weather=sorted(weather, key=lambda one: (one.source, one.first, one.sha256)),
        incidents=list(incidents.values()),
    )
