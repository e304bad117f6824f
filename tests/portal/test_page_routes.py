"""Every page answers whoever may see it, and nobody else; forms change what they say."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pyotp
import pytest
from litestar.testing import TestClient
from msgspec import structs

from autarco_portal.escalation import Addressee, Due, Party, Step, Why
from autarco_portal.incidents import Cause, Severity, State, Verdict, fold
from autarco_portal.pages import my_data, policy, privacy_desk, site_people
from autarco_portal.pages.web import HANDLERS
from autarco_portal.people import MemberRole, OrganisationKind
from autarco_portal.privacy.letter import Letter
from autarco_portal.privacy.policy import DeliveryState
from autarco_portal.serve_app import assemble
from page_samples import guarantee_page
from page_visitor import TOKEN, Browser, Keys, text_of
from portal_world import (
    EMPTY,
    FOREIGN,
    HYBRID,
    NEW,
    NORTH,
    PEOPLE,
    World,
    email,
    password,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar import Litestar


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("pages"))
    day = world.now - timedelta(days=1)
    found = fold(
        [],
        [
            Verdict(
                site_id=NORTH,
                inverter_sn=NEW,
                cause=Cause.OUTAGE,
                day=day.date(),
                state=State.FAULTY,
                alarm=True,
                severity=Severity.ALARM,
                begins=day - timedelta(hours=2),
                ends=day,
                lost_kwh=4.2,
                method="outage of a test",
                evidence={"minutes": 120, "peers": True},
            )
        ],
        world.now,
    )
    world.store.alarms.take_over(found, [NORTH])
    contract = structs.replace(guarantee_page().contract, site_id=NORTH)
    world.store.guarantees.add(contract, world.now)
    yield world
    world.close()


@pytest.fixture(scope="module")
def keys(world: World) -> Keys:
    return Keys(world)


@pytest.fixture(scope="module")
def client(world: World, keys: Keys) -> Iterator[TestClient[Litestar]]:
    app = assemble(world.portal, keys.accounts)
    with TestClient(app) as client:
        yield client


@pytest.fixture
def browser(client: TestClient[Litestar], keys: Keys) -> Browser:
    return Browser(client, keys)


@pytest.fixture(scope="module")
def incident(world: World) -> str:
    return world.store.alarms.of_site(NORTH)[0].incident.incident_id


CARE = {"owner", "installer", "maintenance", "reseller", "administrator"}
LOOK = CARE | {"distributor", "above", "privacy_officer"}
SEES: dict[str, set[str]] = {
    "/": set(PEOPLE),
    f"/sites/{NORTH}": LOOK | {"guest"},
    f"/sites/{FOREIGN}": {"stranger", "administrator", "privacy_officer"},
    "/sites/nothing": set(),
    "/alarms": set(PEOPLE),
    "/alarms/{incident}": LOOK | {"guest"},
    "/alarms/nothing": set(),
    "/guarantees": set(PEOPLE),
    "/guarantees/g-2024-0007": LOOK,
    "/organisations": set(PEOPLE),
    "/organisations/{installer}": {
        "installer",
        "above",
        "administrator",
        "support",
        "privacy_officer",
    },
    "/organisations/nothing": set(),
    "/profile": set(PEOPLE),
}
"""Who gets 200; everybody else 404."""


BEFORE_SIGNING_IN = {
    "/sign-in",
    "/sign-in/code",
    "/sign-in/again",
    "/invitation/{link:str}",
    "/profile/second-factor",
    "/forgotten-password",
    "/static/{name:str}",
}
"""Pages whose tests are below, or that are the same for everybody."""
ELSEWHERE = {
    path
    for module in (my_data, policy, privacy_desk, site_people)
    for handler in module.HANDLERS
    for path in handler.paths
}
"""Pages of rights: `test_access` has their table, `test_rights_pages` uses them."""


def test_no_page_is_missing_here() -> None:
    pages = {
        path for handler in HANDLERS if "GET" in handler.http_methods for path in handler.paths
    }
    kinds = {re.sub(r"(?<=.)/[^/]+$", "/{}", path) for path in SEES}
    here = pages - BEFORE_SIGNING_IN - ELSEWHERE
    tested = {re.sub(r"\{[^}]*\}", "{}", path) for path in here}
    assert tested == kinds - {"/{}"} | {path for path in SEES if path.count("/") == 1}


@pytest.mark.parametrize("who", PEOPLE)
def test_pages_are_there_for_whom_they_concern(
    who: str, browser: Browser, world: World, incident: str
) -> None:
    browser.sign_in(who)
    for path, seen_by in SEES.items():
        where = path.format(incident=incident, installer=world.organisations["installer"])
        answer = browser.get(where)
        assert answer.status_code == (200 if who in seen_by else 404), (who, where)
        assert answer.headers["content-type"].startswith("text/html")
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


def test_strangers_are_sent_to_sign_in_and_come_back(browser: Browser, incident: str) -> None:
    for path in SEES:
        answer = browser.get(path.format(incident=incident, installer="x"))
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/sign-in?next=")
    answer = browser.send(
        "/sign-in",
        "/sign-in",
        email=email("owner"),
        password=password("owner"),
        next=f"/sites/{NORTH}?day=2026-09-01",
    )
    assert answer.headers["location"] == f"/sites/{NORTH}?day=2026-09-01"


@pytest.mark.parametrize("evil", ["//evil.example", "/\\evil.example", "https://evil.example", "x"])
def test_nobody_is_sent_to_another_host(evil: str, browser: Browser) -> None:
    answer = browser.send(
        "/sign-in", "/sign-in", email=email("owner"), password=password("owner"), next=evil
    )
    assert answer.headers["location"] == "/"


def posting() -> list[str]:
    """All addresses that take a form."""
    return [
        path for handler in HANDLERS if "POST" in handler.http_methods for path in handler.paths
    ]


def test_every_form_wants_the_token_of_its_own_page(browser: Browser, world: World) -> None:
    browser.sign_in("administrator")
    stale = "0" * 64
    for path in posting():
        where = path.replace(":str", "").format(
            incident="x",
            key=NORTH,
            name="access",
            identifier="x",
            person=world.ids["owner"],
            token="x",  # noqa: S106
            link="x",
        )
        for fields in ({}, {"csrf": stale}, {"csrf": "é"}):
            answer = browser.client.post(where, data=fields, follow_redirects=False)
            assert answer.status_code == 403, (where, fields)
    assert browser.get("/profile").status_code == 200


def test_a_form_from_another_site_is_refused(browser: Browser) -> None:
    browser.sign_in("owner")
    for path in posting():
        answer = browser.client.post(
            path, headers={"sec-fetch-site": "cross-site"}, follow_redirects=False
        )
        assert answer.status_code == 403, path


def test_cookies_are_kept_from_scripts_and_other_sites(browser: Browser) -> None:
    answer = browser.send("/sign-in", "/sign-in", email=email("owner"), password=password("owner"))
    cookie = next(
        value for value in answer.headers.get_list("set-cookie") if value.startswith("session=")
    )
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie


def test_under_https_cookies_are_of_this_host_alone(world: World, keys: Keys) -> None:
    before = world.portal.settings
    world.portal.settings = structs.replace(before, is_https=True)
    try:
        app = assemble(world.portal, keys.accounts)
    finally:
        world.portal.settings = before
    with TestClient(app, base_url="https://portal.example") as client:
        answer = client.get("/sign-in")
        cookies = answer.headers.get_list("set-cookie")
        assert len(cookies) == 1
        assert cookies[0].startswith("__Host-visit=")
        assert "Secure" in cookies[0]
        assert "max-age=31536000" in answer.headers["strict-transport-security"]


def test_a_wrong_password_and_an_unknown_address_look_the_same(browser: Browser) -> None:
    answers = [
        browser.send("/sign-in", "/sign-in", email=one, password="wrong wrong wrong")  # noqa: S106
        for one in (email("guest"), "nobody@example.org")
    ]
    assert [one.status_code for one in answers] == [403, 403]
    first, second = (text_of(one) for one in answers)
    assert first == second
    assert "horen niet bij elkaar" in first


def test_whoever_tries_too_often_waits(browser: Browser) -> None:
    found = [
        browser.send("/sign-in", "/sign-in", email="a@example.org", password="x").status_code  # noqa: S106
        for _ in range(8)
    ]
    assert found[-1] == 429


def test_a_code_finishes_signing_in_and_a_wrong_one_does_not(browser: Browser) -> None:
    browser.send("/sign-in", "/sign-in", email=email("installer"), password=password("installer"))
    assert browser.get("/").headers["location"] == "/sign-in/code?next=/"
    wrong = browser.send("/sign-in/code", "/sign-in/code", code="000000")
    assert wrong.status_code == 403
    assert browser.get("/").status_code == 303
    code = browser.keys.code("installer")
    assert browser.send("/sign-in/code", "/sign-in/code", code=code).status_code == 303
    assert browser.get("/").status_code == 200


def test_signing_out_ends_it(browser: Browser) -> None:
    browser.sign_in("owner")
    token = browser.client.cookies["session"]
    assert browser.send("/", "/sign-out").headers["location"] == "/sign-in"
    browser.client.cookies.set("session", token)
    assert browser.get("/").status_code == 303


def test_the_language_is_chosen_and_remembered(browser: Browser) -> None:
    assert "Inloggen" in text_of(browser.get("/sign-in"))
    english = browser.get("/sign-in", headers={"accept-language": "en-GB"})
    assert "E-mail address" in text_of(english)
    assert english.headers["content-language"] == "en"
    answer = browser.send("/sign-in", "/language", language="en", next="/sign-in")
    assert answer.headers["location"] == "/sign-in"
    assert "E-mail address" in text_of(browser.get("/sign-in", headers={"accept-language": "nl"}))
    assert browser.send("/sign-in", "/language", language="xx").status_code == 404


def test_the_fleet_counts_filters_and_finds(browser: Browser) -> None:
    browser.sign_in("installer")
    found = text_of(browser.get("/"))
    assert "Huis north001" in found
    assert "Huis foreign4" not in found
    assert "1 installatie" in text_of(browser.get(f"/?q={NORTH}"))
    faulty = text_of(browser.get("/?health=FAULT"))
    assert "Huis north001" in faulty
    assert "Huis hybrid02" not in faulty
    assert "Huis empty003" in text_of(browser.get("/?health=UNMONITORED"))
    assert "Geen installatie gevonden" in text_of(browser.get("/?q=nowhere"))
    for wrong in ("/?health=x", "/?page=0", "/?q=" + "x" * 101):
        assert browser.get(wrong).status_code == 400


def test_a_site_shows_its_day_its_months_and_its_address_to_who_may(browser: Browser) -> None:
    browser.sign_in("owner")
    page = browser.get(f"/sites/{NORTH}")
    shown = text_of(page)
    assert "Teststraat 12, 3511 ZZ Utrecht" in shown
    assert "23 september 2026" in shown
    assert 'id="power-data"' in page.text
    assert 'id="month-data"' in page.text
    assert "De garantie van deze installatie" in shown
    before = text_of(browser.get(f"/sites/{NORTH}?day=2026-09-20"))
    assert "20 september 2026" in before
    # Outside of what there is, the nearest day there is.
    assert "23 september 2026" in text_of(browser.get(f"/sites/{NORTH}?day=2030-01-01"))
    assert browser.get(f"/sites/{NORTH}?day=x").status_code == 400


def test_a_guest_sees_neither_street_nor_guarantee(browser: Browser) -> None:
    shown = text_of(browser.sign_in("guest").get(f"/sites/{NORTH}"))
    assert "Teststraat" not in shown
    assert "Utrecht" in shown
    assert "De garantie" not in shown


def test_a_site_without_data_explains_itself(browser: Browser) -> None:
    shown = text_of(browser.sign_in("owner").get(f"/sites/{EMPTY}"))
    assert "Nog geen gegevens" in shown
    assert "Niet bewaakt" in shown


def test_a_hybrid_site_answers(browser: Browser) -> None:
    assert browser.sign_in("owner").get(f"/sites/{HYBRID}").status_code == 200


def test_an_alarm_says_what_was_told_to_whom_by_what_they_are_and_not_who(
    browser: Browser, incident: str, world: World
) -> None:
    record = world.store.sites.record(NORTH)
    assert record is not None
    (care,) = (one for one in record.roles if one.kind is OrganisationKind.MAINTENANCE)
    organisation = world.store.organisations.get(care.organisation_id)
    assert organisation is not None
    due = Due(
        incident_id=incident, step=Step.FIRST, party=Party.MAINTENANCE, why=Why.NEW,
        addressee=Addressee(organisation_id=care.organisation_id),
    )  # fmt: skip
    told = world.store.alarm_notices.queue(
        [due], lambda _: Letter(subject="s", text="t"), now=world.now, language="nl",
        recipient="care@example.org",
    )  # fmt: skip
    assert told == [due]
    shown = text_of(browser.sign_in("guest").get(f"/alarms/{incident}"))
    assert "De onderhoudspartij kreeg bericht" not in shown, "it has not left yet"
    (waiting,) = world.store.mails.due(world.now)
    world.store.mails.note(waiting.mail_id, DeliveryState.DELIVERED, world.now)
    shown = text_of(browser.get(f"/alarms/{incident}"))
    assert "De onderhoudspartij kreeg bericht" in shown
    assert organisation.name not in shown
    listed = browser.get(f"/api/v1/sites/{NORTH}/alarms").json()
    (notices,) = (one["notices"] for one in listed if one["incident_id"] == incident)
    assert [(one["party"], one["step"]) for one in notices] == [("maintenance", "first")]


def test_an_alarm_is_taken_on_by_who_may_and_says_by_whom(
    browser: Browser, incident: str, world: World
) -> None:
    path = f"/alarms/{incident}"
    browser.sign_in("guest")
    assert browser.send(path, f"{path}/acknowledge").status_code == 403
    Browser.__init__(browser, browser.client, browser.keys)
    browser.sign_in("stranger")
    assert browser.send("/alarms", f"{path}/acknowledge").status_code == 404
    Browser.__init__(browser, browser.client, browser.keys)
    browser.sign_in("installer")
    assert "Oppakken" in text_of(browser.get(path))
    answer = browser.send(path, f"{path}/acknowledge", comment="I go there <tomorrow>")
    assert answer.headers["location"] == path
    shown = text_of(browser.get(path))
    assert "I go there <tomorrow>" in shown
    assert "Installer" in shown
    assert "Oppakken" not in shown
    record = world.store.alarms.get(incident)
    assert record is not None
    assert record.acknowledged_by == world.ids["installer"]


def test_somebody_without_a_site_is_told_how_one_comes(browser: Browser) -> None:
    shown = text_of(browser.sign_in("support").get("/"))
    assert "Er is nog niets te zien" in shown
    assert "Uw account is niet aan een installatie gekoppeld" in shown


@pytest.mark.parametrize(
    "path", ["/", f"/sites/{NORTH}", "/alarms", "/guarantees/g-2024-0007", "/profile"]
)
def test_a_page_has_a_twin_for_programs(path: str, browser: Browser) -> None:
    browser.sign_in("owner")
    twin = re.search(r'type="application/json" href="([^"]+)"', browser.get(path).text)
    assert twin is not None
    answer = browser.get(twin[1])
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")


def test_somebody_who_must_sets_up_a_second_factor_first(browser: Browser, world: World) -> None:
    world.store.second_factors.remove_totp(world.ids["maintenance"])
    del browser.keys.totp["maintenance"]
    browser.sign_in("maintenance")
    assert browser.get("/").headers["location"] == "/profile/second-factor?next=/"
    page = browser.get("/profile/second-factor")
    shown = re.search(r'class="secret">([A-Z2-7 ]+)<', page.text)
    token = TOKEN.search(page.text)
    assert shown is not None
    assert token is not None
    assert "<svg" in page.text
    secret = shown[1].replace(" ", "")
    browser.keys.totp["maintenance"] = secret
    code = pyotp.TOTP(secret).at(world.now)
    done = browser.client.post("/profile/second-factor", data={"csrf": token[1], "code": code})
    assert "Bewaar deze codes" in text_of(done)
    assert browser.get("/").status_code == 200


def test_an_app_password_is_shown_once_and_taken_back(browser: Browser, world: World) -> None:
    browser.sign_in("owner")
    made = browser.send("/profile", "/profile/tokens", name="Home Assistant")
    shown = re.search(r'id="new-token">([^<]+)<', made.text)
    assert shown is not None
    header = {"authorization": f"Bearer {shown[1]}"}
    assert browser.get("/api/v1/me", headers=header).status_code == 200
    page = browser.get("/profile")
    assert "Home Assistant" in text_of(page)
    assert shown[1] not in page.text
    revoke = re.search(r'action="(/profile/tokens/[^"]+/revoke)"', page.text)
    assert revoke is not None
    assert browser.send("/profile", revoke[1]).status_code == 303
    assert browser.get("/api/v1/me", headers=header).status_code == 401


def test_what_is_dangerous_wants_a_fresh_proof(browser: Browser, world: World) -> None:
    browser.sign_in("owner")
    world.now += timedelta(minutes=11)
    answer = browser.send("/profile", "/profile/tokens", name="x")
    assert answer.headers["location"] == "/sign-in/again?next=/profile"
    wrong = browser.send("/sign-in/again", "/sign-in/again", password="wrong")  # noqa: S106
    assert wrong.status_code == 403
    again = browser.send(
        "/sign-in/again", "/sign-in/again", password=password("owner"), next="/profile"
    )
    assert again.headers["location"] == "/profile"
    assert browser.send("/profile", "/profile/tokens", name="x").status_code == 200


def test_a_password_is_changed_and_weak_ones_are_not(browser: Browser, world: World) -> None:
    browser.sign_in("guest")
    weak = browser.send("/profile", "/profile/password", old=password("guest"), new="short")
    assert weak.status_code == 400
    assert "minstens 12 tekens" in text_of(weak)
    done = browser.send(
        "/profile", "/profile/password", old=password("guest"), new="a few new words of mine"
    )
    assert done.headers["location"] == "/profile?done=password"
    assert "Uw wachtwoord is gewijzigd" in text_of(browser.get("/profile?done=password"))
    back = browser.send(
        "/profile", "/profile/password", old="a few new words of mine", new=password("guest")
    )
    assert back.status_code == 303


def test_signing_out_everywhere_ends_every_session(browser: Browser) -> None:
    browser.sign_in("stranger")
    elsewhere = browser.client.cookies["session"]
    Browser(browser.client, browser.keys).sign_in("stranger")
    assert browser.send("/profile", "/profile/sign-out-everywhere").status_code == 303
    browser.client.cookies.set("session", elsewhere)
    assert browser.get("/").status_code == 303


def test_a_manager_invites_and_the_invited_comes_in_once(browser: Browser, world: World) -> None:
    world.store.people.join(
        world.ids["installer"], world.organisations["installer"], MemberRole.MANAGER, world.now
    )
    browser.sign_in("installer")
    page = f"/organisations/{world.organisations['installer']}"
    taken = browser.send(page, f"{page}/invite", name="X", email=email("reseller"), role="staff")
    assert taken.status_code == 400
    made = browser.send(
        page, f"{page}/invite", name="New One", email="new@example.org", role="staff"
    )
    link = re.search(r"http://[^<]*(/invitation/[^<]+)<", made.text)
    assert link is not None
    assert "uitgenodigd" in text_of(browser.get(page))
    fresh = Browser(browser.client, browser.keys)
    both = {"password": "many words of my own", "again": "many words of my own"}
    unlike = fresh.send(link[1], link[1], **(both | {"again": "other"}))
    assert unlike.status_code == 400
    assert fresh.send(link[1], link[1], **both).headers["location"] == "/sign-in"
    assert fresh.get(link[1]).status_code == 404
    signed = fresh.send("/sign-in", "/sign-in", email="new@example.org", password=both["again"])
    assert signed.status_code == 303


def test_a_manager_closes_an_account_and_staff_does_not(browser: Browser, world: World) -> None:
    made = world.store.people.by_email("new@example.org")
    assert made is not None
    path = f"/people/{made.person_id}"
    browser.sign_in("support")
    assert browser.send("/", f"{path}/disable").status_code == 403
    browser = Browser(browser.client, browser.keys).sign_in("installer")
    assert browser.send("/", f"{path}/disable").status_code == 303
    account = world.store.accounts.get(made.person_id)
    assert account is not None
    assert account.disabled_at is not None
    assert browser.send("/", f"/people/{world.ids['reseller']}/disable").status_code == 404


def test_an_administrator_adds_organisations_and_others_do_not(browser: Browser) -> None:
    browser.sign_in("administrator")
    added = browser.send("/organisations", "/organisations", name="New BV", kind="installer")
    assert "New BV" in text_of(browser.get(added.headers["location"]))
    wrong = browser.send("/organisations", "/organisations", name=" ", kind="installer")
    assert wrong.status_code == 400
    browser = Browser(browser.client, browser.keys).sign_in("owner")
    refused = browser.send("/", "/organisations", name="Mine", kind="installer")
    assert refused.status_code == 403
