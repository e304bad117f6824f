"""`/api/v1/me`: who am I here, and which programs look for me?

Tokens are made on the profile page, where somebody proves anew who he is; here they are listed and
ended.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec looks at it
from typing import Annotated

import msgspec
from litestar import delete, get
from litestar.exceptions import NotFoundException, PermissionDeniedException
from litestar.params import PathParameter

from autarco_portal.api.access import PROBLEMS, known
from autarco_portal.audit import AuditEntry
from autarco_portal.portal import Here
from autarco_portal.rights import Action, PersonAccess, may
from autarco_portal.web_identity import Asking

TokenId = Annotated[str, PathParameter(max_length=64, description="Names the token.")]


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks."""

    person_id: str
    name: str
    email: str
    phone: str | None
    language: str
    organisations: dict[str, str]
    """What you are in each, by its identifier."""
    portal_roles: list[str]
    has_second_factor: bool
    """Whether this request speaks with it: partners and staff see sites with it only."""
    is_read_only: bool
    """An app token looks, it changes nothing."""


class TokenItem(msgspec.Struct, frozen=True, kw_only=True):
    """A program that may look for you."""

    token_id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


@get("/me", sync_to_thread=True, summary="Who am I", tags=["account"], responses=PROBLEMS)
def who_am_i(portal: Here, actor: Asking) -> Me:
    """Your own name and what you may be here."""
    who = known(actor)
    person = portal.store.people.get(who.person_id)
    if person is None:
        raise NotFoundException("you are not there any more")
    return Me(
        person_id=person.person_id,
        name=person.name,
        email=person.email,
        phone=person.phone,
        language=person.language,
        organisations={name: role.value for name, role in who.roles.items()},
        portal_roles=sorted(role.value for role in who.portal_roles),
        has_second_factor=who.has_second_factor,
        is_read_only=who.is_read_only,
    )


@get("/me/tokens", sync_to_thread=True, summary="List my tokens", tags=["account"],
     responses=PROBLEMS)  # fmt: skip
def list_tokens(portal: Here, actor: Asking) -> list[TokenItem]:
    """The oldest first; what they open is not kept and cannot be shown."""
    who = known(actor)
    return [
        TokenItem(
            token_id=one.token_id,
            name=one.name,
            created_at=one.created_at,
            last_used_at=one.last_used_at,
            expires_at=one.expires_at,
        )
        for one in portal.store.sessions.tokens(who.person_id)
    ]


@delete("/me/tokens/{token_id:str}", sync_to_thread=True, summary="End a token",
        tags=["account"], responses=PROBLEMS)  # fmt: skip
def end_token(portal: Here, actor: Asking, token_id: TokenId) -> None:
    """It opens nothing any more. Not with an app token."""
    who = known(actor)
    if not may(who, Action.USE_ACCOUNT, PersonAccess(person_id=who.person_id)):
        raise PermissionDeniedException("an app token ends no tokens")
    if not portal.store.sessions.end_token(who.person_id, token_id):
        raise NotFoundException("no such token")
    portal.store.audit.append(
        AuditEntry(
            at=who.at,
            actor=who.person_id,
            action="end_token",
            thing=f"token:{token_id}",
            subject=who.person_id,
        )
    )


ROUTES = (who_am_i, list_tokens, end_token)
