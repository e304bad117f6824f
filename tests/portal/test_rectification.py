"""A decision on rectification changes the fact, keeps the old one, and has it computed anew."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from litestar.testing import TestClient

from autarco_ingest.paths import DataDirectory
from autarco_portal import reanalysis
from autarco_portal.people import SourceKind
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.privacy import rectification
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.serve_app import assemble
from autarco_portal.site import RoofPlane
from portal_world import FOREIGN, NORTH, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from litestar import Litestar

SOUTH = RoofPlane(name="south.1", surface_tilt=38, surface_azimuth=165, modules=14, pdc0=5_740)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "portal").mkdir()
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def client(world: World) -> Iterator[TestClient[Litestar]]:
    with TestClient(assemble(world.portal, world.accounts)) as client:
        yield client


@pytest.mark.parametrize(
    ("fact", "text", "value"),
    [
        ("street", " Dorpsstraat 1 ", "Dorpsstraat 1"),
        ("latitude", "52.1", 52.1),
        ("commissioned_on", "2024-04-09", date(2024, 4, 9)),
        ("has_battery", "yes", True),
        ("planes.south.1.modules", "16", 16),
        ("planes.south.1.pdc0", "6560", 6_560.0),
    ],
)
def test_a_value_is_read_as_its_facts_own_type(fact: str, text: str, value: object) -> None:
    assert fact in rectification.facts((SOUTH,))
    found = rectification.value_of(fact, text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("fact", "text", "why"),
    [
        ("owner", "x", "no owner to correct"),
        ("planes.south.1.horizon", "x", "no planes"),
        ("latitude", "north", "expected a number"),
        ("planes.south.1.modules", "1.5", "expected a whole number"),
        ("commissioned_on", "April", "expected a day"),
        ("street", " ", "expected a value"),
    ],
)
def test_what_is_no_fact_or_no_value_is_refused(fact: str, text: str, why: str) -> None:
    with pytest.raises(PrivacyError, match=why):
        rectification.value_of(fact, text)


def test_which_facts_make_analyses_wrong() -> None:
    wrong = {one for one in rectification.facts((SOUTH,)) if rectification.changes_analyses(one)}
    assert "planes.south.1.surface_tilt" in wrong
    assert wrong & {"street", "name", "has_battery"} == set()


def steps(client: TestClient[Litestar], world: World, request_id: str, **body: Any) -> Any:
    path = f"/api/v1/privacy/requests/{request_id}/steps"
    return client.post(path, json=body, headers=world.session("privacy_officer"))


def asked(client: TestClient[Litestar], world: World, right: str = "rectification") -> str:
    answer = client.post(
        "/api/v1/me/privacy/requests", json={"right": right}, headers=world.session("owner")
    )
    assert answer.status_code == 201
    request_id: str = answer.json()["request_id"]
    return request_id


def test_the_officer_carries_a_decision_out(world: World, client: TestClient[Litestar]) -> None:
    name = asked(client, world)
    change = {"step": "correct", "site": NORTH, "fact": "planes.south.pdc0", "value": "6560"}
    assert "decide first" in steps(client, world, name, **change).text
    assert steps(client, world, name, step="decide", outcome="granted").status_code == 201
    assert "not his" in steps(client, world, name, **change | {"site": FOREIGN}).text
    assert "no such site" in steps(client, world, name, **change | {"site": "nothing0"}).text
    assert "no modules" in steps(client, world, name, **change | {"value": "-1"}).text
    # What was refused has changed nothing.
    assert world.store.sites.address_history(NORTH)[-1].attribute != "planes.south.pdc0"
    before = world.now
    world.now += timedelta(minutes=5)

    assert steps(client, world, name, **change).status_code == 201

    record = world.store.sites.record(NORTH)
    assert record is not None
    assert record.planes[0].pdc0 == 6_560
    history = [
        one for one in world.store.sites.address_history(NORTH)
        if one.attribute == "planes.south.pdc0"
    ]  # fmt: skip
    assert [(one.value, one.source.kind) for one in history] == [
        ("5740.0", SourceKind.PARTNER), ("6560.0", SourceKind.SELF),
    ]  # fmt: skip
    assert history[0].until == history[1].from_at == world.now > before
    assert record.address_sources["planes.south.pdc0"].kind is SourceKind.SELF
    entry = world.store.audit.of(thing=f"site:{NORTH}")[0].entry
    assert (entry.action, entry.why) == ("change_site", f"request:{name}")
    done = rectification.Rectified(
        request_id=name, site=NORTH, fact="planes.south.pdc0", before="5740.0", after="6560.0",
        at=world.now, by=world.ids["privacy_officer"],
    )  # fmt: skip
    assert entry.detail == {"fact": "planes.south.pdc0", "sha256": done.sha256()}
    request = world.store.privacy.requests.get(name)
    assert request is not None
    assert request.steps[-1].sha256 == done.sha256()
    portal = PortalDirectory.of(DataDirectory.at(world.directory))
    assert reanalysis.marks(portal) == {NORTH: date(2024, 4, 9)}

    assert "already" in steps(client, world, name, **change).text
    # Another fact of the same decision; an address makes no analysis wrong.
    reanalysis.done(portal, reanalysis.marks(portal))
    street = change | {"fact": "street", "value": "Dorpsstraat 1"}
    assert steps(client, world, name, **street).status_code == 201
    assert reanalysis.marks(portal) == {}
    after = world.store.sites.record(NORTH)
    assert after is not None
    assert after.address.street == "Dorpsstraat 1"
    assert steps(client, world, name, step="close").status_code == 201


def test_another_right_corrects_nothing(world: World, client: TestClient[Litestar]) -> None:
    name = asked(client, world, "access")
    steps(client, world, name, step="decide", outcome="granted")
    change = {"step": "correct", "site": NORTH, "fact": "street", "value": "X 1"}
    assert "not for rectification" in steps(client, world, name, **change).text


def test_marks_keep_the_earliest_day_and_go_when_they_are_done(tmp_path: Path) -> None:
    portal = PortalDirectory.of(DataDirectory.at(tmp_path))
    portal.root.mkdir()
    reanalysis.mark(portal, "a", date(2026, 3, 1))
    reanalysis.mark(portal, "a", date(2026, 5, 1))
    reanalysis.mark(portal, "b", date(2026, 5, 1))
    taken = reanalysis.marks(portal)
    assert taken == {"a": date(2026, 3, 1), "b": date(2026, 5, 1)}
    # Corrected once more while the job ran.
    reanalysis.mark(portal, "a", date(2026, 1, 1))
    reanalysis.done(portal, taken)
    assert reanalysis.marks(portal) == {"a": date(2026, 1, 1)}
    reanalysis.forget(portal, ["a"])
    assert reanalysis.marks(portal) == {}
