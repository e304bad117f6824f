"""Who are the people and organisations, and in which relation do they stand to a site?

Plain values, without a store. What a relation allows is the business of `rights`, how somebody
proves who he is that of `accounts`. Times are UTC; whatever has `from_at` and `until` holds from
the one until just before the other.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime  # noqa: TC003 - msgspec looks at it when it decodes
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

Language: TypeAlias = Literal["nl", "en"]

PERSONAL_ATTRIBUTES = ("name", "email", "phone", "language")
"""Of a `Person`; each knows where it is from."""
ADDRESS_ATTRIBUTES = ("street", "postcode", "city", "country")
"""Of a site, where somebody lives; they know their source as a person's attributes do."""

EMAIL_MAX = 254
"""What a mail server must take at most (RFC 5321)."""
TEXT_MAX = 200
"""Characters of a name or a line of an address; longer is no name."""

_EMAIL = re.compile(r"[^\s@:<>,;\"]+@[^\s@:<>,;\"]+\.[^\s@:<>,;\".]+")
_PHONE = re.compile(r"\+?[0-9][0-9 ()./-]{4,30}")


class PeopleError(ValueError):
    """A person or organisation cannot be as described; the message is one sentence."""


class OrganisationKind(StrEnum):
    """What a partner does, also what it does for one site."""

    DISTRIBUTOR = "distributor"
    RESELLER = "reseller"
    INSTALLER = "installer"
    MAINTENANCE = "maintenance"


class MemberRole(StrEnum):
    """What somebody is in his organisation."""

    STAFF = "staff"
    MANAGER = "manager"
    """Invites and dismisses the others."""


class PortalRole(StrEnum):
    """What somebody is for the whole portal."""

    ADMINISTRATOR = "administrator"
    SUPPORT = "support"
    PRIVACY_OFFICER = "privacy_officer"


class SourceKind(StrEnum):
    """From whom a personal attribute is (the policy's three sources; public registers apart)."""

    SELF = "self"
    PARTNER = "partner"
    DEVICE = "device"
    PUBLIC_REGISTER = "public_register"
    OWNER = "owner"
    """The owner of a site, who lets somebody look."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where one attribute is from."""

    kind: SourceKind
    organisation_id: str | None = None
    """Which partner; the portal's own staff is none."""

    def __post_init__(self) -> None:
        """Raises PeopleError where a partner stands with what no partner said."""
        if self.organisation_id is not None and self.kind is not SourceKind.PARTNER:
            raise PeopleError(f"source {self.kind}: only a partner is an organisation")


SELF = Source(kind=SourceKind.SELF)


class AttributeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One attribute as it was from a moment on; the last one of its name is what holds."""

    attribute: str
    value: str | None
    source: Source
    from_at: datetime
    until: datetime | None = None


class Organisation(msgspec.Struct, frozen=True, kw_only=True):
    """A partner; `parent` is who it belongs to, as an installer to its reseller."""

    organisation_id: str
    name: str
    kind: OrganisationKind
    parent: str | None = None
    email: str | None = None
    """Where the organisation is told of alarms."""
    phone: str | None = None
    created_at: datetime
    ended_at: datetime | None = None
    """Since when nobody acts for it any more."""

    def __post_init__(self) -> None:
        """Raises PeopleError for what no organisation can be."""
        check_text("name of an organisation", self.name)
        if self.parent == self.organisation_id:
            raise PeopleError(f"organisation {self.name}: it cannot belong to itself")
        if self.email is not None:
            check_email(self.email)
        if self.phone is not None:
            check_phone(self.phone)


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody, with or without an account; `sources` tells of each attribute where it is from."""

    person_id: str
    """Random, means nothing: what logs and settlements name somebody by."""
    name: str
    email: str
    phone: str | None = None
    language: Language = "nl"
    sources: dict[str, Source]
    created_at: datetime

    def __post_init__(self) -> None:
        """Raises PeopleError for what nobody is, and for an attribute without a source."""
        check_text("name", self.name)
        check_email(self.email)
        if self.phone is not None:
            check_phone(self.phone)
        for attribute in PERSONAL_ATTRIBUTES:
            if getattr(self, attribute) is not None and attribute not in self.sources:
                raise PeopleError(f"{attribute} of a person: nobody says where it is from")


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody works for an organisation."""

    person_id: str
    organisation_id: str
    role: MemberRole
    from_at: datetime
    until: datetime | None = None


class SiteRole(msgspec.Struct, frozen=True, kw_only=True):
    """What an organisation does for a site, from when to when."""

    organisation_id: str
    kind: OrganisationKind
    from_at: datetime
    until: datetime | None = None


class SiteOwner(msgspec.Struct, frozen=True, kw_only=True):
    """Whose site it is, from when to when: houses are sold."""

    person_id: str
    from_at: datetime
    until: datetime | None = None


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Lets one person or one organisation see one site: the owner knows of it and can end it."""

    grant_id: str
    site: str
    """The site's public key."""
    person_id: str | None = None
    organisation_id: str | None = None
    from_at: datetime
    until: datetime | None = None
    why: str
    """For the owner to read."""
    given_by: str
    """Who gave it: a person's identifier."""

    def __post_init__(self) -> None:
        """Raises PeopleError for a grant to nobody, to two, or without a reason."""
        if (self.person_id is None) == (self.organisation_id is None):
            raise PeopleError("a grant is for one person or for one organisation")
        if not self.why.strip():
            raise PeopleError("a grant says why")
        if self.until is not None and self.until < self.from_at:
            raise PeopleError("a grant does not end before it begins")


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who wants to do something now: all of him that `rights.may` looks at.

    `roles` are of the organisations he works for, `below` are the organisations that belong to
    them, `managed_below` those that belong to the ones he manages.
    """

    person_id: str
    at: datetime
    roles: dict[str, MemberRole] = {}
    below: frozenset[str] = frozenset()
    managed_below: frozenset[str] = frozenset()
    portal_roles: frozenset[PortalRole] = frozenset()
    has_second_factor: bool = False
    """Whether he proved it in this session; the powers of partners and the portal hang on it."""
    is_read_only: bool = False
    """An app token looks, it changes nothing."""

    @property
    def needs_second_factor(self) -> bool:
        """Whether he must not do without: partner staff and the portal's own."""
        return bool(self.roles or self.portal_roles)


def holds(thing: Membership | SiteRole | SiteOwner | Grant, at: datetime) -> bool:
    """Tells whether a relation is in force at a moment."""
    return thing.from_at <= at and (thing.until is None or at < thing.until)


def below(organisations: Iterable[Organisation], roots: Iterable[str]) -> frozenset[str]:
    """Returns the organisations that belong to `roots`, at any depth, without these.

    Raises PeopleError where organisations belong to one another in a circle.
    """
    children: dict[str, list[str]] = {}
    for organisation in organisations:
        if organisation.parent is not None:
            children.setdefault(organisation.parent, []).append(organisation.organisation_id)
    found: set[str] = set()
    for root in set(roots):
        waiting = list(children.get(root, ()))
        mine: set[str] = set()
        while waiting:
            one = waiting.pop()
            if one == root or one in mine:
                raise PeopleError(f"organisation {one}: it belongs to itself by a detour")
            mine.add(one)
            waiting += children.get(one, ())
        found |= mine
    return frozenset(found)


def known_language(value: str | None) -> Language:
    """Returns a language that the portal speaks; raises PeopleError for another."""
    for language in get_args(Language):
        if value == language:
            found: Language = language
            return found
    raise PeopleError(f"expected a language of {', '.join(get_args(Language))}, got {value!r}")


def normal_email(email: str) -> str:
    """Returns the spelling that an address is stored and looked up by; raises PeopleError.

    Everything is folded to lower case: that the part before the @ may be case-sensitive is a right
    no mail provider uses, and two accounts that differ by case would be a trap.
    """
    normal = unicodedata.normalize("NFC", email.strip()).lower()
    check_email(normal)
    return normal


def check_email(email: str) -> None:
    """Raises PeopleError for what is no address to send mail to."""
    if len(email) > EMAIL_MAX or not _EMAIL.fullmatch(email):
        raise PeopleError("that is no e-mail address")


def check_phone(phone: str) -> None:
    """Raises PeopleError for what nobody can dial."""
    if not _PHONE.fullmatch(phone):
        raise PeopleError("that is no phone number")


def check_text(what: str, value: str) -> None:
    """Raises PeopleError for text that is empty, too long, or has control characters."""
    if not value.strip() or len(value) > TEXT_MAX:
        raise PeopleError(f"{what}: expected 1 to {TEXT_MAX} characters")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
        raise PeopleError(f"{what}: it has characters that cannot be shown")
