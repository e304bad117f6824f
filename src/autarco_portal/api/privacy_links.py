"""What do links in mails do that need no sign-in: prove a request, confirm and end a newsletter?

Each only by POST: programs that look into mails open every link, and must not decide for people.
The page behind a link shows a button that posts; mail programs post by themselves for RFC 8058.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import Request, post
from litestar.exceptions import NotFoundException
from litestar.params import JSONBody, PathParameter

from autarco_ingest.paths import DataDirectory
from autarco_portal.api.access import PROBLEMS
from autarco_portal.newsletter import Newsletter
from autarco_portal.portal import Here, Portal
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy_desk import Desk
from autarco_portal.privacy_settings import load
from autarco_portal.secret import derived, load_key
from autarco_portal.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

Part = Annotated[str, PathParameter(max_length=64, description="Of the link.")]


class Verification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the link in the mail holds."""

    request_id: str
    token: str


@post("/privacy/verifications", sync_to_thread=True, summary="Prove a request", tags=["privacy"],
      responses=PROBLEMS, security=[], status_code=204)  # fmt: skip
def verify_request(portal: Here, data: JSONBody[Verification]) -> None:
    """By the single-use link in the mail to the address on file."""
    with _linked():
        Desk(portal.store, load(_directory(portal).root / "privacy.toml")).use_link(
            data.request_id, data.token, now=portal.now()
        )


@post("/newsletter/confirm/{consent:str}/{token:str}", sync_to_thread=True, tags=["privacy"],
      summary="Confirm a newsletter", responses=PROBLEMS, security=[], status_code=204)  # fmt: skip
def confirm_newsletter(
    portal: Here, request: Request[Any, Any, Any], consent: Part, token: Part
) -> None:
    """The second yes of the double opt-in."""
    address = request.client.host if request.client is not None else ""
    with _linked():
        newsletter_of(portal).confirm(consent, token, address=address, now=portal.now())


@post("/newsletter/withdraw/{consent:str}/{token:str}", sync_to_thread=True, tags=["privacy"],
      summary="End a newsletter", responses=PROBLEMS, security=[], status_code=204)  # fmt: skip
def withdraw_newsletter(portal: Here, consent: Part, token: Part) -> None:
    """One click (RFC 8058); the body that mail programs send is not looked at."""
    with _linked():
        newsletter_of(portal).withdraw(consent, token, now=portal.now())


def newsletter_of(portal: Portal) -> Newsletter:
    """Returns the newsletters of a portal, with the key that its links are made with."""
    directory = _directory(portal)
    settings = load(directory.root / "privacy.toml")
    return Newsletter(
        portal.store,
        derived(load_key(directory.secret_key), "newsletter"),
        url=settings.url,
        mailbox=settings.officer,
    )


def _directory(portal: Portal) -> PortalDirectory:
    return PortalDirectory.of(DataDirectory.at(portal.settings.data))


@contextmanager
def _linked() -> Iterator[None]:
    """A wrong link is no link: which part of it was wrong is nobody's business."""
    try:
        yield
    except (PrivacyError, StoreError) as error:
        raise NotFoundException("that link is not valid, or not any more") from error


ROUTES = (verify_request, confirm_newsletter, withdraw_newsletter)
