"""What is on the pages of the privacy officer, and on that of the policy? As `models`."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec looks at them when it decodes
from typing import ClassVar

from msgspec import Struct

from autarco_portal.pages.models import Page
from autarco_portal.pages.models_rights import RequestRow, StepRow  # noqa: TC001 - as above
from autarco_portal.privacy.sharing import Disclosure  # noqa: TC001


class DeskRow(Struct, frozen=True, kw_only=True):
    """A request of the register."""

    request: RequestRow
    channel: str
    person: str
    """A name, empty while nobody knows who asked."""
    days_left: int

    @property
    def urgency(self) -> str:
        """How it is shown: `alarm` when missed or three days are left, `warning` at ten."""
        if not self.request.is_open:
            return ""
        return "alarm" if self.days_left < 3 else "warning" if self.days_left < 10 else ""


class ContestedRow(Struct, frozen=True, kw_only=True):
    """A program's decision that waits for a named person."""

    decision_id: str
    effect: str
    thing: str
    person: str
    reason: str
    """Of the person who contests."""
    decide_until: datetime | None
    is_own: bool
    """The officer's own case: somebody else decides."""


class PrivacyDesk(Page, frozen=True, kw_only=True):
    """Open requests, contested decisions, and what else waits for a person."""

    template: ClassVar[str] = "privacy_desk.html"
    rows: tuple[DeskRow, ...]
    contested: tuple[ContestedRow, ...]
    attention: tuple[str, ...]
    shows_all: bool
    rights: tuple[str, ...]
    channels: tuple[str, ...]


class DeskRequest(Page, frozen=True, kw_only=True):
    """One request with its steps and what can be done next."""

    template: ClassVar[str] = "desk_request.html"
    row: DeskRow
    person_email: str
    contact: str
    """Where the answer goes while nobody knows who asked."""
    is_verified: bool
    is_extended: bool
    outcomes: tuple[str, ...]
    methods: tuple[str, ...]
    """Empty for a request of the portal: it proves itself."""
    steps: tuple[StepRow, ...]
    evidence: tuple[tuple[datetime, str], ...]
    facts: dict[str, tuple[str, ...]]
    """What a decision on rectification can change, by site."""
    effective_at: datetime | None
    """When a confirmed erasure is carried out."""


class IncidentRow(Struct, frozen=True, kw_only=True):
    """A security incident and its clock."""

    incident_id: str
    summary: str
    aware_at: datetime
    hours_left: float | None
    is_risk: bool
    is_high_risk: bool
    assessment: str
    must_tell_people: bool
    reports: int
    still_unknown: tuple[str, ...]
    closed_at: datetime | None


class DeskIncidents(Page, frozen=True, kw_only=True):
    """The register of incidents."""

    template: ClassVar[str] = "desk_incidents.html"
    rows: tuple[IncidentRow, ...]
    fields: tuple[str, ...]
    """What a report names."""


class DeskDisclosures(Page, frozen=True, kw_only=True):
    """The ledger of disclosures."""

    template: ClassVar[str] = "desk_disclosures.html"
    rows: tuple[tuple[Disclosure, int, bool], ...]
    """Each with the approvals that are missing, and whether this officer may give one."""


class RetentionRow(Struct, frozen=True, kw_only=True):
    """A rule, and what is due by it."""

    name: str
    days: int
    since: str
    purpose: str
    enforcer: str
    due: int | None
    held: int


class DeskRetention(Page, frozen=True, kw_only=True):
    """What is kept how long, and what is due now."""

    template: ClassVar[str] = "desk_retention.html"
    rows: tuple[RetentionRow, ...]


class PolicyRow(Struct, frozen=True, kw_only=True):
    """A version of the policy."""

    version: str
    in_force_on: date
    is_shown: bool


class Policy(Page, frozen=True, kw_only=True):
    """The privacy policy in force, or an older one."""

    template: ClassVar[str] = "policy.html"
    version: str
    text: str
    in_force_on: date | None
    sha256: str
    history: tuple[PolicyRow, ...]
    """The newest first."""
    contact: str
