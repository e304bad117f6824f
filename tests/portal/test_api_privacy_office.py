"""The privacy officer answers requests and keeps registers through the API; nobody else does."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from litestar.testing import TestClient

from autarco_portal.audit import AuditEntry
from autarco_portal.privacy.human_decision import Effect
from autarco_portal.privacy.sharing import Basis, Disclosure, RecipientKind
from autarco_portal.privacy_guarantees import contest, record_outcome
from autarco_portal.serve_app import assemble
from portal_world import NORTH, NOW, World, email

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar import Litestar

DESK = "/api/v1/privacy"


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.close()


@pytest.fixture
def client(world: World) -> Iterator[TestClient[Litestar]]:
    with TestClient(assemble(world.portal, world.accounts)) as client:
        yield client


class Officer:
    """Posts steps as the privacy officer."""

    def __init__(self, world: World, client: TestClient[Litestar]) -> None:
        self.client = client
        self.headers = world.session("privacy_officer")

    def post(self, path: str, status: int = 201, **body: Any) -> Any:
        answer = self.client.post(f"{DESK}/{path}", json=body, headers=self.headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        answer = self.client.get(f"{DESK}/{path}", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def officer(world: World, client: TestClient[Litestar]) -> Officer:
    return Officer(world, client)


def test_a_mailed_request_goes_from_receipt_to_letter(world: World, officer: Officer) -> None:
    made = officer.post("requests", right="access", channel="mail", contact=email("owner"))
    name = made["request"]["request_id"]
    assert (made["answer_by"], made["days_left"]) == ("2026-10-23", 30)
    steps = f"requests/{name}/steps"
    refused = officer.post(steps, 400, step="decide", outcome="granted")
    assert "only be refused" in refused["detail"]
    officer.post(steps, step="ask_proof", reason="another address than on file")
    officer.post(steps, 400, step="verify", email="nobody@example.org", method="known_fact")
    officer.post(steps, step="verify", email=email("owner"), method="known_fact")
    extended = officer.post(steps, step="extend", reason="much to collect")
    assert extended["answer_by"] == "2026-12-23"
    officer.post(steps, step="decide", outcome="granted")
    officer.post(steps, 400, step="close")
    closed = officer.post(steps, step="close", evidence_sha256="ab" * 32)
    assert closed["state"] == "closed"
    assert officer.get("requests") == []
    officer.get(f"requests/{name}")
    looked = world.store.audit.of(subject=world.ids["owner"], limit=1)[0].entry
    assert (looked.action, looked.actor) == ("view_request", world.ids["privacy_officer"])


def test_the_next_deadline_comes_first_and_a_missed_one_is_negative(
    world: World, officer: Officer
) -> None:
    for days, contact in ((2, "b@example.org"), (40, "a@example.org")):
        officer.post(
            "requests", right="erasure", channel="letter", contact=contact,
            received_at=(NOW - timedelta(days=days)).isoformat(),
        )  # fmt: skip
    found = [one["days_left"] for one in officer.get("requests")]
    assert found == sorted(found)
    assert found[0] < 0 < found[1]


def test_a_contested_decision_waits_for_a_named_person(world: World, officer: Officer) -> None:
    decision = record_outcome(
        world.store, person=world.ids["owner"], thing="settlement:1", effect=Effect.ZERO_VALUE,
        inputs_sha256="ab" * 32, model_version="guarantee-1", now=NOW,
    )  # fmt: skip
    assert officer.get("decisions") == []
    contest(world.store, decision.decision_id, NOW, by=world.ids["owner"])
    (waiting,) = officer.get("decisions")
    assert waiting["decide_until"] == "2026-10-07T10:07:00Z"
    path = f"decisions/{decision.decision_id}"
    officer.post(path, 400, is_upheld=False, reason=" ")
    done = officer.post(path, is_upheld=False, reason="a fuse was overlooked")
    assert done["human"] == world.ids["privacy_officer"]
    assert officer.get("decisions") == []
    officer.post(path, 400, is_upheld=True, reason="once more")
    officer.post("decisions/nothing", 404, is_upheld=True, reason="x")


def test_an_incident_has_its_72_hours(world: World, officer: Officer) -> None:
    made = officer.post("incidents", summary="a laptop was stolen", is_high_risk=True)
    name = made["incident"]["incident_id"]
    assert (made["hours_left"], made["must_tell_people"]) == (72.0, True)
    world.now = NOW + timedelta(hours=73)
    officer.headers = world.session("privacy_officer")
    assert officer.get("incidents")[0]["hours_left"] == -1.0
    steps = f"incidents/{name}/steps"
    officer.post(steps, 400, step="close")
    officer.post(steps, 400, step="report", known={"nature": "theft"})
    told = officer.post(
        steps, step="report", known={"nature": "theft", "people": "12"}, delay_reason="a weekend"
    )
    assert told["hours_left"] is None
    assert "measures" in told["still_unknown"]
    assert not officer.post(steps, step="told_people")["must_tell_people"]
    officer.post(steps, 400, step="assess", is_risk=False)
    officer.post(steps, step="assess", is_risk=False, assessment="the disk was encrypted")
    assert officer.post(steps, step="close")["incident"]["closed_at"] is not None


def test_a_legal_demand_needs_two_people(world: World, officer: Officer) -> None:
    world.store.privacy.share(
        Disclosure(
            disclosure_id="d1", recipient="Politie", kind=RecipientKind.AUTHORITY, ground="fraud",
            basis=Basis.LEGAL_OBLIGATION, why="demand 7", fields=("readings",), sites=(NORTH,),
            asked_at=NOW, asked_by="clerk",
        ),
        AuditEntry(at=NOW, actor="clerk", action="share", thing="disclosure:d1"),
    )  # fmt: skip
    assert officer.get("disclosures")[0]["approvals"] == []
    once = officer.post("disclosures/d1/approval")
    assert once["approvals"] == [world.ids["privacy_officer"]]
    assert "two people" in officer.post("disclosures/d1/approval", 400)["detail"]


def test_retention_is_reported_and_nothing_removed(officer: Officer) -> None:
    found = {one["rule"]["name"]: one["due"] for one in officer.get("retention")}
    assert found["alarms"]["count"] == 0
    assert found["readings"] is None


def test_others_and_programs_do_nothing_there(world: World, client: TestClient[Litestar]) -> None:
    for who in ("owner", "administrator", "support"):
        answer = client.get(f"{DESK}/requests", headers=world.session(who))
        assert answer.status_code == 403
    token = world.header("privacy_officer")
    assert client.get(f"{DESK}/requests", headers=token).status_code == 403
