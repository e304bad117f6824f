"""Does docs/api.md name every route there is, none that is not, and do its examples work?"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from litestar.testing import TestClient

from autarco_portal import api, compat, compat_view
from autarco_portal.api import alarms, performance, sites, tables
from autarco_portal.serve_app import assemble
from portal_world import NORTH, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar import Litestar

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "api.md").read_text(encoding="utf-8")
SOMEWHERE = "k7m2q9xd"


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[TestClient[Litestar]]:
    with TestClient(assemble(world.portal, world.accounts)) as client:
        yield client


def routes(app: Any) -> set[str]:
    """As the document writes them, without the old portal's aliases."""
    found = set()
    for route in app.routes:
        path = re.sub(r":\w+\}", "}", route.path)
        if path.startswith("/api/") and not path.startswith("/api/m1/"):
            found |= {f"{method} {path}" for method in route.methods - {"OPTIONS", "HEAD"}}
    return found


def test_every_route_is_named_once_and_no_other(client: TestClient[Litestar]) -> None:
    named = re.findall(r"^\| `([A-Z]+ /api/[^`]*)` \|", TEXT, flags=re.MULTILINE)
    assert len(named) == len(set(named))
    assert set(named) == routes(client.app)


def test_tables_and_limits_are_those_of_the_code() -> None:
    for kind, most in tables.DAYS_MAX.items():
        assert re.search(rf"^\| `{re.escape(kind)}` \|.*\| {most} \|$", TEXT, flags=re.MULTILINE)
    (row,) = [line for line in TEXT.splitlines() if "/performance/{table}`" in line]
    assert set(re.findall(r"`([a-z]+(?:-[a-z]+)?)`", row.split("|")[2])) == set(performance.TABLES)
    assert api.RATE == compat.RATE
    assert f"{api.RATE.per_minute} requests a minute of one client, {api.RATE.burst}" in TEXT
    assert sites.PAGE_MAX == alarms.PAGE_MAX
    assert f"at most {sites.PAGE_MAX} items" in TEXT
    assert f"your sites, {compat_view.PER_PAGE} a page" in TEXT


def examples() -> list[tuple[str, dict[str, str]]]:
    """Addresses and headers of the calls of curl."""
    found = []
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE)
    for block in [text for language, text in blocks if not language]:
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("ask "):
                (url,) = re.findall(r"https://portal\.example[^\s']*", line)
                headers = dict(re.findall(r"-H '([\w-]+): ([^']*)'", line))
                found.append((url, headers))
    return found


@pytest.mark.parametrize(("url", "headers"), examples())
def test_an_example_is_answered(
    url: str, headers: dict[str, str], world: World, client: TestClient[Litestar]
) -> None:
    parts = urlsplit(url.replace(SOMEWHERE, NORTH))
    address = f"{parts.path}?{parts.query}" if parts.query else parts.path
    answer = client.get(address, headers=world.header("owner") | headers)
    assert answer.status_code == 200, answer.text
    if "Accept" in headers:
        assert answer.headers["content-type"].startswith(headers["Accept"])
    tag = answer.headers["etag"]
    again = client.get(address, headers=world.header("owner") | headers | {"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_there_are_examples() -> None:
    assert len(examples()) >= 8


def test_the_problem_that_is_shown_is_the_one_that_comes(
    world: World, client: TestClient[Litestar]
) -> None:
    answer = client.get("/api/v1/sites/nothing1", headers=world.header("owner"))
    (shown,) = re.findall(r'```json\n(\{"status".*?\})\n```', TEXT)
    assert answer.headers["content-type"] == "application/problem+json"
    assert {name: value for name, value in answer.json().items() if name != "type"} == json.loads(
        shown
    )


def test_the_page_is_linked_from_where_people_begin() -> None:
    assert "docs/api.md" in (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert "api.md" in (DOCS / "architecture.md").read_text(encoding="utf-8")
