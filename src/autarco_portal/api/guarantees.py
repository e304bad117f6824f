"""`/api/v1/sites/…/guarantees`: what was promised for a site, and what was settled?

Amounts are decimal numbers as text: no program shall round them by reading them.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec looks at them
from typing import TYPE_CHECKING, Annotated

import msgspec
from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter

from autarco_portal import guarantee_record
from autarco_portal.api.access import PROBLEMS, Key, allowed, seen
from autarco_portal.portal import Here
from autarco_portal.rights import Action
from autarco_portal.web_identity import Asking

if TYPE_CHECKING:
    from autarco_portal.guarantee_record import GuaranteeRecord, SettlementRecord

Sha256 = Annotated[str, PathParameter(max_length=64, description="Of the document, in hex.")]


class SettlementItem(msgspec.Struct, frozen=True, kw_only=True):
    """What one period of a guarantee owes."""

    sha256: str
    first_day: date
    created_at: datetime
    status: str
    guaranteed_kwh: str
    assessed_kwh: str
    shortfall_kwh: str
    compensation_eur: str
    """By the rules; a later decision, if any, counts."""
    decided_eur: str | None


class GuaranteeItem(msgspec.Struct, frozen=True, kw_only=True):
    """A guarantee and what was settled of it."""

    contract_id: str
    status: str
    status_since: datetime
    starts_on: date
    term_years: int
    p50_kwh: str
    fraction: str
    price_eur_per_kwh: str
    settlement: str
    terms_version: str
    settlements: list[SettlementItem]


@get("/sites/{key:str}/guarantees", sync_to_thread=True, summary="List a site's guarantees",
     tags=["guarantees"], responses=PROBLEMS)  # fmt: skip
def list_guarantees(portal: Here, actor: Asking, key: Key) -> list[GuaranteeItem]:
    """With what was settled."""
    who, record = seen(portal, actor, key)
    allowed(who, Action.VIEW_GUARANTEE, record)
    portal.looked(who, record, "view_guarantee")
    return [
        _guarantee(
            one,
            guarantee_record.seen_from(
                portal.store.guarantees.settlements(one.contract.contract_id), record.seen_from_day
            ),
        )
        for one in portal.store.guarantees.of_site(record.public_key)
    ]


@get("/sites/{key:str}/settlements/{sha256:str}", sync_to_thread=True,
     summary="A settlement's document", tags=["guarantees"],
     responses=PROBLEMS | {
         200: ResponseSpec(data_container=bytes, description="The document, byte for byte.",
                           media_type="application/json", generate_examples=False)
     })  # fmt: skip
def settlement_document(portal: Here, actor: Asking, key: Key, sha256: Sha256) -> Response[bytes]:
    """As it was made: its SHA-256 is its name."""
    who, record = seen(portal, actor, key)
    allowed(who, Action.VIEW_GUARANTEE, record)
    portal.looked(who, record, "view_guarantee")
    found = portal.store.guarantees.settlement(sha256)
    if found is None or found.settlement.contract.site_id != record.public_key:
        raise NotFoundException("no such settlement")
    if not guarantee_record.seen_from([found], record.seen_from_day):
        raise NotFoundException("no such settlement")
    return Response(found.document, media_type="application/json")


def _guarantee(record: GuaranteeRecord, settlements: list[SettlementRecord]) -> GuaranteeItem:
    contract = record.contract
    return GuaranteeItem(
        contract_id=contract.contract_id,
        status=record.status.value,
        status_since=record.status_since,
        starts_on=contract.starts_on,
        term_years=contract.term_years,
        p50_kwh=str(contract.p50_kwh),
        fraction=str(contract.fraction),
        price_eur_per_kwh=str(contract.price_eur_per_kwh),
        settlement=contract.settlement,
        terms_version=contract.terms_version,
        settlements=[
            SettlementItem(
                sha256=one.sha256,
                first_day=one.first_day,
                created_at=one.created_at,
                status=one.settlement.status,
                guaranteed_kwh=str(one.settlement.guaranteed_kwh),
                assessed_kwh=str(one.settlement.assessed_kwh),
                shortfall_kwh=str(one.settlement.shortfall_kwh),
                compensation_eur=str(one.settlement.compensation_eur),
                decided_eur=str(one.decisions[-1].compensation_eur) if one.decisions else None,
            )
            for one in settlements
        ],
    )


ROUTES = (list_guarantees, settlement_document)
