"""Which tables keep what people asked for, allowed and were told?

Each row is one value of the package `privacy` as JSON (`body`), with columns beside it for what is
looked up and for when its retention begins. Where `person_id` has a foreign key, the row goes with
the person; where it has none, the row is proof and outlives him: the identifier is random, and
means nobody once the person is gone.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - SQLAlchemy looks at them

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from autarco_portal.store.declarative import Base


class RequestRow(Base):
    """A data-subject request (`request.Request`)."""

    __tablename__ = "privacy_requests"
    request_id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str | None] = mapped_column(index=True)
    right: Mapped[str]
    is_open: Mapped[bool] = mapped_column(index=True)
    received_at: Mapped[datetime]
    closed_at: Mapped[datetime | None] = mapped_column(index=True)
    contact: Mapped[str | None]
    """Where the answer goes while nobody knows who asked; empty at the end."""
    body: Mapped[str]


class RequestProofRow(Base):
    """A single-use link that proves who asked; only for the request it was made for."""

    __tablename__ = "privacy_request_proofs"
    token_hash: Mapped[str] = mapped_column(primary_key=True)
    request_id: Mapped[str] = mapped_column(
        ForeignKey("privacy_requests.request_id", ondelete="CASCADE"), index=True
    )
    person_id: Mapped[str] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class ErasureCaseRow(Base):
    """An erasure from preview to proof (`erasure.Case`)."""

    __tablename__ = "erasure_cases"
    case_id: Mapped[str] = mapped_column(primary_key=True)
    request_id: Mapped[str] = mapped_column(index=True)
    person_id: Mapped[str] = mapped_column(index=True)
    effective_at: Mapped[datetime | None] = mapped_column(index=True)
    ended_at: Mapped[datetime | None] = mapped_column(index=True)
    body: Mapped[str]
    proof: Mapped[str | None]
    """JSON of the `erasure.Proof`."""


class RestrictionRow(Base):
    """A restriction of a person or a site (`suspension.Restriction`)."""

    __tablename__ = "restrictions"
    restriction_id: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(index=True)
    begun_at: Mapped[datetime]
    lifted_at: Mapped[datetime | None] = mapped_column(index=True)
    body: Mapped[str]


class ObjectionRow(Base):
    """Somebody does not want his data used for a purpose."""

    __tablename__ = "objections"
    person_id: Mapped[str] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), primary_key=True
    )
    purpose: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]


class SuspensionRow(Base):
    """Since when a guarantee cannot be settled because of a restriction or objection."""

    __tablename__ = "guarantee_suspensions"
    contract_id: Mapped[str] = mapped_column(
        ForeignKey("guarantees.contract_id", ondelete="CASCADE"), primary_key=True
    )
    since: Mapped[datetime]
    warned_at: Mapped[datetime | None]
    decision_id: Mapped[str | None]
    """The automated decision that it lapses."""


class AutomatedDecisionRow(Base):
    """What a program decided about somebody (`human_decision.Automated`)."""

    __tablename__ = "automated_decisions"
    decision_id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(index=True)
    thing: Mapped[str] = mapped_column(index=True)
    told_at: Mapped[datetime | None] = mapped_column(index=True)
    contested_at: Mapped[datetime | None]
    human_at: Mapped[datetime | None]
    body: Mapped[str]


class HoldRow(Base):
    """What must not be deleted for now (`legal_hold.Hold`)."""

    __tablename__ = "legal_holds"
    hold_id: Mapped[str] = mapped_column(primary_key=True)
    store: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]
    body: Mapped[str]


class ConsentRow(Base):
    """Somebody's word on a newsletter (`consent.Consent`)."""

    __tablename__ = "consents"
    consent_id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), index=True
    )
    topic: Mapped[str] = mapped_column(index=True)
    asked_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]
    body: Mapped[str]


class DisclosureRow(Base):
    """What left to whom (`sharing.Disclosure`)."""

    __tablename__ = "disclosures"
    disclosure_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    asked_at: Mapped[datetime] = mapped_column(index=True)
    disclosed_at: Mapped[datetime | None] = mapped_column(index=True)
    body: Mapped[str]


class DisclosureSiteRow(Base):
    """Whose data it was: the public key of a site, also after the site is gone."""

    __tablename__ = "disclosure_sites"
    disclosure_id: Mapped[str] = mapped_column(
        ForeignKey("disclosures.disclosure_id", ondelete="CASCADE"), primary_key=True
    )
    public_key: Mapped[str] = mapped_column(primary_key=True, index=True)


class PolicyRow(Base):
    """A version of the privacy policy in a language (`policy.Version`)."""

    __tablename__ = "policy_versions"
    version: Mapped[str] = mapped_column(primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)
    in_force_on: Mapped[date]
    body: Mapped[str]


class NoticeRow(Base):
    """Something that all registered users are told before it starts (`policy.Notice`)."""

    __tablename__ = "notices"
    notice_id: Mapped[str] = mapped_column(primary_key=True)
    starts_on: Mapped[date]
    created_at: Mapped[datetime]
    body: Mapped[str]


class MailRow(Base):
    """A mail to somebody, and what became of it; its words go when it is delivered or refused."""

    __tablename__ = "mails"
    mail_id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str | None] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), index=True
    )
    notice_id: Mapped[str | None] = mapped_column(
        ForeignKey("notices.notice_id", ondelete="CASCADE"), index=True
    )
    recipient: Mapped[str | None]
    """Where the person has no address of his own in the store."""
    language: Mapped[str]
    subject: Mapped[str]
    text: Mapped[str]
    headers: Mapped[str]
    """JSON object."""
    queued_at: Mapped[datetime]
    next_at: Mapped[datetime | None] = mapped_column(index=True)
    """When it is tried again; None when it ended."""
    state: Mapped[str]
    attempts: Mapped[int]
    at: Mapped[datetime | None] = mapped_column(index=True)
    answer: Mapped[str]


Index("uq_mails_notice_person", MailRow.notice_id, MailRow.person_id, unique=True)


class TransferRow(Base):
    """A takeover (`transfer.Transfer`)."""

    __tablename__ = "transfers"
    transfer_id: Mapped[str] = mapped_column(primary_key=True)
    transfers_on: Mapped[date]
    body: Mapped[str]


class SecurityIncidentRow(Base):
    """An entry of the register of incidents (`security_incident.SecurityIncident`)."""

    __tablename__ = "security_incidents"
    incident_id: Mapped[str] = mapped_column(primary_key=True)
    aware_at: Mapped[datetime]
    closed_at: Mapped[datetime | None] = mapped_column(index=True)
    body: Mapped[str]


class ProcessorRow(Base):
    """An entry of the register of processors (`processors.Processor`)."""

    __tablename__ = "processors"
    processor_id: Mapped[str] = mapped_column(primary_key=True)
    body: Mapped[str]


class SupportNoteRow(Base):
    """What support wrote down about a site or a person (`personal_record.SupportNote`)."""

    __tablename__ = "support_notes"
    note_id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str | None] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), index=True
    )
    site_number: Mapped[int | None] = mapped_column(
        ForeignKey("sites.number", ondelete="CASCADE"), index=True
    )
    closed_at: Mapped[datetime | None] = mapped_column(index=True)
    body: Mapped[str]


class LeadRow(Base):
    """Somebody who may become a customer (`personal_record.Lead`)."""

    __tablename__ = "leads"
    lead_id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(index=True)
    added_at: Mapped[datetime] = mapped_column(index=True)
    body: Mapped[str]


class InvoiceRow(Base):
    """An invoice, seven years (`personal_record.Invoice`); no foreign key, tax law outlives."""

    __tablename__ = "invoices"
    number: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(index=True)
    issued_on: Mapped[date] = mapped_column(index=True)
    body: Mapped[str]
