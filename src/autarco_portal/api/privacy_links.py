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

from autarco_portal.api.access import PROBLEMS
from autarco_portal.portal import Here
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy_services import desk_of, newsletter_of
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
        desk_of(portal).use_link(data.request_id, data.token, now=portal.now())


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


@contextmanager
def _linked() -> Iterator[None]:
    """A wrong link is no link: which part of it was wrong is nobody's business."""
    try:
        yield
    except (PrivacyError, StoreError) as error:
        raise NotFoundException("that link is not valid, or not any more") from error


ROUTES = (verify_request, confirm_newsletter, withdraw_newsletter)
