"""What must somebody be told along with his data (article 15): what for, from whom, to whom?

In Dutch and English, from the records of his bundle and the rules that the program follows, so that
it cannot say something else than is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from autarco_portal.privacy import retention
from autarco_portal.privacy.processing import ALWAYS, CONSENT_NEEDED, GUARANTEE_NEEDS, Purpose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from autarco_portal.person_record import Record

Text: TypeAlias = dict[str, str]
"""By language."""

_PURPOSES: dict[Purpose, tuple[str, str]] = {
    Purpose.STORAGE: (
        "Bewaren van wat uw omvormer meldt en van uw gegevens.",
        "Keeping what your inverter reports, and your details.",
    ),
    Purpose.RIGHTS: (
        "Uitvoeren van uw rechten, zoals dit overzicht.",
        "Carrying out your rights, such as this bundle.",
    ),
    Purpose.LEGAL: ("Wettelijke plichten en claims.", "Legal duties and claims."),
    Purpose.ACCOUNT: (
        "Inloggen, en berichten over account, rechten en beleid.",
        "Signing in, and mail about account, rights and policy.",
    ),
    Purpose.MONITORING: (
        "Tonen hoe uw installatie presteert, aan u en uw installateur.",
        "Showing how your system does, to you and your installer.",
    ),
    Purpose.ANALYTICS: (
        "Berekenen wat uw installatie had moeten opbrengen.",
        "Computing what your system should have made.",
    ),
    Purpose.ALARMS: ("Melden van storingen.", "Telling of faults."),
    Purpose.GUARANTEE: ("Afrekenen van de kWh-garantie.", "Settling the kWh guarantee."),
    Purpose.SUPPORT: ("Ondersteuning.", "Support."),
    Purpose.SHARING: (
        "Delen met uw partners en met de verzekeraar van uw garantie.",
        "Sharing with your partners and the insurer of your guarantee.",
    ),
    Purpose.IMPROVEMENT: (
        "Totalen van veel installaties, voor het bedrijf zelf.",
        "Totals of many systems, for the business itself.",
    ),
    Purpose.RESEARCH: (
        "Onderzoek, met groepen van ten minste tien installaties.",
        "Research, with groups of ten systems at least.",
    ),
    Purpose.PRODUCT_CONTACT: ("Contact over uw product.", "Contact about your product."),
    Purpose.MARKETING: ("Nieuwsbrieven.", "Newsletters."),
}

_LOGIC: dict[str, tuple[str, str]] = {
    "alarms": (
        "Een melding ontstaat als uw installatie afwijkt van wat zij volgens weer en buren had "
        "moeten opbrengen, als een omvormer een fout meldt, of als er geen berichten komen. "
        "Eerst hoort wie uw installatie onderhoudt ervan, na een week wie haar verkocht, na twee "
        "weken u; en u meteen als er een garantie in het geding is, de verbinding weg is of "
        "niemand de installatie onderhoudt, en na een dag als zij niets opwekt.",
        "An alarm is raised when your system departs from what weather and neighbours say it "
        "should have made, when an inverter reports a fault, or when no messages come. Who looks "
        "after your system hears of it first, its seller after a week, you after two; and you at "
        "once where a guarantee is at stake, the connection is lost or nobody looks after the "
        "system, and after a day where it makes nothing.",
    ),
    "guarantee": (
        "Wat de teller van uw omvormer telde, wordt vergeleken met de gegarandeerde opbrengst; "
        "ontbrekende tijd wordt geschat of naar rato verrekend. Betwist u een uitkomst, dan "
        "beslist een mens.",
        "What your inverter's counter counted is compared with the guaranteed energy; missing "
        "time is estimated or prorated. If you contest an outcome, a person decides.",
    ),
}

_KINDS: dict[str, tuple[str, str]] = {
    "self": ("uzelf", "yourself"),
    "partner": ("een partner", "a partner"),
    "device": ("uw apparaat", "your device"),
    "public_register": ("een openbaar register", "a public register"),
    "owner": ("de eigenaar van een installatie", "the owner of a system"),
}


def about(records: Mapping[str, Sequence[Record]], *, telemetry: bool) -> dict[str, Any]:
    """Returns what goes into `about.json`: purposes, sources, recipients, retention, logic."""
    return {
        "purposes": [
            {
                "purpose": purpose.value,
                "text": _text(_PURPOSES[purpose]),
                "basis": _basis(purpose),
                "can_object": purpose not in ALWAYS,
                "guarantee_needs_it": purpose in GUARANTEE_NEEDS,
            }
            for purpose in Purpose
        ],
        "categories": sorted(
            [name for name, found in records.items() if found] + ["telemetry"] * telemetry
        ),
        "sources": _sources(records),
        "recipients": _recipients(records),
        "retention": [
            {
                "store": rule.store,
                "purpose": rule.purpose,
                "days": rule.days,
                "since": rule.since,
                "then": rule.action.value,
            }
            for rule in retention.RULES
        ],
        "logic": {name: _text(text) for name, text in _LOGIC.items()},
        "left_out": _text(
            (
                "Wachtwoorden, sleutels en codes; wie anderen zijn staat er als `another`.",
                "Passwords, keys and codes; who others are reads `another`.",
            )
        ),
    }


def _text(text: tuple[str, str]) -> Text:
    return {"nl": text[0], "en": text[1]}


def _basis(purpose: Purpose) -> str:
    if purpose in CONSENT_NEEDED:
        return "consent"
    if purpose in ALWAYS:
        return "contract or law"
    return "contract" if purpose in GUARANTEE_NEEDS else "legitimate interest"


def _sources(records: Mapping[str, Sequence[Record]]) -> list[dict[str, Any]]:
    """Of each attribute that holds now, where it is from."""
    names = {one["organisation_id"]: one["name"] for one in records.get("organisations", ())}
    return [
        {
            "attribute": one["attribute"],
            "site": one["site_number"],
            "source": one["source_kind"],
            "text": _text(_KINDS.get(one["source_kind"], (one["source_kind"],) * 2)),
            "partner": names.get(one["source_organisation_id"]),
            "since": one["from_at"],
        }
        for one in records.get("personal_attributes", ())
        if one["until"] is None
    ]


def _recipients(records: Mapping[str, Sequence[Record]]) -> list[dict[str, Any]]:
    """Who gets or got data: partners of a site, those who may see it, and each disclosure."""
    names = {one["organisation_id"]: one["name"] for one in records.get("organisations", ())}
    partners = [
        {
            "recipient": names.get(one["organisation_id"], one["organisation_id"]),
            "as": table[:-1],
            "from": one["from_at"],
            "until": one["until"],
        }
        for table in ("site_roles", "grants")
        for one in records.get(table, ())
        if one["organisation_id"] is not None
    ]
    disclosures = [
        {
            "recipient": one["body"].get("recipient"),
            "as": one["kind"],
            "from": one["disclosed_at"],
            "until": one["disclosed_at"],
        }
        for one in records.get("disclosures", ())
        if isinstance(one["body"], dict) and one["disclosed_at"] is not None
    ]
    return partners + disclosures
