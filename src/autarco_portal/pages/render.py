"""How does a page become HTML?

Jinja escapes everything; what is let through unescaped is made here: charts as JSON and QR codes
that we drew. A missing value is an error, not an empty place.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from autarco_portal.pages import labels, labels_privacy
from autarco_portal.pages.chart_library import chart_library
from autarco_portal.pages.charts import Locale as ChartLocale
from autarco_portal.pages.charts import spec
from autarco_portal.pages.words import NOTHING, OWN_NAMES, Language, words
from autarco_portal.site_health import Health

if TYPE_CHECKING:
    from autarco_portal.pages.models import Frame, Page

STATIC_FILES = {
    "style.css": "text/css",
    "charts.js": "text/javascript",
    "favicon.svg": "image/svg+xml",
}
"""Our own files under /static, and what they are."""


def render(page: Page, frame: Frame, language: Language) -> str:
    """Returns a page as HTML."""
    template = environment(language).get_template(page.template)
    return template.render(page=page, frame=frame)


@cache
def static_file(name: str) -> bytes:
    """Returns one of our own files; raises KeyError for a name that is none."""
    if name not in STATIC_FILES:
        raise KeyError(name)
    return (resources.files("autarco_portal") / "static" / name).read_bytes()


def static_path(name: str) -> str:
    """Returns the address of one of our own files, another one whenever it changes."""
    return f"/static/{name}?{hashlib.sha256(static_file(name)).hexdigest()[:12]}"


@cache
def environment(language: Language) -> jinja2.Environment:
    """Returns what the templates of one language see."""
    here = words(language)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autarco_portal", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    translations: Any = here.translations
    # Jinja adds this method with the extension, unknown to type checkers.
    install: Any = environment
    install.install_gettext_translations(translations, newstyle=True)
    environment.filters |= {
        "say": here.say,
        "number": here.number,
        "percent": here.percent,
        "power": here.power,
        "energy": here.energy,
        "euro": here.euro,
        "day": here.day,
        "last_day": here.last_day,
        "month": here.month,
        "moment": here.moment,
        "wall": here.wall,
        "ago": here.ago,
        "duration": here.duration,
        "called": lambda code, of: labels_privacy.called(code, of, here),
        "label": lambda code: labels.name(code, here),
        "explanation": lambda code: labels.explanation(code, here),
        "review": lambda reason: labels.review(reason, here),
    }

    locale = ChartLocale(
        language=language.value, calendar=here.calendar(), separators=here.separators
    )

    environment.globals |= {
        "Health": Health,
        "NOTHING": NOTHING,
        "chart_data": lambda chart: spec(chart, locale),
        "chart_library": chart_library,
        "language": language,
        "languages": OWN_NAMES,
        "static_path": static_path,
        "own_svg": Markup,
    }
    return environment
