"""What did people ask for, allow and refuse, and whose data may be used for what?

The registers keep values of the package `privacy`; `blocked_sites` and the flags are what every
job, read path and export asks through `processing.may_process`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Engine, delete, func, or_, select, update

from autarco_portal.personal_record import Invoice, Lead, SupportNote
from autarco_portal.privacy import consent, request
from autarco_portal.privacy.consent import Consent
from autarco_portal.privacy.erasure import Case, Proof
from autarco_portal.privacy.human_decision import Automated
from autarco_portal.privacy.legal_hold import Hold
from autarco_portal.privacy.policy import Notice, Version
from autarco_portal.privacy.processing import ALWAYS, Flags, Purpose
from autarco_portal.privacy.processors import Processor
from autarco_portal.privacy.request import Request
from autarco_portal.privacy.security_incident import SecurityIncident
from autarco_portal.privacy.sharing import Disclosure
from autarco_portal.privacy.suspension import Restriction
from autarco_portal.privacy.transfer import Transfer
from autarco_portal.store import audit, people
from autarco_portal.store import privacy_columns as columns
from autarco_portal.store.account_tables import AccountRow
from autarco_portal.store.engine import Conflict, StoreError, reading, writing
from autarco_portal.store.privacy_tables import (
    AutomatedDecisionRow,
    ConsentRow,
    DisclosureRow,
    DisclosureSiteRow,
    ErasureCaseRow,
    HoldRow,
    InvoiceRow,
    LeadRow,
    NoticeRow,
    ObjectionRow,
    PolicyRow,
    ProcessorRow,
    RequestProofRow,
    RequestRow,
    RestrictionRow,
    SecurityIncidentRow,
    SupportNoteRow,
    SuspensionRow,
    TransferRow,
)
from autarco_portal.store.registers import Register
from autarco_portal.store.tables import PersonRow, SiteOwnerRow, SiteRow

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy.orm import Session

    from autarco_portal.audit import AuditEntry


class Suspension(msgspec.Struct, frozen=True, kw_only=True):
    """A guarantee that cannot be settled for now."""

    contract_id: str
    since: datetime
    warned_at: datetime | None
    decision_id: str | None


class Privacy:
    """Rights, registers and flags of the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.requests = Register(engine, RequestRow, Request, columns.request)
        self.cases = Register(engine, ErasureCaseRow, Case, columns.case)
        self.restrictions = Register(engine, RestrictionRow, Restriction, columns.restriction)
        self.decisions = Register(engine, AutomatedDecisionRow, Automated, columns.automated)
        self.holds = Register(engine, HoldRow, Hold, columns.hold)
        self.consents = Register(engine, ConsentRow, Consent, columns.consent)
        self.disclosures = Register(engine, DisclosureRow, Disclosure, columns.disclosure)
        self.policies = Register(engine, PolicyRow, Version, columns.policy)
        self.notices = Register(engine, NoticeRow, Notice, columns.notice)
        self.transfers = Register(engine, TransferRow, Transfer, columns.transfer)
        self.incidents = Register(engine, SecurityIncidentRow, SecurityIncident, columns.incident)
        self.processors = Register(engine, ProcessorRow, Processor, columns.processor)
        self.invoices = Register(engine, InvoiceRow, Invoice, columns.invoice)
        self.leads = Register(engine, LeadRow, Lead, columns.lead)

    # Requests.

    def contact(self, request_id: str) -> str | None:
        """Returns where the answer goes while nobody knows who asked."""
        with reading(self._engine) as session:
            row = session.get(RequestRow, request_id)
            return None if row is None else row.contact

    def change_request(
        self, request_id: str, rule: Callable[[Request], Request], *entries: AuditEntry
    ) -> Request:
        """As `requests.change`; a request that ends forgets the address it came from."""
        with writing(self._engine) as session:
            changed = self.requests.change_in(session, request_id, rule)
            if not changed.is_open:
                session.execute(
                    update(RequestRow)
                    .where(RequestRow.request_id == request_id)
                    .values(contact=None)
                )
            if entries:
                audit.append(session, *entries)
            return changed

    def add_proof_link(
        self, request_id: str, person_id: str, token_hash: str, *, now: datetime, until: datetime
    ) -> None:
        """Keeps a link's hash, and ends older links of the request."""
        with writing(self._engine) as session:
            session.execute(delete(RequestProofRow).where(RequestProofRow.request_id == request_id))
            session.add(
                RequestProofRow(
                    token_hash=token_hash, request_id=request_id, person_id=person_id,
                    created_at=now, expires_at=until,
                )
            )  # fmt: skip

    def use_proof_link(
        self, request_id: str, token_hash: str, now: datetime, *entries: AuditEntry
    ) -> Request:
        """Verifies the one request that the link was made for, once; raises StoreError."""
        with writing(self._engine) as session:
            row = session.scalar(
                update(RequestProofRow)
                .where(
                    RequestProofRow.token_hash == token_hash,
                    RequestProofRow.request_id == request_id,
                    RequestProofRow.used_at.is_(None),
                    RequestProofRow.expires_at > now,
                )
                .values(used_at=now)
                .returning(RequestProofRow)
            )
            if row is None:
                raise StoreError("the link is not valid any more")
            person = row.person_id

            def rule(asked: Request) -> Request:
                return request.verify(
                    asked, at=now, by=person, method=request.Method.MAILED_LINK, person=person
                )

            changed = self.requests.change_in(session, request_id, rule)
            if entries:
                audit.append(session, *entries)
            return changed

    # Restriction and objection.

    def restrict(self, restriction: Restriction, *entries: AuditEntry) -> None:
        """Keeps a restriction of a person or site, and marks the sites it concerns."""
        with writing(self._engine) as session:
            row = RestrictionRow(
                **columns.restriction(restriction), body=msgspec.json.encode(restriction).decode()
            )
            session.add(row)
            session.flush()
            _mark_sites(session, restriction.begun_at)
            audit.append(session, *entries)

    def change_restriction(
        self,
        restriction_id: str,
        rule: Callable[[Restriction], Restriction],
        now: datetime,
        *entries: AuditEntry,
    ) -> Restriction:
        """Announces or lifts one; sites that nobody restricts any more are free again."""
        with writing(self._engine) as session:
            changed = self.restrictions.change_in(session, restriction_id, rule)
            session.flush()
            _mark_sites(session, now)
            if entries:
                audit.append(session, *entries)
            return changed

    def object_to(
        self, person_id: str, purpose: Purpose, now: datetime, *entries: AuditEntry
    ) -> None:
        """Keeps an objection; consents to the purpose end in the same moment."""
        with writing(self._engine) as session:
            people.existing(session, person_id)
            if session.get(ObjectionRow, (person_id, purpose.value)) is None:
                session.add(ObjectionRow(person_id=person_id, purpose=purpose.value, at=now))
            if purpose is Purpose.MARKETING:
                self._withdraw_all(session, person_id, now)
            if entries:
                audit.append(session, *entries)

    def withdraw_objection(self, person_id: str, purpose: Purpose, *entries: AuditEntry) -> bool:
        """Ends an objection; tells whether there was one. Consents do not come back."""
        with writing(self._engine) as session:
            row = session.get(ObjectionRow, (person_id, purpose.value))
            if row is None:
                return False
            session.delete(row)
            if entries:
                audit.append(session, *entries)
            return True

    def flags_of_person(self, person_id: str) -> Flags:
        """Returns what somebody wants of his data; somebody unknown is erased."""
        with reading(self._engine) as session:
            return _flags_of_person(session, person_id)

    def flags_of_site(self, public_key: str, now: datetime) -> tuple[Flags, ...]:
        """Returns the site's own flags and those of its owners; an unknown site is erased."""
        with reading(self._engine) as session:
            site = session.scalar(select(SiteRow).where(SiteRow.public_key == public_key))
            if site is None:
                return (Flags(is_erased=True),)
            owners = session.scalars(
                select(SiteOwnerRow.person_id).where(
                    SiteOwnerRow.site_number == site.number, _is_owner(now)
                )
            ).all()
            own = Flags(is_restricted=site.restricted_at is not None)
            return (own, *(_flags_of_person(session, person) for person in owners))

    def blocked_sites(
        self, purpose: Purpose, now: datetime, *, since: datetime | None = None
    ) -> frozenset[str]:
        """Returns the sites of which nothing may be used for a purpose, in one question.

        With `since` also those that somebody who says no has owned since then: of data of that time
        his no holds after he sold the house.
        For jobs and exports over many sites: they are few, whatever the fleet's size.
        """
        if purpose in ALWAYS:
            return frozenset()
        restricted = select(RestrictionRow.subject).where(RestrictionRow.lifted_at.is_(None))
        objecting = select(ObjectionRow.person_id).where(ObjectionRow.purpose == purpose.value)
        owned = (
            select(SiteOwnerRow.site_number)
            .where(_is_owner(now, since))
            .where(
                or_(SiteOwnerRow.person_id.in_(restricted), SiteOwnerRow.person_id.in_(objecting))
            )
        )
        wanted = select(SiteRow.public_key).where(
            or_(
                SiteRow.restricted_at.is_not(None),
                SiteRow.public_key.in_(restricted),
                SiteRow.number.in_(owned),
            )
        )
        with reading(self._engine) as session:
            return frozenset(session.scalars(wanted))

    # Guarantees under restriction.

    def suspensions(self) -> list[Suspension]:
        """Returns all, by contract."""
        with reading(self._engine) as session:
            rows = session.scalars(select(SuspensionRow).order_by(SuspensionRow.contract_id))
            return [
                Suspension(
                    contract_id=row.contract_id, since=row.since, warned_at=row.warned_at,
                    decision_id=row.decision_id,
                )
                for row in rows
            ]  # fmt: skip

    def suspend(self, contract_id: str, now: datetime) -> None:
        """Notes since when a guarantee cannot be settled; the first time stays."""
        with writing(self._engine) as session:
            if session.get(SuspensionRow, contract_id) is None:
                session.add(SuspensionRow(contract_id=contract_id, since=now))

    def note_suspension(
        self,
        contract_id: str,
        *,
        warned_at: datetime | None = None,
        decision_id: str | None = None,
    ) -> None:
        """Notes that the person was warned, or which decision lets it lapse."""
        with writing(self._engine) as session:
            row = session.get(SuspensionRow, contract_id)
            if row is None:
                raise StoreError("the guarantee is not suspended")
            row.warned_at = warned_at or row.warned_at
            row.decision_id = decision_id or row.decision_id

    def end_suspension(self, contract_id: str) -> None:
        """Ends it; the guarantee's own status is the caller's."""
        with writing(self._engine) as session:
            session.execute(delete(SuspensionRow).where(SuspensionRow.contract_id == contract_id))

    # Sharing, consent, notes.

    def share(self, disclosure: Disclosure, *entries: AuditEntry) -> None:
        """Keeps an entry of the ledger, found by each of its sites."""
        try:
            with writing(self._engine) as session:
                session.add(
                    DisclosureRow(
                        **columns.disclosure(disclosure),
                        body=msgspec.json.encode(disclosure).decode(),
                    )
                )
                session.flush()
                session.add_all(
                    DisclosureSiteRow(disclosure_id=disclosure.disclosure_id, public_key=site)
                    for site in sorted(set(disclosure.sites))
                )
                audit.append(session, *entries)
        except Conflict as error:
            raise StoreError("there is a disclosure of that name already") from error

    def disclosures_of(self, public_key: str) -> list[Disclosure]:
        """Returns to whom what of a site was disclosed, the oldest first."""
        with reading(self._engine) as session:
            bodies = session.scalars(
                select(DisclosureRow.body)
                .join(DisclosureSiteRow)
                .where(DisclosureSiteRow.public_key == public_key)
                .order_by(DisclosureRow.asked_at, DisclosureRow.disclosure_id)
            )
            return [msgspec.json.decode(body, type=Disclosure) for body in bodies]

    def withdraw_consent(self, consent_id: str, now: datetime, by: str) -> Consent:
        """Ends one; twice is once. Raises StoreError for none."""
        return self.consents.change(
            consent_id, lambda given: consent.withdraw(given, at=now, by=by)
        )

    def add_note(self, note: SupportNote, *entries: AuditEntry) -> None:
        """Keeps what support wrote; raises StoreError for an unknown site."""
        with writing(self._engine) as session:
            number = None
            if note.site is not None:
                number = session.scalar(
                    select(SiteRow.number).where(SiteRow.public_key == note.site)
                )
                if number is None:
                    raise StoreError("there is no such site")
            session.add(
                SupportNoteRow(
                    note_id=note.note_id, person_id=note.person_id, site_number=number,
                    closed_at=note.closed_at, body=msgspec.json.encode(note).decode(),
                )
            )  # fmt: skip
            if entries:
                audit.append(session, *entries)

    def notes_of(
        self, *, person_id: str | None = None, public_key: str | None = None
    ) -> list[SupportNote]:
        """Returns the notes about a person, and about a site."""
        wanted = select(SupportNoteRow.body).order_by(SupportNoteRow.note_id)
        number = select(SiteRow.number).where(SiteRow.public_key == public_key)
        wanted = wanted.where(
            or_(SupportNoteRow.person_id == person_id, SupportNoteRow.site_number.in_(number))
        )
        with reading(self._engine) as session:
            return [msgspec.json.decode(body, type=SupportNote) for body in session.scalars(wanted)]

    def registered(self) -> list[str]:
        """Returns who has an account that works: whom a notice must reach."""
        with reading(self._engine) as session:
            return list(
                session.scalars(
                    select(AccountRow.person_id)
                    .where(AccountRow.disabled_at.is_(None))
                    .order_by(AccountRow.person_id)
                )
            )

    def proof(self, case_id: str) -> Proof | None:
        """Returns what proves an erasure."""
        with reading(self._engine) as session:
            row = session.get(ErasureCaseRow, case_id)
            if row is None or row.proof is None:
                return None
            return msgspec.json.decode(row.proof, type=Proof)

    def _withdraw_all(self, session: Session, person_id: str, now: datetime) -> None:
        keys = session.scalars(
            select(ConsentRow.consent_id).where(
                ConsentRow.person_id == person_id, ConsentRow.withdrawn_at.is_(None)
            )
        ).all()
        for key in keys:
            self.consents.change_in(
                session, key, lambda given: consent.withdraw(given, at=now, by="objection")
            )


def _is_owner(now: datetime, since: datetime | None = None) -> Any:
    """Now, or at any time since then."""
    return (SiteOwnerRow.from_at <= now) & (
        SiteOwnerRow.until.is_(None) | (SiteOwnerRow.until > (since or now))
    )


def _flags_of_person(session: Session, person_id: str) -> Flags:
    if session.get(PersonRow, person_id) is None:
        return Flags(is_erased=True)
    restricted = session.scalar(
        select(func.count())
        .select_from(RestrictionRow)
        .where(RestrictionRow.subject == person_id, RestrictionRow.lifted_at.is_(None))
    )
    objections = session.scalars(
        select(ObjectionRow.purpose).where(ObjectionRow.person_id == person_id)
    )
    consenting = session.scalar(
        select(func.count())
        .select_from(ConsentRow)
        .where(
            ConsentRow.person_id == person_id,
            ConsentRow.confirmed_at.is_not(None),
            ConsentRow.withdrawn_at.is_(None),
        )
    )
    return Flags(
        is_restricted=bool(restricted),
        objections=frozenset(Purpose(purpose) for purpose in objections),
        consents=frozenset({Purpose.MARKETING}) if consenting else frozenset(),
    )


def _mark_sites(session: Session, now: datetime) -> None:
    """Brings `restricted_at` of all sites in line with the restrictions in force."""
    subjects = select(RestrictionRow.subject).where(RestrictionRow.lifted_at.is_(None))
    owned = select(SiteOwnerRow.site_number).where(
        SiteOwnerRow.person_id.in_(subjects), _is_owner(now)
    )
    is_restricted = or_(SiteRow.public_key.in_(subjects), SiteRow.number.in_(owned))
    session.execute(
        update(SiteRow)
        .where(SiteRow.restricted_at.is_(None), is_restricted)
        .values(restricted_at=now)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(SiteRow)
        .where(SiteRow.restricted_at.is_not(None), ~is_restricted)
        .values(restricted_at=None)
        .execution_options(synchronize_session=False)
    )
