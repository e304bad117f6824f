"""Where is the JavaScript of the charts, and what must a page allow it?

It is plotly.js, as the installed package `plotly` ships it: nothing of it is kept here and nothing
comes from elsewhere. docs/decisions/0010-charts.md says why, and what the policy costs.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import resources

from msgspec import Struct

_STYLE_ID = re.compile(rb'document\.getElementById\("([0-9a-f]{64})"\)')

EMPTY_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
"""The hash of nothing: plotly.js makes an empty <style> and fills it rule by rule, which is no
inline style to a browser; so no inline style with anything in it can be smuggled in."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' {EMPTY_STYLE}",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""The Content-Security-Policy of every page."""


class ChartLibrary(Struct, frozen=True, kw_only=True, eq=False):
    """The file that a page with charts loads."""

    script: bytes
    digest: str
    """Of the script; part of its address, so that browsers may keep it for ever."""
    style_ids: tuple[str, ...]
    """Elements with these ids keep plotly.js from adding styles of maps, which we do not draw and
    the policy forbids."""

    @property
    def path(self) -> str:
        """The script's address."""
        return f"/static/plotly-{self.digest}.js"


@cache
def chart_library() -> ChartLibrary:
    """Reads the library from the installed package; raises FileNotFoundError without it."""
    script = (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    return ChartLibrary(
        script=script,
        digest=hashlib.sha256(script).hexdigest()[:16],
        style_ids=tuple(sorted({found.decode() for found in _STYLE_ID.findall(script)})),
    )
