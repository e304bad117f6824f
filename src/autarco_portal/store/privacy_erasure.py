"""What is kept of somebody, and how does all of it leave the database?

`holdings` finds everything that leads to a person, by the foreign keys of the tables themselves: a
table that is added later is found without being named here. `erase` removes it in one transaction.
Files and telemetry are the business of `privacy_erasure`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Engine, delete, func, select, update

from autarco_portal import guarantee
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.people import holds
from autarco_portal.privacy.erasure import GuaranteeHolding, Holdings, Impact, SiteHolding
from autarco_portal.store import alarm_notices, audit, people
from autarco_portal.store.declarative import Base
from autarco_portal.store.engine import affected, reading, writing
from autarco_portal.store.privacy_tables import (
    AutomatedDecisionRow,
    ErasureCaseRow,
    InvoiceRow,
    LeadRow,
    RequestRow,
    RestrictionRow,
    SupportNoteRow,
)
from autarco_portal.store.record_tables import PhotoRow
from autarco_portal.store.site_rows import as_record
from autarco_portal.store.tables import (
    AlarmRow,
    DecisionRow,
    GuaranteeRow,
    InverterRow,
    PersonRow,
    SettlementRow,
    SiteOwnerRow,
    SiteRow,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from sqlalchemy import Table
    from sqlalchemy.orm import Session

    from autarco_portal.audit import AuditEntry
    from autarco_portal.privacy.erasure import Case, Proof

OPEN = (GuaranteeStatus.REQUESTED, GuaranteeStatus.QUOTED, GuaranteeStatus.ACTIVE,
        GuaranteeStatus.SUSPENDED)  # fmt: skip
"""A guarantee in one of these lapses with its site."""

LAPSED_BY_ERASURE = "erasure"
"""The reason that a guarantee's status gives."""

GONE = "-"
"""What stands where a site's address was, while a guarantee must be kept."""

PROOF = frozenset({"privacy_requests", "erasure_cases", "audit_log", "invoices", "notices"})
"""Tables whose rows outlive the person: they name him by an identifier that means nobody then.
Invoices name him in full, for seven years."""


class Erasure:
    """Erasure in the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def holdings(self, person_id: str, now: datetime) -> Holdings:
        """Returns all that is kept of somebody; raises StoreError for somebody unknown."""
        with reading(self._engine) as session:
            person = people.existing(session, person_id)
            sites = _owned(session, person_id, now)
            alone = [site for site in sites if not _others(site, person_id, now)]
            numbers = [site.number for site in alone]
            records = _rows_by_table(session, person_id, numbers)
            leads = select(func.count()).select_from(LeadRow).where(LeadRow.email == person.email)
            if count := session.scalar(leads) or 0:
                records["leads"] = count
            restricted = [person_id, *(site.public_key for site in alone)]
            restrictions = (
                select(func.count())
                .select_from(RestrictionRow)
                .where(RestrictionRow.subject.in_(restricted))
            )
            if count := session.scalar(restrictions) or 0:
                records["restrictions"] = count
            invoices = session.execute(
                select(InvoiceRow.number, InvoiceRow.issued_on).where(
                    InvoiceRow.person_id == person_id
                )
            )
            return Holdings(
                person=person_id,
                sites=tuple(_site_holding(session, site, person_id, now) for site in sites),
                invoices={number: issued_on for number, issued_on in invoices},
                records=records,
            )

    def erase(
        self,
        impact: Impact,
        now: datetime,
        end: Callable[[dict[str, int]], tuple[Case, Proof, AuditEntry]] | None = None,
    ) -> dict[str, int]:
        """Removes the person and what is his alone; returns how many rows went, by table.

        One transaction, with the closed case, proof and entry that `end` makes of the counts.
        Sites with a guarantee or photos that are kept stay as a number and a key, without place,
        planes, inverters or anybody.
        """
        person_id = impact.person
        with writing(self._engine) as session:
            person = people.existing(session, person_id)
            sites = session.scalars(
                select(SiteRow).where(SiteRow.public_key.in_(impact.sites_without_monitoring))
            ).all()
            numbers = [site.number for site in sites]
            removed = _rows_by_table(session, person_id, numbers)
            kept = {part.what for part in impact.kept}
            for table in kept:
                removed.pop(table, None)
            _lapse(session, numbers, now)
            removed["settlements"] = _drop_unpaid(session, numbers, keep="settlements" in kept)
            if "leads" not in kept:
                removed["leads"] = affected(
                    session, delete(LeadRow).where(LeadRow.email == person.email)
                )
            if "support_notes" in kept:
                # Its foreign keys would take it along: under a hold it stays, without them.
                session.execute(
                    update(SupportNoteRow)
                    .where(
                        (SupportNoteRow.person_id == person_id)
                        | SupportNoteRow.site_number.in_(numbers)
                    )
                    .values(person_id=None, site_number=None)
                )
            keys = [person_id, *impact.sites_without_monitoring]
            removed["restrictions"] = affected(
                session, delete(RestrictionRow).where(RestrictionRow.subject.in_(keys))
            )
            removed["automated_decisions"] = affected(
                session,
                delete(AutomatedDecisionRow).where(AutomatedDecisionRow.person_id == person_id),
            )
            session.execute(
                update(RequestRow).where(RequestRow.person_id == person_id).values(contact=None)
            )
            for site in sites:
                _remove_site(session, site, now, keep_photos="photos" in kept)
            session.execute(
                delete(PersonRow)
                .where(PersonRow.person_id == person_id)
                .execution_options(synchronize_session=False)
            )
            removed = {table: count for table, count in sorted(removed.items()) if count}
            if end is not None:
                _keep_proof(session, *end(removed))
        return removed

    def photos_elsewhere(self, sites: Collection[str]) -> frozenset[str]:
        """Returns the hashes of photos that other sites have: their files stay."""
        others = (
            select(PhotoRow.sha256)
            .join(SiteRow, SiteRow.number == PhotoRow.site_number)
            .where(SiteRow.public_key.not_in(sites))
        )
        with reading(self._engine) as session:
            return frozenset(session.scalars(others.distinct()))

    def overwrite(self) -> bool:
        """Takes what was erased out of SQLite's log too; tells whether nobody hindered it.

        Deleted rows are overwritten where they were (`secure_delete`), but the write-ahead log
        keeps older pages until it is emptied. PostgreSQL overwrites by its own vacuum.
        """
        if self._engine.dialect.name != "sqlite":
            return True
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            row = cursor.fetchone()
            cursor.close()
        finally:
            connection.close()
        return row is not None and row[0] == 0

    def traces(self, person_id: str) -> list[str]:
        """Returns the tables that still lead to a person, apart from those that are proof."""
        with reading(self._engine) as session:
            found = _rows_by_table(session, person_id, [])
            if session.get(PersonRow, person_id) is not None:
                found["people"] = 1
        return sorted(table for table, count in found.items() if count and table not in PROOF)

    def cases_due(self, now: datetime) -> list[str]:
        """Returns the erasures whose cooling-off is over, the oldest first."""
        with reading(self._engine) as session:
            return list(
                session.scalars(
                    select(ErasureCaseRow.case_id)
                    .where(ErasureCaseRow.effective_at <= now, ErasureCaseRow.ended_at.is_(None))
                    .order_by(ErasureCaseRow.effective_at)
                )
            )

    def everybody(self) -> list[str]:
        """Returns the identifiers of all people: after a restore, to find whom it brought back."""
        with reading(self._engine) as session:
            return list(session.scalars(select(PersonRow.person_id).order_by(PersonRow.person_id)))


def _keep_proof(session: Session, case: Case, proof: Proof, entry: AuditEntry) -> None:
    row = session.get_one(ErasureCaseRow, case.case_id)
    row.ended_at = case.executed_at
    row.body = msgspec.json.encode(case).decode()
    row.proof = msgspec.json.encode(proof).decode()
    audit.append(session, entry)


def _person_columns(table: Table) -> tuple[str, ...]:
    return tuple(
        column.name
        for column in table.columns
        if column.name == "person_id"
        or any(key.column.table.name == "people" for key in column.foreign_keys)
    )


def _rows_by_table(session: Session, person_id: str, sites: list[int]) -> dict[str, int]:
    """How many rows go with a person and with the sites that are his alone."""
    counts: dict[str, int] = {}
    for table in Base.metadata.sorted_tables:
        if table.name in PROOF:
            continue
        of_person = [table.c[name] == person_id for name in _person_columns(table)]
        of_site = [
            column.in_(sites)
            for column in table.columns
            if sites
            and table.name not in ("guarantees", "sites")
            and any(key.column.table.name == "sites" for key in column.foreign_keys)
        ]
        conditions = [*of_person, *of_site]
        if not conditions:
            continue
        wanted = conditions[0]
        for condition in conditions[1:]:
            wanted = wanted | condition
        count = session.scalar(select(func.count()).select_from(table).where(wanted)) or 0
        if count:
            counts[str(table.name)] = count
    return counts


def _owned(session: Session, person_id: str, now: datetime) -> list[SiteRow]:
    rows = session.scalars(
        select(SiteRow)
        .join(SiteOwnerRow, SiteOwnerRow.site_number == SiteRow.number)
        .where(
            SiteOwnerRow.person_id == person_id,
            SiteOwnerRow.from_at <= now,
            SiteOwnerRow.until.is_(None) | (SiteOwnerRow.until > now),
        )
        .order_by(SiteRow.number)
    )
    return list(rows.unique())


def _others(site: SiteRow, person_id: str, now: datetime) -> int:
    owners = as_record(site).owners
    return len({one.person_id for one in owners if holds(one, now)} - {person_id})


def _site_holding(session: Session, site: SiteRow, person_id: str, now: datetime) -> SiteHolding:
    elsewhere = set(
        session.scalars(
            select(InverterRow.serial_number).where(
                InverterRow.site_number != site.number,
                InverterRow.serial_number.in_([one.serial_number for one in site.inverters]),
                InverterRow.uninstalled_at.is_(None),
            )
        )
    )
    loggers = {
        one.logger_sn
        for one in site.inverters
        if one.logger_sn is not None and one.uninstalled_at is None
    }
    serials = {one.serial_number for one in site.inverters}
    guarantees = session.scalars(
        select(GuaranteeRow)
        .where(GuaranteeRow.site_number == site.number)
        .order_by(GuaranteeRow.contract_id)
    )
    return SiteHolding(
        site_id=site.public_key,
        other_owners=_others(site, person_id, now),
        loggers=tuple(sorted(loggers)),
        inverters=tuple(sorted(serials - elsewhere)),
        moved=tuple(sorted(serials & elsewhere)),
        photos=session.scalar(
            select(func.count()).select_from(PhotoRow).where(PhotoRow.site_number == site.number)
        )
        or 0,
        guarantees=tuple(_guarantee_holding(session, row) for row in guarantees),
    )


def _guarantee_holding(session: Session, row: GuaranteeRow) -> GuaranteeHolding:
    paid = _paid(session, [row.contract_id])
    return GuaranteeHolding(
        contract_id=row.contract_id,
        is_active=GuaranteeStatus(row.status) in OPEN,
        settled_claims=len(paid),
        last_settled_on=max((one.created_at.date() for one in paid), default=None),
    )


def _paid(session: Session, contracts: list[str]) -> list[SettlementRow]:
    rows = session.scalars(select(SettlementRow).where(SettlementRow.contract_id.in_(contracts)))
    return [row for row in rows if guarantee.from_json(row.document.encode()).compensation_eur > 0]


def _contracts(session: Session, sites: list[int]) -> list[str]:
    return list(
        session.scalars(select(GuaranteeRow.contract_id).where(GuaranteeRow.site_number.in_(sites)))
    )


def _lapse(session: Session, sites: list[int], now: datetime) -> None:
    session.execute(
        update(GuaranteeRow)
        .where(
            GuaranteeRow.site_number.in_(sites),
            GuaranteeRow.status.in_([status.value for status in OPEN]),
        )
        .values(
            status=GuaranteeStatus.LAPSED.value, status_since=now, status_reason=LAPSED_BY_ERASURE
        )
    )


def _drop_unpaid(session: Session, sites: list[int], *, keep: bool) -> int:
    contracts = _contracts(session, sites)
    keys = set(
        session.scalars(
            select(SettlementRow.sha256).where(SettlementRow.contract_id.in_(contracts))
        )
    )
    if keep:
        keys -= {row.sha256 for row in _paid(session, contracts)}
    session.execute(delete(DecisionRow).where(DecisionRow.settlement_sha256.in_(keys)))
    session.execute(delete(SettlementRow).where(SettlementRow.sha256.in_(keys)))
    return len(keys)


def _remove_site(session: Session, site: SiteRow, now: datetime, *, keep_photos: bool) -> None:
    number = site.number
    photos = select(func.count()).select_from(PhotoRow).where(PhotoRow.site_number == number)
    is_kept = bool(_contracts(session, [number])) or (keep_photos and bool(session.scalar(photos)))
    session.expunge(site)
    # To whomever: its name is in their words.
    alarm_notices.recall(
        session, select(AlarmRow.incident_id).where(AlarmRow.site_number == number)
    )
    if not is_kept:
        session.execute(delete(SiteRow).where(SiteRow.number == number))
        return
    left = {"guarantees", "photos"} if keep_photos else {"guarantees"}
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            of_site = any(key.column.table.name == "sites" for key in column.foreign_keys)
            if of_site and table.name not in left:
                session.execute(delete(table).where(column == number))
    session.execute(
        update(SiteRow)
        .where(SiteRow.number == number)
        .values(
            name=GONE, street=GONE, postcode=GONE, city=GONE, latitude=0.0, longitude=0.0,
            altitude=0.0, commissioned_on=None, updated_at=now,
        )
    )  # fmt: skip
