"""What does a client get that asked wrongly, or when something here is out of order?

Under /api a problem document of RFC 9457, never HTML and never a redirect: clients parse it. For
people `pages` says the same in words; it hands its own renderer to the app.

Nothing of a request but method and route is logged here: headers hold passwords, and the paths of
invitations and newsletters hold links that open something.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from autarco_portal.store import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 60

Page: TypeAlias = "Callable[[Request[Any, Any, Any], int, str], Response[Any]]"
"""Shows status and sentence to a person."""


class Unavailable(Exception):
    """A store, table or disk cannot be asked now; the message is one sentence for a person."""


class NotReadYet(Unavailable):
    """Nothing has been read from the lake since the start: a page shows what it has without it."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457: `title` is the status in words, `detail` what was wrong with this request."""

    status: int
    title: str
    detail: str = ""
    type: str = "about:blank"


def handlers(page: Page | None) -> dict[int | type[Exception], Callable[..., Response[Any]]]:
    """Returns the app's exception handlers; `page` answers outside /api, if there is one."""

    def refused(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
        detail = error.detail
        if isinstance(error.extra, list) and error.extra:
            # Which parameter, as Litestar's validation names it.
            named = [
                f"{_name(request, one.get('key', 'value'))}: {one.get('message', '')}"
                for one in error.extra
            ]
            detail = "; ".join(named)
        return answer(request, error.status_code, detail, headers=error.headers)

    def unavailable(request: Request[Any, Any, Any], error: Unavailable) -> Response[Any]:
        log.warning("cannot answer now", path=_route(request), error=str(error))
        return answer(
            request,
            HTTPStatus.SERVICE_UNAVAILABLE,
            str(error),
            headers={"Retry-After": str(RETRY_AFTER_S)},
        )

    def store_away(request: Request[Any, Any, Any], error: StoreUnavailable) -> Response[Any]:
        # What it said is for the log, not for whoever asked.
        log.warning("cannot answer now", path=_route(request), error=str(error))
        return answer(
            request,
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the database does not answer now",
            headers={"Retry-After": str(RETRY_AFTER_S)},
        )

    def failed(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        log.error("request failed", method=request.method, path=_route(request), exc_info=error)
        return answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "something failed here")

    def answer(
        request: Request[Any, Any, Any],
        status: int,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
    ) -> Response[Any]:
        if page is None or is_api(request.scope["path"]):
            return response(status, detail, headers=headers)
        shown = page(request, status, detail)
        shown.headers.update(headers or {})
        return shown

    return {
        HTTPException: refused,
        Unavailable: unavailable,
        StoreUnavailable: store_away,
        Exception: failed,
    }


def response(status: int, detail: str, *, headers: dict[str, str] | None = None) -> Response[bytes]:
    """Returns a problem document."""
    phrase = HTTPStatus(status).phrase
    problem = Problem(status=status, title=phrase, detail="" if detail == phrase else detail)
    return Response(
        msgspec.json.encode(problem), status_code=status, media_type=MEDIA_TYPE, headers=headers
    )


def _route(request: Request[Any, Any, Any]) -> str:
    """The path with the names of its parameters in their place; empty where there is no route."""
    template: str = request.scope.get("path_template", "")
    return template


def is_api(path: str) -> bool:
    """Whether a path is for programs."""
    return path == "/api" or path.startswith("/api/")


def _name(request: Request[Any, Any, Any], key: str) -> str:
    """Returns what a client calls a handler's parameter: not all can have that name in Python."""
    field = request.route_handler.parsed_fn_signature.parameters.get(key)
    if field is None or field.kwarg_definition is None:
        return key
    return getattr(field.kwarg_definition, "name", None) or key
