"""Somebody exercises his rights through the API; nobody else does it for him."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from litestar.testing import TestClient

from autarco_ingest.paths import DataDirectory
from autarco_portal.newsletter import Newsletter
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.privacy import human_decision
from autarco_portal.privacy.human_decision import Effect
from autarco_portal.privacy.letter import Letter
from autarco_portal.privacy.processing import Purpose
from autarco_portal.privacy.request import Channel, Right
from autarco_portal.privacy.sharing import Basis, Disclosure, RecipientKind
from autarco_portal.privacy_desk import Desk
from autarco_portal.privacy_guarantees import record_outcome
from autarco_portal.privacy_settings import PrivacySettings
from autarco_portal.secret import derived, load_key
from autarco_portal.serve_app import assemble
from portal_world import NORTH, NOW, World, email

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar import Litestar

ME = "/api/v1/me/privacy"


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.close()


@pytest.fixture
def client(world: World) -> Iterator[TestClient[Litestar]]:
    with TestClient(assemble(world.portal, world.accounts)) as client:
        yield client


def asked(client: TestClient[Litestar], who: dict[str, str], right: str) -> Any:
    answer = client.post(f"{ME}/requests", json={"right": right}, headers=who)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_erasure_goes_from_request_to_cooling_off_and_can_be_called_off(
    world: World, client: TestClient[Litestar]
) -> None:
    owner, stranger = world.session("owner"), world.session("stranger")
    request = asked(client, owner, "erasure")
    assert (request["state"], request["answer_by"]) == ("verified", "2026-10-23")
    path = f"{ME}/requests/{request['request_id']}/erasure"
    assert client.post(path, headers=stranger).status_code == 404
    preview = client.post(path, headers=owner).json()
    assert NORTH in preview["impact"]["sites_without_monitoring"]
    case = f"{ME}/erasures/{preview['case_id']}"
    yes = {"sha256": preview["sha256"]}
    assert client.post(f"{case}/confirmation", json=yes, headers=stranger).status_code == 404
    wrong = client.post(f"{case}/confirmation", json={"sha256": "0" * 64}, headers=owner)
    assert wrong.status_code == 400
    assert "not this preview" in wrong.json()["detail"]
    confirmed = client.post(f"{case}/confirmation", json=yes, headers=owner).json()
    assert confirmed["effective_at"] == "2026-10-03T10:07:00Z"
    assert client.delete(case, headers=stranger).status_code == 404
    assert client.delete(case, headers=owner).status_code == 204
    assert world.store.erasure.cases_due(NOW + timedelta(days=30)) == []
    assert [one["right"] for one in client.get(f"{ME}/requests", headers=owner).json()] == [
        "erasure"
    ]
    assert client.get(f"{ME}/requests", headers=stranger).json() == []


def test_an_old_session_makes_a_request_that_waits_and_confirms_nothing(
    world: World, client: TestClient[Litestar]
) -> None:
    owner = world.session("owner")
    request = asked(client, owner, "erasure")
    preview = client.post(f"{ME}/requests/{request['request_id']}/erasure", headers=owner).json()
    world.now = NOW + timedelta(hours=3)
    assert asked(client, owner, "access")["state"] == "received"
    path = f"{ME}/erasures/{preview['case_id']}/confirmation"
    refused = client.post(path, json={"sha256": preview["sha256"]}, headers=owner)
    assert refused.status_code == 403


def test_a_program_changes_nothing(world: World, client: TestClient[Litestar]) -> None:
    _, token = world.accounts.api.add_token(
        world.ids["owner"], "test", has_second_factor=False, now=NOW
    )
    program = {"Authorization": f"Bearer {token.reveal()}"}
    answer = client.post(f"{ME}/requests", json={"right": "erasure"}, headers=program)
    assert answer.status_code == 403
    assert client.put(f"{ME}/objections/research", headers=program).status_code == 403
    assert client.get(f"{ME}/requests", headers=program).json() == []
    assert client.get(f"{ME}/requests").status_code == 401


def test_an_objection_holds_for_every_job_and_can_be_withdrawn(
    world: World, client: TestClient[Litestar]
) -> None:
    owner = world.session("owner")
    assert client.put(f"{ME}/objections/research", headers=owner).status_code == 200
    assert NORTH in world.store.privacy.blocked_sites(Purpose.RESEARCH, NOW)
    shown = client.get(f"{ME}/objections", headers=owner).json()
    assert (shown["research"], shown["monitoring"]) == (True, False)
    assert "storage" not in shown
    assert client.put(f"{ME}/objections/storage", headers=owner).status_code == 404
    assert client.delete(f"{ME}/objections/research", headers=owner).status_code == 204
    assert world.store.privacy.blocked_sites(Purpose.RESEARCH, NOW) == frozenset()


def test_a_decision_is_contested_by_whom_it_concerns(
    world: World, client: TestClient[Litestar]
) -> None:
    owner, stranger = world.session("owner"), world.session("stranger")
    decision = record_outcome(
        world.store, person=world.ids["owner"], thing="settlement:1", effect=Effect.ZERO_VALUE,
        inputs_sha256="ab" * 32, model_version="guarantee-1", now=NOW,
    )  # fmt: skip
    path = f"{ME}/decisions/{decision.decision_id}/contest"
    assert client.post(path, json={}, headers=stranger).status_code == 404
    contested = client.post(path, json={"reason": "it was sunny"}, headers=owner).json()
    assert contested["status"] == "contested"
    late = NOW + timedelta(days=400)
    kept = world.store.privacy.decisions.get(decision.decision_id)
    assert kept is not None
    assert human_decision.status(kept, late) is human_decision.Status.CONTESTED
    assert client.get(f"{ME}/decisions", headers=stranger).json() == []


def test_the_owner_reads_to_whom_his_site_was_disclosed(
    world: World, client: TestClient[Litestar]
) -> None:
    from autarco_portal.audit import AuditEntry

    world.store.privacy.share(
        Disclosure(
            disclosure_id="s1", recipient="Zon NV", kind=RecipientKind.INSURER,
            basis=Basis.CONTRACT, why="claim 12", fields=("readings",), sites=(NORTH,),
            period=(NOW.date(), NOW.date()), asked_at=NOW, asked_by="clerk", disclosed_at=NOW,
        ),
        AuditEntry(at=NOW, actor="clerk", action="share", thing="disclosure:s1"),
    )  # fmt: skip
    path = f"/api/v1/sites/{NORTH}/disclosures"
    (shown,) = client.get(path, headers=world.session("owner")).json()
    assert (shown["recipient"], shown["fields"]) == ("Zon NV", ["readings"])
    assert client.get(path, headers=world.session("stranger")).status_code == 404


def test_a_person_restricts_and_frees_his_data(world: World, client: TestClient[Litestar]) -> None:
    owner = world.session("owner")
    path = f"{ME}/restriction"
    assert client.put(path, json={"ground": "because"}, headers=owner).status_code == 400
    assert client.put(path, json={"ground": "accuracy"}, headers=owner).status_code == 200
    assert client.put(path, json={"ground": "accuracy"}, headers=owner).status_code == 400
    assert client.get(path, headers=owner).json()["ground"] == "accuracy"
    assert NORTH in world.store.privacy.blocked_sites(Purpose.MONITORING, NOW)
    site = f"/api/v1/sites/{NORTH}"
    assert client.get(site, headers=owner).status_code == 200
    assert client.get(site, headers=world.session("installer")).status_code == 404
    assert client.delete(path, headers=owner).status_code == 204
    assert client.delete(path, headers=owner).status_code == 404
    assert client.get(site, headers=world.session("installer")).status_code == 200


def test_a_request_that_waits_is_proved_or_withdrawn(
    world: World, client: TestClient[Litestar]
) -> None:
    old = world.session("owner")
    world.now = NOW + timedelta(hours=1)
    waiting = asked(client, old, "access")
    assert waiting["state"] == "received"
    path = f"{ME}/requests/{waiting['request_id']}"
    assert client.post(f"{path}/proof", headers=old).status_code == 403
    fresh = world.session("owner")
    assert client.post(f"{path}/proof", headers=world.session("stranger")).status_code == 404
    assert client.post(f"{path}/proof", headers=fresh).json()["state"] == "verified"
    assert client.delete(path, headers=world.session("stranger")).status_code == 404
    assert client.delete(path, headers=fresh).status_code == 204
    assert client.get(f"{ME}/requests", headers=fresh).json()[0]["state"] == "withdrawn"


def test_somebody_reads_who_did_what_with_his_data(
    world: World, client: TestClient[Litestar]
) -> None:
    owner = world.session("owner")
    asked(client, owner, "access")
    lines = client.get(f"{ME}/looks", headers=owner).json()
    assert lines[0]["sentence"] == "Uw identiteit is vastgesteld door uzelf."
    assert not any(one["is_other"] for one in lines)
    assert client.get(f"/api/v1/sites/{NORTH}/looks", headers=owner).status_code == 200
    for other in ("installer", "guest"):
        answer = client.get(f"/api/v1/sites/{NORTH}/looks", headers=world.session(other))
        assert answer.status_code == 403


def test_a_newsletter_is_confirmed_and_ended_by_one_post_each(world: World) -> None:
    app = assemble(world.portal, world.accounts)
    directory = PortalDirectory.of(DataDirectory.at(world.directory))
    directory.root.mkdir(exist_ok=True)
    key = derived(load_key(directory.secret_key), "newsletter")
    letters = Newsletter(
        world.store, key, url="https://portal.example", mailbox="privacy@autarco.example"
    )
    owner = world.store.people.get(world.ids["owner"])
    assert owner is not None
    letters.ask(owner, "news", text_version="1", address="203.0.113.9", now=NOW)
    news = {language: Letter(subject="News", text="Sun.") for language in ("nl", "en")}
    assert letters.send("news", news, now=NOW) == 0
    (mail,) = world.store.mails.due(NOW)
    confirm = mail.text.split("https://portal.example")[1].split()[0]

    async def posted(path: str) -> int:
        transport = httpx.ASGITransport(app=app, client=("203.0.113.77", 1))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://portal") as client:
            answer = await client.post(path, data={"List-Unsubscribe": "One-Click"})
            # A program that only looks into the mail changes nothing.
            assert (await client.get(path)).status_code in (404, 405)
            return answer.status_code

    assert asyncio.run(posted(confirm + "x")) == 404
    assert asyncio.run(posted(confirm.replace("confirm", "withdraw"))) == 404
    assert asyncio.run(posted(confirm)) == 204
    (given,) = world.store.privacy.consents.all()
    assert given.confirmed_network == "203.0.113.0/24"
    assert letters.send("news", news, now=NOW) == 1
    sent = next(one for one in world.store.mails.due(NOW) if one.subject == "News")
    assert sent.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = sent.headers["List-Unsubscribe"].split("https://portal.example")[1].split(">")[0]
    for _ in range(2):
        assert asyncio.run(posted(link)) == 204
    assert letters.send("news", news, now=NOW) == 0


def test_a_mailed_link_proves_a_request_by_post(world: World, client: TestClient[Litestar]) -> None:
    desk = Desk(world.store, PrivacySettings(url="https://portal.example"))
    request = desk.receive_by_staff(
        Right.ACCESS, Channel.MAIL, email("owner"), received_at=NOW, now=NOW, by="officer"
    )
    desk.ask_proof(request.request_id, now=NOW, by="officer", reason="as always")
    mail = next(one for one in world.store.mails.due(NOW) if "/privacy/verify/" in one.text)
    name, token = mail.text.split("/privacy/verify/")[1].split()[0].split("/")
    path = "/api/v1/privacy/verifications"
    for given, code in (("wrong", 404), (token, 204), (token, 404)):
        answer = client.post(path, json={"request_id": name, "token": given})
        assert answer.status_code == code
    verified = world.store.privacy.requests.get(name)
    assert verified is not None
    assert verified.person == world.ids["owner"]
