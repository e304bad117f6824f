"""When does what a program decided become final, and who must have looked at it before?

A guarantee that is refused, lapses or owes nothing is a decision with weight (article 22). The
person may contest it; from then on it is final only when a named employee has decided, with a
reason, within 14 days. Uncontested it becomes final when the time to contest it is over.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from autarco_portal.privacy.error import PrivacyError, need_text
from autarco_portal.privacy.request import SHA256, SYSTEM

CONTEST_DAYS = 30
"""After the person was told. Our choice, as long as the answer to a request may take."""
DECIDE_DAYS = 14


class Effect(StrEnum):
    """What the program decided."""

    REFUSED = "refused"
    LAPSED = "lapsed"
    ZERO_VALUE = "zero_value"
    CLAIM_REJECTED = "claim_rejected"
    ACCOUNT_CLOSED = "account_closed"


class Status(StrEnum):
    """Where such a decision stands."""

    PROVISIONAL = "provisional"
    CONTESTED = "contested"
    FINAL = "final"
    OVERTURNED = "overturned"


class Automated(msgspec.Struct, frozen=True, kw_only=True):
    """One decision of a program, with what it followed from; times are UTC."""

    decision_id: str
    person: str
    thing: str
    """Which guarantee, claim or account."""
    effect: Effect
    decided_at: datetime
    told_at: datetime | None = None
    inputs_sha256: str
    """Of the document that holds all inputs, such as a settlement."""
    model_version: str
    contested_at: datetime | None = None
    contest_reason: str = ""
    human: str = ""
    """The account of the employee who decided."""
    human_at: datetime | None = None
    human_reason: str = ""
    is_upheld: bool | None = None

    def __post_init__(self) -> None:
        """Raises PrivacyError where it cannot be said what the decision followed from."""
        if not SHA256.fullmatch(self.inputs_sha256):
            raise PrivacyError("inputs_sha256: expected 64 digits of hex")
        need_text("model_version", self.model_version)


def status(decision: Automated, now: datetime) -> Status:
    """Returns where it stands now; one of which the person was not told never becomes final."""
    if decision.human_at is not None:
        return Status.FINAL if decision.is_upheld else Status.OVERTURNED
    if decision.contested_at is not None:
        return Status.CONTESTED
    if decision.told_at is None or now < contest_until(decision.told_at):
        return Status.PROVISIONAL
    return Status.FINAL


def contest_until(told_at: datetime) -> datetime:
    """Returns when the time to contest a decision ends."""
    return told_at + timedelta(days=CONTEST_DAYS)


def contest(decision: Automated, *, at: datetime, by: str, reason: str = "") -> Automated:
    """Lets a person look at it; needs no reason."""
    if by != decision.person:
        raise PrivacyError("only the person whom it concerns contests a decision")
    found = status(decision, at)
    if found is not Status.PROVISIONAL:
        raise PrivacyError(f"the decision is {found}: it cannot be contested")
    return msgspec.structs.replace(decision, contested_at=at, contest_reason=reason.strip())


def decide(
    decision: Automated, *, at: datetime, by: str, is_upheld: bool, reason: str
) -> Automated:
    """A named employee's word; raises PrivacyError for the system, the person or no reason."""
    if by in (SYSTEM, decision.person):
        raise PrivacyError("a named employee decides, not the system and not the person himself")
    if decision.human_at is not None:
        raise PrivacyError("an employee has decided already")
    return msgspec.structs.replace(
        decision, human=need_text("by", by), human_at=at, is_upheld=is_upheld,
        human_reason=need_text("reason", reason),
    )  # fmt: skip


def decide_until(decision: Automated) -> datetime | None:
    """Returns when the employee's decision is due; None while nobody contests it."""
    if decision.contested_at is None or decision.human_at is not None:
        return None
    return decision.contested_at + timedelta(days=DECIDE_DAYS)
