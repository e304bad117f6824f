"""What stands in columns beside the JSON of a register's value, to be looked up and timed by?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autarco_portal.privacy.request import Kind

if TYPE_CHECKING:
    from autarco_portal.personal_record import Invoice, Lead
    from autarco_portal.privacy.consent import Consent
    from autarco_portal.privacy.erasure import Case
    from autarco_portal.privacy.human_decision import Automated
    from autarco_portal.privacy.legal_hold import Hold
    from autarco_portal.privacy.policy import Notice, Version
    from autarco_portal.privacy.processors import Processor
    from autarco_portal.privacy.request import Request
    from autarco_portal.privacy.security_incident import SecurityIncident
    from autarco_portal.privacy.sharing import Disclosure
    from autarco_portal.privacy.suspension import Restriction
    from autarco_portal.privacy.transfer import Transfer


def request(value: Request) -> dict[str, Any]:
    """Of `Request`."""
    end = value.last(Kind.CLOSED, Kind.WITHDRAWN)
    return {
        "request_id": value.request_id, "person_id": value.person, "right": value.right.value,
        "is_open": value.is_open, "received_at": value.received_at,
        "closed_at": end.at if end else None,
    }  # fmt: skip


def case(value: Case) -> dict[str, Any]:
    """Of `Case`."""
    return {
        "case_id": value.case_id, "request_id": value.request_id,
        "person_id": value.impact.person, "effective_at": value.effective_at,
        "ended_at": value.executed_at or value.called_off_at,
    }  # fmt: skip


def restriction(value: Restriction) -> dict[str, Any]:
    """Of `Restriction`."""
    return {
        "restriction_id": value.restriction_id, "subject": value.subject,
        "begun_at": value.begun_at, "lifted_at": value.lifted_at,
    }  # fmt: skip


def automated(value: Automated) -> dict[str, Any]:
    """Of `Automated`."""
    return {
        "decision_id": value.decision_id, "person_id": value.person, "thing": value.thing,
        "told_at": value.told_at, "contested_at": value.contested_at, "human_at": value.human_at,
    }  # fmt: skip


def hold(value: Hold) -> dict[str, Any]:
    """Of `Hold`."""
    return {
        "hold_id": value.hold_id, "store": value.store, "subject": value.subject,
        "ended_at": value.ended_at,
    }  # fmt: skip


def consent(value: Consent) -> dict[str, Any]:
    """Of `Consent`."""
    return {
        "consent_id": value.consent_id, "person_id": value.person, "topic": value.topic,
        "asked_at": value.asked_at, "confirmed_at": value.confirmed_at,
        "withdrawn_at": value.withdrawn_at,
    }  # fmt: skip


def disclosure(value: Disclosure) -> dict[str, Any]:
    """Of `Disclosure`."""
    return {
        "disclosure_id": value.disclosure_id, "kind": value.kind.value,
        "asked_at": value.asked_at, "disclosed_at": value.disclosed_at,
    }  # fmt: skip


def policy(value: Version) -> dict[str, Any]:
    """Of `Version`."""
    return {
        "version": value.version, "language": value.language, "in_force_on": value.in_force_on,
    }  # fmt: skip


def notice(value: Notice) -> dict[str, Any]:
    """Of `Notice`."""
    return {
        "notice_id": value.notice_id, "starts_on": value.starts_on,
        "created_at": value.created_at,
    }  # fmt: skip


def transfer(value: Transfer) -> dict[str, Any]:
    """Of `Transfer`."""
    return {"transfer_id": value.transfer_id, "transfers_on": value.transfers_on}


def incident(value: SecurityIncident) -> dict[str, Any]:
    """Of `SecurityIncident`."""
    return {
        "incident_id": value.incident_id, "aware_at": value.aware_at,
        "closed_at": value.closed_at,
    }  # fmt: skip


def processor(value: Processor) -> dict[str, Any]:
    """Of `Processor`."""
    return {"processor_id": value.processor_id}


def invoice(value: Invoice) -> dict[str, Any]:
    """Of `Invoice`."""
    return {
        "number": value.number, "person_id": value.person_id, "issued_on": value.issued_on,
    }  # fmt: skip


def lead(value: Lead) -> dict[str, Any]:
    """Of `Lead`."""
    return {"lead_id": value.lead_id, "email": value.email, "added_at": value.added_at}
