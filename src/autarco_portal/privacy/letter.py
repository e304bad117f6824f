"""What is a person written, in his language?

Subject and text of each mail about rights, without any address: who sends it adds that. Whoever
gets less than he asked for reads why, and where he can complain (article 12(4)).
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import msgspec

from autarco_portal.privacy import deadline
from autarco_portal.privacy.human_decision import Effect
from autarco_portal.privacy.request import ARTICLES, Kind, Outcome, Request, Right

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from autarco_portal.privacy.erasure import Impact, Kept

RIGHTS = {
    "nl": {
        Right.ACCESS: "inzage", Right.RECTIFICATION: "rectificatie", Right.ERASURE: "wissing",
        Right.RESTRICTION: "beperking van de verwerking", Right.PORTABILITY: "overdraagbaarheid",
        Right.OBJECTION: "bezwaar", Right.HUMAN_DECISION: "een menselijke blik op een besluit",
    },
    "en": {
        Right.ACCESS: "access", Right.RECTIFICATION: "rectification", Right.ERASURE: "erasure",
        Right.RESTRICTION: "restriction of processing", Right.PORTABILITY: "portability",
        Right.OBJECTION: "objection", Right.HUMAN_DECISION: "a human decision",
    },
}  # fmt: skip

OUTCOMES = {
    "nl": {
        Outcome.GRANTED: "Wij hebben uw verzoek ingewilligd en uitgevoerd.",
        Outcome.PARTLY: "Wij hebben uw verzoek gedeeltelijk ingewilligd.",
        Outcome.REFUSED: "Wij willigen uw verzoek niet in.",
    },
    "en": {
        Outcome.GRANTED: "We have granted your request and carried it out.",
        Outcome.PARTLY: "We have granted your request in part.",
        Outcome.REFUSED: "We do not grant your request.",
    },
}

COMPLAINT = {
    "nl": (
        "Bent u het hier niet mee eens, dan kunt u een klacht indienen bij de Autoriteit "
        "Persoonsgegevens (autoriteitpersoonsgegevens.nl) of naar de rechter gaan."
    ),
    "en": (
        "If you disagree, you can lodge a complaint with the Dutch data protection authority "
        "(autoriteitpersoonsgegevens.nl) or go to court."
    ),
}


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A mail without addresses."""

    subject: str
    text: str

    def sha256(self) -> str:
        """Returns the hash that the register keeps of it."""
        return hashlib.sha256(f"{self.subject}\n\n{self.text}".encode()).hexdigest()


def receipt(request: Request, deadline_at: datetime) -> Letter:
    """Returns what is answered at once: that it came, and until when there is an answer."""
    right = RIGHTS[request.language][request.right]
    day = deadline.last_day(deadline_at).isoformat()
    number, article = request.request_id, ARTICLES[request.right]
    if request.language == "nl":
        return Letter(
            subject=f"Uw verzoek {number}: {right}",
            text=(
                f"Wij ontvingen uw verzoek om {right} (artikel {article} AVG), nummer {number}.\n"
                f"U krijgt uiterlijk op {day} antwoord. Het is kosteloos.\n"
            ),
        )
    return Letter(
        subject=f"Your request {number}: {right}",
        text=(
            f"We received your request for {right} (article {article} GDPR), number {number}.\n"
            f"You will have an answer by {day} at the latest. It is free of charge.\n"
        ),
    )


def proof_link(request_id: str, link: str, language: str) -> Letter:
    """Returns the mail with which somebody proves that a request is his."""
    if language == "nl":
        text = (
            f"Iemand deed verzoek {request_id} op uw naam. Was u dat, bevestig dan:\n{link}\n\n"
            "Was u het niet, dan hoeft u niets te doen: er gebeurt niets.\n"
        )
        return Letter(subject=f"Bevestig uw verzoek {request_id}", text=text)
    text = (
        f"Somebody made request {request_id} in your name. If it was you, confirm it:\n{link}\n\n"
        "If it was not, do nothing: nothing will happen.\n"
    )
    return Letter(subject=f"Confirm your request {request_id}", text=text)


def warning(request: Request, days: int, deadline_at: datetime, language: str) -> Letter:
    """Returns what the privacy officer is told `days` before the deadline; 0: it is missed."""
    day, number = deadline.last_day(deadline_at).isoformat(), request.request_id
    right = RIGHTS[language][request.right]
    if language == "nl":
        if days == 0:
            subject = f"Verzoek {number} ({right}) is niet op tijd beantwoord"
            return Letter(subject=subject, text=f"De laatste dag was {day}.\n")
        subject = f"Verzoek {number} ({right}): nog {days} dagen"
        return Letter(subject=subject, text=f"Het antwoord moet er uiterlijk op {day} zijn.\n")
    if days == 0:
        subject = f"Request {number} ({right}) was not answered in time"
        return Letter(subject=subject, text=f"Its last day was {day}.\n")
    subject = f"Request {number} ({right}): {days} days left"
    return Letter(subject=subject, text=f"It is to be answered by {day} at the latest.\n")


def needs_a_person(lines: Sequence[str], language: str) -> Letter:
    """Returns what the privacy officer is told of what waits for him; lines in his language."""
    subject = (
        "Privacy: dit heeft een mens nodig"
        if language == "nl"
        else ("Privacy: what needs a person")
    )
    return Letter(subject=subject, text="\n".join(lines) + "\n")


def extension(request: Request, deadline_at: datetime) -> Letter:
    """Returns what is written when the answer takes longer; raises ValueError if it does not."""
    step = request.last(Kind.EXTENDED)
    if step is None:
        raise ValueError(f"request {request.request_id} is not extended")
    day, number = deadline.last_day(deadline_at).isoformat(), request.request_id
    if request.language == "nl":
        return Letter(
            subject=f"Uw verzoek {number} duurt langer",
            text=(
                f"Ons antwoord op uw verzoek {number} duurt langer: {step.reason}\n"
                f"U krijgt het uiterlijk op {day}. {COMPLAINT['nl']}\n"
            ),
        )
    return Letter(
        subject=f"Your request {number} takes longer",
        text=(
            f"Our answer to your request {number} takes longer: {step.reason}\n"
            f"You will have it by {day} at the latest. {COMPLAINT['en']}\n"
        ),
    )


def closing(request: Request, kept: Sequence[Kept] = ()) -> Letter:
    """Returns the letter that ends a request; raises ValueError for one without a decision."""
    step = request.last(Kind.DECIDED)
    if step is None or step.outcome is None:
        raise ValueError(f"request {request.request_id} is not decided")
    language, number = request.language, request.request_id
    is_dutch = language == "nl"
    right = RIGHTS[language][request.right]
    lines = [OUTCOMES[language][step.outcome]]
    if step.reason:
        lines.append(f"{'Reden' if is_dutch else 'Reason'}: {step.reason}")
    if kept:
        lines.append("Wij bewaren:" if is_dutch else "We keep:")
        lines += [f"- {_kept(part, language)}" for part in kept]
    evidence = request.last(Kind.EVIDENCE)
    if evidence is not None:
        lines.append(f"{'Bewijs' if is_dutch else 'Evidence'} (SHA-256): {evidence.sha256}")
    if step.outcome is not Outcome.GRANTED or kept:
        lines.append(COMPLAINT[language])
    start = "Antwoord op uw verzoek" if is_dutch else "Answer to your request"
    return Letter(subject=f"{start} {number}: {right}", text="\n\n".join(lines) + "\n")


def confirm_erasure(impact: Impact, effective_at: datetime, language: str) -> Letter:
    """Returns the written confirmation of an erasure that is to come, and how to call it off."""
    sites = ", ".join(impact.sites_without_monitoring) or "-"
    guarantees = ", ".join(impact.guarantees_lapse) or "-"
    day = f"{effective_at:%Y-%m-%d %H:%M} UTC"
    if language == "nl":
        lines = [
            f"Op {day} wissen wij uw gegevens. Tot dan kunt u het in het portaal intrekken.",
            f"Installaties zonder monitoring: {sites}",
            f"Garanties die vervallen: {guarantees}",
            *(f"Wij bewaren {_kept(part, 'nl')}" for part in impact.kept),
        ]
        return Letter(subject="Uw gegevens worden gewist", text="\n".join(lines) + "\n")
    lines = [
        f"On {day} we erase your data. Until then you can call it off in the portal.",
        f"Sites without monitoring: {sites}",
        f"Guarantees that lapse: {guarantees}",
        *(f"We keep {_kept(part, 'en')}" for part in impact.kept),
    ]
    return Letter(subject="Your data will be erased", text="\n".join(lines) + "\n")


def guarantee_lapsed(contract_id: str) -> Letter:
    """Returns what partner and insurer are told: that it lapsed, not why and not whose it was."""
    # An organisation has no language that we know of.
    return Letter(
        subject=f"Garantie {contract_id} is vervallen / guarantee {contract_id} has lapsed",
        text=(
            f"Garantie {contract_id} is vervallen en wordt niet meer afgerekend.\n\n"
            f"Guarantee {contract_id} has lapsed and will not be settled any more.\n"
        ),
    )


def restriction_ends(lifts_at: datetime, language: str) -> Letter:
    """Returns the announcement that article 18(3) asks for."""
    day = f"{lifts_at:%Y-%m-%d %H:%M} UTC"
    if language == "nl":
        text = f"Vanaf {day} verwerken wij uw gegevens weer. {COMPLAINT['nl']}\n"
        return Letter(subject="De beperking van de verwerking eindigt", text=text)
    text = f"From {day} on we process your data again. {COMPLAINT['en']}\n"
    return Letter(subject="The restriction of processing ends", text=text)


_WHAT_NL = {
    "invoices": "facturen", "settlements": "afrekeningen", "request": "dit verzoek",
    "photos": "foto's", "readings": "metingen", "guarantees": "garanties",
    "support_notes": "aantekeningen van de ondersteuning", "leads": "interesse als klant",
}  # fmt: skip

_WHY_NL = (
    ("the inverter is somebody else's now", "de omvormer is nu van iemand anders"),
    ("tax law, seven years (AWR 52)", "belastingwet, zeven jaar (AWR 52)"),
    ("proof that the request was carried out", "bewijs dat het verzoek is uitgevoerd"),
    (
        r"proof that (\S+) lapsed at the owner's wish, without what leads to him",
        r"bewijs dat \1 op wens van de eigenaar verviel, zonder wat naar hem leidt",
    ),
    (
        r"settled claims of (\S+) until they are time-barred",
        r"afgerekende aanspraken van \1 totdat zij verjaard zijn",
    ),
    # The reason is as the officer wrote it.
    (r"legal hold: (.*)", r"juridische bewaarplicht: \1"),
)
"""Why something is kept, as `erasure.preview` says it: a text or a pattern."""

EFFECTS = {
    "nl": {
        Effect.REFUSED: "geweigerd", Effect.LAPSED: "vervallen",
        Effect.ZERO_VALUE: "er is niets verschuldigd", Effect.CLAIM_REJECTED: "claim afgewezen",
        Effect.ACCOUNT_CLOSED: "account gesloten",
    },
    "en": {
        Effect.REFUSED: "refused", Effect.LAPSED: "lapsed", Effect.ZERO_VALUE: "nothing is owed",
        Effect.CLAIM_REJECTED: "claim rejected", Effect.ACCOUNT_CLOSED: "account closed",
    },
}  # fmt: skip


def why_kept(why: str, language: str) -> str:
    """Returns the reason in a language; one without a translation stays as it is."""
    if language != "nl":
        return why
    for pattern, dutch in _WHY_NL:
        if why == pattern:
            return dutch
        if re.fullmatch(pattern, why):
            return re.sub(pattern, dutch, why)
    return why


def _kept(part: Kept, language: str) -> str:
    what = _WHAT_NL.get(part.what, part.what) if language == "nl" else part.what
    until = f", {'tot' if language == 'nl' else 'until'} {part.until}" if part.until else ""
    return f"{part.count} {what}: {why_kept(part.why, language)}{until}"


def guarantee_lapses(contract_id: str, day: date, language: str) -> Letter:
    """Returns the warning that a suspended guarantee is about to lapse."""
    if language == "nl":
        text = (
            f"Garantie {contract_id} is opgeschort omdat wij uw gegevens niet mogen gebruiken.\n"
            f"Op {day} vervalt zij, tenzij u de beperking of het bezwaar eerder intrekt.\n"
        )
        return Letter(subject=f"Garantie {contract_id} dreigt te vervallen", text=text)
    text = (
        f"Guarantee {contract_id} is suspended because we may not use your data.\n"
        f"On {day} it lapses, unless you end the restriction or objection before.\n"
    )
    return Letter(subject=f"Guarantee {contract_id} is about to lapse", text=text)


def decided(thing: str, effect: Effect, contest_until: datetime, language: str) -> Letter:
    """Returns what a person is told of a program's decision, and how a person looks at it."""
    day = deadline.last_day(contest_until)
    outcome = EFFECTS[language][effect]
    thing = thing.replace("guarantee:", "garantie " if language == "nl" else "guarantee ")
    if language == "nl":
        text = (
            f"Ons systeem besloot over {thing}: {outcome}.\n"
            f"Wilt u dat een medewerker ernaar kijkt, zeg dat dan in het portaal tot en met {day}."
            "\nTot dan is het besluit niet definitief.\n"
        )
        return Letter(subject=f"Een besluit over {thing}", text=text)
    text = (
        f"Our system decided about {thing}: {outcome}.\n"
        f"If you want an employee to look at it, say so in the portal until {day}.\n"
        "Until then the decision is not final.\n"
    )
    return Letter(subject=f"A decision about {thing}", text=text)


def new_policy(starts_on: date, link: str, language: str) -> Letter:
    """Returns the notice of a significant change of the policy."""
    if language == "nl":
        text = f"Vanaf {starts_on} geldt ons nieuwe privacybeleid. U leest het hier:\n{link}\n"
        return Letter(subject="Ons privacybeleid verandert", text=text)
    text = f"From {starts_on} on our new privacy policy applies. You can read it here:\n{link}\n"
    return Letter(subject="Our privacy policy changes", text=text)


def new_password(link: str, language: str) -> Letter:
    """Returns the mail with the link for another password."""
    if language == "nl":
        text = (
            f"Kies hier een nieuw wachtwoord; de link werkt één dag en één keer:\n{link}\n\n"
            "Vroeg u dit niet, dan hoeft u niets te doen: uw wachtwoord blijft zoals het is.\n"
        )
        return Letter(subject="Een nieuw wachtwoord", text=text)
    text = (
        f"Choose a new password here; the link works for one day and once:\n{link}\n\n"
        "If you did not ask for it, do nothing: your password stays as it is.\n"
    )
    return Letter(subject="A new password", text=text)


def invited(site: str, link: str, language: str) -> Letter:
    """Returns the mail that invites the owner of a site."""
    if language == "nl":
        text = (
            f"U bent uitgenodigd om te zien wat {site} opwekt.\n"
            f"Kies hier een wachtwoord; de link werkt twee weken en één keer:\n{link}\n"
        )
        return Letter(subject="Uw zonnepanelen in beeld", text=text)
    text = (
        f"You are invited to see what {site} produces.\n"
        f"Choose a password here; the link works for two weeks and once:\n{link}\n"
    )
    return Letter(subject="Your solar panels in view", text=text)


def access_given(site: str, page: str, language: str) -> Letter:
    """Returns what somebody with an account is told who may see another's site from now on."""
    if language == "nl":
        text = f"U mag meekijken met {site}:\n{page}\n"
        return Letter(subject=f"U mag meekijken met {site}", text=text)
    return Letter(subject=f"You may look at {site}", text=f"You may look at {site}:\n{page}\n")


def confirm_newsletter(link: str, language: str) -> Letter:
    """Returns the mail of the double opt-in."""
    if language == "nl":
        text = (
            f"U vroeg om onze nieuwsbrief. Bevestig dat hier:\n{link}\n\n"
            "Was u het niet, dan hoeft u niets te doen: u krijgt hem niet.\n"
        )
        return Letter(subject="Bevestig uw aanmelding voor de nieuwsbrief", text=text)
    text = (
        f"You asked for our newsletter. Confirm it here:\n{link}\n\n"
        "If it was not you, do nothing: you will not get it.\n"
    )
    return Letter(subject="Confirm your subscription to the newsletter", text=text)
