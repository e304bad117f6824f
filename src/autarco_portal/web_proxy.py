"""From which address does a request come when a proxy that is named stands before the portal?

granian's wrapper believes the proxies' X-Forwarded headers; whatever they say that is no address is
not believed here: then it is the proxy's own, whose count of failures is its clients' together.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from granian.utils.proxies import wrap_asgi_with_proxy_headers
from litestar.enums import ScopeType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.types import ASGIApp, Receive, Scope, Send

_PEER = "autarco_peer"


def behind(app: ASGIApp, proxies: Sequence[str]) -> ASGIApp:
    """Returns an application whose `client` is the one that a proxy of these names."""

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        peer: Any = scope.pop(_PEER, None)  # type: ignore[misc]
        client = scope.get("client")
        if client is not None and client != peer:
            named = forwarded_address(client[0])
            scope["client"] = peer if named is None else (named, 0)
        await app(scope, receive, send)

    believing: Any = wrap_asgi_with_proxy_headers(checked, list(proxies))

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            scope[_PEER] = scope.get("client")  # type: ignore[literal-required]
        await believing(scope, receive, send)

    return outer


def forwarded_address(text: str) -> str | None:
    """Returns the address that one part of X-Forwarded-For names; None for what is none.

    Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`.
    """
    host = text
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        if port and not (port[0] == ":" and port[1:].isdecimal()):
            return None
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        if not port.isdecimal():
            return None
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
