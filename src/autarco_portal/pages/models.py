"""What is on each page? Plain values; templates show them and know nothing else.

Every page has a template of its own. What a page does not show is not in its model, so a template
can be tested without store, lake or request. Power in W, energy in kWh, times in UTC.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec looks at them when it decodes
from decimal import Decimal  # noqa: TC003
from typing import ClassVar, Literal

from msgspec import Struct

from autarco_portal.alarm_record import AlarmFilter  # noqa: TC001
from autarco_portal.guarantee_contract import Contract  # noqa: TC001
from autarco_portal.guarantee_record import GuaranteeStatus, SettlementRecord  # noqa: TC001
from autarco_portal.incidents import Cause, CloseReason, Severity
from autarco_portal.pages.charts import Chart  # noqa: TC001
from autarco_portal.people import MemberRole, OrganisationKind
from autarco_portal.site_health import Health  # noqa: TC001

Tab = Literal[
    "sites", "alarms", "guarantees", "organisations", "privacy-desk", "my-data", "profile", ""
]  # fmt: skip


class Frame(Struct, frozen=True, kw_only=True):
    """What is around every page."""

    path: str
    """With its query, to come back to after a change of language."""
    tab: Tab = ""
    person: str | None = None
    """Who is signed in, by name; None for nobody."""
    has_organisations: bool = False
    """Whether there is an organisation to look after."""
    is_officer: bool = False
    """Whether somebody answers requests about people's data."""
    csrf: str = ""
    """What every form must bring along."""
    now: datetime
    notice: str = ""
    """What has just been done, in words of the source."""
    json_path: str = ""
    """The page's twin for programs."""


class Page(Struct, frozen=True, kw_only=True):
    """A page; `template` draws it."""

    template: ClassVar[str]


class Failure(Page, frozen=True, kw_only=True):
    """What a person gets who asked for what is not there, or when something is out of order."""

    template: ClassVar[str] = "failure.html"
    status: int
    sentence: str


class SignIn(Page, frozen=True, kw_only=True):
    """Asks for e-mail address and password."""

    template: ClassVar[str] = "sign_in.html"
    email: str = ""
    next_path: str = "/"
    error: str = ""


class Forgotten(Page, frozen=True, kw_only=True):
    """Asks for the address to which a link for another password goes."""

    template: ClassVar[str] = "forgotten.html"
    is_sent: bool = False
    """Said whether or not anybody has that address."""
    error: str = ""


class SecondFactor(Page, frozen=True, kw_only=True):
    """Asks for the code of the app on somebody's phone."""

    template: ClassVar[str] = "second_factor.html"
    next_path: str = "/"
    error: str = ""


class ProveAgain(Page, frozen=True, kw_only=True):
    """Asks somebody who is in for password and code once more."""

    template: ClassVar[str] = "prove_again.html"
    email: str
    next_path: str
    has_second_factor: bool
    error: str = ""


class SecondFactorSetup(Page, frozen=True, kw_only=True):
    """Shows the secret for an app on somebody's phone, and asks for its first code."""

    template: ClassVar[str] = "second_factor_setup.html"
    qr_svg: str
    """An <svg> element of our own making."""
    secret: str
    """In groups of four, for typing."""
    is_mandatory: bool
    next_path: str = "/"
    error: str = ""


class RecoveryCodes(Page, frozen=True, kw_only=True):
    """Shows, once, what opens the account when the phone is lost."""

    template: ClassVar[str] = "recovery_codes.html"
    codes: tuple[str, ...]
    next_path: str = "/"


class Invitation(Page, frozen=True, kw_only=True):
    """Lets somebody who was invited choose a password."""

    template: ClassVar[str] = "invitation.html"
    token: str
    email: str
    name: str = ""
    is_new: bool = True
    """False for somebody who forgot the password."""
    organisation: str = ""
    password_length_min: int
    error: str = ""


class SiteRow(Struct, frozen=True, kw_only=True):
    """A site in a list."""

    site_id: str
    name: str
    place: str
    health: Health
    peak_kw: float
    power: float | None
    today_kwh: float | None
    latest_at: datetime | None
    alarms_open: int


class Fleet(Page, frozen=True, kw_only=True):
    """All sites that somebody may see, some at a time."""

    template: ClassVar[str] = "fleet.html"
    counts: tuple[tuple[Health, int], ...]
    """Of all sites, whatever is searched."""
    power: float | None
    today_kwh: float | None
    search: str = ""
    health: Health | None = None
    """Only these are shown."""
    rows: tuple[SiteRow, ...]
    found: int
    """Sites that match, on all pages."""
    page: int = 1
    pages: int = 1
    may_add: bool = False

    @property
    def total(self) -> int:
        """How many sites there are."""
        return sum(count for _, count in self.counts)


class InverterRow(Struct, frozen=True, kw_only=True):
    """An inverter of a site."""

    serial_number: str
    rated_kw: float
    health: Health
    power: float | None
    total_kwh: float | None
    latest_at: datetime | None
    is_installed: bool = True


class Comparison(Struct, frozen=True, kw_only=True):
    """How a site did in a time; shares are of 1."""

    period: str
    energy_kwh: float | None
    expected_kwh: float | None
    performance_index: float | None
    """Measured over expected in the same weather."""
    performance_ratio: float | None
    """IEC 61724."""
    peer_ratio: float | None
    """Own yield over that of the neighbours, both against their own usual."""
    peers: int
    availability: float | None
    """Share of the daylight time in which it produced."""


class SilentTime(Struct, frozen=True, kw_only=True):
    """A time in which nothing of a site was heard, on the clock at the site."""

    start: datetime
    end: datetime | None
    """None while it lasts."""


class AlarmRow(Struct, frozen=True, kw_only=True):
    """An incident in a list."""

    incident_id: str
    site_id: str
    site_name: str
    inverter_sn: str = ""
    cause: Cause
    severity: Severity
    opened_at: datetime
    acknowledged_at: datetime | None = None
    closed_at: datetime | None = None
    lost_kwh: float


class SitePage(Page, frozen=True, kw_only=True):
    """One site: now, its day, its months and years, how well it does, and what was wrong."""

    template: ClassVar[str] = "site.html"
    site_id: str
    name: str
    address: str
    health: Health
    time_zone: str
    latest_at: datetime | None
    peak_kw: float
    power: float | None
    today_kwh: float | None
    month_kwh: float | None
    total_kwh: float | None
    day: date
    previous_day: date | None
    """None before the first reading."""
    next_day: date | None
    """None after today."""
    earliest_day: date | None
    power_chart: Chart
    mppt_charts: tuple[Chart, ...]
    month_chart: Chart
    year_chart: Chart
    comparisons: tuple[Comparison, ...]
    silent_times: tuple[SilentTime, ...]
    alarms: tuple[AlarmRow, ...]
    inverters: tuple[InverterRow, ...]
    guarantee_id: str = ""
    shows_people: bool = False
    """Who may see it is for those who may see its owner."""
    shows_looks: bool = False


class Alarms(Page, frozen=True, kw_only=True):
    """Incidents of all sites that somebody may see."""

    template: ClassVar[str] = "alarms.html"
    wanted: AlarmFilter
    rows: tuple[AlarmRow, ...]
    found: int
    causes: tuple[Cause, ...] = tuple(Cause)
    severities: tuple[Severity, ...] = tuple(Severity)
    page: int = 1
    pages: int = 1


class TimelineEntry(Struct, frozen=True, kw_only=True):
    """Something that happened to an incident."""

    at: datetime
    what: str
    """In words of the source."""
    by: str = ""
    comment: str = ""


class AlarmPage(Page, frozen=True, kw_only=True):
    """One incident with its timeline and evidence."""

    template: ClassVar[str] = "alarm.html"
    alarm: AlarmRow
    time_zone: str
    close_reason: CloseReason | None = None
    respond_by: datetime | None = None
    timeline: tuple[TimelineEntry, ...]
    evidence: tuple[tuple[str, str], ...]
    """Names and values of the newest judgement."""
    method: str
    may_acknowledge: bool


class GuaranteeRow(Struct, frozen=True, kw_only=True):
    """A guarantee in a list."""

    contract_id: str
    site_name: str
    status: GuaranteeStatus
    starts_on: date
    ends_before: date
    guaranteed_kwh: Decimal
    """Of the year that runs."""
    years_settled: int
    paid_eur: Decimal
    needs_review: bool


class Guarantees(Page, frozen=True, kw_only=True):
    """The guarantees that somebody may see, some at a time."""

    template: ClassVar[str] = "guarantees.html"
    rows: tuple[GuaranteeRow, ...]
    page: int = 1
    pages: int = 1


class YearSoFar(Struct, frozen=True, kw_only=True):
    """The contract year that runs: no settlement, only how it looks."""

    starts_on: date
    ends_before: date
    guaranteed_kwh: Decimal
    """Of the whole year."""
    measured_kwh: Decimal


class GuaranteePage(Page, frozen=True, kw_only=True):
    """One guarantee with its settlements."""

    template: ClassVar[str] = "guarantee.html"
    contract: Contract
    status: GuaranteeStatus
    site_name: str
    so_far: YearSoFar | None
    settlements: tuple[SettlementRecord, ...]
    contestable: datetime | None = None
    """Until when whoever looks may contest what a program decided about it."""
    chart: Chart | None
    """None before the first settlement."""


class OrganisationRow(Struct, frozen=True, kw_only=True):
    """An organisation in a list."""

    organisation_id: str
    name: str
    kind: OrganisationKind
    parent: str = ""
    """Whom it belongs to, by name."""
    people: int


class Organisations(Page, frozen=True, kw_only=True):
    """The organisations that somebody looks after."""

    template: ClassVar[str] = "organisations.html"
    rows: tuple[OrganisationRow, ...]
    may_add: bool
    kinds: tuple[OrganisationKind, ...] = tuple(OrganisationKind)
    error: str = ""


class MemberRow(Struct, frozen=True, kw_only=True):
    """Somebody of an organisation."""

    person_id: str
    name: str
    email: str
    role: MemberRole
    has_second_factor: bool
    is_disabled: bool
    is_invited: bool
    """Has not chosen a password yet."""
    is_self: bool
    may_disable: bool = False
    may_reset_second_factor: bool = False


class OrganisationPage(Page, frozen=True, kw_only=True):
    """One organisation with its people."""

    template: ClassVar[str] = "organisation.html"
    organisation_id: str
    name: str
    kind: OrganisationKind
    members: tuple[MemberRow, ...]
    roles: tuple[MemberRole, ...] = tuple(MemberRole)
    may_invite: bool
    invitation_link: str = ""
    """Shown once, where no mail can be sent."""
    error: str = ""


class SessionRow(Struct, frozen=True, kw_only=True):
    """A browser that is signed in."""

    session_id: str
    browser: str
    started_at: datetime
    seen_at: datetime
    is_current: bool


class AppTokenRow(Struct, frozen=True, kw_only=True):
    """A password of a program."""

    token_id: str
    name: str
    created_at: datetime
    used_at: datetime | None


class Profile(Page, frozen=True, kw_only=True):
    """What somebody can change about the own account."""

    template: ClassVar[str] = "profile.html"
    name: str
    email: str
    has_second_factor: bool
    must_have_second_factor: bool
    sessions: tuple[SessionRow, ...]
    tokens: tuple[AppTokenRow, ...]
    password_length_min: int
    new_token: str = ""
    """Shown once."""
    error: str = ""
