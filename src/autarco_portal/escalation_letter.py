"""What does the mail say that tells somebody of alarms? Pure.

One letter for everything that is due to one addressee, in his language. The subject names no site:
others read it over the shoulder, and the name of a site may be a street.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec looks at it when it decodes
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from autarco_portal.escalation import Due, Step, Why
from autarco_portal.incidents import Cause  # noqa: TC001 - as above
from autarco_portal.pages import labels
from autarco_portal.pages.words import Language, words
from autarco_portal.privacy.letter import Letter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autarco_portal.pages.words import Words

LISTED_MAX = 50
"""Alarms that one mail lists; nobody reads more, and the portal has them all."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm that somebody is told of."""

    due: Due
    site_id: str
    site_name: str
    time_zone: str
    cause: Cause
    opened_at: datetime
    lost_kwh: float
    reaction_days: int | None = None
    """Of the guarantee at stake."""


_ORDER = (
    (Step.OWNER, Why.GUARANTEE),
    (Step.OWNER, Why.CONNECTION),
    (Step.OWNER, Why.NO_PARTNER),
    (Step.OWNER, Why.NO_ANSWER),
    (Step.FIRST, Why.NEW),
    (Step.SELLER, Why.NO_ANSWER),
    (Step.REMINDER, Why.NO_ANSWER),
)
"""What is most urgent to its reader comes first."""

_HEADS = {
    "nl": {
        (Step.FIRST, Why.NEW): "Nieuw, voor u om naar te kijken:",
        (Step.REMINDER, Why.NO_ANSWER): "Herinnering: hier nam nog niemand iets op zich:",
        (Step.SELLER, Why.NO_ANSWER): (
            "De installateur of onderhoudspartij reageerde niet. U verkocht de installatie:"
        ),
        (Step.OWNER, Why.GUARANTEE): (
            "Uw opbrengstgarantie is in het geding. Wat verloren gaat wordt alleen vergoed als er "
            "tijdig iets aan gedaan wordt, te rekenen vanaf dit bericht:"
        ),
        (Step.OWNER, Why.CONNECTION): (
            "Uw installatie stuurt geen gegevens. Dat kan alleen iemand in huis verhelpen:"
        ),
        (Step.OWNER, Why.NO_PARTNER): (
            "Voor uw installatie is niemand bereikbaar die haar onderhoudt. Kijk zelf, of vraag "
            "een installateur:"
        ),
        (Step.OWNER, Why.NO_ANSWER): (
            "Wie uw installatie onderhoudt kreeg hiervan bericht en reageerde niet. Vraag ernaar:"
        ),
    },
    "en": {
        (Step.FIRST, Why.NEW): "New, for you to look at:",
        (Step.REMINDER, Why.NO_ANSWER): "A reminder: nobody has taken this on yet:",
        (Step.SELLER, Why.NO_ANSWER): (
            "The installer or maintenance company did not answer. You sold the system:"
        ),
        (Step.OWNER, Why.GUARANTEE): (
            "Your yield guarantee is at stake. What is lost is compensated only if somebody acts "
            "in time, counted from this message:"
        ),
        (Step.OWNER, Why.CONNECTION): (
            "Your system sends no data. Only somebody in the house can mend that:"
        ),
        (Step.OWNER, Why.NO_PARTNER): (
            "Nobody who looks after your system can be reached. Please look yourself, or ask an "
            "installer:"
        ),
        (Step.OWNER, Why.NO_ANSWER): (
            "Who looks after your system was told of this and did not answer. Please ask:"
        ),
    },
}

_PHRASES = {
    "nl": {
        "one": "Een melding over een zonne-installatie: {cause}",
        "many": "{count} meldingen over zonne-installaties",
        "since": "sinds {at}",
        "lost": "tot nu toe {energy} verloren",
        "within": "handel binnen {days} dagen",
        "more": "En nog {count}: {url}/alarms",
        "end": (
            "Wie een melding in het portaal op zich neemt, zorgt dat er niemand meer over gemaild "
            "wordt."
        ),
        "objection": "Wilt u zulke berichten niet, zeg dat dan hier: {url}/my-data",
    },
    "en": {
        "one": "An alarm of a solar system: {cause}",
        "many": "{count} alarms of solar systems",
        "since": "since {at}",
        "lost": "{energy} lost so far",
        "within": "act within {days} days",
        "more": "And {count} more: {url}/alarms",
        "end": "Whoever takes an alarm on in the portal ends the mails about it.",
        "objection": "If you do not want such messages, say so here: {url}/my-data",
    },
}


def digest(items: Sequence[Item], language: str, *, url: str) -> Letter:
    """Returns the letter about some alarms, at least one; its links begin with `url`."""
    spoken = Language.ENGLISH if language == "en" else Language.DUTCH
    say, phrases, base = words(spoken), _PHRASES[spoken.value], url.rstrip("/")
    ranked = sorted(items, key=lambda item: (_ORDER.index(_turn(item)), item.opened_at))
    listed = ranked[:LISTED_MAX]
    parts = []
    for turn in _ORDER:
        mine = [_entry(item, say, phrases, base) for item in listed if _turn(item) == turn]
        if mine:
            parts.append("\n\n".join([_HEADS[spoken.value][turn], *mine]))
    if len(ranked) > len(listed):
        parts.append(phrases["more"].format(count=len(ranked) - len(listed), url=base))
    parts.append(phrases["end"])
    if any(item.due.step is Step.OWNER for item in items):
        parts.append(phrases["objection"].format(url=base))
    alarms = {item.due.incident_id for item in items}
    if len(alarms) == 1:
        subject = phrases["one"].format(cause=labels.name(items[0].cause, say))
    else:
        subject = phrases["many"].format(count=len(alarms))
    return Letter(subject=subject, text="\n\n".join(parts) + "\n")


def _turn(item: Item) -> tuple[Step, Why]:
    return item.due.step, item.due.why


def _entry(item: Item, say: Words, phrases: dict[str, str], base: str) -> str:
    facts = [phrases["since"].format(at=say.moment(item.opened_at, item.time_zone))]
    if item.lost_kwh > 0:
        facts.append(phrases["lost"].format(energy=say.energy(item.lost_kwh, 1)))
    if item.due.why is Why.GUARANTEE and item.reaction_days is not None:
        facts.append(phrases["within"].format(days=item.reaction_days))
    # A separator that a name may hold would begin a line of somebody else's words.
    name = " ".join(item.site_name.split())
    return "\n".join(
        (
            f"- {name}: {labels.name(item.cause, say)}, {', '.join(facts)}",
            f"  {labels.explanation(item.cause, say)}",
            f"  {base}/alarms/{quote(item.due.incident_id, safe=':')}",
        )
    )
