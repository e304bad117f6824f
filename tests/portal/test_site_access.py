"""Owners let others look, partners invite owners, and nobody learns who has an account."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from litestar.testing import TestClient

from autarco_portal import site_access, throttle
from autarco_portal.incidents import Cause, Severity, fold
from autarco_portal.people import SourceKind
from autarco_portal.serve_app import assemble
from portal_world import EMPTY, FOREIGN, HYBRID, NORTH, NOW, World, email
from test_api import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from litestar import Litestar

GRANTS = f"/api/v1/sites/{NORTH}/grants"
NEW = "buurman@example.org"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Its own: these tests change who may see what."""
    (tmp_path / "portal").mkdir()
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def client(world: World) -> Iterator[TestClient[Litestar]]:
    with TestClient(assemble(world.portal, world.accounts)) as client:
        yield client


def give(client: TestClient[Litestar], world: World, address: str, **more: Any) -> Any:
    body = {"email": address, "why": "oppas"} | more
    answer = client.post(GRANTS, json=body, headers=world.session("owner"))
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_the_answer_is_the_same_for_who_has_an_account_and_who_has_none(
    world: World, client: TestClient[Litestar]
) -> None:
    known = give(client, world, email("stranger"))
    unknown = give(client, world, NEW)
    for answer, address in ((known, email("stranger")), (unknown, NEW)):
        assert answer["who"] == address
        assert {name for name in answer if answer[name] is None} == {"until"}
    listed = client.get(GRANTS, headers=world.session("owner")).json()
    assert {one["who"] for one in listed} == {email("guest"), email("stranger"), NEW}
    page = client.get(f"/sites/{NORTH}/people", headers=world.session("owner")).text
    # Not by name: that would tell that the address is known, and whose it is.
    assert email("stranger") in page
    assert "Stranger" not in page

    world.portal.outbox.close()
    mails = {one.recipient: one for one in world.store.mails.due(world.now)}
    assert set(mails) == {email("stranger"), NEW}
    assert "/invitation/" in mails[NEW].text
    assert "/invitation/" not in mails[email("stranger")].text
    invited = world.store.people.by_email(NEW)
    assert invited is not None
    sources = {
        one.attribute: one.source.kind for one in world.store.people.history(invited.person_id)
    }
    assert set(sources.values()) == {SourceKind.OWNER}


def test_a_grant_begins_and_ends_through_the_api(
    world: World, client: TestClient[Litestar]
) -> None:
    site, stranger = f"/api/v1/sites/{NORTH}", world.session("stranger")
    assert client.get(site, headers=stranger).status_code == 404
    given = give(client, world, email("stranger"), until="2026-09-30")
    assert given["until"] == "2026-09-30T22:00:00Z"
    assert client.get(site, headers=stranger).status_code == 200
    # Who may look learns nothing of the others, and ends nothing.
    assert client.get(GRANTS, headers=stranger).status_code == 403
    path = f"{GRANTS}/{given['grant_id']}"
    assert client.delete(path, headers=stranger).status_code == 403
    assert client.delete(path, headers=world.session("owner")).status_code == 204
    assert client.delete(path, headers=world.session("owner")).status_code == 404
    assert client.get(site, headers=stranger).status_code == 404
    did = [one.entry.action for one in world.store.audit.of(thing=f"site:{NORTH}")]
    assert {"grant", "end_grant"} <= set(did)


@pytest.mark.parametrize(
    "body",
    [
        {"email": "no address", "why": "x"},
        {"email": NEW, "why": ""},
        {"email": NEW},
        {"email": NEW, "why": "x", "until": "morgen"},
        {"email": NEW, "why": "x", "more": 1},
    ],
)
def test_what_is_no_grant_is_refused(
    world: World, client: TestClient[Litestar], body: dict[str, Any]
) -> None:
    answer = client.post(GRANTS, json=body, headers=world.session("owner"))
    assert answer.status_code == 400, answer.text
    assert world.store.people.by_email(NEW) is None


def test_nobody_mails_the_whole_town(world: World, client: TestClient[Litestar]) -> None:
    for number in range(site_access.GIVEN.free + 1):
        give(client, world, f"n{number}@example.org")
    body = {"email": "more@example.org", "why": "x"}
    refused = client.post(GRANTS, json=body, headers=world.session("owner"))
    assert refused.status_code == 400
    assert "very often" in refused.text
    world.now += timedelta(days=1)
    give(client, world, "more@example.org")


def test_a_partner_invites_an_owner_through_the_api(
    world: World, client: TestClient[Litestar]
) -> None:
    path = f"/api/v1/sites/{EMPTY}/owner"
    body = {"name": "Nieuwe Bewoner", "email": NEW}
    installer = world.session("installer")
    # It has an owner.
    assert client.post(path, json=body, headers=installer).status_code == 400
    assert client.post(path, json=body, headers=world.session("guest")).status_code == 403
    world.store.sites.end_owner(EMPTY, world.ids["owner"], world.now)
    answer = client.post(path, json=body, headers=installer)
    assert answer.status_code == 201, answer.text
    assert "/invitation/" in answer.json()["link"]
    record = world.store.sites.record(EMPTY)
    person = world.store.people.by_email(NEW)
    assert record is not None
    assert person is not None
    assert [one.person_id for one in record.owners if one.until is None] == [person.person_id]


def test_alarms_are_found_by_state_cause_severity_and_site(
    world: World, client: TestClient[Litestar]
) -> None:
    verdicts = [*map(verdict, (NORTH, HYBRID, FOREIGN)), verdict(HYBRID, Cause.STALE)]
    world.store.alarms.take_over(fold([], verdicts, NOW), [NORTH, HYBRID, FOREIGN])
    owner = world.session("owner")

    def found(query: str) -> list[tuple[str, str]]:
        answer = client.get(f"/api/v1/alarms?{query}", headers=owner)
        assert answer.status_code == 200, answer.text
        return sorted((one["site_id"], one["cause"]) for one in answer.json()["items"])

    every = found("state=all")
    assert {site for site, _ in every} == {NORTH, HYBRID}
    assert found(f"site={HYBRID}") == [one for one in every if one[0] == HYBRID]
    assert found(f"site={FOREIGN}") == []
    assert found("cause=stale") == [(HYBRID, "stale")]
    by_severity = [one for severity in Severity for one in found(f"severity={severity.value}")]
    assert sorted(by_severity) == every
    assert found("state=acknowledged") == []
    incident = client.get(f"/api/v1/sites/{NORTH}/alarms", headers=owner).json()[0]["incident_id"]
    client.post("/api/v1/alarms/acknowledgements", json={"incident_id": incident}, headers=owner)
    assert [site for site, _ in found("state=acknowledged")] == [NORTH]
    first = client.get(f"/api/v1/alarms?state=all&site={HYBRID}&limit=1", headers=owner).json()
    assert "state=all" in first["next"]
    assert f"site={HYBRID}" in first["next"]
    assert len(client.get(first["next"], headers=owner).json()["items"]) == 1
    for wrong in ("state=closed", "cause=nothing", "severity=9"):
        assert client.get(f"/api/v1/alarms?{wrong}", headers=owner).status_code == 400


def test_looking_at_who_looked_is_a_look(world: World, client: TestClient[Litestar]) -> None:
    thing = f"site:{NORTH}"

    def looks() -> list[str]:
        entries = [one.entry for one in world.store.audit.of(thing=thing)]
        return [one.actor for one in entries if one.action == "view_audit"]

    for path in (f"/sites/{NORTH}/looks", f"/api/v1/sites/{NORTH}/disclosures"):
        assert client.get(path, headers=world.session("owner")).status_code == 200
    assert looks() == [], "his own look is none"
    officer = world.session("privacy_officer")
    for path in (f"/api/v1/sites/{NORTH}/looks", f"/sites/{NORTH}/looks"):
        assert client.get(path, headers=officer).status_code == 200
    assert looks() == [world.ids["privacy_officer"]], "once a day"
    lines = client.get(f"/api/v1/sites/{NORTH}/looks", headers=world.session("owner")).json()
    assert any("overzicht van wie uw gegevens zag" in one["sentence"] for one in lines)


TOKEN = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


def forget(client: TestClient[Litestar], address: str) -> Any:
    """Sends the form of whoever forgot his password."""
    shown = client.get("/forgotten-password")
    found = TOKEN.search(shown.text)
    assert found is not None
    return client.post("/forgotten-password", data={"csrf": found[1], "email": address})


@pytest.mark.parametrize("address", [email("owner"), "nobody@example.org"])
def test_asking_for_one_address_again_and_again_must_wait(
    world: World, client: TestClient[Litestar], address: str
) -> None:
    answers = [forget(client, address) for _ in range(throttle.FORGOTTEN.free + 2)]
    assert [one.status_code for one in answers[:-1]] == [200] * (throttle.FORGOTTEN.free + 1)
    assert answers[-1].status_code == 429
    # In any spelling; another address is another matter.
    assert forget(client, f" {address.upper()} ").status_code == 429
    assert forget(client, email("guest")).status_code == 200
    world.now += throttle.FORGOTTEN.first_wait
    assert forget(client, address).status_code == 200


def test_one_network_asks_for_some_addresses_only(
    world: World, client: TestClient[Litestar]
) -> None:
    free = throttle.FORGOTTEN_NETWORK.free
    for number in range(free + 1):
        assert forget(client, f"n{number}@example.org").status_code == 200
    # Also for somebody who has an account: what it was cannot be told from the answer.
    assert forget(client, email("owner")).status_code == 429
    assert forget(client, "other@example.org").status_code == 429
    world.now += throttle.FORGOTTEN_NETWORK.first_wait
    assert forget(client, email("owner")).status_code == 200


def test_nobody_is_looked_up_before_the_answer(
    world: World, client: TestClient[Litestar], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done before the answer is the same for all, so its time tells nothing."""
    asked: list[tuple[str, str]] = []
    by_email = world.store.people.by_email

    def noted(address: str) -> Any:
        asked.append((address, threading.current_thread().name))
        return by_email(address)

    monkeypatch.setattr(world.store.people, "by_email", noted)
    addresses = [email("owner"), "nobody@example.org"]
    for address in addresses:
        assert forget(client, address).status_code == 200
    world.portal.outbox.close()
    assert [address for address, _ in asked] == addresses
    assert all(name.startswith("mail") for _, name in asked)
