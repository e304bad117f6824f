"""Which files do pages load, and how long may a browser keep them?

For ever: their addresses change with their content. They are the same for everybody, so nobody
needs to be signed in for them.
"""

from __future__ import annotations

import gzip
from functools import cache
from typing import Any

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from autarco_portal.pages.chart_library import chart_library
from autarco_portal.pages.render import STATIC_FILES, static_file

FOR_EVER = "public, max-age=31536000, immutable"


@get("/static/{name:str}", sync_to_thread=True, opt={"is_public": True})
def serve_static(name: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
    """Answers one of the files, compressed for who takes it."""
    library = chart_library()
    if name == library.path.rpartition("/")[2]:
        media_type = "text/javascript"
    elif name in STATIC_FILES:
        media_type = STATIC_FILES[name]
    else:
        raise NotFoundException
    headers = {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
    takes = request.headers.get("accept-encoding", "").split(",")
    if any(coding.split(";")[0].strip() == "gzip" for coding in takes):
        headers["Content-Encoding"] = "gzip"
        return Response(_compressed(name), media_type=media_type, headers=headers)
    return Response(_plain(name), media_type=media_type, headers=headers)


def _plain(name: str) -> bytes:
    return static_file(name) if name in STATIC_FILES else chart_library().script


@cache
def _compressed(name: str) -> bytes:
    return gzip.compress(_plain(name), mtime=0)
