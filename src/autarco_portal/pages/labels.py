"""How are the codes of rules and tables called for people?

Every member of these vocabularies has its words here; a test compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.incidents import Cause, CloseReason, Severity
from autarco_portal.pages.words import N_
from autarco_portal.people import MemberRole, OrganisationKind
from autarco_portal.site_health import Health

if TYPE_CHECKING:
    from autarco_portal.pages.words import Words


HEALTH: dict[Health, tuple[str, str]] = {
    Health.OK: (N_("In order"), N_("It sends data and makes what it should.")),
    Health.NO_COMMS: (N_("No connection"), N_("Nothing was received for a while by daylight.")),
    Health.FAULT: (N_("Fault"), N_("An inverter reports a fault or makes nothing.")),
    Health.UNDERPERFORMING: (
        N_("Low yield"),
        N_("It makes less than its neighbours and the weather let expect."),
    ),
    Health.GRID_OFF: (N_("Grid off"), N_("The inverter is off because of the grid.")),
    Health.UNMONITORED: (N_("Not monitored"), N_("No data was ever received.")),
    Health.RETIRED: (N_("Taken down"), N_("The system is not there any more.")),
}
"""Name and explanation."""

CAUSE: dict[Cause, tuple[str, str]] = {
    Cause.COMMUNICATION_LOSS: (
        N_("No connection"),
        N_("The data stick is silent. Check the router and the Wi-Fi at the inverter."),
    ),
    Cause.OUTAGE: (N_("Outage"), N_("The inverter makes nothing although the sun shines.")),
    Cause.GRID_OUTAGE: (N_("Grid off"), N_("The inverter is off because of the grid.")),
    Cause.ZERO_DAY: (N_("A day without energy"), N_("Nothing was made all day.")),
    Cause.UNDERPERFORMANCE: (
        N_("Low yield"),
        N_("The site makes less than its neighbours in the same weather."),
    ),
    Cause.MPPT_MISMATCH: (
        N_("Strings differ"),
        N_("One string makes less than its share: look for shade, dirt or a module fault."),
    ),
    Cause.OPEN_STRING: (N_("String without current"), N_("A string is interrupted.")),
    Cause.OVER_VOLTAGE: (
        N_("Grid voltage too high"),
        N_("The inverter switches off because the grid voltage is above its limit."),
    ),
    Cause.CLIPPING: (N_("At its limit"), N_("The inverter is full on sunny days; no fault.")),
    Cause.FIXED_LIMIT: (
        N_("Power limited"),
        N_("The inverter never goes above a fixed power: a setting may be wrong."),
    ),
    Cause.CLOCK: (N_("Clock wrong"), N_("The clock of the inverter is off.")),
    Cause.STALE: (N_("Values stand still"), N_("The data stick repeats the same values.")),
    Cause.THERMAL_DERATING: (
        N_("Too hot"),
        N_("The inverter makes less because it is too hot: check its ventilation."),
    ),
}
"""Name and what to do or know."""

SEVERITY: dict[Severity, str] = {
    Severity.INFO: N_("For information"),
    Severity.WARNING: N_("Warning"),
    Severity.ALARM: N_("Alarm"),
}

CLOSE_REASON: dict[CloseReason, str] = {
    CloseReason.RECOVERED: N_("It recovered"),
    CloseReason.WITHDRAWN: N_("Late data showed that nothing was wrong"),
}

ORGANISATION_KIND: dict[OrganisationKind, str] = {
    OrganisationKind.DISTRIBUTOR: N_("Distributor"),
    OrganisationKind.RESELLER: N_("Reseller"),
    OrganisationKind.INSTALLER: N_("Installer"),
    OrganisationKind.MAINTENANCE: N_("Maintenance"),
}

MEMBER_ROLE: dict[MemberRole, str] = {
    MemberRole.STAFF: N_("Member of staff"),
    MemberRole.MANAGER: N_("Manager"),
}

GUARANTEE_STATUS: dict[GuaranteeStatus, str] = {
    GuaranteeStatus.REQUESTED: N_("Requested"),
    GuaranteeStatus.REFUSED: N_("Refused"),
    GuaranteeStatus.QUOTED: N_("Offered"),
    GuaranteeStatus.EXPIRED: N_("Offer expired"),
    GuaranteeStatus.ACTIVE: N_("In force"),
    GuaranteeStatus.SUSPENDED: N_("Suspended"),
    GuaranteeStatus.LAPSED: N_("Lapsed"),
    GuaranteeStatus.ENDED: N_("Ended"),
}

REVIEW = {
    "coverage_below_minimum": N_("less was measured than the contract asks for"),
    "estimates_capped": N_("more would have been estimated than the contract allows"),
}
"""Why a person looks at a settlement, without the year in front."""

Code: TypeAlias = (
    Health | Cause | Severity | CloseReason | OrganisationKind | MemberRole | GuaranteeStatus
)


def name(code: Code, words: Words) -> str:
    """Returns what a code is called."""
    match code:
        case Health():
            text = HEALTH[code][0]
        case Cause():
            text = CAUSE[code][0]
        case Severity():
            text = SEVERITY[code]
        case CloseReason():
            text = CLOSE_REASON[code]
        case OrganisationKind():
            text = ORGANISATION_KIND[code]
        case MemberRole():
            text = MEMBER_ROLE[code]
        case GuaranteeStatus():
            text = GUARANTEE_STATUS[code]
    return words.say(text)


def explanation(code: Health | Cause, words: Words) -> str:
    """Returns what a code means."""
    return words.say(HEALTH[code][1] if isinstance(code, Health) else CAUSE[code][1])


def review(reason: str, words: Words) -> str:
    """Returns why a person looks at a settlement; `reason` is as `guarantee` writes it."""
    year, _, why = reason.removeprefix("year_").partition("_")
    return f"{words.say(YEAR)} {year}: {words.say(REVIEW[why])}"


YEAR = N_("year")

SAID_ELSEWHERE = (
    N_("a password has at least 12 characters"),
    N_("a password has at most 256 characters"),
    N_("a password has at least 5 different characters"),
    N_("a password is more than a few characters again and again"),
    N_("a password is not a row of the keyboard or the alphabet"),
    N_("a password is more than one's own name or e-mail address"),
    N_("that is no e-mail address"),
    N_("somebody has that e-mail address already"),
    N_("this form is too old: open the page again"),
    N_("this request came from another site's page"),
)
"""What rules say when they refuse, as people read it on a page."""
