"""What does a chart show, and how does it read as a table?

A chart goes to the browser as plain data (`spec`), which `static/charts.js` draws; the same values
stand below it as a table, for whoever cannot see or use the drawing. Absent values are None and
stay gaps.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from markupsafe import Markup
from msgspec import Struct


class Series(Struct, frozen=True, kw_only=True):
    """One line or row of bars."""

    name: str
    values: tuple[float | None, ...]
    role: Literal["actual", "expected"] = "actual"
    """Expected values are drawn pale, behind."""


class Gap(Struct, frozen=True, kw_only=True):
    """Time without data, in the chart's own x."""

    start: str
    end: str


class Chart(Struct, frozen=True, kw_only=True):
    """What is drawn, all of one unit over one axis."""

    chart_id: str
    title: str
    summary: str
    """One sentence that says what a look at it would."""
    kind: Literal["lines", "bars"]
    unit: str
    x: tuple[str, ...]
    """Local wall-clock times as YYYY-MM-DD HH:MM, or days as YYYY-MM-DD."""
    labels: tuple[str, ...]
    """The same for people, for the table."""
    series: tuple[Series, ...]
    gaps: tuple[Gap, ...] = ()
    digits: int = 0
    """Behind the decimal mark."""
    x_format: str = ""
    """How the axis writes its times (d3's format); empty lets it choose."""
    x_hover: str = "%H:%M"
    """The same for the time under the pointer."""

    @property
    def has_data(self) -> bool:
        """Whether there is anything to draw."""
        return any(value is not None for series in self.series for value in series.values)


class Locale(Struct, frozen=True, kw_only=True):
    """What the drawing needs to know of a language."""

    language: str
    calendar: dict[str, list[str]]
    """Names of months and days."""
    separators: str
    """Decimal mark and group mark."""


def spec(chart: Chart, locale: Locale) -> Markup:
    """Returns the chart as JSON that is safe inside a script element."""
    data: dict[str, Any] = {
        "kind": chart.kind,
        "unit": chart.unit,
        "x": chart.x,
        "xFormat": chart.x_format,
        "digits": chart.digits,
        "series": chart.series,
        "gaps": chart.gaps,
        "xHover": chart.x_hover,
        "language": locale.language,
        "calendar": locale.calendar,
        "separators": locale.separators,
    }
    encoded = msgspec.json.encode(data).decode()
    # Within a script element only "<" could end or nest it; JSON may write it as it likes.
    return Markup(encoded.replace("<", "\\u003c").replace("\u2028", "\\u2028"))  # noqa: S704
