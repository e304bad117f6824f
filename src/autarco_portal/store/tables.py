"""Which tables hold people, sites, alarms and guarantees?

Declarative models, for SQLite and PostgreSQL alike; a test compares them with the migrations. Rows
never leave the package: its methods return the values of the pure modules.

People, organisations and sites have random identifiers; only a site's number counts, because API
clients want an integer. Instants are UTC. What rules read as a whole (planes, verdicts, contracts)
is one JSON text, in msgspec's spelling, with columns beside it for what is looked up.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - SQLAlchemy looks at them

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from autarco_portal.store.declarative import Base


class OrganisationRow(Base):
    """A partner."""

    __tablename__ = "organisations"
    organisation_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    parent: Mapped[str | None] = mapped_column(
        ForeignKey("organisations.organisation_id"), index=True
    )
    email: Mapped[str | None]
    phone: Mapped[str | None]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class PersonRow(Base):
    """Somebody."""

    __tablename__ = "people"
    person_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str] = mapped_column(unique=True)
    phone: Mapped[str | None]
    language: Mapped[str]
    created_at: Mapped[datetime]
    attributes: Mapped[list[AttributeRow]] = relationship(
        order_by="AttributeRow.attribute_id", cascade="all, delete-orphan", passive_deletes=True
    )


class AttributeRow(Base):
    """A personal attribute of a person or of a site's address: value, source, and since when.

    The rows without an end are what holds now; the others are its history.
    """

    __tablename__ = "personal_attributes"
    __table_args__ = (
        CheckConstraint("(person_id IS NULL) <> (site_number IS NULL)", name="of_one"),
    )
    attribute_id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[str | None] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), index=True
    )
    site_number: Mapped[int | None] = mapped_column(
        ForeignKey("sites.number", ondelete="CASCADE"), index=True
    )
    attribute: Mapped[str]
    value: Mapped[str | None]
    source_kind: Mapped[str]
    source_organisation_id: Mapped[str | None] = mapped_column(
        ForeignKey("organisations.organisation_id")
    )
    from_at: Mapped[datetime]
    until: Mapped[datetime | None]


class MembershipRow(Base):
    """Somebody works for an organisation."""

    __tablename__ = "memberships"
    membership_id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), index=True
    )
    organisation_id: Mapped[str] = mapped_column(
        ForeignKey("organisations.organisation_id"), index=True
    )
    role: Mapped[str]
    from_at: Mapped[datetime]
    until: Mapped[datetime | None]


class PortalRoleRow(Base):
    """Somebody is one of the portal's own."""

    __tablename__ = "portal_roles"
    person_id: Mapped[str] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), primary_key=True
    )
    role: Mapped[str] = mapped_column(primary_key=True)
    given_at: Mapped[datetime]


class SiteRow(Base):
    """A site; its number is never used again, also after erasure."""

    __tablename__ = "sites"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's own form
    number: Mapped[int] = mapped_column(primary_key=True)
    public_key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    street: Mapped[str]
    postcode: Mapped[str]
    city: Mapped[str]
    country: Mapped[str]
    latitude: Mapped[float]
    longitude: Mapped[float]
    altitude: Mapped[float]
    time_zone: Mapped[str]
    commissioned_on: Mapped[date | None]
    has_consumption_meter: Mapped[bool]
    has_battery: Mapped[bool]
    restricted_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    planes: Mapped[list[PlaneRow]] = relationship(
        order_by="PlaneRow.position", cascade="all, delete-orphan", passive_deletes=True
    )
    inverters: Mapped[list[InverterRow]] = relationship(
        order_by="InverterRow.inverter_id", cascade="all, delete-orphan", passive_deletes=True
    )
    roles: Mapped[list[SiteRoleRow]] = relationship(
        order_by="SiteRoleRow.role_id", cascade="all, delete-orphan", passive_deletes=True
    )
    owners: Mapped[list[SiteOwnerRow]] = relationship(
        order_by="SiteOwnerRow.owner_id", cascade="all, delete-orphan", passive_deletes=True
    )
    grants: Mapped[list[GrantRow]] = relationship(
        order_by="GrantRow.from_at, GrantRow.grant_id",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )
    address_attributes: Mapped[list[AttributeRow]] = relationship(
        order_by="AttributeRow.attribute_id", cascade="all, delete-orphan", passive_deletes=True
    )


class PlaneRow(Base):
    """A roof plane of a site; the whole of it is in `plane`."""

    __tablename__ = "roof_planes"
    site_number: Mapped[int] = mapped_column(
        ForeignKey("sites.number", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    plane: Mapped[str]
    """JSON of a `site.RoofPlane`."""


class InverterRow(Base):
    """A device for as long as it hung somewhere; it may hang elsewhere later."""

    __tablename__ = "inverters"
    inverter_id: Mapped[int] = mapped_column(primary_key=True)
    site_number: Mapped[int] = mapped_column(
        ForeignKey("sites.number", ondelete="CASCADE"), index=True
    )
    serial_number: Mapped[str] = mapped_column(index=True)
    pac0: Mapped[float]
    installed_at: Mapped[datetime]
    uninstalled_at: Mapped[datetime | None]
    mppt_planes: Mapped[str]
    """JSON list of names of planes, or null for a tracker that is not connected."""
    variant_code: Mapped[str | None]
    logger_sn: Mapped[int | None] = mapped_column(BigInteger, index=True)


Index(
    "uq_inverters_installed",
    InverterRow.serial_number,
    unique=True,
    sqlite_where=InverterRow.uninstalled_at.is_(None),
    postgresql_where=InverterRow.uninstalled_at.is_(None),
)


class SiteRoleRow(Base):
    """What an organisation does for a site."""

    __tablename__ = "site_roles"
    role_id: Mapped[int] = mapped_column(primary_key=True)
    site_number: Mapped[int] = mapped_column(
        ForeignKey("sites.number", ondelete="CASCADE"), index=True
    )
    organisation_id: Mapped[str] = mapped_column(
        ForeignKey("organisations.organisation_id"), index=True
    )
    kind: Mapped[str]
    from_at: Mapped[datetime]
    until: Mapped[datetime | None]


class SiteOwnerRow(Base):
    """Whose site it is."""

    __tablename__ = "site_owners"
    owner_id: Mapped[int] = mapped_column(primary_key=True)
    site_number: Mapped[int] = mapped_column(
        ForeignKey("sites.number", ondelete="CASCADE"), index=True
    )
    person_id: Mapped[str] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), index=True
    )
    from_at: Mapped[datetime]
    until: Mapped[datetime | None]


class GrantRow(Base):
    """Somebody else may see a site."""

    __tablename__ = "grants"
    __table_args__ = (
        CheckConstraint("(person_id IS NULL) <> (organisation_id IS NULL)", name="to_one"),
    )
    grant_id: Mapped[str] = mapped_column(primary_key=True)
    site_number: Mapped[int] = mapped_column(
        ForeignKey("sites.number", ondelete="CASCADE"), index=True
    )
    person_id: Mapped[str | None] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), index=True
    )
    organisation_id: Mapped[str | None] = mapped_column(
        ForeignKey("organisations.organisation_id"), index=True
    )
    from_at: Mapped[datetime]
    until: Mapped[datetime | None]
    why: Mapped[str]
    given_by: Mapped[str]
    """No foreign key: who gave it is told also after he is gone."""


class AlarmRow(Base):
    """An incident; its verdicts by day are in `days`."""

    __tablename__ = "alarms"
    incident_id: Mapped[str] = mapped_column(primary_key=True)
    site_number: Mapped[int] = mapped_column(
        ForeignKey("sites.number", ondelete="CASCADE"), index=True
    )
    cause: Mapped[str]
    severity: Mapped[str]
    opened_at: Mapped[datetime] = mapped_column(index=True)
    closed_at: Mapped[datetime | None] = mapped_column(index=True)
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]
    acknowledgement: Mapped[str | None]
    incident: Mapped[str]
    """JSON of the `incidents.Incident`; the columns repeat what is looked up."""


class AlarmNoticeRow(Base):
    """Somebody is told of an incident: at most once of each step, which the database insists on.

    Made in the transaction that queues the mail.
    """

    __tablename__ = "alarm_notices"
    __table_args__ = (
        CheckConstraint("(person_id IS NULL) <> (organisation_id IS NULL)", name="to_one"),
        UniqueConstraint("incident_id", "step", "person_id"),
        UniqueConstraint("incident_id", "step", "organisation_id"),
    )
    notice_id: Mapped[int] = mapped_column(primary_key=True)
    incident_id: Mapped[str] = mapped_column(
        ForeignKey("alarms.incident_id", ondelete="CASCADE"), index=True
    )
    step: Mapped[str]
    party: Mapped[str]
    person_id: Mapped[str | None] = mapped_column(
        ForeignKey("people.person_id", ondelete="CASCADE"), index=True
    )
    organisation_id: Mapped[str | None] = mapped_column(
        ForeignKey("organisations.organisation_id"), index=True
    )
    mail_id: Mapped[str | None] = mapped_column(
        ForeignKey("mails.mail_id", ondelete="SET NULL"), index=True
    )
    """Mails go earlier than alarms."""
    queued_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]
    refused_at: Mapped[datetime | None]


class GuaranteeRow(Base):
    """A contract and where it stands."""

    __tablename__ = "guarantees"
    contract_id: Mapped[str] = mapped_column(primary_key=True)
    site_number: Mapped[int] = mapped_column(ForeignKey("sites.number"), index=True)
    """Without cascade: erasing a site must first decide on its guarantees."""
    starts_on: Mapped[date]
    status: Mapped[str] = mapped_column(index=True)
    status_since: Mapped[datetime]
    status_reason: Mapped[str | None]
    created_at: Mapped[datetime]
    contract: Mapped[str]
    """JSON of the `guarantee_contract.Contract`."""


class SettlementRow(Base):
    """A settlement as a document."""

    __tablename__ = "settlements"
    sha256: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str] = mapped_column(ForeignKey("guarantees.contract_id"), index=True)
    first_day: Mapped[date]
    status: Mapped[str]
    created_at: Mapped[datetime]
    document: Mapped[str]
    """What `guarantee.to_json` made."""
    decisions: Mapped[list[DecisionRow]] = relationship(order_by="DecisionRow.decision_id")


class DecisionRow(Base):
    """A person's word over a settlement."""

    __tablename__ = "decisions"
    decision_id: Mapped[int] = mapped_column(primary_key=True)
    settlement_sha256: Mapped[str] = mapped_column(ForeignKey("settlements.sha256"), index=True)
    decision: Mapped[str]
    """JSON of the `guarantee.Decision`."""
