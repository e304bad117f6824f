"""To whom was what of which site disclosed, what for, and who allowed it?

Each disclosure has an entry in the ledger before anything leaves. Channel partners get what their
role shows, as long as they have it; insurers performance data and the guarantee's record of one
site and period; researchers the coarsened set; authorities the narrowest set that two people
allowed.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec looks at them when it decodes
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from autarco_portal.privacy.error import PrivacyError, need_text
from autarco_portal.privacy.processing import Purpose

if TYPE_CHECKING:
    from collections.abc import Iterable


class RecipientKind(StrEnum):
    """Whom something is disclosed to."""

    CHANNEL_PARTNER = "channel_partner"
    INSURER = "insurer"
    RESEARCHER = "researcher"
    AUTHORITY = "authority"
    ACQUIRER = "acquirer"
    """Who takes the portfolio over."""
    PERSON_CHOICE = "person_choice"
    """A third party that the person himself named."""


class Basis(StrEnum):
    """Why it is lawful (article 6)."""

    CONTRACT = "contract"
    CONSENT = "consent"
    LEGITIMATE_INTEREST = "legitimate_interest"
    LEGAL_OBLIGATION = "legal_obligation"


CONTACT_FIELDS = frozenset({"name", "email", "phone", "street", "house_number", "postcode", "city"})
PERFORMANCE_FIELDS = frozenset({"readings", "site_day", "alarms", "guarantee", "settlements"})
"""And `photos`, as a list of hashes, for an insurer."""

FIELDS: dict[RecipientKind, frozenset[str] | None] = {
    RecipientKind.CHANNEL_PARTNER: PERFORMANCE_FIELDS | CONTACT_FIELDS | {"photos", "layout"},
    RecipientKind.INSURER: PERFORMANCE_FIELDS | {"photo_list"},
    RecipientKind.RESEARCHER: frozenset({"research_set", "aggregates"}),
    RecipientKind.AUTHORITY: None,
    RecipientKind.ACQUIRER: None,
    RecipientKind.PERSON_CHOICE: PERFORMANCE_FIELDS | {"photos", "layout"},
}
"""What each may get at most; None: what the case names."""

PURPOSES: dict[RecipientKind, Purpose] = {
    RecipientKind.CHANNEL_PARTNER: Purpose.SHARING,
    RecipientKind.INSURER: Purpose.SHARING,
    RecipientKind.RESEARCHER: Purpose.RESEARCH,
    RecipientKind.AUTHORITY: Purpose.LEGAL,
    RecipientKind.ACQUIRER: Purpose.SHARING,
    RecipientKind.PERSON_CHOICE: Purpose.RIGHTS,
}
"""What `processing.may_process` is asked."""

APPROVALS = {RecipientKind.AUTHORITY: 2}
LEGAL_GROUNDS = ("illegal_act", "fraud", "safety", "terms", "law")


class Disclosure(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the ledger; `period` is the days that the data is of, both included."""

    disclosure_id: str
    recipient: str
    kind: RecipientKind
    basis: Basis
    why: str
    """What for, in words; with a legal demand its number."""
    ground: str = ""
    """Of a legal demand."""
    fields: tuple[str, ...]
    sites: tuple[str, ...]
    """None where only aggregates leave."""
    period: tuple[date, date] | None = None
    asked_at: datetime
    asked_by: str
    approvals: tuple[str, ...] = ()
    """Accounts of those who allowed it."""
    disclosed_at: datetime | None = None
    sha256: str = ""
    """Of the file that left; empty for access through the portal."""

    def __post_init__(self) -> None:
        """Raises PrivacyError for what this recipient may not get."""
        need_text("recipient", self.recipient)
        need_text("why", self.why)
        if not self.fields:
            raise PrivacyError("fields: a disclosure names what is disclosed")
        allowed = FIELDS[self.kind]
        if allowed is not None and (extra := sorted(set(self.fields) - allowed)):
            raise PrivacyError(f"{self.kind} may not get {', '.join(extra)}")
        if self.kind is RecipientKind.AUTHORITY and self.ground not in LEGAL_GROUNDS:
            raise PrivacyError(f"ground: expected one of {', '.join(LEGAL_GROUNDS)}")
        if self.kind is RecipientKind.INSURER and (len(self.sites) != 1 or self.period is None):
            raise PrivacyError("an insurer gets one site and one period")
        if self.period is not None and self.period[0] > self.period[1]:
            raise PrivacyError("period: it ends before it begins")


def about(
    disclosures: Iterable[Disclosure], public_key: str, since: datetime | None
) -> list[Disclosure]:
    """Returns the entries as they are told to whose site it is since a moment (None: ever).

    Of the sites that an entry names, others are others'; what left before is the former owner's.
    """
    return [
        msgspec.structs.replace(one, sites=(public_key,))
        for one in disclosures
        if since is None or (one.disclosed_at or one.asked_at) >= since
    ]


def approve(disclosure: Disclosure, *, by: str) -> Disclosure:
    """Adds one person's yes; whoever asked for it is none of those who allow it."""
    if disclosure.disclosed_at is not None:
        raise PrivacyError("it has been disclosed")
    if by == disclosure.asked_by:
        raise PrivacyError("who asks for a disclosure does not approve it")
    if by in disclosure.approvals:
        raise PrivacyError("two approvals are those of two people")
    return msgspec.structs.replace(
        disclosure, approvals=(*disclosure.approvals, need_text("by", by))
    )


def approvals_missing(disclosure: Disclosure) -> int:
    """Returns how many people must still allow it."""
    return max(0, APPROVALS.get(disclosure.kind, 0) - len(disclosure.approvals))


def disclose(disclosure: Disclosure, *, at: datetime, sha256: str = "") -> Disclosure:
    """Returns the entry of what leaves now; raises PrivacyError while approvals are missing."""
    if disclosure.disclosed_at is not None:
        raise PrivacyError("it has been disclosed: each disclosure has an entry of its own")
    if missing := approvals_missing(disclosure):
        raise PrivacyError(f"{missing} more people must allow it")
    return msgspec.structs.replace(disclosure, disclosed_at=at, sha256=sha256)
