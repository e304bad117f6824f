"""What goes and what stays when a person is erased, and when may it be carried out?

First an impact preview from everything that is kept of the person (`Holdings`), which he confirms
by its hash; then a cooling-off of 7 to 14 days, in which he can call it off; then the actions, in
an order that lets nothing come back; last the proof, compared with the preview. Who carries it out
is `privacy_erasure`.
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from autarco_portal.privacy.deadline import add_months
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy.request import SHA256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autarco_portal.privacy.legal_hold import Hold

COOLING_OFF_DAYS = (7, 14)
INVOICE_YEARS = 7
"""Article 52 AWR: from the end of the calendar year."""
CLAIM_YEARS = 5
"""A claim to compensation lapses five years after it was known (article 3:310 BW)."""


KEPT_APART = frozenset({"support_notes", "leads", "photos", "readings"})
"""Stores whose rows make sense, as evidence, without the person they are about."""


class GuaranteeHolding(msgspec.Struct, frozen=True, kw_only=True):
    """A guarantee of a site, and how many of its years were settled with a payment."""

    contract_id: str
    is_active: bool
    settled_claims: int = 0
    last_settled_on: date | None = None


class SiteHolding(msgspec.Struct, frozen=True, kw_only=True):
    """A site of the person."""

    site_id: str
    other_owners: int = 0
    """Who live there too and stay: then the site stays and only he is taken off it."""
    loggers: tuple[int, ...] = ()
    inverters: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    """Inverters that hang at somebody else's now: their serial numbers are his devices."""
    photos: int = 0
    guarantees: tuple[GuaranteeHolding, ...] = ()


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is kept of a person at one moment."""

    person: str
    sites: tuple[SiteHolding, ...] = ()
    invoices: Mapping[str, date] = {}
    """By number, the day of issue."""
    records: Mapping[str, int] = {}
    """Rows that name the person, by table, of everything else."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Something that stays, why, and until when (None: until somebody ends a hold)."""

    what: str
    count: int
    why: str
    until: date | None = None


class Impact(msgspec.Struct, frozen=True, kw_only=True):
    """What erasure does; what the person confirms."""

    person: str
    sites_without_monitoring: tuple[str, ...]
    sites_he_leaves: tuple[str, ...]
    """They go on for others who live there."""
    guarantees_lapse: tuple[str, ...]
    loggers_refused: tuple[int, ...]
    inverters_erased: tuple[str, ...]
    photos_deleted: int
    removed: dict[str, int]
    """Rows, by table."""
    kept: tuple[Kept, ...]
    blocked_by: tuple[str, ...] = ()
    """Why it cannot be carried out for now: holds on what cannot be kept without the person."""

    def sha256(self) -> str:
        """Returns the hash by which it is confirmed."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


class ActionKind(StrEnum):
    """One thing to carry out, in this order: first what stops data from coming in."""

    STOP_USE = "stop_use"
    """Sign-in, sessions, tokens, jobs: the person's flags say erased."""
    LAPSE_GUARANTEES = "lapse_guarantees"
    REMEMBER = "remember"
    """In the list that is applied again after a restore."""
    REFUSE_TELEMETRY = "refuse_telemetry"
    """The loggers leave the registry and are forgotten by ingest."""
    ERASE_TELEMETRY = "erase_telemetry"
    ERASE_FILES = "erase_files"
    """Photos, derived tables, settlements that nobody must keep."""
    TELL_PARTNERS = "tell_partners"
    """Partner and insurer hear that a guarantee lapsed, nothing else."""
    ERASE_RECORDS = "erase_records"
    """Together with the proof."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One erasure from preview to proof; times are UTC."""

    case_id: str
    request_id: str
    impact: Impact
    cooling_off_days: int
    previewed_at: datetime
    confirmed_at: datetime | None = None
    confirmed_sha256: str = ""
    """Of the impact; it stays when the impact's serial numbers are gone."""
    called_off_at: datetime | None = None
    begun_at: datetime | None = None
    """From here on there is no way back; an interrupted execution goes on where it stopped."""
    executed_at: datetime | None = None

    def __post_init__(self) -> None:
        """Raises PrivacyError for a cooling-off that the policy does not know."""
        least, most = COOLING_OFF_DAYS
        if not least <= self.cooling_off_days <= most:
            raise PrivacyError(f"cooling-off: {least} to {most} days, not {self.cooling_off_days}")

    @property
    def effective_at(self) -> datetime | None:
        """When it may be carried out; None while it is not confirmed."""
        if self.confirmed_at is None:
            return None
        return self.confirmed_at + timedelta(days=self.cooling_off_days)


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased, without saying whose; `subject` is a keyed hash."""

    case_id: str
    subject: str
    at: datetime
    removed: dict[str, int]
    """Rows, by table."""
    files_changed: int
    """Photos and settlements deleted, derived tables written anew."""
    loggers_refused: int
    telemetry: tuple[str, ...]
    """Hashes of ingest's own proofs."""
    guarantees_lapsed: int
    kept: tuple[Kept, ...]
    impact_sha256: str = ""
    """Of the preview that was confirmed."""

    def sha256(self) -> str:
        """Returns the evidence's hash."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


def preview(holdings: Holdings, *, today: date, holds: tuple[Hold, ...] = ()) -> Impact:
    """Returns what erasing the person does on that day.

    A hold keeps what can be kept without the person (`KEPT_APART`); one on anything else, or on
    `*`, blocks the erasure until it ends.
    """
    alone = [site for site in holdings.sites if site.other_owners == 0]
    mine = {holdings.person, *(site.site_id for site in alone)}
    held = {hold.store: hold for hold in holds if hold.ended_at is None and hold.subject in mine}
    kept = [*_kept_invoices(holdings, today), *_kept_guarantees(alone, today)]
    if moved := sum(len(site.moved) for site in alone):
        kept.append(Kept(what="readings", count=moved, why="the inverter is somebody else's now"))
    photos = sum(site.photos for site in alone)
    devices = sum(len(site.inverters) for site in alone)
    counts = {**holdings.records, "photos": photos, "readings": devices}
    for store in KEPT_APART & held.keys():
        if counts.get(store, 0):
            why = f"legal hold: {held[store].reason}"
            kept.append(Kept(what=store, count=counts[store], why=why))
    removed = {
        table: count
        for table, count in sorted(holdings.records.items())
        if table not in KEPT_APART & held.keys()
    }
    kept.append(
        Kept(
            what="request", count=1, why="proof that the request was carried out",
            until=add_months(today, 12 * CLAIM_YEARS),
        )
    )  # fmt: skip
    return Impact(
        person=holdings.person,
        sites_without_monitoring=tuple(sorted(site.site_id for site in alone)),
        sites_he_leaves=tuple(sorted(s.site_id for s in holdings.sites if s.other_owners)),
        guarantees_lapse=tuple(
            sorted(g.contract_id for site in alone for g in site.guarantees if g.is_active)
        ),
        # Also under a hold: what stays is frozen, and nothing more comes in.
        loggers_refused=tuple(sorted({sn for site in alone for sn in site.loggers})),
        inverters_erased=tuple(
            sorted({sn for site in alone for sn in site.inverters if "readings" not in held})
        ),
        photos_deleted=0 if "photos" in held else photos,
        removed=removed,
        kept=tuple(kept),
        blocked_by=tuple(
            sorted(
                hold.reason
                for store, hold in held.items()
                if store == "*" or (store in holdings.records and store not in KEPT_APART)
            )
        ),
    )


def confirm(case: Case, *, at: datetime, by: str, impact_sha256: str) -> Case:
    """The person's explicit yes to exactly this preview; the cooling-off begins."""
    if case.confirmed_at is not None or case.called_off_at is not None:
        raise PrivacyError("the erasure has been confirmed or called off")
    if by != case.impact.person:
        raise PrivacyError("only the person himself confirms his erasure")
    if not SHA256.fullmatch(impact_sha256) or impact_sha256 != case.impact.sha256():
        raise PrivacyError("what was confirmed is not this preview: show it again")
    return msgspec.structs.replace(case, confirmed_at=at, confirmed_sha256=impact_sha256)


def call_off(case: Case, *, at: datetime, by: str) -> Case:
    """Ends it before it is carried out."""
    if by != case.impact.person:
        raise PrivacyError("only the person himself calls his erasure off")
    if case.executed_at is not None or case.called_off_at is not None:
        raise PrivacyError("the erasure has ended")
    if case.begun_at is not None:
        raise PrivacyError("the erasure is being carried out")
    return msgspec.structs.replace(case, called_off_at=at)


def check_due(case: Case, now: datetime) -> None:
    """Raises PrivacyError unless it may be carried out now."""
    if case.executed_at is not None:
        raise PrivacyError("the erasure has been carried out")
    if case.called_off_at is not None:
        raise PrivacyError("the erasure was called off")
    effective_at = case.effective_at
    if effective_at is None:
        raise PrivacyError("the person has not confirmed the preview")
    if now < effective_at:
        raise PrivacyError(f"the cooling-off lasts until {effective_at.isoformat()}")


def begin(case: Case, now_impact: Impact, *, at: datetime) -> Case:
    """Begins to carry it out, if its effect still is what was confirmed; raises PrivacyError.

    One that had begun goes on: what it did already would look like a difference.
    """
    check_due(case, at)
    if case.begun_at is not None:
        return case
    if now_impact.blocked_by:
        raise PrivacyError(f"a legal hold blocks the erasure: {'; '.join(now_impact.blocked_by)}")
    if found := differences(case.impact, now_impact):
        raise PrivacyError(f"the effect is not what was confirmed, ask again: {'; '.join(found)}")
    return msgspec.structs.replace(case, begun_at=at)


def actions(impact: Impact) -> tuple[ActionKind, ...]:
    """Returns what has to be carried out, in order."""
    wanted = set(ActionKind)
    if not impact.guarantees_lapse:
        wanted -= {ActionKind.LAPSE_GUARANTEES, ActionKind.TELL_PARTNERS}
    if not impact.loggers_refused and not impact.inverters_erased:
        wanted -= {ActionKind.REFUSE_TELEMETRY, ActionKind.ERASE_TELEMETRY}
    return tuple(kind for kind in ActionKind if kind in wanted)


def differences(confirmed: Impact, now: Impact) -> tuple[str, ...]:
    """Returns in which points the effect would be another one than what was confirmed.

    More rows in a table are none: sessions and alarms go on during the cooling-off.
    """
    found = [
        f"{name}: {getattr(confirmed, name)} became {getattr(now, name)}"
        for name in (
            "sites_without_monitoring",
            "sites_he_leaves",
            "guarantees_lapse",
            "loggers_refused",
            "inverters_erased",
        )
        if getattr(confirmed, name) != getattr(now, name)
    ]
    before, after = {part.what for part in confirmed.kept}, {part.what for part in now.kept}
    if before != after:
        found.append(f"kept: {sorted(before)} became {sorted(after)}")
    return tuple(found)


def _kept_invoices(holdings: Holdings, today: date) -> list[Kept]:
    until = {
        number: date(issued.year + INVOICE_YEARS, 12, 31)
        for number, issued in holdings.invoices.items()
    }
    last = max(until.values(), default=today)
    count = sum(day >= today for day in until.values())
    if not count:
        return []
    return [Kept(what="invoices", count=count, why="tax law, seven years (AWR 52)", until=last)]


def _kept_guarantees(sites: list[SiteHolding], today: date) -> list[Kept]:
    kept = []
    for site in sites:
        for guarantee in site.guarantees:
            name = guarantee.contract_id
            if guarantee.is_active:
                why = f"proof that {name} lapsed at the owner's wish, without what leads to him"
                until = add_months(today, 12 * CLAIM_YEARS)
                kept.append(Kept(what="guarantees", count=1, why=why, until=until))
            if not guarantee.settled_claims or guarantee.last_settled_on is None:
                continue
            until = add_months(guarantee.last_settled_on, 12 * CLAIM_YEARS)
            if until >= today:
                why = f"settled claims of {name} until they are time-barred"
                claims = guarantee.settled_claims
                kept.append(Kept(what="settlements", count=claims, why=why, until=until))
    return kept


def without_devices(impact: Impact) -> Impact:
    """Returns what may stay in the register: no serial number outlives its erasure."""
    return msgspec.structs.replace(impact, loggers_refused=(), inverters_erased=())


def close(case: Case, *, at: datetime) -> Case:
    """Ends a case that was carried out."""
    check_due(case, at)
    return msgspec.structs.replace(case, executed_at=at, impact=without_devices(case.impact))
