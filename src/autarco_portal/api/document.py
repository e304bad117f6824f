"""How is the API described to programs? The OpenAPI document, from the handlers themselves.

Only the document is served, no viewer: those load scripts from elsewhere.
"""

from __future__ import annotations

from typing import Any

from litestar import MediaType, Request, get
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag

PATH = "/openapi"
"""Where Litestar serves it; it answers wrong addresses below in HTML, so not below /api."""
DESCRIPTION = """\
Read and acknowledge what a solar fleet does. Two interfaces: `/api/v1`, described here in full, and
`/api/site…`, which clients of the old portal speak (as does Home Assistant).

Sign in by `Authorization: Bearer <app token>`, or HTTP Basic with e-mail and app token (or, without
a second factor, password). Make tokens on your profile page; they look and change nothing.

Times are UTC, days local to the site, powers W, energies kWh or Wh as named. Problems are RFC 9457
documents. Polled answers carry an ETag: send it back as If-None-Match and get 304 while nothing
changed. More than 600 requests a minute of one client get 429.
"""


@get("/openapi.json", sync_to_thread=True, include_in_schema=False)
def openapi_document(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """The document, where clients of the API look for it."""
    return request.app.openapi_schema.to_schema()


def config(version: str) -> OpenAPIConfig:
    """Returns what Litestar makes the document by."""
    return OpenAPIConfig(
        title="Autarco portal",
        version=version,
        description=DESCRIPTION,
        path=PATH,
        render_plugins=[JsonRenderPlugin(path="/openapi.json", media_type=MediaType.JSON)],
        use_handler_docstrings=True,
        components=Components(
            security_schemes={
                "basic": SecurityScheme(type="http", scheme="basic"),
                "token": SecurityScheme(type="http", scheme="bearer"),
            }
        ),
        tags=[
            Tag(name="sites", description="Sites and how they are now."),
            Tag(name="inverters", description="Inverters of a site."),
            Tag(name="readings", description="Samples: JSON, CSV, Parquet or Arrow."),
            Tag(name="performance", description="Days as analysis sees them."),
            Tag(name="alarms", description="What is wrong where."),
            Tag(name="guarantees", description="What was promised and settled."),
            Tag(name="account", description="Oneself and one's tokens."),
            Tag(name="privacy", description="Rights over one's own data."),
            Tag(name="privacy desk", description="The privacy officer's registers."),
            Tag(name="old portal", description="The addresses of the old portal's clients."),
        ],
    )
