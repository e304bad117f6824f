"""Who asks: by which header or cookie does a request say so?

A program sends an Authorization header, a browser its session's cookie. Both at once: the header,
because who writes one means it. Whether it is right is the business of `accounts`.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - Litestar looks at it
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from litestar.di import NamedDependency

from autarco_portal.people import Actor

if TYPE_CHECKING:
    from litestar import Request

    from autarco_portal.web import Identify

Asking: TypeAlias = NamedDependency[Actor | None]
"""A handler's argument `actor`: who asks, None for somebody unknown."""


class HeaderAccounts(Protocol):
    """What is needed of accounts."""

    def by_header(self, header: str, *, address: str, now: datetime) -> Actor | None:
        """Returns for whom an Authorization header speaks; may raise HTTPException."""


class ByHeader:
    """Knows who asks by the Authorization header, or else asks `by_cookie`."""

    def __init__(self, accounts: HeaderAccounts, by_cookie: Identify | None = None) -> None:
        self._accounts = accounts
        self._by_cookie = by_cookie

    def __call__(self, request: Request[Any, Any, Any], now: datetime) -> Actor | None:
        """Returns the actor, None for somebody unknown."""
        header = request.headers.get("authorization")
        if header is None:
            return self._by_cookie(request, now) if self._by_cookie is not None else None
        address = request.client.host if request.client is not None else ""
        return self._accounts.by_header(header, address=address, now=now)
