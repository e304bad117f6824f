"""What is owed for a year of a site, and what proves it?

Which year is meant and whether it is over, the files that evidence makes (`settle_evidence`), and
the settlement that names them. The rules themselves are in `guarantee`;
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
    from collections.abc import Mapping, Sequence

    from autarco_portal.guarantee import Settlement
    from autarco_portal.guarantee_evidence import YearEvidence
    from autarco_portal.settle_evidence import Prepared
    from autarco_portal.site import Site

FORMER = "former_settlement"
"""Among a settlement's inputs: the settlement that it stands in for."""
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


def evidence_files(prepared: Sequence[Prepared], site: Site) -> dict[str, bytes]:
    """Returns the files of the claim file that the evidence of some years makes."""
    weather = {one: None for year in prepared for one in year.weather}
    incidents = {one.incident_id: one for year in prepared for one in year.incidents}
    return claim_file.evidence(
        site=site,
        counters=pa.concat_tables([year.counters for year in prepared]),
        months=[month for year in prepared for month in year.months],
        weather=sorted(weather, key=lambda one: (one.source, one.first, one.sha256)),
        incidents=list(incidents.values()),
    )


def settled(
    contract: Contract,
    evidence: Sequence[YearEvidence],
    files: Mapping[str, bytes],
    *,
    code_version: str,
    buffer_kwh: Decimal = Decimal(0),
    former_sha256: str | None = None,
) -> Settlement:
    """Returns the settlement of a year, or of a block's years; raises GuaranteeError.

    Its inputs are named by the claim file's own `files`, so that whoever holds that file can check
    them. `former_sha256` is that of the settlement that this one stands in for.
    """
    inputs = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    if former_sha256 is not None:
        inputs[FORMER] = former_sha256
    return guarantee.settle_years(
        contract,
        evidence,
        code_version=code_version,
        input_sha256=inputs,
        buffer_kwh=buffer_kwh,
    )
