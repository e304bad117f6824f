"""Who is to be told of an alarm now, after what was sent so far?

The company's rule (reference `privacy.md`, 3.2) is a ladder: whoever looks after the site at once,
a reminder after three days, the seller after seven, the owner after fourteen. The owner hears at
once where his guarantee is at stake, where nobody looks after his site, and of a lost connection,
which only he can mend; after a day where nothing is made at all (reference
`guarantee-and-analytics.md`, 2.3). Acknowledging or the end of the fault stops it all, and of a
site whose owner restricted its data or objected nobody hears anything.

Time runs from the moment at which a mail server took the first mail: what never left tells nobody.
Pure: the time comes in as an argument, and nothing is sent or stored.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from autarco_portal.incidents import Cause, Incident, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class EscalationRules(msgspec.Struct, frozen=True, kw_only=True):
    """How long each step waits, from the first mail on."""

    remind_after: timedelta = timedelta(days=3)
    seller_after: timedelta = timedelta(days=7)
    owner_after: timedelta = timedelta(days=14)
    owner_after_zero: timedelta = timedelta(hours=24)
    """Where nothing is made at all."""
    unreached_after: timedelta = timedelta(days=5)
    """A mail that waited so long counts as refused (`mail_queue`): then the next one hears too."""


class Step(StrEnum):
    """A rung of the ladder; nobody is told the same one twice."""

    FIRST = "first"
    REMINDER = "reminder"
    SELLER = "seller"
    OWNER = "owner"


class Party(StrEnum):
    """As what somebody is told."""

    MAINTENANCE = "maintenance"
    INSTALLER = "installer"
    SELLER = "seller"
    OWNER = "owner"


class Why(StrEnum):
    """Why it is his turn now."""

    NEW = "new"
    NO_ANSWER = "no_answer"
    """Who was told before has not acknowledged."""
    GUARANTEE = "guarantee"
    """Energy is lost that a guarantee promised, and its clock runs from this mail."""
    NO_PARTNER = "no_partner"
    """Nobody looks after the site, or nobody there can be reached."""
    CONNECTION = "connection"
    """Only somebody in the house can mend it."""


class Addressee(msgspec.Struct, frozen=True, kw_only=True):
    """Where a mail goes: an organisation by its own address, or one person."""

    organisation_id: str | None = None
    person_id: str | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for nobody, and for two."""
        if (self.organisation_id is None) == (self.person_id is None):
            raise ValueError("an addressee is one organisation or one person")


class Parties(msgspec.Struct, frozen=True, kw_only=True):
    """Who can be told of a site now; what ended or has no address is left out."""

    maintenance: tuple[Addressee, ...] = ()
    installers: tuple[Addressee, ...] = ()
    sellers: tuple[Addressee, ...] = ()
    owners: tuple[Addressee, ...] = ()


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody was sent about an incident."""

    incident_id: str
    step: Step
    party: Party
    addressee: Addressee
    queued_at: datetime
    delivered_at: datetime | None = None
    """When a mail server took it."""
    refused_at: datetime | None = None
    """When it was given up: it reached nobody."""
    has_mail: bool = True
    """Not where its mail was taken back, since it told more than was true, and has no successor."""

    @property
    def is_due_again(self) -> bool:
        """Whether no mail tells it, none did, and none was given up."""
        return not (self.has_mail or self.delivered_at or self.refused_at)


def since(notices: Sequence[Notice], at: datetime | None) -> list[Notice]:
    """Returns what was sent since a moment; None: ever. What was before is others' business."""
    return [one for one in notices if at is None or one.queued_at >= at]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """That a mail reached a party; what it is for the site, not who it is."""

    step: Step
    party: Party
    at: datetime


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm and what decides who hears of it."""

    incident: Incident
    parties: Parties
    reaction_days: int | None = None
    """How soon somebody must act by the guarantee in force; None without one."""
    may_tell: bool = True
    """Whether the owner lets his data be used for alarms (`privacy.processing`)."""

    @property
    def has_guarantee_at_stake(self) -> bool:
        """Whether energy is lost that somebody guaranteed."""
        return self.reaction_days is not None and self.incident.lost_kwh > 0


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody is to be told now."""

    incident_id: str
    step: Step
    party: Party
    addressee: Addressee
    why: Why


def due(
    case: Case, sent: Sequence[Notice], now: datetime, rules: EscalationRules | None = None
) -> list[Due]:
    """Returns who is to be told of the incident now; `sent` is all that was sent about it."""
    rules = rules or EscalationRules()
    if not case.may_tell or not concerns_anybody(case.incident):
        return []
    known = {(notice.step, notice.addressee) for notice in sent if not notice.is_due_again}
    caring, is_reached = _caring(case.parties, sent, now, rules)
    first_at = min(
        (one.delivered_at for one in sent if one.step is Step.FIRST and one.delivered_at),
        default=None,
    )
    waited = now - first_at if first_at is not None else timedelta()
    found: list[Due] = []

    def tell(step: Step, party: Party, who: Addressee, why: Why) -> None:
        if (step, who) not in known:
            found.append(
                Due(
                    incident_id=case.incident.incident_id, step=step, party=party, addressee=who,
                    why=why,
                )
            )  # fmt: skip

    for party, who in caring:
        tell(Step.FIRST, party, who, Why.NEW)
        if _told_for(who, sent, now) >= rules.remind_after:
            tell(Step.REMINDER, party, who, Why.NO_ANSWER)
    if waited >= rules.seller_after and Party.SELLER not in {party for party, _ in caring}:
        for who in case.parties.sellers:
            tell(Step.SELLER, Party.SELLER, who, Why.NO_ANSWER)
    why = _why_owner(case, is_cared_for=is_reached, waited=waited, rules=rules)
    if why is not None:
        for who in case.parties.owners:
            tell(Step.OWNER, Party.OWNER, who, why)
    return found


def told(notices: Iterable[Notice]) -> list[Told]:
    """Returns when each party was told each step, in that order; of several people the first."""
    first: dict[tuple[Step, Party], datetime] = {}
    for notice in notices:
        if notice.delivered_at is not None:
            key = notice.step, notice.party
            first[key] = min(notice.delivered_at, first.get(key, notice.delivered_at))
    return sorted(
        (Told(step=step, party=party, at=at) for (step, party), at in first.items()),
        key=lambda one: one.at,
    )


def concerns_anybody(incident: Incident) -> bool:
    """Whether somebody should still hear of an incident.

    Not of one that is over or taken on, nor of what is for information alone; nor of half an hour
    without connection, which often comes back by itself.
    """
    if not incident.is_open or incident.acknowledged_at is not None:
        return False
    if incident.cause is Cause.COMMUNICATION_LOSS:
        return incident.severity is Severity.ALARM
    return incident.severity is not Severity.INFO


def _caring(
    parties: Parties, sent: Sequence[Notice], now: datetime, rules: EscalationRules
) -> tuple[list[tuple[Party, Addressee]], bool]:
    """Who looks after the site (who maintains it, installed it, or sold it), and is he reached?

    Whom mails do not reach is followed by the next; one whose mail still waits hears of it too.
    """
    silent = {notice.addressee for notice in sent if notice.refused_at is not None}
    late = {
        notice.addressee
        for notice in sent
        if notice.delivered_at is None and now - notice.queued_at >= rules.unreached_after
    }
    found: list[tuple[Party, Addressee]] = []
    for party, who in (
        (Party.MAINTENANCE, parties.maintenance),
        (Party.INSTALLER, parties.installers),
        (Party.SELLER, parties.sellers),
    ):
        asked = {one for _, one in found}
        waited_for = [one for one in who if one not in silent and one not in asked]
        found += [(party, one) for one in waited_for]
        if not late.issuperset(waited_for):
            return found, True
    return found, False


def _told_for(who: Addressee, sent: Sequence[Notice], now: datetime) -> timedelta:
    """How long somebody has known of it; nothing where he does not."""
    for notice in sent:
        if notice.step is Step.FIRST and notice.addressee == who and notice.delivered_at:
            return now - notice.delivered_at
    return timedelta()


def _why_owner(
    case: Case, *, is_cared_for: bool, waited: timedelta, rules: EscalationRules
) -> Why | None:
    cause = case.incident.cause
    if case.has_guarantee_at_stake:
        return Why.GUARANTEE
    if not is_cared_for:
        return Why.NO_PARTNER
    if cause is Cause.COMMUNICATION_LOSS:
        return Why.CONNECTION
    makes_nothing = cause in (Cause.ZERO_DAY, Cause.OUTAGE)
    limit = rules.owner_after_zero if makes_nothing else rules.owner_after
    return Why.NO_ANSWER if waited >= limit else None
