"""Which routes does the portal have, and what do handlers know?

`app` puts the routes together. Handlers are plain synchronous functions, run in threads; what they
need comes as arguments by name: `portal` (settings, clock and what they read) and `actor` (who
asks, or None). Rules are elsewhere and pure; who may do what is said by `rights` alone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from litestar import Litestar, get
from litestar.di import Provide

from autarco_portal import web_headers, web_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from litestar import Request
    from litestar.types import ControllerRouterHandler

BODY_BYTES_MAX = 1 << 20
"""Of a request, unless a route wants more: forms and JSON are a few kilobytes."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator chooses for `autarco-portal serve`."""

    data: Path
    """The data directory, that of `autarco-ingest`."""
    database: str = ""
    """URL of the store; empty for DATA/portal/portal.sqlite."""
    is_https: bool = False
    """Whether browsers reach the portal by https: by own certificate, or a proxy's."""


class Identify(Protocol):
    """Says who asks: by session cookie, or by name and password or token."""

    def __call__(self, request: Request[Any, Any, Any], now: datetime) -> object | None:
        """Returns the actor, None for somebody unknown."""


class Portal(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What handlers need of the world."""

    settings: Settings
    identify: Identify
    now: Callable[[], datetime]


def app(
    settings: Settings,
    *,
    routes: Sequence[ControllerRouterHandler] = (),
    page: web_problems.Page | None = None,
    identify: Identify | None = None,
    now: Callable[[], datetime] | None = None,
) -> Litestar:
    """Returns the ASGI application; `now` gives the time in UTC."""
    portal = Portal(
        settings=settings,
        identify=identify or (lambda request, now: None),
        now=now or (lambda: datetime.now(UTC)),
    )

    def provide_actor(request: Request[Any, Any, Any]) -> object | None:
        return portal.identify(request, portal.now())

    return Litestar(
        [healthy, *routes],
        before_send=[web_headers.add_to_all(is_https=settings.is_https)],
        dependencies={
            "portal": Provide(lambda: portal, sync_to_thread=False),
            "actor": Provide(provide_actor, sync_to_thread=True),
        },
        exception_handlers=web_problems.handlers(page),
        guards=[web_headers.refuse_cross_site],
        logging_config=None,
        openapi_config=None,
        request_max_body_size=BODY_BYTES_MAX,
    )


@get("/health", sync_to_thread=False)
def healthy() -> dict[str, str]:
    """Says that the process answers; for a load balancer."""
    return {"status": "ok"}
