"""Do pages say what is in their models, in both languages, for everybody, under a strict policy?"""

from __future__ import annotations

import ast
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from litestar import Litestar
from litestar.testing import TestClient
from msgspec import structs

import page_samples
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.incidents import Cause, CloseReason, Severity
from autarco_portal.pages import labels, labels_privacy, labels_rules, models
from autarco_portal.pages.chart_library import POLICY, chart_library
from autarco_portal.pages.charts import Chart, Series
from autarco_portal.pages.render import STATIC_FILES, render, static_path
from autarco_portal.pages.static import serve_static
from autarco_portal.pages.words import Language, preferred, words
from autarco_portal.passwords import PasswordError, check_password
from autarco_portal.people import MemberRole, OrganisationKind
from autarco_portal.privacy.consent import TOPICS
from autarco_portal.privacy.human_decision import Effect, Status
from autarco_portal.privacy.request import Channel, Kind, Method, Outcome, Right
from autarco_portal.privacy.request import State as RequestState
from autarco_portal.privacy.security_incident import REPORT
from autarco_portal.privacy.sharing import Basis, RecipientKind
from autarco_portal.privacy.suspension import GROUNDS
from autarco_portal.privacy_self import PURPOSES
from autarco_portal.secret import Secret
from autarco_portal.site_health import Health

SAMPLES = page_samples.pages()
PACKAGE = Path(str(resources.files("autarco_portal")))
VOID = {"meta", "link", "input", "br", "img"}
MESSAGE_KEYWORDS: dict[str, Any] = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)}


class Outline(HTMLParser):
    """What a screen reader and a browser's policy look at."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.in_label = 0
        self.forms: list[tuple[dict[str, str], set[str]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.tags.append((tag, values))
        if tag == "form":
            self.forms.append((values, set()))
        if "name" in values and self.forms and "form" in self.open:
            self.forms[-1][1].add(values["name"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if "script" not in self.open:
            self.text.append(data)

    def all(self, *wanted: str) -> list[dict[str, str]]:
        """Returns the attributes of all elements of these kinds."""
        return [values for tag, values in self.tags if tag in wanted]


def outline(name: str, language: Language = Language.ENGLISH) -> Outline:
    frame, page = SAMPLES[name]
    return Outline(render(page, frame, language))


def every_page() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", list(SAMPLES))


def catalogue() -> dict[str | tuple[str, ...], str | tuple[str, ...]]:
    with (PACKAGE / "locales" / "nl.po").open("rb") as lines:
        found = read_po(lines, locale="nl", abort_invalid=True)
    assert not found.obsolete
    texts: Any = {message.id: message.string for message in found if message.id}
    return dict(texts)


def test_every_page_has_a_sample() -> None:
    kinds = {type(page) for _, page in SAMPLES.values()}
    assert kinds == set(models.Page.__subclasses__())


def test_every_text_is_in_the_dutch_catalogue_and_nothing_else() -> None:
    messages = {
        message
        for _, _, message, _, _ in extract_from_dir(
            PACKAGE,
            [
                ("pages/**.py", "python"),
                ("site_access.py", "python"),
                ("templates/**.html", "jinja2.ext.babel_extract"),
            ],
            {},
            keywords=MESSAGE_KEYWORDS,
        )
    }
    assert messages == set(catalogue())


def test_every_dutch_text_is_there_with_the_same_places_for_values() -> None:
    place = re.compile(r"%\(\w+\)s")
    for message, text in catalogue().items():
        english = (message,) if isinstance(message, str) else message
        dutch = (text,) if isinstance(text, str) else tuple(text)
        assert len(english) == len(dutch)
        for one, other in zip(english, dutch, strict=True):
            assert other
            assert Counter(place.findall(one)) == Counter(place.findall(other)), one


@pytest.mark.parametrize(
    "weak",
    ["short", "x" * 300, "abababababab", "abcabcabcabcabc", "qwertyuiopasdf", "anna@example.nl"],
)
def test_what_rules_say_of_passwords_is_said_in_dutch(weak: str) -> None:
    with pytest.raises(PasswordError) as said:
        check_password(Secret(weak), email="anna@example.nl", name="Anna")
    assert words(Language.DUTCH).say(str(said.value)) != str(said.value)


def test_every_code_has_its_words() -> None:
    assert set(labels.HEALTH) == set(Health)
    assert set(labels.CAUSE) == set(Cause)
    assert set(labels.SEVERITY) == set(Severity)
    assert set(labels.CLOSE_REASON) == set(CloseReason)
    assert set(labels.ORGANISATION_KIND) == set(OrganisationKind)
    assert set(labels.MEMBER_ROLE) == set(MemberRole)
    assert set(labels.GUARANTEE_STATUS) == set(GuaranteeStatus)


def test_every_code_of_rights_has_its_words() -> None:
    wanted = {
        "right": Right, "request_state": RequestState, "step": Kind, "outcome": Outcome,
        "channel": Channel, "method": Method, "purpose": PURPOSES, "ground": GROUNDS,
        "topic": TOPICS, "effect": Effect, "decision_state": Status, "recipient": RecipientKind,
        "basis": Basis, "report": REPORT,
    }  # fmt: skip
    assert set(labels_privacy.VOCABULARIES) == set(wanted)
    for name, codes in wanted.items():
        assert set(labels_privacy.VOCABULARIES[name]) == {str(code) for code in codes}, name


@every_page()
def test_a_page_is_whole_and_in_its_language(name: str) -> None:
    for language in Language:
        found = outline(name, language)
        assert not found.unbalanced
        assert not found.open
        assert [values["lang"] for values in found.all("html")] == [language.value]
    english, dutch = ("".join(outline(name, language).text) for language in Language)
    assert english != dutch


@every_page()
def test_foreign_text_is_shown_and_not_obeyed(name: str) -> None:
    frame, page = SAMPLES[name]
    assert "<script>alert" not in render(page, frame, Language.DUTCH)


def test_a_chart_cannot_end_its_script() -> None:
    site = page_samples.site_page()
    evil = structs.replace(
        site.power_chart, series=(Series(name="</script><script>alert(1)", values=(1.0,) * 182),)
    )
    html = render(structs.replace(site, power_chart=evil), page_samples.frame(), Language.ENGLISH)
    assert "</script><script>alert" not in html
    assert "\\u003c/script>\\u003cscript>alert(1)" in html


@every_page()
def test_a_page_needs_no_inline_style_or_script(name: str) -> None:
    found = outline(name)
    assert not found.all("style")
    for tag, values in found.tags:
        assert "style" not in values, tag
        assert not [attribute for attribute in values if attribute.startswith("on")], tag
    for script in found.all("script"):
        assert script.get("src", "").startswith("/static/") or script["type"] == "application/json"
    for link in (*found.all("link"), *found.all("img")):
        assert not link.get("href", link.get("src", "")).startswith(("http", "//"))


@every_page()
def test_a_page_can_be_used_without_seeing_it(name: str) -> None:
    found = outline(name)
    ids = [values["id"] for _, values in found.tags if "id" in values]
    assert len(ids) == len(set(ids))
    assert len(found.all("h1")) == 1
    assert len(found.all("main")) == 1
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    labelled = {values["for"] for values in found.all("label")}
    for field in found.all("input", "select", "textarea"):
        if field.get("type") != "hidden" and "hidden" not in field:
            assert field["id"] in labelled
    for _, values in found.tags:
        for reference in ("aria-labelledby", "aria-describedby"):
            assert set(values.get(reference, "").split()) <= set(ids)
    for drawing in found.all("svg"):
        assert drawing.get("aria-hidden") == "true" or name == "second-factor-setup"
    for cell in found.all("th"):
        assert "scope" in cell
    assert found.tags[[tag for tag, _ in found.tags].index("body") + 1][1]["class"] == "skip"


@every_page()
def test_every_form_that_changes_something_brings_its_token(name: str) -> None:
    forms = [(form, names) for form, names in outline(name).forms if form["method"] == "post"]
    assert forms
    for _, names in forms:
        assert "csrf" in names


def test_a_page_with_charts_loads_them_and_others_load_no_script() -> None:
    for name in SAMPLES:
        scripts = [script["src"] for script in outline(name).all("script") if "src" in script]
        wanted = [chart_library().path, static_path("charts.js")]
        assert scripts == (wanted if name in {"site", "guarantee"} else [])


def test_a_chart_stands_below_as_a_table_with_its_gaps() -> None:
    chart = Chart(
        chart_id="c",
        title="Energy",
        summary="",
        kind="bars",
        unit="kWh",
        x=("2026-06-01", "2026-06-02"),
        labels=("1 June", "2 June"),
        series=(Series(name="Energy", values=(1234.5, None)),),
        digits=1,
    )
    site = structs.replace(page_samples.site_page(), month_chart=chart)
    for language, number in ((Language.ENGLISH, "1,234.5"), (Language.DUTCH, "1.234,5")):
        html = re.sub(r"\s+", " ", render(site, page_samples.frame(), language))
        assert f'<th scope="row">1 June</th><td class="n">{number}</td>' in html
        assert '<th scope="row">2 June</th><td class="n">–</td>' in html


def test_an_empty_chart_draws_nothing() -> None:
    empty = structs.replace(
        page_samples.power_chart(), x=(), labels=(), series=(Series(name="a", values=()),)
    )
    site = structs.replace(page_samples.site_page(), power_chart=empty, mppt_charts=())
    found = Outline(render(site, page_samples.frame(), Language.ENGLISH))
    assert [values["data-chart"] for values in found.all("div") if "data-chart" in values] == [
        "month",
        "year",
    ]


def test_the_policy_forbids_foreign_and_inline_code() -> None:
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self'"
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


def test_the_charts_are_the_installed_package() -> None:
    library = chart_library()
    assert b"plotly.js v" in library.script[:100]
    assert library.style_ids


def test_static_files_are_kept_for_ever_under_an_address_of_their_content() -> None:
    with TestClient(Litestar([serve_static])) as client:
        for name, media_type in STATIC_FILES.items():
            answer = client.get(static_path(name))
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith(media_type)
            assert answer.content == (PACKAGE / "static" / name).read_bytes()
        script = client.get(chart_library().path)
        assert script.headers["content-encoding"] == "gzip"
        assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert script.content == chart_library().script
        plain = client.get(chart_library().path, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        for wrong in ("/static/nothing.css", "/static/..%2f__init__.py", "/static/plotly-0.js"):
            assert client.get(wrong).status_code == 404


def test_text_can_be_read_on_its_ground_in_light_and_dark() -> None:
    style = (PACKAGE / "static" / "style.css").read_text()
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    )
    pairs = [
        ("ink", "ground"),
        ("ink", "card"),
        ("ink", "accent-soft"),
        ("ink", "bad-soft"),
        ("faint", "ground"),
        ("faint", "card"),
        ("faint", "accent-soft"),
        ("accent", "ground"),
        ("accent", "card"),
        ("accent-ink", "accent"),
        ("card", "bad"),
        ("top-ink", "top"),
        ("warn", "warn-soft"),
        ("bad", "bad-soft"),
        ("bad", "card"),
    ]
    for colours in (light, light | dark):
        for ink, ground in pairs:
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        for number in range(1, 7):
            # WCAG 1.4.11: what must be told apart in a drawing.
            assert contrast(colours[f"chart-{number}"], colours["card"]) >= 3


def contrast(one: str, other: str) -> float:
    """Of WCAG 2.2, 1 to 21."""

    def luminance(colour: str) -> float:
        channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        red, green, blue = (
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, None, Language.DUTCH),
        (None, "en-US,en;q=0.9,nl;q=0.8", Language.ENGLISH),
        (None, "fr-FR, de;q=0.7, nl-BE;q=0.5", Language.DUTCH),
        ("nl", "en", Language.DUTCH),
        ("xx", "en", Language.ENGLISH),
        ("", ",;,", Language.DUTCH),
    ],
)
def test_language_is_as_chosen_or_as_the_browser_asks(
    chosen: str | None, accepted: str | None, language: Language
) -> None:
    assert preferred(chosen, accepted) is language


def test_numbers_and_times_are_written_as_people_write_them() -> None:
    nl, en = words(Language.DUTCH), words(Language.ENGLISH)
    assert (nl.energy(18422), en.energy(18422)) == ("18.422 kWh", "18,422 kWh")
    assert en.energy(250_000) == "250.0 MWh"
    assert (en.power(9999), nl.power(10_400), en.power(None)) == ("9,999 W", "10,4 kW", "–")
    assert nl.euro(Decimal("1234.5")) == "€\N{NO-BREAK SPACE}1.234,50"
    assert en.euro(Decimal("0.095"), 3) == "€\N{NO-BREAK SPACE}0.095"
    assert (nl.percent(0.956), en.percent(None)) == ("96 %", "–")
    assert (nl.day(date(2026, 8, 3)), en.day(date(2026, 8, 3))) == (
        "3 augustus 2026",
        "3 August 2026",
    )
    # Half an hour before midnight in UTC it is tomorrow in Amsterdam, in summer by two hours.
    at = datetime(2026, 8, 2, 23, 30, tzinfo=UTC)
    assert en.moment(at, "Europe/Amsterdam") == "3 Aug 2026, 01:30"
    assert nl.clock(at, "Europe/Amsterdam") == "01:30"
    assert nl.ago(at, at + timedelta(minutes=5)) == "5 minuten geleden"
    assert en.ago(at, at) == "just now"
    assert en.calendar()["shortDays"][0] == "Sun"
    assert nl.calendar()["months"][0] == "januari"
    assert (nl.separators, en.separators) == (",.", ".,")


OF_RULES = (
    "privacy/*.py", "privacy_self.py", "privacy_desk.py", "privacy_office.py", "people.py",
    "store/rectifications.py", "store/second_factors.py",
)  # fmt: skip
"""Whose errors a page shows: what a person did wrong."""
OF_NO_PAGE = {
    "fields: a disclosure names what is disclosed",
    "an insurer gets one site and one period",
    "it has been disclosed: each disclosure has an entry of its own",
    "period: it ends before it begins",
    "not a network address",
    "one-click withdrawal needs an https address (RFC 8058)",
    "inputs_sha256: expected 64 digits of hex",
    "review_at: expected a day after the hold begins",
    "a policy does not start before it is published",
    "a notice has a letter in Dutch and one in English",
    "stores: a processor without any is none",
    "the time of a step has no time zone",
    "received_at has no time zone",
    "the notice of the transfer has not reached everybody",
}
"""Said to operators at the command line, or to us."""


def test_what_rules_refuse_is_said_in_dutch() -> None:
    said = {
        call.args[0].value
        for pattern in OF_RULES
        for file in PACKAGE.glob(pattern)
        for call in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in {"PrivacyError", "NotThere", "StoreError", "PeopleError"}
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    assert said - set(labels_rules.SENTENCES) == OF_NO_PAGE
    dutch = words(Language.DUTCH)
    assert [one for one in labels_rules.SENTENCES if dutch.say(one) == one] == []
