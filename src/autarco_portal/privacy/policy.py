"""Which privacy policy was in force on a day, who must hear of a new one, and when may it start?

Texts have versions per language and are never changed. Of a significant change all registered users
are told by mail before it starts, with a record of each delivery; until then it cannot come into
force. Re-consent is asked only where consent was the basis.
"""

from __future__ import annotations

import difflib
import hashlib
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from autarco_portal.privacy.error import PrivacyError, need_text
from autarco_portal.privacy.letter import Letter  # noqa: TC001 - msgspec looks at it

if TYPE_CHECKING:
    from collections.abc import Iterable

Language: TypeAlias = Literal["nl", "en"]
NOTICE_DAYS = 30
"""Between the last mail and the first day of a significant change. Our choice."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the policy in one language."""

    version: str
    language: Language
    text: str
    in_force_on: date
    is_significant: bool = True
    published_at: datetime

    def __post_init__(self) -> None:
        """Raises PrivacyError for a policy without words or one that starts before it is there."""
        need_text("text of the policy", self.text, limit=500_000)
        if self.in_force_on < self.published_at.date():
            raise PrivacyError("a policy does not start before it is published")

    def sha256(self) -> str:
        """Returns the hash by which consents and acceptances name the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class DeliveryState(StrEnum):
    """What became of one mail."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    """Taken by the recipient's mail server; nobody knows more."""
    REFUSED = "refused"
    """For good: the address does not work, and somebody must find another way."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One notice to one person."""

    notice_id: str
    person: str
    state: DeliveryState = DeliveryState.QUEUED
    attempts: int = 0
    at: datetime | None = None
    """Of the last attempt, UTC."""
    answer: str = ""
    """Of the mail server, without the address."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something that every registered user is told before it starts."""

    notice_id: str
    kind: Literal["policy", "transfer"]
    thing: str
    """Which version of the policy, or which transfer."""
    starts_on: date
    created_at: datetime
    letters: dict[Language, Letter]
    """One for each language that somebody reads."""

    def __post_init__(self) -> None:
        """Raises PrivacyError for a notice that some could not read, or that comes too late."""
        if set(self.letters) != {"nl", "en"}:
            raise PrivacyError("a notice has a letter in Dutch and one in English")
        earliest = self.created_at.date() + timedelta(days=NOTICE_DAYS)
        if self.starts_on < earliest:
            raise PrivacyError(
                f"what starts {NOTICE_DAYS} days after its notice starts not before "
                f"{earliest.isoformat()}"
            )


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a campaign is done, and whom it still owes something."""

    is_ready: bool
    missing: tuple[str, ...]
    """Registered users without any record."""
    waiting: tuple[str, ...]
    refused: tuple[str, ...]
    """Told in vain; the privacy officer writes a letter or shows it at the next sign-in."""


def in_force(versions: Iterable[Version], language: Language, day: date) -> Version | None:
    """Returns the version that is in force on a day; None before the first one."""
    started = [v for v in versions if v.language == language and v.in_force_on <= day]
    return max(started, key=lambda v: (v.in_force_on, v.published_at), default=None)


def check_new(version: Version, *, today: date) -> None:
    """Raises PrivacyError where a significant change leaves too little time to tell people."""
    earliest = today + timedelta(days=NOTICE_DAYS)
    if version.is_significant and version.in_force_on < earliest:
        raise PrivacyError(
            f"a significant change starts {NOTICE_DAYS} days after its notice: not before "
            f"{earliest.isoformat()}"
        )


def difference(old: Version, new: Version) -> str:
    """Returns what changed, line by line, as `diff -u` shows it."""
    lines = difflib.unified_diff(
        old.text.splitlines(), new.text.splitlines(), old.version, new.version, lineterm=""
    )
    return "\n".join(lines)


def readiness(
    registered: Iterable[str], deliveries: Iterable[Delivery], *, starts_on: date
) -> Readiness:
    """Returns whether every registered user was told of it before `starts_on`.

    A refused mail counts as told for the start, because one dead address must not hold a policy up;
    it stays on the list of those who need another way.
    """
    by_person = {delivery.person: delivery for delivery in deliveries}
    wanted = sorted(set(registered))
    missing = tuple(person for person in wanted if person not in by_person)
    late = [
        d.person
        for d in by_person.values()
        if d.state is DeliveryState.QUEUED or d.at is None or d.at.date() >= starts_on
    ]
    waiting = tuple(person for person in wanted if person in late)
    refused = tuple(
        p for p in wanted if p in by_person and by_person[p].state is DeliveryState.REFUSED
    )
    return Readiness(
        is_ready=not missing and not waiting, missing=missing, waiting=waiting, refused=refused
    )
