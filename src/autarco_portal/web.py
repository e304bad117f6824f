"""Which routes does the portal have, and what do handlers know?

`app` puts the routes together. Handlers are plain synchronous functions, run in threads; what they
need comes as arguments by name: `portal` (settings, clock and what they read) and `actor` (who
asks, or None). Rules are elsewhere and pure; who may do what is said by `rights` alone.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - Litestar looks at it
from typing import TYPE_CHECKING, Any, Protocol

from litestar import Litestar, Request, get
from litestar.concurrency import sync_to_thread
from litestar.di import Provide

from autarco_portal import web_headers, web_problems
from autarco_portal.people import Actor  # noqa: TC001 - Litestar looks at it
from autarco_portal.portal import Portal, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from litestar.openapi import OpenAPIConfig
    from litestar.types import ControllerRouterHandler

__all__ = ["BODY_BYTES_MAX", "Identify", "Portal", "Settings", "app"]

BODY_BYTES_MAX = 1 << 20
"""Of a request, unless a route wants more: forms and JSON are a few kilobytes."""


class Identify(Protocol):
    """Says who asks: by session cookie, or by name and password or token."""

    def __call__(self, request: Request[Any, Any, Any], now: datetime) -> Actor | None:
        """Returns the actor, None for somebody unknown."""

    def known(self, request: Request[Any, Any, Any], now: datetime) -> Actor | None:
        """Returns the actor if that is in memory; at once, and None says nothing."""


def app(
    settings: Settings,
    *,
    portal: Portal | None = None,
    routes: Sequence[ControllerRouterHandler] = (),
    page: web_problems.Page | None = None,
    identify: Identify | None = None,
    lifespan: Sequence[Callable[[Litestar], AbstractAsyncContextManager[None]]] = (),
    openapi: OpenAPIConfig | None = None,
) -> Litestar:
    """Returns the ASGI application of `routes`; `serve_app` has all of them.

    `page` shows problems to people, `lifespan` has what runs beside, such as reading the lake.
    """

    def provide_portal() -> Portal | None:
        return portal

    async def provide_actor(request: Request[Any, Any, Any]) -> Actor | None:
        if identify is None or portal is None:
            return None
        now = portal.now()
        known = identify.known(request, now)
        # To a thread and back costs as much as the rest of a request that is answered from memory.
        return known if known is not None else await sync_to_thread(identify, request, now)

    return Litestar(
        [healthy, *routes],
        before_send=[web_headers.add_to_all(is_https=settings.is_https)],
        dependencies={
            "portal": Provide(provide_portal, sync_to_thread=False),
            "actor": Provide(provide_actor),
        },
        exception_handlers=web_problems.handlers(page),
        guards=[web_headers.refuse_cross_site],
        lifespan=list(lifespan),
        logging_config=None,
        openapi_config=openapi,
        request_max_body_size=BODY_BYTES_MAX,
    )


@get("/health", sync_to_thread=False, include_in_schema=False)
def healthy() -> dict[str, str]:
    """Says that the process answers; for a load balancer."""
    return {"status": "ok"}
