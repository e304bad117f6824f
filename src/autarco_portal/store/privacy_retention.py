"""Which rows are older than the table of retention allows, and how do they go?

Each rule of `privacy.retention` that the portal enforces has one entry in `EXPIRED`: what of its
table is due. Legal holds keep what they name.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, and_, delete, false, func, or_, select

from autarco_portal.privacy.retention import Removed, Rule, cutoff
from autarco_portal.store import audit
from autarco_portal.store.account_tables import (
    AppTokenRow,
    AuditRow,
    InvitationRow,
    LoginSessionRow,
    ThrottleRow,
)
from autarco_portal.store.audit import Audit
from autarco_portal.store.engine import affected, reading, writing
from autarco_portal.store.privacy_tables import (
    AutomatedDecisionRow,
    ConsentRow,
    DisclosureRow,
    DisclosureSiteRow,
    ErasureCaseRow,
    HoldRow,
    InvoiceRow,
    LeadRow,
    MailRow,
    RequestRow,
    RestrictionRow,
    SecurityIncidentRow,
    SupportNoteRow,
)
from autarco_portal.store.tables import (
    AlarmRow,
    AttributeRow,
    GrantRow,
    GuaranteeRow,
    SiteOwnerRow,
    SiteRow,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy.orm import Session

    from autarco_portal.audit import AuditEntry

Condition = Any
"""What SQLAlchemy makes of a comparison."""

EXPIRED: dict[str, tuple[Any, Callable[[datetime], Condition]]] = {
    "login_sessions": (LoginSessionRow, lambda before: LoginSessionRow.last_seen_at <= before),
    "login_throttles": (ThrottleRow, lambda before: ThrottleRow.last_failure_at <= before),
    "invitations": (InvitationRow, lambda before: InvitationRow.expires_at <= before),
    "app_tokens": (AppTokenRow, lambda before: AppTokenRow.expires_at <= before),
    "attribute_history": (AttributeRow, lambda before: AttributeRow.until <= before),
    "ended_grants": (GrantRow, lambda before: GrantRow.until <= before),
    "alarms": (AlarmRow, lambda before: AlarmRow.closed_at <= before),
    "support_notes": (SupportNoteRow, lambda before: SupportNoteRow.closed_at <= before),
    "leads": (LeadRow, lambda before: LeadRow.added_at <= before),
    # From the end of the year of issue: what was issued in it goes together.
    "invoices": (
        InvoiceRow,
        lambda before: InvoiceRow.issued_on < date(before.year, 1, 1),
    ),
    "requests": (RequestRow, lambda before: RequestRow.closed_at <= before),
    "erasures": (ErasureCaseRow, lambda before: ErasureCaseRow.ended_at <= before),
    "consents_unconfirmed": (
        ConsentRow,
        lambda before: and_(ConsentRow.confirmed_at.is_(None), ConsentRow.asked_at <= before),
    ),
    "consents_withdrawn": (ConsentRow, lambda before: ConsentRow.withdrawn_at <= before),
    "disclosures": (DisclosureRow, lambda before: DisclosureRow.disclosed_at <= before),
    "notices": (MailRow, lambda before: and_(MailRow.next_at.is_(None), MailRow.at <= before)),
    "restrictions": (RestrictionRow, lambda before: RestrictionRow.lifted_at <= before),
    "automated_decisions": (
        AutomatedDecisionRow,
        lambda before: AutomatedDecisionRow.told_at <= before,
    ),
    "security_incidents": (
        SecurityIncidentRow,
        lambda before: SecurityIncidentRow.closed_at <= before,
    ),
    "audit_log": (AuditRow, lambda before: AuditRow.at < before),
}
"""Not here: `photos`, which are files, and what ingest or the operator enforces."""


class Retention:
    """Retention in the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def due(self, rule: Rule, now: datetime) -> Removed:
        """Returns what a rule would remove now; raises KeyError for one that is no table's."""
        before = cutoff(rule, now)
        with reading(self._engine) as session:
            row, expired = EXPIRED[rule.name]
            all_due = _count(session, row, expired(before))
            free = _count(session, row, and_(expired(before), ~_held(row, rule.store)))
        return Removed(rule=rule.name, before=before, count=free, held=all_due - free)

    def run(self, rule: Rule, now: datetime, *entries: AuditEntry) -> Removed:
        """Removes it; the audit log is pruned so that the rest still verifies."""
        found = self.due(rule, now)
        if rule.name == "audit_log":
            return Removed(
                rule=rule.name, before=found.before,
                count=Audit(self._engine).prune(found.before, now),
            )  # fmt: skip
        if not found.count:
            return found
        row, expired = EXPIRED[rule.name]
        with writing(self._engine) as session:
            count = affected(
                session,
                delete(row)
                .where(expired(found.before), ~_held(row, rule.store))
                .execution_options(synchronize_session=False),
            )
            if entries:
                audit.append(session, *entries)
        return Removed(rule=rule.name, before=found.before, count=count, held=found.held)

    def sites_with_photos_due(self, before: datetime) -> list[str]:
        """Returns the sites none of whose guarantees went on after a moment, by key."""
        ended = ("refused", "expired", "lapsed", "ended")
        alive = select(GuaranteeRow.site_number).where(
            or_(GuaranteeRow.status.not_in(ended), GuaranteeRow.status_since > before)
        )
        wanted = (
            select(SiteRow.public_key)
            .join(GuaranteeRow, GuaranteeRow.site_number == SiteRow.number)
            .where(SiteRow.number.not_in(alive), ~_held(SiteRow, "photos"))
            .distinct()
            .order_by(SiteRow.public_key)
        )
        with reading(self._engine) as session:
            return list(session.scalars(wanted))


def _count(session: Session, row: Any, condition: Condition) -> int:
    return session.scalar(select(func.count()).select_from(row).where(condition)) or 0


def _held(row: Any, store: str) -> Condition:
    """What of a table a legal hold keeps: by its person, its site, or its own name."""
    holds = select(HoldRow.subject).where(
        HoldRow.ended_at.is_(None), HoldRow.store.in_([store, "*"])
    )
    held_sites = select(SiteRow.number).where(
        or_(
            SiteRow.public_key.in_(holds),
            SiteRow.number.in_(
                select(SiteOwnerRow.site_number).where(SiteOwnerRow.person_id.in_(holds))
            ),
        )
    )
    columns = row.__table__.columns
    found: list[Condition] = []
    if "person_id" in columns:
        found.append(and_(row.person_id.is_not(None), row.person_id.in_(holds)))
    if "site_number" in columns:
        found.append(and_(row.site_number.is_not(None), row.site_number.in_(held_sites)))
    if row is SiteRow:
        found.append(SiteRow.number.in_(held_sites))
    if row is DisclosureRow:
        sites = select(DisclosureSiteRow.disclosure_id).where(
            DisclosureSiteRow.public_key.in_(holds)
        )
        found.append(DisclosureRow.disclosure_id.in_(sites))
    keys = [column for column in row.__table__.primary_key if column.type.python_type is str]
    found += [key.in_(holds) for key in keys]
    return or_(*found) if found else false()
