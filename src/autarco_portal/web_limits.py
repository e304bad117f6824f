"""How long may a client take, and how much may it send, before it is let go?

The server in front (granian) bounds the head of a request; here is what it does not: the time that
a body may take to come, a body that its length announces as too large, and paths of absurd length.
Nothing of it costs a thread: a slow client waits in the event loop.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from litestar.enums import ScopeType
from litestar.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from litestar.types import ASGIApp, Receive, Scope, Send

BODY_S = 30.0
"""For a whole body; forms are kilobytes, pictures a few megabytes."""
HEADERS_BYTES_MAX = 32_768
"""All together; browsers send a few kilobytes. granian cuts off at some hundred."""
PATH_BYTES_MAX = 4_096
"""Path and query; the longest of ours has some 200."""


class Limits:
    """Wraps an application."""

    def __init__(self, app: ASGIApp, *, body_s: float = BODY_S) -> None:
        self._app = app
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers itself where a limit is passed, or lets the application say so."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > PATH_BYTES_MAX:
            await _refuse(send, 414, "the address is too long")
            return
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADERS_BYTES_MAX:
            await _refuse(send, 431, "the headers are too long")
            return
        clock = asyncio.get_running_loop()
        deadline = clock.time() + self._body_s
        is_whole = False

        async def receive_in_time() -> Any:
            nonlocal is_whole
            if is_whole:
                # What comes now is the end of the connection: that may take as long as it likes.
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                # One that the application answers as it does others: to it, a TimeoutError would
                # be a failure of its own.
                raise HTTPException(
                    "the request took too long to come",
                    status_code=HTTPStatus.REQUEST_TIMEOUT,
                    headers={"Connection": "close"},
                ) from None
            is_whole = not message.get("more_body", False)
            return message

        await self._app(scope, receive_in_time, send)


async def _refuse(send: Callable[[Any], Awaitable[None]], status: int, detail: str) -> None:
    from autarco_portal import web_problems

    answer = web_problems.response(status, detail)
    head = [
        (b"content-type", web_problems.MEDIA_TYPE.encode()),
        (b"content-length", str(len(answer.content)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": answer.content, "more_body": False})
