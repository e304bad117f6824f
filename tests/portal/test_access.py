"""Every route of the portal for every role: a route that is not in the table fails the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest
from litestar.routes import HTTPRoute
from litestar.testing import TestClient

from autarco_portal.serve_app import assemble
from portal_world import EMPTY, FOREIGN, HYBRID, NORTH, PEOPLE, TWIN, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar import Litestar

NOBODY = "nobody"
CARE = {"owner", "installer", "maintenance", "reseller", "administrator"}
LOOK = CARE | {"distributor", "above", "privacy_officer"}
SEE = LOOK | {"guest"}
ALL = set(PEOPLE)

Expected: TypeAlias = dict[int, set[str]]
"""Who gets which status; `others` of the row is what is left."""


class Row:
    """What a route answers: by status who gets it, the others' status, and a stranger's."""

    def __init__(self, path: str, found: Expected, *, others: int = 404, nobody: int = 401) -> None:
        self.path = path
        self.found = found
        self.others = others
        self.nobody = nobody

    def status(self, who: str) -> int:
        if who == NOBODY:
            return self.nobody
        return next((status for status, people in self.found.items() if who in people), self.others)


def _old(root: str) -> dict[tuple[str, str], Row]:
    site, one = f"/api/{root}/{NORTH}", f"/api/{root}/{{key:str}}"
    rows = {("GET", f"/api/{root}"): Row(f"/api/{root}", {200: ALL})}
    for path in (
        "", "/kpis/energy", "/kpis/power", "/power", "/energy", "/consumption/power",
        "/consumption/energy", "/batterypack/power", "/batterypack/energy",
    ):  # fmt: skip
        rows["GET", one + path] = Row(site + path, {200: SEE})
    for path in ("power", "energy"):
        rows["GET", f"{one}/inverter/{{serial:str}}/{path}"] = Row(
            f"{site}/inverter/{TWIN}/{path}", {200: SEE}
        )
    return rows


V1, SITE = "/api/v1", "/api/v1/sites/{key:str}"
MINE = "/api/v1/me/privacy"
RIGHTS = (
    ("POST", "requests"), ("POST", "requests/{name:str}/proof"), ("DELETE", "requests/{name:str}"),
    ("POST", "requests/{name:str}/erasure"), ("POST", "erasures/{name:str}/confirmation"),
    ("DELETE", "erasures/{name:str}"), ("PUT", "objections/{purpose:str}"),
    ("DELETE", "objections/{purpose:str}"), ("PUT", "restriction"), ("DELETE", "restriction"),
    ("POST", "newsletters/{topic:str}"), ("DELETE", "newsletters/{topic:str}"),
    ("POST", "decisions/{name:str}/contest"), ("POST", "bundles/{name:str}"),
)  # fmt: skip
"""What a person does about his own data: a session does, and its tests are of each route."""
OFFICE = (
    ("GET", "requests"), ("POST", "requests"), ("GET", "requests/{name:str}"),
    ("POST", "requests/{name:str}/steps"), ("GET", "decisions"), ("POST", "decisions/{name:str}"),
    ("GET", "incidents"), ("POST", "incidents"), ("POST", "incidents/{name:str}/steps"),
    ("GET", "disclosures"), ("POST", "disclosures/{name:str}/approval"), ("GET", "retention"),
)  # fmt: skip
"""What the privacy officer does in a session, and no program."""
BODIES = {
    f"{V1}/privacy/requests": {"right": "access", "channel": "mail", "contact": "x@example.org"},
    f"{V1}/privacy/requests/name/steps": {"step": "close"},
    f"{V1}/privacy/decisions/name": {"is_upheld": True, "reason": "x"},
    f"{V1}/privacy/incidents": {"summary": "x"},
    f"{V1}/privacy/incidents/name/steps": {"step": "close"},
    f"{MINE}/requests": {"right": "access"},
    f"{MINE}/restriction": {"ground": "accuracy"},
    f"{MINE}/erasures/name/confirmation": {"sha256": "0" * 64},
    f"{MINE}/decisions/name/contest": {},
    f"{V1}/alarms/acknowledgements": {"incident_id": "x"},
    f"{V1}/sites/{NORTH}/grants": {"email": "x@example.org", "why": "x"},
    f"{V1}/sites/{NORTH}/owner": {"name": "x", "email": "x@example.org"},
    f"{V1}/privacy/verifications": {"request_id": "x", "token": "y"},
}


def _plain(path: str) -> str:
    """Fills a path's parameters with their own names."""
    return path.replace("{", "").replace(":str}", "")


OPEN = {200: ALL}
PROGRAMS: dict[tuple[str, str], Row] = {
    **_old("site"),
    **_old("m1/site"),
    ("GET", f"{V1}/sites"): Row(f"{V1}/sites", OPEN),
    ("GET", SITE): Row(f"{V1}/sites/{NORTH}", {200: SEE}),
    ("GET", f"{SITE}/inverters"): Row(f"{V1}/sites/{NORTH}/inverters", {200: SEE}),
    ("GET", f"{SITE}/now"): Row(f"{V1}/sites/{NORTH}/now", {200: SEE}),
    ("GET", f"{SITE}/silences"): Row(f"{V1}/sites/{NORTH}/silences", {200: SEE}),
    ("GET", f"{SITE}/readings"): Row(f"{V1}/sites/{NORTH}/readings", {200: SEE}),
    ("GET", f"{SITE}/performance/{{table:str}}"): Row(
        f"{V1}/sites/{NORTH}/performance/expected", {200: SEE}
    ),
    ("GET", f"{SITE}/alarms"): Row(f"{V1}/sites/{NORTH}/alarms", {200: SEE}),
    ("GET", f"{SITE}/grants"): Row(
        f"{V1}/sites/{NORTH}/grants", {200: CARE | {"privacy_officer"}, 403: SEE}
    ),
    ("POST", f"{SITE}/grants"): Row(f"{V1}/sites/{NORTH}/grants", {403: SEE}),
    ("DELETE", f"{SITE}/grants/{{grant_id:str}}"): Row(
        f"{V1}/sites/{NORTH}/grants/x", {403: SEE}
    ),
    ("POST", f"{SITE}/owner"): Row(f"{V1}/sites/{NORTH}/owner", {403: SEE}),
    ("GET", f"{SITE}/guarantees"): Row(
        f"{V1}/sites/{NORTH}/guarantees", {200: LOOK, 403: {"guest"}}
    ),
    ("GET", f"{SITE}/settlements/{{sha256:str}}"): Row(
        f"{V1}/sites/{NORTH}/settlements/{'0' * 64}", {404: LOOK, 403: {"guest"}}
    ),
    ("GET", f"{V1}/alarms"): Row(f"{V1}/alarms", OPEN),
    # No such alarm is no such alarm; that tokens change nothing is tested with the API.
    ("POST", f"{V1}/alarms/acknowledgements"): Row(f"{V1}/alarms/acknowledgements", {}),
    ("GET", f"{V1}/me"): Row(f"{V1}/me", OPEN),
    ("GET", f"{V1}/me/tokens"): Row(f"{V1}/me/tokens", OPEN),
    ("DELETE", f"{V1}/me/tokens/{{token_id:str}}"): Row(f"{V1}/me/tokens/x", {}, others=403),
    ("GET", f"{V1}/openapi.json"): Row(f"{V1}/openapi.json", OPEN, nobody=200),
    **{("GET", f"{MINE}/{name}"): Row(f"{MINE}/{name}", OPEN)
       for name in ("requests", "objections", "restriction", "decisions")},
    ("GET", f"{MINE}/bundles/{{name:str}}"): Row(f"{MINE}/bundles/access", {}),
    # A token looks at nothing that the audit log or an export shows, and changes nothing.
    ("GET", f"{MINE}/looks"): Row(f"{MINE}/looks", {}, others=403),
    ("GET", f"{MINE}/bundles/{{name:str}}/file"): Row(
        f"{MINE}/bundles/access/file", {}, others=403
    ),
    **{(method, f"{MINE}/{path}"): Row(f"{MINE}/{_plain(path)}", {}, others=403)
       for method, path in RIGHTS},
    **{(method, f"{V1}/privacy/{path}"): Row(f"{V1}/privacy/{_plain(path)}", {}, others=403)
       for method, path in OFFICE},
    ("GET", f"{SITE}/looks"): Row(f"{V1}/sites/{NORTH}/looks", {403: SEE}),
    ("GET", f"{SITE}/disclosures"): Row(f"{V1}/sites/{NORTH}/disclosures", {403: SEE}),
    # Who has the link needs no sign-in; these are no links.
    ("POST", f"{V1}/privacy/verifications"): Row(f"{V1}/privacy/verifications", {}, nobody=404),
    **{("POST", f"{V1}/newsletter/{use}/{{consent:str}}/{{token:str}}"):
           Row(f"{V1}/newsletter/{use}/x/y", {}, nobody=404)
       for use in ("confirm", "withdraw")},
}  # fmt: skip
"""By Authorization header: tokens look and change nothing."""

DOCUMENT = "/openapi"
OF_LITESTAR = {
    ("GET", DOCUMENT),
    ("GET", f"{DOCUMENT}/openapi.json"),
    ("GET", DOCUMENT + "/{path:str}"),
}
EVERYBODY = {("GET", "/health"): Row("/health", OPEN, nobody=200)}

FORMS = (
    "/alarms/{incident:str}/acknowledge", "/organisations",
    "/organisations/{identifier:str}/invite", "/people/{person:str}/disable",
    "/people/{person:str}/second-factor", "/profile/second-factor", "/profile/second-factor/off",
    "/profile/password", "/profile/sign-out-everywhere", "/profile/tokens",
    "/profile/tokens/{token:str}/revoke", "/sign-in", "/sign-in/code", "/sign-in/again",
    "/sign-out", "/invitation/{link:str}", "/language", "/forgotten-password",
    "/sites/{key:str}/grants", "/sites/{key:str}/grants/{name:str}/end", "/sites/{key:str}/owner",
    "/my-data/details", "/my-data/requests", "/my-data/requests/{name:str}/proof",
    "/my-data/requests/{name:str}/withdrawal", "/my-data/requests/{name:str}/preview",
    "/my-data/requests/{name:str}/confirmation", "/my-data/requests/{name:str}/call-off",
    "/my-data/objections", "/my-data/restriction", "/my-data/newsletters",
    "/my-data/decisions/{name:str}/contest", "/my-data/bundles/{name:str}",
    "/privacy-desk/requests", "/privacy-desk/requests/{name:str}/steps",
    "/privacy-desk/decisions/{name:str}", "/privacy-desk/incidents",
    "/privacy-desk/incidents/{name:str}/steps", "/privacy-desk/disclosures/{name:str}/approval",
)  # fmt: skip
PAGES: dict[tuple[str, str], Row] = {
    ("GET", "/"): Row("/", OPEN, nobody=303),
    ("GET", "/sites/{key:str}"): Row(f"/sites/{NORTH}", {200: SEE}, nobody=303),
    ("GET", "/alarms"): Row("/alarms", OPEN, nobody=303),
    ("GET", "/alarms/{incident:str}"): Row("/alarms/nothing", {}, nobody=303),
    ("GET", "/guarantees"): Row("/guarantees", OPEN, nobody=303),
    ("GET", "/guarantees/{contract:str}"): Row("/guarantees/nothing", {}, nobody=303),
    ("GET", "/organisations"): Row("/organisations", OPEN, nobody=303),
    ("GET", "/organisations/{identifier:str}"): Row("/organisations/nothing", {}, nobody=303),
    ("GET", "/profile"): Row("/profile", OPEN, nobody=303),
    ("GET", "/my-data"): Row("/my-data", OPEN, nobody=303),
    ("GET", "/my-data/looks"): Row("/my-data/looks", OPEN, nobody=303),
    ("GET", "/my-data/requests/{name:str}"): Row("/my-data/requests/nothing", {}, nobody=303),
    ("GET", "/my-data/bundles/{name:str}/file"): Row(
        "/my-data/bundles/access/file", {}, nobody=303
    ),
    ("GET", "/sites/{key:str}/looks"): Row(
        f"/sites/{NORTH}/looks",
        {200: {"owner", "administrator", "privacy_officer"}, 403: SEE},
        nobody=303,
    ),
    **{("GET", path): Row(path, {200: {"privacy_officer"}}, nobody=303)
       for path in ("/privacy-desk", "/privacy-desk/incidents", "/privacy-desk/disclosures",
                    "/privacy-desk/retention")},
    ("GET", "/privacy-desk/requests/{name:str}"): Row(
        "/privacy-desk/requests/nothing", {}, nobody=303
    ),
    ("GET", "/sites/{key:str}/people"): Row(
        f"/sites/{NORTH}/people", {200: CARE | {"privacy_officer"}, 403: SEE}, nobody=303
    ),
    ("GET", "/privacy"): Row("/privacy", OPEN, nobody=200),
    ("GET", "/.well-known/security.txt"): Row("/.well-known/security.txt", {}, nobody=404),
    # A form without the token of its own page is nobody's.
    **{("POST", path): Row(_plain(path), {}, others=403, nobody=403)
       for path in FORMS},
}  # fmt: skip
"""By session cookie, as browsers send it."""
SIGNING_IN = {
    ("GET", "/sign-in"), ("GET", "/sign-in/code"), ("GET", "/sign-in/again"),
    ("GET", "/invitation/{link:str}"), ("GET", "/forgotten-password"),
    ("GET", "/profile/second-factor"),
    ("GET", "/static/{name:str}"),
}  # fmt: skip
"""Steps of signing in depend on how far one is, not on a role: tested with the pages."""


@pytest.fixture(scope="module")
def app(world: World) -> Litestar:
    return assemble(world.portal, world.accounts)


@pytest.fixture(scope="module")
def client(app: Litestar) -> Iterator[TestClient[Litestar]]:
    with TestClient(app) as client:
        yield client


def test_no_route_is_missing_from_the_table(app: Litestar) -> None:
    there = {
        (method, route.path)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method != "OPTIONS"
    }
    table = {*PROGRAMS, *PAGES, *EVERYBODY, *SIGNING_IN, *OF_LITESTAR}
    assert there - table == set()
    assert table - there == set()


@pytest.mark.parametrize("who", [*PEOPLE, NOBODY])
def test_programs_get_what_their_owner_may_see(
    world: World, client: TestClient[Litestar], who: str
) -> None:
    headers = world.header(who) if who != NOBODY else {}
    for (method, _), row in (PROGRAMS | EVERYBODY).items():
        body = BODIES.get(row.path)
        answer = client.request(method, row.path, headers=headers, json=body)
        assert answer.status_code == row.status(who), (who, method, row.path, answer.text)


@pytest.mark.parametrize("who", [*PEOPLE, NOBODY])
def test_people_get_what_they_may_see(world: World, client: TestClient[Litestar], who: str) -> None:
    headers = world.session(who) if who != NOBODY else {}
    for (method, _), row in PAGES.items():
        client.cookies.clear()
        answer = client.request(method, row.path, headers=headers, follow_redirects=False)
        assert answer.status_code == row.status(who), (who, method, row.path)


@pytest.mark.parametrize("who", [*PEOPLE, NOBODY])
def test_other_sites_are_seen_by_their_own_people_only(
    world: World, client: TestClient[Litestar], who: str
) -> None:
    headers = world.header(who) if who != NOBODY else {}
    sees = {"stranger", "administrator", "privacy_officer"}
    for path in (f"/api/site/{FOREIGN}/power", f"/api/v1/sites/{FOREIGN}/readings"):
        expected = 401 if who == NOBODY else 200 if who in sees else 404
        assert client.get(path, headers=headers).status_code == expected
    listed = client.get("/api/v1/sites", headers=headers)
    if who != NOBODY:
        keys = {one["public_key"] for one in listed.json()["items"]}
        assert keys == ({NORTH, HYBRID, EMPTY} if who in SEE else set()) | (
            {FOREIGN} if who in sees else set()
        )
