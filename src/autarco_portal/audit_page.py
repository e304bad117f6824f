"""Who looked at my data: what does the audit log tell somebody about himself, in plain sentences?

Takes entries that are about a person or his sites and makes lines for a page, the newest first, in
Dutch or English. Repeated looks of one day are one line with their number. Employees are told by
the organisation they work for, not by name: what they do, they do for it.

Pure. A test looks that every action that the program writes has its sentence here.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec looks at it when it decodes
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from autarco_portal.people import Language, PortalRole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from autarco_portal.audit import AuditEntry, SealedEntry


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of somebody who did something: for whom he works."""

    organisations: tuple[str, ...] = ()
    """Names."""
    portal_roles: tuple[PortalRole, ...] = ()


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the page."""

    sequence: int
    """Of the newest entry in it: what a complaint refers to."""
    at: datetime
    """Of the newest entry in it."""
    sentence: str
    count: int
    is_look: bool
    """Somebody saw something; nothing was changed."""
    is_other: bool
    """Somebody else than the person, and not the program by itself."""


_WHAT: dict[str, tuple[str, str]] = {
    # Looks.
    "view_site": ("Uw installatie {thing} is bekeken", "Your system {thing} was looked at"),
    "view_contact": (
        "Uw adres- en contactgegevens zijn bekeken",
        "Your address and contact details were looked at",
    ),
    "view_person": ("Uw gegevens zijn bekeken", "Your details were looked at"),
    "view_guarantee": ("Uw garantie is bekeken", "Your guarantee was looked at"),
    "view_photo": ("Een foto van uw installatie is bekeken", "A photo of yours was looked at"),
    "view_audit": (
        "Het overzicht van wie uw gegevens zag is bekeken",
        "The list of who saw your data was looked at",
    ),
    "view_request": ("Uw verzoek is bekeken", "Your request was looked at"),
    # Data that left.
    "export_person": ("Al uw gegevens zijn geëxporteerd", "All your data was exported"),
    "import_person": ("Uw gegevens zijn ingelezen", "Your data was taken in"),
    "export_site": ("Gegevens van {thing} zijn geëxporteerd", "Data of {thing} was exported"),
    "share": ("Gegevens zijn gedeeld", "Data was shared"),
    # Accounts.
    "invite": ("U bent uitgenodigd", "You were invited"),
    "sign_in": ("Er is ingelogd", "Your account was signed in to"),
    "sign_out": ("Er is uitgelogd", "Your account was signed out of"),
    "sign_out_everywhere": ("Alle sessies zijn beëindigd", "All sessions were ended"),
    "set_password": ("Het wachtwoord is gewijzigd", "The password was changed"),
    "set_second_factor": (
        "Inloggen in twee stappen is ingesteld",
        "The second factor was set up",
    ),
    "drop_second_factor": (
        "Inloggen in twee stappen is uitgezet",
        "The second factor was switched off",
    ),
    "reset_second_factor": (
        "Inloggen in twee stappen is teruggezet",
        "The second factor was reset",
    ),
    "new_recovery_codes": ("Er zijn nieuwe herstelcodes", "New recovery codes were made"),
    "disable_account": ("Uw account is geblokkeerd", "Your account was disabled"),
    "enable_account": ("Uw account is vrijgegeven", "Your account was enabled"),
    "add_token": ("Een app heeft toegang gekregen", "An app was given access"),
    "end_token": ("De toegang van een app is beëindigd", "The access of an app was ended"),
    # Sites and guarantees.
    "change_site": ("Gegevens van {thing} zijn gewijzigd", "Details of {thing} were changed"),
    "change_person": ("Uw gegevens zijn gewijzigd", "Your details were changed"),
    "grant": ("Iemand heeft toegang tot {thing} gekregen", "Somebody was given access to {thing}"),
    "end_grant": ("Toegang tot {thing} is beëindigd", "Access to {thing} was ended"),
    "open_support_access": (
        "Ondersteuning heeft tijdelijk toegang tot {thing}",
        "Support was given access to {thing} for a while",
    ),
    "acknowledge_alarm": ("Een melding is bevestigd", "An alarm was acknowledged"),
    "set_guarantee_status": (
        "De status van uw garantie is gewijzigd",
        "The status of your guarantee was changed",
    ),
    "settle": ("Uw garantie is afgerekend", "Your guarantee was settled"),
    "decide": ("Over uw garantie is beslist", "A person decided on your guarantee"),
    "decide_automatically": (
        "Over uw garantie is automatisch besloten",
        "Your guarantee was decided on automatically",
    ),
    "contest": ("Een uitkomst is betwist", "An outcome was contested"),
    "create_site": ("De installatie {thing} is aangemaakt", "The system {thing} was set up"),
    # Rights.
    "receive_request": ("Uw verzoek is ontvangen", "Your request was received"),
    "verify_request": ("Uw identiteit is vastgesteld", "Your identity was verified"),
    "ask_proof": ("Om bewijs van identiteit is gevraagd", "Proof of identity was asked for"),
    "extend_request": ("De termijn is verlengd", "The deadline was extended"),
    "decide_request": ("Over uw verzoek is beslist", "Your request was decided on"),
    "close_request": ("Uw verzoek is afgerond", "Your request was closed"),
    "withdraw_request": ("Uw verzoek is ingetrokken", "Your request was withdrawn"),
    "warn_of_request": (
        "Aan uw verzoek is herinnerd",
        "A reminder of your request was sent",
    ),
    "begin_erasure": ("Verwijdering is voorbereid", "Erasure was prepared"),
    "preview_erasure": (
        "De gevolgen van verwijdering zijn getoond",
        "What erasure would mean was shown",
    ),
    "confirm_erasure": ("Verwijdering is bevestigd", "Erasure was confirmed"),
    "call_off_erasure": ("Verwijdering is afgezegd", "Erasure was called off"),
    "withdraw_objection": ("Bezwaar is ingetrokken", "An objection was withdrawn"),
    "erase": ("Gegevens zijn verwijderd", "Data was erased"),
    "restrict": ("Gebruik is beperkt", "Use was restricted"),
    "lift_restriction": ("Een beperking is opgeheven", "A restriction was lifted"),
    "hold": (
        "Gegevens zijn vastgehouden om een juridische reden",
        "Data was put on hold for a legal reason",
    ),
    "end_hold": ("Een juridische bewaring is beëindigd", "A legal hold was ended"),
    "ask_newsletter": ("U is om toestemming gevraagd", "You were asked for consent"),
    "notify": ("U bent op de hoogte gesteld", "You were notified"),
    # Of everybody.
    "publish_policy": ("Een privacybeleid is gepubliceerd", "A privacy policy was published"),
    "retain": ("Verlopen gegevens zijn verwijderd", "Data that had expired was removed"),
    "add_incident": ("Een incident is vastgelegd", "An incident was recorded"),
    "report_incident": ("Een incident is gemeld", "An incident was reported"),
    "change_incident": ("Een incident is bijgewerkt", "An incident was updated"),
    "approve_disclosure": ("Een verstrekking is goedgekeurd", "A disclosure was approved"),
    "object": ("Bezwaar is vastgelegd", "An objection was noted"),
}
"""Dutch and English, without who did it."""

LOOKS = frozenset(action for action in _WHAT if action.startswith("view_"))

_WHY: dict[str, tuple[str, str]] = {
    "grant": ("toestemming", "a grant"),
    "request": ("uw verzoek", "your request"),
    "ticket": ("een ondersteuningsvraag", "a support question"),
    "legal": ("een wettelijke plicht", "a legal duty"),
    "erasure": ("een verwijdering", "an erasure"),
}
"""By what stands before the colon of `why`."""

_ROLES: dict[PortalRole, tuple[str, str]] = {
    PortalRole.SUPPORT: ("de ondersteuning", "support"),
    PortalRole.PRIVACY_OFFICER: ("de privacyfunctionaris", "the privacy officer"),
    PortalRole.ADMINISTRATOR: ("een beheerder", "an administrator"),
}
_ROLE_ORDER = tuple(_ROLES)


def lines(
    entries: Iterable[SealedEntry],
    *,
    person_id: str,
    standings: Mapping[str, Standing],
    site_names: Mapping[str, str],
    language: Language,
    time_zone: str = "Europe/Amsterdam",
) -> list[Line]:
    """Returns the page's lines for a person, the newest first.

    `standings` tells for whom those work who did something; `site_names` are of his sites, by
    public key. An entry that was found twice, by subject and by site, counts once.
    """
    zone = ZoneInfo(time_zone)
    unique = {sealed.sequence: sealed for sealed in entries}
    groups: dict[tuple[object, ...], list[SealedEntry]] = {}
    for sealed in sorted(unique.values(), key=lambda one: -one.sequence):
        entry = sealed.entry
        key: tuple[object, ...] = (sealed.sequence,)
        if entry.action in LOOKS:
            day = entry.at.astimezone(zone).date()
            key = (entry.actor, entry.action, entry.thing, entry.why, day)
        groups.setdefault(key, []).append(sealed)
    found = []
    for group in groups.values():
        newest = group[0]
        entry = newest.entry
        is_program = entry.actor.startswith("system")
        found.append(
            Line(
                sequence=newest.sequence,
                at=entry.at,
                sentence=_sentence(entry, len(group), person_id, standings, site_names, language),
                count=len(group),
                is_look=entry.action in LOOKS,
                is_other=entry.actor != person_id and not is_program,
            )
        )
    return found


def knows(action: str) -> bool:
    """Whether there is a sentence for an action; another one is told by its code."""
    return action in _WHAT


def _sentence(
    entry: AuditEntry,
    count: int,
    person_id: str,
    standings: Mapping[str, Standing],
    site_names: Mapping[str, str],
    language: Language,
) -> str:
    pick = 0 if language == "nl" else 1
    kind, _, key = entry.thing.partition(":")
    thing = site_names.get(key, key) if kind == "site" else ("uw installatie", "your system")[pick]
    what = _WHAT.get(entry.action)
    code = entry.action.replace("_", " ")
    text = what[pick].format(thing=thing) if what else ("Gedaan: ", "Done: ")[pick] + code
    by = ("door", "by")[pick]
    text = f"{text} {by} {_who(entry.actor, person_id, standings, pick)}"
    if count > 1:
        text += (f", {count} keer", f", {count} times")[pick]
    why = _WHY.get((entry.why or "").partition(":")[0])
    if why is not None:
        text += (f" (vanwege {why[0]})", f" (because of {why[1]})")[pick]
    return f"{text}."


def _who(actor: str, person_id: str, standings: Mapping[str, Standing], pick: int) -> str:
    if actor == person_id:
        return ("uzelf", "yourself")[pick]
    if actor.startswith("system"):
        return ("het programma zelf", "the program itself")[pick]
    standing = standings.get(actor)
    if standing is not None and standing.organisations:
        names = ", ".join(standing.organisations)
        return (f"een medewerker van {names}", f"an employee of {names}")[pick]
    for role in _ROLE_ORDER:
        if standing is not None and role in standing.portal_roles:
            return _ROLES[role][pick]
    return ("iemand anders", "somebody else")[pick]
