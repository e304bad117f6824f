"""The pages of guarantees: what was promised, what was made, and what was settled?"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, QueryParameter

from autarco_portal import guarantee_record
from autarco_portal.guarantee_contract import Contract, anniversary, guaranteed_kwh
from autarco_portal.pages import models
from autarco_portal.pages.charts import Chart, Series
from autarco_portal.pages.site import viewable
from autarco_portal.pages.visitor import Visiting, Visitor, show
from autarco_portal.pages.words import N_, Words
from autarco_portal.portal import Here, Portal
from autarco_portal.privacy import human_decision
from autarco_portal.rights import Action, may
from autarco_portal.site_record import seen_by
from autarco_portal.web_problems import NotReadYet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from autarco_portal.guarantee_record import GuaranteeRecord, SettlementRecord
    from autarco_portal.people import Actor
    from autarco_portal.site_record import SiteRecord


ROWS = 50
"""Guarantees of a page."""

Number = Annotated[int, QueryParameter(name="page", ge=1, le=10_000)]


@get("/guarantees", sync_to_thread=True)
def guarantees(portal: Here, visitor: Visiting, page: Number = 1) -> Response[str]:
    """Lists the guarantees that somebody may view."""
    actor, kept = visitor.actor, portal.store.guarantees
    found = kept.count_visible(actor)
    pages = max(1, -(-found // ROWS))
    page = min(page, pages)
    records = kept.visible(actor, offset=(page - 1) * ROWS, limit=ROWS)
    keys = sorted({one.contract.site_id for one in records})
    sites = {one.public_key: seen_by(actor, one) for one in portal.store.sites.several(keys)}
    settled = kept.settlements_of([one.contract.contract_id for one in records])
    rows = []
    for one in records:
        # A guarantee is gone with its site, but not at the moment of two queries.
        site = sites.get(one.contract.site_id)
        if site is not None:
            mine = guarantee_record.seen_from(settled[one.contract.contract_id], site.seen_from_day)
            rows.append(_row(one, mine, site.name, visitor))
    return show(
        visitor,
        models.Guarantees(rows=tuple(rows), page=page, pages=pages),
        tab="guarantees",
    )


@get("/guarantees/{contract:str}", sync_to_thread=True)
def guarantee(portal: Here, visitor: Visiting, contract: FromPath[str]) -> Response[str]:
    """Shows a guarantee with its settlements to whoever may view it."""
    actor = visitor.actor
    record = portal.store.guarantees.get(contract)
    if record is None:
        raise NotFoundException
    site = _insured(portal, actor, record.contract.site_id)
    settled = _settled(portal, site, contract)
    today = visitor.now.astimezone(ZoneInfo(record.contract.time_zone)).date()
    return show(
        visitor,
        models.GuaranteePage(
            contract=record.contract,
            status=record.status,
            site_name=site.name,
            so_far=_so_far(portal, site, record.contract, today, visitor),
            settlements=settled[::-1],
            contestable=_contestable(portal, visitor, contract),
            chart=_chart(record.contract, settled, today, visitor.words) if settled else None,
        ),
        tab="guarantees",
        json_path=f"/api/v1/sites/{site.public_key}/guarantees",
    )


def _settled(portal: Portal, site: SiteRecord, contract: str) -> tuple[SettlementRecord, ...]:
    all_ = portal.store.guarantees.settlements(contract)
    return tuple(guarantee_record.seen_from(all_, site.seen_from_day))


def _contestable(portal: Portal, visitor: Visitor, contract: str) -> datetime | None:
    """Until when the visitor may contest what a program decided about his guarantee."""
    decided = [
        one
        for one in portal.store.privacy.decisions.all(
            person_id=visitor.actor.person_id, thing=f"guarantee:{contract}"
        )
        if human_decision.status(one, visitor.now) is human_decision.Status.PROVISIONAL
        and one.told_at is not None
    ]
    return max(
        (human_decision.contest_until(one.told_at) for one in decided if one.told_at), default=None
    )


def _insured(portal: Portal, actor: Actor, key: str) -> SiteRecord:
    site = viewable(portal, actor, key)
    if not may(actor, Action.VIEW_GUARANTEE, site.access):
        raise NotFoundException
    portal.looked(actor, site, "view_guarantee")
    return site


def _row(
    record: GuaranteeRecord, settled: Sequence[SettlementRecord], site_name: str, visitor: Visitor
) -> models.GuaranteeRow:
    contract = record.contract
    today = visitor.now.astimezone(ZoneInfo(contract.time_zone)).date()
    return models.GuaranteeRow(
        contract_id=contract.contract_id,
        site_name=site_name,
        status=record.status,
        starts_on=contract.starts_on,
        ends_before=anniversary(contract, contract.term_years + 1),
        guaranteed_kwh=guaranteed_kwh(contract, _year(contract, today)),
        years_settled=sum(len(one.settlement.years) for one in settled),
        paid_eur=sum((_amount(one) for one in settled), Decimal(0)),
        needs_review=any(
            one.settlement.status == "review" and not one.decisions for one in settled
        ),
    )


def _amount(record: SettlementRecord) -> Decimal:
    """A person's word stands over the rules'."""
    decisions = record.decisions
    return decisions[-1].compensation_eur if decisions else record.settlement.compensation_eur


def _year(contract: Contract, today: date) -> int:
    """Which contract year a day is in; the first before it began, the last after it ended."""
    year = max(1, today.year - contract.starts_on.year)
    if anniversary(contract, year + 1) <= today:
        year += 1
    return min(year, contract.term_years)


def _so_far(
    portal: Portal, site: SiteRecord, contract: Contract, today: date, visitor: Visitor
) -> models.YearSoFar | None:
    """None before the first year began, after the last one, and before the lake was read.

    Also where it began in the time of a former owner: a part of a year beside a whole one misleads.
    """
    year = _year(contract, today)
    starts_on, ends_before = anniversary(contract, year), anniversary(contract, year + 1)
    if not starts_on <= today < ends_before:
        return None
    if site.seen_from_day is not None and site.seen_from_day > starts_on:
        return None
    try:
        parts = portal.energy(site, visitor.now, [starts_on, ends_before])
    except NotReadYet:
        return None
    measured = sum(kwh or 0 for one in parts.values() for kwh in one.values())
    return models.YearSoFar(
        starts_on=starts_on,
        ends_before=ends_before,
        guaranteed_kwh=guaranteed_kwh(contract, year),
        measured_kwh=Decimal(measured),
    )


def _chart(
    contract: Contract, settled: Sequence[SettlementRecord], today: date, words: Words
) -> Chart:
    """Guaranteed and assessed energy of the contract years so far; a settled year is exact."""
    years = {year.starts_on: year for one in settled for year in one.settlement.years}
    starts = [anniversary(contract, n) for n in range(1, _year(contract, today) + 1)]
    guaranteed = [
        float(years[day].guaranteed_kwh if day in years else guaranteed_kwh(contract, n))
        for n, day in enumerate(starts, 1)
    ]
    assessed = [float(years[day].assessed_kwh) if day in years else None for day in starts]
    done = sum(value is not None for value in assessed)
    return Chart(
        chart_id="years",
        title=words.say(N_("Guaranteed and counted")),
        summary=words.ngettext("%(years)s year is settled.", "%(years)s years are settled.", done)
        % {"years": words.number(done)},
        kind="bars",
        unit="kWh",
        x=tuple(day.isoformat() for day in starts),
        labels=tuple(words.day(day) for day in starts),
        series=(
            Series(name=words.say(N_("Guaranteed")), values=tuple(guaranteed), role="expected"),
            Series(name=words.say(N_("Counted")), values=tuple(assessed)),
        ),
        x_format="%Y",
        x_hover="%-d %B %Y",
    )
