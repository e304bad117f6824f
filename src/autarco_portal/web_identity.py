"""Who asks: by which header or cookie does a request say so?

A program sends an Authorization header, a browser its session's cookie. Both at once: the header,
because who writes one means it. Whether it is right is the business of `accounts`.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime  # noqa: TC003 - Litestar looks at it
from typing import TYPE_CHECKING, Any, TypeAlias

from litestar.di import NamedDependency
from litestar.exceptions import NotAuthorizedException, TooManyRequestsException

from autarco_portal.people import Actor
from autarco_portal.proofs import Refusal, Refused
from autarco_portal.secret import Secret

if TYPE_CHECKING:
    from litestar import Request

    from autarco_portal.accounts import Accounts

Asking: TypeAlias = NamedDependency[Actor | None]
"""A handler's argument `actor`: who asks, None for somebody unknown."""

NOBODY = "0.0.0.0"  # noqa: S104 - nothing listens
"""An address that no peer has."""


def address(request: Request[Any, Any, Any]) -> str:
    """Returns the peer's network address; NOBODY's for a peer without one.

    Not our own: what counts for such a peer must not count for who asks from this machine.
    """
    host = request.client.host if request.client is not None else ""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return NOBODY


class Identities:
    """Tells who asks."""

    def __init__(self, accounts: Accounts, *, session_cookie: str) -> None:
        self._accounts = accounts
        self._session_cookie = session_cookie

    def __call__(self, request: Request[Any, Any, Any], now: datetime) -> Actor | None:
        """Returns the actor, None for somebody unknown or not yet wholly signed in.

        Raises NotAuthorized- and TooManyRequestsException where there is more to say than that.
        """
        header = request.headers.get("authorization")
        if header is not None:
            return self._by_header(Secret(header), address(request), now)
        token = request.cookies.get(self._session_cookie)
        signed = self._accounts.who(Secret(token), now) if token else None
        return signed.actor if signed is not None else None

    def known(self, request: Request[Any, Any, Any], now: datetime) -> Actor | None:
        """Returns the actor of a header that was judged a moment ago; None says nothing."""
        header = request.headers.get("authorization")
        found = None if header is None else self._accounts.api.known(Secret(header), now)
        return None if found is None else found.actor

    def _by_header(self, header: Secret, address: str, now: datetime) -> Actor | None:
        found = self._accounts.api.authenticate(header, address=address, now=now)
        if not isinstance(found, Refused):
            return found.actor
        if found.reason is Refusal.WAIT:
            # Not 401: Home Assistant would ask people for a new password.
            raise TooManyRequestsException(
                "too many wrong passwords from there",
                headers={"Retry-After": str(found.retry_after_s or 60)},
            )
        if found.reason is Refusal.APP_TOKEN_WANTED:
            raise NotAuthorizedException(
                "this account has a second factor: programs need an app token (profile page)",
                headers={"WWW-Authenticate": 'Basic realm="portal", charset="UTF-8"'},
            )
        return None
