"""What becomes of a guarantee while its site may not be looked at, and when may that end?

A guarantee that cannot be settled is suspended, and lapses after so many days; the person is told
both before. Restriction ends only after it was announced (article 18(3)).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from autarco_portal.privacy.error import PrivacyError, need_text


class SuspensionRules(msgspec.Struct, frozen=True, kw_only=True):
    """Our choice; the policy states them."""

    lapse_after_days: int = 90
    """Long enough to settle a dispute, too short to lose half a year of evidence."""
    lapse_warning_days: int = 14
    """Before a guarantee lapses."""
    lift_notice_days: int = 7
    """Between the announcement that a restriction ends and its end."""


class GuaranteeState(StrEnum):
    """What a restriction or objection makes of a guarantee."""

    IN_FORCE = "in_force"
    SUSPENDED = "suspended"
    LAPSE_DUE = "lapse_due"
    """The time is over; who is contested by nobody lapses it (`human_decision`)."""


class Restriction(msgspec.Struct, frozen=True, kw_only=True):
    """One restriction of a person or a site; times are UTC."""

    restriction_id: str
    subject: str
    """A person's key, or a site's."""
    ground: str
    """Accuracy disputed, unlawful, needed for a claim, or objection pending (article 18(1))."""
    begun_at: datetime
    begun_by: str
    announced_at: datetime | None = None
    lifts_at: datetime | None = None
    lifted_at: datetime | None = None
    lifted_by: str = ""

    @property
    def is_in_force(self) -> bool:
        """Whether it holds; announcing its end does not end it."""
        return self.lifted_at is None


GROUNDS = frozenset({"accuracy", "unlawful", "claim", "objection"})


def begin(*, restriction_id: str, subject: str, ground: str, at: datetime, by: str) -> Restriction:
    """Returns a restriction from now on; raises PrivacyError for a ground that is none."""
    if ground not in GROUNDS:
        raise PrivacyError(f"ground: expected one of {sorted(GROUNDS)}, got {ground!r}")
    return Restriction(
        restriction_id=restriction_id, subject=need_text("subject", subject), ground=ground,
        begun_at=at, begun_by=need_text("by", by),
    )  # fmt: skip


def announce_lifting(
    restriction: Restriction, *, at: datetime, rules: SuspensionRules
) -> Restriction:
    """Returns it with the day on which it ends, of which the person is told now."""
    if not restriction.is_in_force:
        raise PrivacyError("the restriction has ended")
    if restriction.announced_at is not None:
        raise PrivacyError("the end of the restriction has been announced")
    return msgspec.structs.replace(
        restriction, announced_at=at, lifts_at=at + timedelta(days=rules.lift_notice_days)
    )


def lift(restriction: Restriction, *, at: datetime, by: str) -> Restriction:
    """Ends it: the person himself at any time, others only after it was announced."""
    if not restriction.is_in_force:
        raise PrivacyError("the restriction has ended")
    if by != restriction.subject:
        if restriction.lifts_at is None:
            raise PrivacyError("the end of a restriction is announced first")
        if at < restriction.lifts_at:
            raise PrivacyError(f"the restriction holds until {restriction.lifts_at.isoformat()}")
    return msgspec.structs.replace(restriction, lifted_at=at, lifted_by=need_text("by", by))


def guarantee_state(
    suspended_since: datetime | None, now: datetime, rules: SuspensionRules
) -> GuaranteeState:
    """Returns what is true of a guarantee that cannot be settled since then."""
    if suspended_since is None:
        return GuaranteeState.IN_FORCE
    if now < lapses_at(suspended_since, rules):
        return GuaranteeState.SUSPENDED
    return GuaranteeState.LAPSE_DUE


def lapses_at(suspended_since: datetime, rules: SuspensionRules) -> datetime:
    """Returns when a suspended guarantee lapses."""
    return suspended_since + timedelta(days=rules.lapse_after_days)


def lapse_warning_due(
    suspended_since: datetime, now: datetime, *, was_warned: bool, rules: SuspensionRules
) -> bool:
    """Whether the person is to be told now that his guarantee is about to lapse."""
    warned_from = lapses_at(suspended_since, rules) - timedelta(days=rules.lapse_warning_days)
    return not was_warned and now >= warned_from
