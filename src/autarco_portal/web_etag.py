"""Has what is asked for changed since the client last saw it?

A middleware for routes that programs poll: an answer carries a hash of its content (ETag), and who
sends that back (If-None-Match) gets 304 and no content while it is the same. What is computed here
is held in memory, so this saves transfer and parsing, not computing.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from litestar.datastructures import MutableScopeHeaders

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

CACHE_CONTROL = "private, no-cache"
"""A client may keep an answer, asks before it uses it, and nobody in between keeps it."""
_WHOLE_BYTES_MAX = 1 << 22
"""Larger answers go out as they are."""


class ETags:
    """Wraps the routes of one router."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Holds an answer back until it is whole, hashes it, and sends it or 304."""
        if scope.get("method") not in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        start: HTTPResponseStartEvent | None = None
        held: list[Message] = []

        async def hold(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and message["status"] == 200:
                start = message
                return
            if start is None or message["type"] != "http.response.body":
                await send(message)
                return
            body = message["body"]
            is_whole = not held and not message.get("more_body", False)
            if not is_whole or len(body) > _WHOLE_BYTES_MAX:
                held.append(message)
                if len(held) == 1:
                    await send(start)
                await send(message)
                return
            tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
            headers = MutableScopeHeaders(start)
            headers["etag"] = tag
            headers["cache-control"] = CACHE_CONTROL
            if _matches(tag, _asked(scope)):
                start["status"] = 304
                for name in ("content-length", "content-type"):
                    if name in headers:
                        del headers[name]
                message["body"] = b""
            await send(start)
            await send(message)

        await self._app(scope, receive, hold)


def _asked(scope: Scope) -> str:
    found = [value for name, value in scope["headers"] if name == b"if-none-match"]
    return b",".join(found).decode("latin-1")


def _matches(tag: str, asked: str) -> bool:
    """RFC 9110, 13.1.2: any of a list, weak or not, or a star."""
    tags = [one.strip().removeprefix("W/") for one in asked.split(",")]
    return tag in tags or "*" in tags
