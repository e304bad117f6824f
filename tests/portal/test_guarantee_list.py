"""The list of guarantees shows those that somebody may view, and reads no more than a page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from litestar.testing import TestClient
from msgspec import structs

from autarco_portal.pages.guarantees import ROWS
from autarco_portal.serve_app import assemble
from portal_world import FOREIGN, HYBRID, NORTH, World
from statement_count import statements
from test_store_records import CONTRACT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar import Litestar

MANY = ROWS + 7
_LINK = re.compile(r'href="/guarantees/([^"]+)"')


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[TestClient[Litestar]]:
    for n in range(MANY):
        _guarantee(world, f"g-{n:03}", NORTH if n % 2 else HYBRID)
    _guarantee(world, "g-foreign", FOREIGN)
    with TestClient(assemble(world.portal, world.accounts)) as client:
        yield client


def _guarantee(world: World, name: str, site: str) -> None:
    contract = structs.replace(CONTRACT, contract_id=name, site_id=site)
    world.store.guarantees.add(contract, world.now)


def listed(client: TestClient[Litestar], world: World, who: str, query: str = "") -> list[str]:
    answer: Any = client.get(f"/guarantees{query}", headers=world.session(who))
    assert answer.status_code == 200
    found: list[str] = _LINK.findall(answer.text)
    return found


def test_all_pages_together_show_each_once(world: World, client: TestClient[Litestar]) -> None:
    pages = [listed(client, world, "owner", f"?page={n}") for n in (1, 2)]
    assert [len(page) for page in pages] == [ROWS, MANY - ROWS]
    assert pages[0] + pages[1] == [f"g-{n:03}" for n in range(MANY)]
    # Beyond the last there is the last.
    assert listed(client, world, "owner", "?page=9") == pages[1]
    page = client.get("/guarantees", headers=world.session("owner")).text
    assert 'href="?page=2"' in page


@pytest.mark.parametrize(
    ("who", "expected"),
    [("stranger", ["g-foreign"]), ("guest", []), ("support", [])],
)
def test_others_see_theirs_alone(
    world: World, client: TestClient[Litestar], who: str, expected: list[str]
) -> None:
    assert listed(client, world, who) == expected


def test_a_longer_list_takes_no_more_statements(world: World, client: TestClient[Litestar]) -> None:
    session = world.session("stranger")

    def look() -> None:
        assert client.get("/guarantees", headers=session).status_code == 200

    look()
    one = statements(world.store, look)
    for n in range(20):
        _guarantee(world, f"g-more-{n}", FOREIGN)
    assert statements(world.store, look) == one
