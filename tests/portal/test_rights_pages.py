"""People use the pages of rights: of their own data, of the officer, and of who may see a site."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest
from litestar.testing import TestClient

from autarco_portal.incidents import Cause, Severity, State, Verdict, fold
from autarco_portal.people import SELF, MemberRole
from autarco_portal.privacy.human_decision import Effect
from autarco_portal.privacy.policy import Version
from autarco_portal.privacy.processing import Purpose
from autarco_portal.privacy_guarantees import record_outcome
from autarco_portal.serve_app import assemble
from page_visitor import Browser, Keys, text_of
from portal_world import EMPTY, NEW, NORTH, NOW, World, email

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar import Litestar


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("rights"))
    yield world
    world.close()


@pytest.fixture
def keys(world: World) -> Keys:
    return Keys(world)


@pytest.fixture
def client(world: World, keys: Keys) -> Iterator[TestClient[Litestar]]:
    with TestClient(assemble(world.portal, keys.accounts)) as client:
        yield client


@pytest.fixture
def owner(client: TestClient[Litestar], keys: Keys) -> Browser:
    return Browser(client, keys).sign_in("owner")


def sent(browser: Browser, page: str, path: str, **fields: str) -> str:
    """Sends a form and returns where that leads."""
    answer = browser.send(page, path, **fields)
    assert answer.status_code == 303, text_of(answer)
    return str(answer.headers["Location"])


def test_somebody_asks_to_be_erased_sees_what_it_does_and_calls_it_off(
    world: World, owner: Browser
) -> None:
    page = sent(owner, "/my-data", "/my-data/requests", right="erasure")
    assert page.startswith("/my-data/requests/")
    sent(owner, page, f"{page}/preview")
    shown = owner.get(page)
    assert f"{NORTH}" in text_of(shown)
    sha256 = re.search(r'name="sha256" value="([0-9a-f]{64})"', shown.text)
    assert sha256 is not None
    unsure = owner.send(page, f"{page}/confirmation", sha256=sha256[1])
    assert unsure.status_code == 404
    sent(owner, page, f"{page}/confirmation", sha256=sha256[1], sure="yes")
    assert "3 okt 2026" in text_of(owner.get(page))
    sent(owner, page, f"{page}/call-off")
    assert "U hebt het afgezegd." in text_of(owner.get(page))
    sent(owner, page, f"{page}/withdrawal")
    assert "Ingetrokken" in text_of(owner.get("/my-data"))
    assert world.store.erasure.cases_due(NOW + timedelta(days=60)) == []


def test_whoever_signed_in_long_ago_proves_it_again(world: World, owner: Browser) -> None:
    world.now += timedelta(hours=1)
    again = sent(owner, "/my-data", "/my-data/requests", right="access")
    assert again.startswith("/sign-in/again?next=/my-data/requests/")
    page = again.partition("next=")[2]
    assert sent(owner, page, f"{page}/proof") == again
    (asked,) = world.store.privacy.requests.all()
    assert not asked.is_verified
    assert sent(owner, "/my-data", "/my-data/bundles/access").startswith("/sign-in/again")
    assert owner.get("/my-data/bundles/access/file").status_code == 303


def test_another_ones_request_is_none(
    world: World, client: TestClient[Litestar], keys: Keys, owner: Browser
) -> None:
    page = sent(owner, "/my-data", "/my-data/requests", right="erasure")
    stranger = Browser(client, keys).sign_in("stranger")
    assert stranger.get(page).status_code == 404
    for what in ("proof", "preview", "confirmation", "call-off", "withdrawal"):
        assert stranger.send("/my-data", f"{page}/{what}", sure="yes").status_code == 404
    assert world.store.privacy.cases.all() == []


def test_switches_and_details_do_what_they_say(world: World, owner: Browser) -> None:
    here = "/my-data"
    sent(owner, here, f"{here}/objections", purpose="research", act="object")
    assert NORTH in world.store.privacy.blocked_sites(Purpose.RESEARCH, world.now)
    sent(owner, here, f"{here}/objections", purpose="research", act="withdraw")
    assert world.store.privacy.blocked_sites(Purpose.RESEARCH, world.now) == frozenset()
    assert owner.send(here, f"{here}/objections", purpose="storage").status_code == 404
    sent(owner, here, f"{here}/restriction", ground="accuracy")
    assert NORTH in world.store.privacy.blocked_sites(Purpose.MONITORING, world.now)
    assert "Mijn gegevens weer gebruiken" in text_of(owner.get(here))
    sent(owner, here, f"{here}/restriction", act="lift")
    assert world.store.privacy.blocked_sites(Purpose.MONITORING, world.now) == frozenset()
    sent(owner, here, f"{here}/details", name="Olga Owner", phone="", language="en")
    person = world.store.people.get(world.ids["owner"])
    assert person is not None
    assert (person.name, person.phone, person.language) == ("Olga Owner", None, "en")
    wrong = owner.send(here, f"{here}/details", name="Olga", phone="x", language="en")
    assert wrong.status_code == 400
    # Newsletters need an address where their links lead to.
    (world.directory / "portal" / "privacy.toml").write_text('url = "https://portal.example"\n')
    sent(owner, here, f"{here}/newsletters", topic="news", act="ask")
    (asked,) = world.store.privacy.consents.all()
    assert not asked.is_given
    sent(owner, here, f"{here}/newsletters", topic="news", act="end")
    assert world.store.privacy.consents.all(withdrawn_at=None) == []


def test_a_decision_goes_from_the_person_to_a_named_employee(
    world: World, client: TestClient[Litestar], keys: Keys, owner: Browser
) -> None:
    decision = record_outcome(
        world.store, person=world.ids["owner"], thing="settlement:1", effect=Effect.ZERO_VALUE,
        inputs_sha256="ab" * 32, model_version="guarantee-1", now=world.now,
    )  # fmt: skip
    path = f"/my-data/decisions/{decision.decision_id}/contest"
    sent(owner, "/my-data", path, reason="Het was zonnig")
    officer = Browser(client, keys).sign_in("privacy_officer")
    assert "Het was zonnig" in text_of(officer.get("/privacy-desk"))
    word = f"/privacy-desk/decisions/{decision.decision_id}"
    assert officer.send("/privacy-desk", word, word="maybe", reason="x").status_code == 404
    assert officer.send("/privacy-desk", word, word="upheld", reason=" ").status_code == 400
    sent(officer, "/privacy-desk", word, word="overturned", reason="Een zekering")
    kept = world.store.privacy.decisions.get(decision.decision_id)
    assert kept is not None
    assert (kept.human, kept.is_upheld) == (world.ids["privacy_officer"], False)


def test_the_officer_answers_a_letter(
    world: World, client: TestClient[Litestar], keys: Keys
) -> None:
    officer = Browser(client, keys).sign_in("privacy_officer")
    page = sent(
        officer, "/privacy-desk", "/privacy-desk/requests", right="access", channel="letter",
        contact="Teststraat 12", received="2026-09-01T09:00", language="nl",
    )  # fmt: skip
    desk = text_of(officer.get("/privacy-desk"))
    assert "1 oktober 2026 · nog 8 dagen" in desk
    steps = f"{page}/steps"
    sent(officer, page, steps, step="verify", email=email("owner"), method="known_fact")
    sent(officer, page, steps, step="extend", reason="Veel te verzamelen")
    sent(officer, page, steps, step="decide", outcome="granted")
    assert officer.send(page, steps, step="close").status_code == 400
    assert officer.send(page, steps, step="dance").status_code == 400
    sent(officer, page, steps, step="close", evidence_sha256="ab" * 32)
    assert "Gesloten" in text_of(officer.get("/privacy-desk?show=all"))
    looked = world.store.audit.of(subject=world.ids["owner"], limit=1)[0].entry
    assert looked.action in ("view_request", "close_request")


def test_the_officer_keeps_the_register_of_incidents(
    world: World, client: TestClient[Litestar], keys: Keys
) -> None:
    officer = Browser(client, keys).sign_in("privacy_officer")
    here = "/privacy-desk/incidents"
    sent(officer, here, here, summary="Een laptop is weg", is_high_risk="yes")
    assert "Nog 72 uur" in text_of(officer.get(here))
    (incident,) = world.store.privacy.incidents.all()
    steps = f"{here}/{incident.incident_id}/steps"
    assert officer.send(here, steps, step="close").status_code == 400
    sent(officer, here, steps, step="report", nature="diefstal")
    sent(officer, here, steps, step="told_people")
    sent(officer, here, steps, step="assess", risk="none", assessment="De schijf was versleuteld")
    sent(officer, here, steps, step="close")
    (incident,) = world.store.privacy.incidents.all()
    assert incident.closed_at is not None
    assert "alarms" in text_of(officer.get("/privacy-desk/retention"))


def test_an_owner_lets_somebody_look_and_ends_it(
    world: World, client: TestClient[Litestar], keys: Keys, owner: Browser
) -> None:
    here = f"/sites/{NORTH}/people"
    wrong = owner.send(here, f"/sites/{NORTH}/grants", email="no address", why="x")
    assert wrong.status_code == 400
    sent(
        owner, here, f"/sites/{NORTH}/grants", email=email("stranger"), why="oppas",
        until="2026-09-30",
    )  # fmt: skip
    assert "oppas" in text_of(owner.get(here))
    grants = world.store.sites.record(NORTH)
    assert grants is not None
    given = next(one for one in grants.grants if one.why == "oppas")
    assert given.until is not None
    assert given.until.isoformat() == "2026-09-30T22:00:00+00:00"
    stranger = Browser(client, keys).sign_in("stranger")
    assert stranger.get(f"/sites/{NORTH}").status_code == 200
    assert stranger.get(here).status_code == 403
    end = f"/sites/{NORTH}/grants/{given.grant_id}/end"
    assert stranger.send("/my-data", end).status_code == 403
    owner = Browser(client, keys).sign_in("owner")
    sent(owner, here, end)
    assert owner.send(here, end).status_code == 404
    stranger = Browser(client, keys).sign_in("stranger")
    assert stranger.get(f"/sites/{NORTH}").status_code == 404


def test_a_partner_invites_the_owner_of_a_new_site(
    world: World, client: TestClient[Litestar], keys: Keys
) -> None:
    world.store.sites.end_owner(EMPTY, world.ids["owner"], world.now)
    installer = Browser(client, keys).sign_in("installer")
    here, path = f"/sites/{EMPTY}/people", f"/sites/{EMPTY}/owner"
    for known in ("stranger", "administrator"):
        refused = installer.send(here, path, name="X", email=email(known))
        assert refused.status_code == 400
    answer = installer.send(here, path, name="Nieuwe Bewoner", email="nieuw@example.org")
    assert answer.status_code == 200
    link = re.search(r"/invitation/[^<\s]+", answer.text)
    assert link is not None
    record = world.store.sites.record(EMPTY)
    person = world.store.people.by_email("nieuw@example.org")
    assert record is not None
    assert person is not None
    assert [one.person_id for one in record.owners if one.until is None] == [person.person_id]
    # There is one now: nobody else becomes it this way.
    assert installer.send(here, path, name="Y", email="y@example.org").status_code == 400
    newcomer = Browser(client, keys)
    assert "Nieuwe Bewoner" in text_of(newcomer.get(link[0]))
    new = "zon op mijn dak 12"
    sent(newcomer, link[0], link[0], password=new, again=new)
    world.store.people.leave(world.ids["installer"], world.organisations["installer"], world.now)


def test_a_forgotten_password_is_answered_the_same_for_everybody(
    world: World, client: TestClient[Litestar], keys: Keys
) -> None:
    (world.directory / "portal" / "privacy.toml").write_text('url = "https://portal.example"\n')
    # The last link, the invitation, is older than some minutes.
    world.now += timedelta(hours=1)
    browser, path = Browser(client, keys), "/forgotten-password"
    said = set()
    for address in (email("owner"), email("disabled"), "nobody@example.org", "no address"):
        answer = browser.send(path, path, email=address)
        assert answer.status_code == 200
        said.add(text_of(answer))
    assert len(said) == 1
    world.portal.outbox.close()
    (mail,) = world.store.mails.due(world.now)
    assert mail.recipient == email("owner")
    link = re.search(r"https://portal\.example(/invitation/\S+)", mail.text)
    assert link is not None
    assert "Een nieuw wachtwoord" in text_of(browser.get(link[1]))
    new = "een heel ander wachtwoord"
    sent(browser, link[1], link[1], password=new, again=new)
    signed = browser.send("/sign-in", "/sign-in", email=email("owner"), password=new)
    assert signed.status_code == 303


def test_a_mail_never_leads_where_its_sender_says_we_are(
    world: World, client: TestClient[Litestar], keys: Keys
) -> None:
    world.now += timedelta(hours=1)
    browser, path = Browser(client, keys), "/forgotten-password"
    browser.get(path)
    client.headers["host"] = "evil.example"
    try:
        browser.send(path, path, email=email("owner"))
    finally:
        del client.headers["host"]
    world.portal.outbox.close()
    (mail,) = world.store.mails.due(world.now)
    assert "https://localhost/invitation/" in mail.text
    assert "evil.example" not in mail.text


def test_nobody_takes_an_account_over_by_inviting_it(
    world: World, client: TestClient[Litestar], keys: Keys
) -> None:
    organisation = world.organisations["installer"]
    world.store.people.join(world.ids["installer"], organisation, MemberRole.MANAGER, world.now)
    new = world.store.people.add(
        name="New Officer", email="new@example.org", source=SELF, now=world.now
    )
    world.store.accounts.add(new.person_id, world.now)
    world.store.people.join(new.person_id, organisation, MemberRole.STAFF, world.now)
    world.store.sites.add_owner(NORTH, new.person_id, world.now)
    manager = Browser(client, keys).sign_in("installer")
    here = f"/organisations/{organisation}"
    refused = manager.send(here, f"{here}/invite", name="N", email=new.email, role="staff")
    assert refused.status_code == 400
    wrong = manager.send(here, f"{here}/invite", name="N", email="n@example.org", role="king")
    assert wrong.status_code == 400
    assert world.store.people.by_email("n@example.org") is None


def test_the_policy_in_force_is_shown_and_the_others_can_be_read(
    world: World, client: TestClient[Litestar]
) -> None:
    for version, day in (("1", date(2026, 1, 1)), ("2", date(2026, 9, 1)), ("3", date(2027, 1, 1))):
        world.store.privacy.policies.add(
            Version(
                version=version, language="nl", text=f"Tekst {version}", in_force_on=day,
                published_at=NOW - timedelta(days=300),
            )
        )  # fmt: skip
    assert "Tekst 2" in text_of(client.get("/privacy"))
    assert "Tekst 1" in text_of(client.get("/privacy?version=1"))
    assert client.get("/privacy?version=9").status_code == 404


def test_security_txt_says_where_to_write_and_never_is_old(
    world: World, client: TestClient[Litestar]
) -> None:
    path = "/.well-known/security.txt"
    assert client.get(path).status_code == 404
    settings = world.directory / "portal" / "privacy.toml"
    settings.write_text('officer = "privacy@example.nl"\nurl = "https://portal.example"\n')
    answer = client.get(path)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.splitlines() == [
        "Contact: mailto:privacy@example.nl",
        "Expires: 2027-03-22T00:00:00Z",
        "Preferred-Languages: nl, en",
        "Canonical: https://portal.example/.well-known/security.txt",
        "Policy: https://portal.example/privacy",
    ]


def test_alarms_are_listed_by_state_cause_and_severity(
    world: World, client: TestClient[Litestar], keys: Keys
) -> None:
    day = world.now - timedelta(days=1)
    verdicts = [
        Verdict(
            site_id=NORTH, inverter_sn=NEW, cause=cause, day=day.date(), state=State.FAULTY,
            alarm=True, severity=severity, begins=day, ends=day + timedelta(hours=2),
            lost_kwh=1.0, method="a test", evidence={},
        )
        for cause, severity in ((Cause.OUTAGE, Severity.ALARM), (Cause.CLIPPING, Severity.INFO))
    ]  # fmt: skip
    made = fold([], verdicts, world.now)
    world.store.alarms.take_over(made, [NORTH])
    outage = next(one for one in made if one.cause is Cause.OUTAGE)
    world.store.alarms.acknowledge(
        outage.incident_id, by=world.ids["installer"], now=world.now, note="Ik kijk vrijdag"
    )
    installer = Browser(client, keys).sign_in("installer")
    for query, found in (
        ("", 2), (f"?cause={Cause.OUTAGE}", 1), (f"?severity={Severity.INFO}", 1),
        ("?state=acknowledged", 1), ("?state=all&cause=&severity=", 2),
        (f"?cause={Cause.CLIPPING}&severity={Severity.ALARM}", 0),
    ):  # fmt: skip
        shown = installer.get(f"/alarms{query}")
        assert shown.status_code == 200
        assert shown.text.count('<th scope="row"><a href="/alarms/') == found, query
    assert installer.get("/alarms?cause=nothing").status_code == 404
    # Who took it on, and what he wrote, is not for everybody who may look.
    page = f"/alarms/{outage.incident_id}"
    assert "Ik kijk vrijdag" in text_of(installer.get(page))
    guest = Browser(client, keys).sign_in("guest")
    assert "Ik kijk vrijdag" not in text_of(guest.get(page))
