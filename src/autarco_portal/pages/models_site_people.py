"""What is on the page of who may see a site? Plain values, as `models`."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec looks at it when it decodes
from typing import ClassVar

from msgspec import Struct

from autarco_portal.pages.models import Page
from autarco_portal.people import OrganisationKind  # noqa: TC001 - as above


class OwnerRow(Struct, frozen=True, kw_only=True):
    """Whose site it is."""

    name: str
    email: str
    is_invited: bool
    """Has not chosen a password yet."""


class RoleRow(Struct, frozen=True, kw_only=True):
    """What an organisation does for it."""

    organisation: str
    kind: OrganisationKind
    since: datetime


class GrantRow(Struct, frozen=True, kw_only=True):
    """Somebody else who may see it."""

    grant_id: str
    who: str
    why: str
    since: datetime
    until: datetime | None


class SitePeople(Page, frozen=True, kw_only=True):
    """Who may see a site, and who changes that."""

    template: ClassVar[str] = "site_people.html"
    site_id: str
    site_name: str
    owners: tuple[OwnerRow, ...]
    roles: tuple[RoleRow, ...]
    grants: tuple[GrantRow, ...]
    may_grant: bool
    may_invite: bool
    invitation_link: str = ""
    """Shown once, where no mail can be sent."""
    error: str = ""
