"""May the data of these people and this site be used for this purpose?

Every read path, job, alarm and export asks `may_process` before it touches anything, with the flags
of everybody concerned: the site's own and those of its owners and residents. One no is a no.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from autarco_portal.privacy.error import PrivacyError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Purpose(StrEnum):
    """What data is used for."""

    STORAGE = "storage"
    """Keeping it, also what sticks still send."""
    RIGHTS = "rights"
    """Answering the person himself, by him or the privacy officer."""
    LEGAL = "legal"
    """Invoices, claims at court, orders of authorities."""
    ACCOUNT = "account"
    """Sign-in, and mail about the account, rights and policy."""
    MONITORING = "monitoring"
    """Showing a site to its owner and partners."""
    ANALYTICS = "analytics"
    """Computing what a site should have made, and its figures."""
    ALARMS = "alarms"
    GUARANTEE = "guarantee"
    """Settling it."""
    SUPPORT = "support"
    SHARING = "sharing"
    """With partners and insurers, of one site."""
    IMPROVEMENT = "improvement"
    """Aggregates of many sites, for the business itself."""
    RESEARCH = "research"
    PRODUCT_CONTACT = "product_contact"
    MARKETING = "marketing"
    """Newsletters; only with consent."""


ALWAYS = frozenset({Purpose.STORAGE, Purpose.RIGHTS, Purpose.LEGAL, Purpose.ACCOUNT})
"""Restriction leaves these (article 18(2)), and nobody can object to them: the law asks for them,
and without `account` a person could not use his rights. What is sent says nothing of a site."""

GUARANTEE_NEEDS = frozenset(
    {Purpose.MONITORING, Purpose.ANALYTICS, Purpose.GUARANTEE, Purpose.SHARING}
)
"""Without one of these a guarantee cannot be settled, so it is suspended. Sharing: with the
insurer."""

CONSENT_NEEDED = frozenset({Purpose.MARKETING})


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """What one person, or one site, wants of its data; the default is what everybody has."""

    is_restricted: bool = False
    is_erased: bool = False
    """Nothing may be done any more, not even for a row that a backup brought back."""
    objections: frozenset[Purpose] = frozenset()
    consents: frozenset[Purpose] = frozenset()


FREE = Flags()


def may_process(flags: Flags | Iterable[Flags], purpose: Purpose) -> bool:
    """Tells whether everybody concerned lets it be used for the purpose.

    For marketing give the flags of the one person who gets the mail: consent is his alone.
    """
    concerned = (flags,) if isinstance(flags, Flags) else tuple(flags)
    return all(_allows(one, purpose) for one in concerned) and (
        purpose not in CONSENT_NEEDED or bool(concerned)
    )


def _allows(flags: Flags, purpose: Purpose) -> bool:
    if flags.is_erased:
        return purpose is Purpose.LEGAL
    if purpose in ALWAYS:
        return True
    if flags.is_restricted or purpose in flags.objections:
        return False
    return purpose not in CONSENT_NEEDED or purpose in flags.consents


def object_to(flags: Flags, purpose: Purpose) -> Flags:
    """Returns the flags after an objection, at once (article 21); consent to it ends too.

    Raises PrivacyError for what the law asks for or the person's own rights need.
    """
    if purpose in ALWAYS:
        raise PrivacyError(f"nobody can object to {purpose}: the law asks for it")
    return msgspec.structs.replace(
        flags, objections=flags.objections | {purpose}, consents=flags.consents - {purpose}
    )


def restrict(flags: Flags) -> Flags:
    """Returns the flags under restriction (article 18)."""
    return msgspec.structs.replace(flags, is_restricted=True)


def suspends_guarantee(flags: Iterable[Flags]) -> bool:
    """Whether a guarantee of a site of these people can no longer be settled."""
    concerned = tuple(flags)
    return not all(may_process(concerned, purpose) for purpose in GUARANTEE_NEEDS)
