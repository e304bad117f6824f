"""Which headers does every answer carry, and which requests come from somebody else's page?

A handler that sets one of these headers itself keeps its own; pages do so for their
Content-Security-Policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from litestar.exceptions import PermissionDeniedException

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler
    from litestar.types import Message, Scope

HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # What is shown here is about a household: no proxy and no disk cache keeps it.
    "cache-control": "no-store",
}
HSTS = {"strict-transport-security": "max-age=31536000"}
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def add_to_all(*, is_https: bool) -> Callable[[Message, Scope], Awaitable[None]]:
    """Returns the hook that completes the headers of every answer, errors too."""
    wanted = [
        (name.encode(), value.encode())
        for name, value in (HEADERS | (HSTS if is_https else {})).items()
    ]

    async def hook(message: Message, _: Scope) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            message["headers"] = [*given, *(pair for pair in wanted if pair[0] not in names)]

    return hook


def refuse_cross_site(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: lets no other site's page change anything with a visitor's cookie.

    Browsers say where a request comes from (Sec-Fetch-Site, or Origin in older ones); other
    clients say neither and have no cookie that somebody else could use. Raises
    PermissionDeniedException.
    """
    if connection.scope.get("method") in _READING:
        return
    headers = connection.headers
    site = headers.get("sec-fetch-site")
    if site is not None:
        is_own = site in {"same-origin", "none"}
    else:
        origin = headers.get("origin")
        is_own = origin is None or urlsplit(origin).netloc == headers.get("host")
    if not is_own:
        raise PermissionDeniedException("this request came from another site's page")
