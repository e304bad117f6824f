"""The own API: documented, in pages and formats, and as strict as the rest."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from litestar.testing import TestClient
from openapi_spec_validator import validate

from autarco_portal import compat, derived, rate_limit, web
from autarco_portal.api import readings, tables
from autarco_portal.derived_store import DerivedStore, frame
from autarco_portal.incidents import Cause, State, Verdict, fold
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.serve_app import assemble
from autarco_portal.web_identity import Identities
from portal_world import (
    BATTERY,
    EMPTY,
    FOREIGN,
    HYBRID,
    NEW,
    NORTH,
    NOW,
    OLD,
    SWAP,
    TWIN,
    World,
    email,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar import Litestar


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[TestClient[Litestar]]:
    app = assemble(world.portal, world.accounts)
    with TestClient(app) as client:
        client.headers.update(world.header("owner"))
        yield client


def ask(client: TestClient[Litestar], path: str, **headers: str) -> Any:
    answer = client.get(f"/api/v1{path}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def test_the_document_is_valid_and_tells_of_every_refusal(client: TestClient[Litestar]) -> None:
    answer = client.get("/api/v1/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    validate(document)
    assert document["openapi"].startswith("3.1")
    named = {
        (path, verb)
        for path, item in document["paths"].items()
        for verb, operation in item.items()
        if operation["summary"] and operation["tags"] and operation.get("description")
    }
    assert len(named) == sum(len(item) for item in document["paths"].values())
    for path, item in document["paths"].items():
        if path.startswith("/api/v1/"):
            for operation in item.values():
                assert {"400", "401", "404", "429", "503"} <= set(operation["responses"])
    assert "http" not in {"".join(document["info"]["description"].split("://")[1:])}


def test_sites_come_in_pages(world: World, client: TestClient[Litestar]) -> None:
    path, keys = "/sites?limit=2", []
    while path:
        page = ask(client, path).json()
        assert page["total"] == 3
        keys += [one["public_key"] for one in page["items"]]
        path = (page["next"] or "").removeprefix("/api/v1")
    assert keys == [NORTH, HYBRID, EMPTY]
    found = ask(client, f"/sites?q={TWIN}").json()
    assert [one["public_key"] for one in found["items"]] == [NORTH]
    assert ask(client, "/sites", **world.header("privacy_officer")).json()["total"] == 4


def test_a_site_its_inverters_and_now(world: World, client: TestClient[Litestar]) -> None:
    site = ask(client, f"/sites/{NORTH}").json()
    assert site["planes"][0]["surface_azimuth"] == 165
    assert [one["serial_number"] for one in site["inverters"]] == [OLD, NEW, TWIN]
    assert ask(client, f"/sites/{NORTH}/inverters").json() == site["inverters"]
    hidden = ask(client, f"/sites/{NORTH}", **world.header("guest")).json()
    assert (hidden["address"], hidden["latitude"]) == (None, None)
    now = ask(client, f"/sites/{HYBRID}/now").json()
    old = client.get(f"/api/site/{HYBRID}/kpis/energy").json()
    assert now["pv"]["to_date"] == old["pv_to_date"]
    assert now["battery_charged"]["month"] == old["battery_charged_month"]
    assert now["battery_soc_pct"] == 63
    string = ask(client, f"/sites/{NORTH}/now").json()
    assert (string["battery_soc_pct"], string["grid_import"], string["consumption"]) == (None,) * 3
    assert ask(client, f"/sites/{EMPTY}/now").json()["inverters"] == []


def test_readings_in_four_formats_say_the_same(client: TestClient[Litestar]) -> None:
    path = f"/sites/{HYBRID}/readings?from=2026-09-20&to=2026-09-21"
    json = ask(client, path).json()
    assert len(json) == 2 * 288
    assert json[0]["ts"] == "2026-09-19T22:00:00Z"
    csv = ask(client, path, Accept="text/csv")
    assert csv.headers["content-disposition"].endswith(
        f'"readings-{HYBRID}-2026-09-20-2026-09-21.csv"'
    )
    assert csv.headers["vary"] == "Accept"
    parquet = pq.read_table(io.BytesIO(ask(client, path, Accept=tables.PARQUET).content))
    arrow = pa.ipc.open_stream(ask(client, path, Accept=tables.ARROW).content).read_all()
    assert arrow.equals(parquet)
    for rows in (pl.read_csv(csv.content), pl.DataFrame(arrow)):
        assert rows.height == len(json)
        charged = sum(row["battery_power"] for row in json)
        assert rows["battery_power"].sum() == pytest.approx(charged, rel=1e-6)
    everything = ask(client, f"{path}&columns=all").json()[0]
    assert set(everything) == set(readings.COLUMNS)
    assert not {"source"} & set(everything)
    few = ask(client, f"{path}&columns=ac_power,ts").json()[0]
    assert list(few) == ["ac_power", "ts"]


def test_readings_are_those_of_an_inverter_s_time_at_the_site(
    world: World, client: TestClient[Litestar]
) -> None:
    before = world.lake.all
    # After the swap somebody else's roof has it.
    moved = before.filter(pl.col("inverter_sn") == TWIN, pl.col("ts") > SWAP)
    try:
        world.lake.all = pl.concat([before, moved.with_columns(inverter_sn=pl.lit(OLD))])
        path = f"/sites/{NORTH}/readings?from=2026-09-09&to=2026-09-12&inverter={OLD}"
        rows = ask(client, path).json()
        assert rows
        assert max(row["ts"] for row in rows) < f"{SWAP:%Y-%m-%dT%H:%M}"
        assert {row["inverter_sn"] for row in rows} == {OLD}
    finally:
        world.lake.all = before


def test_derived_tables_show_a_site_s_own_days(world: World, client: TestClient[Litestar]) -> None:
    from autarco_ingest.paths import DataDirectory

    store = DerivedStore(PortalDirectory.of(DataDirectory.at(world.directory)))
    columns: dict[str, object] = {column.name: [None, None] for column in derived.SITE_DAY.columns}
    columns |= {
        "site_id": [NORTH, FOREIGN],
        "date": [date(2026, 9, 22)] * 2,
        "energy_kwh": [9.5, 1],
    }
    store.put(derived.SITE_DAY, frame(derived.SITE_DAY, columns), [date(2026, 9, 22)])
    rows = ask(client, f"/sites/{NORTH}/performance/site-day").json()
    assert [(row["site_id"], row["energy_kwh"]) for row in rows] == [(NORTH, 9.5)]
    assert ask(client, f"/sites/{NORTH}/performance/expected", Accept="text/csv").text.startswith(
        "site_id,date"
    )


def verdict(site: str, cause: Cause = Cause.OUTAGE) -> Verdict:
    return Verdict(
        site_id=site,
        inverter_sn=None,
        cause=cause,
        day=date(2026, 9, 21),
        state=State.FAULTY,
        alarm=True,
        ends=datetime(2026, 9, 21, 22, tzinfo=UTC),
        lost_kwh=7.5,
        method="test",
        evidence={"peers": 12},
    )


def test_alarms_are_listed_and_acknowledged_once(world: World) -> None:
    for site in (NORTH, FOREIGN):
        world.store.alarms.take_over(fold([], [verdict(site)], NOW), [site])

    with TestClient(assemble(world.portal, world.accounts)) as client:

        def send(who: str, body: dict[str, str]) -> Any:
            url = "/api/v1/alarms/acknowledgements"
            return client.post(url, json=body, headers=world.session(who))

        page = client.get("/api/v1/alarms", headers=world.session("owner")).json()
        assert [(one["site_id"], one["cause"]) for one in page["items"]] == [(NORTH, "outage")]
        assert page["next"] is None
        alarm = page["items"][0]
        assert alarm["evidence"] == {"peers": 12}
        listed = client.get(f"/api/v1/sites/{NORTH}/alarms", headers=world.header("owner"))
        assert listed.json() == [alarm]
        body = {"incident_id": alarm["incident_id"], "note": "on my way"}
        assert send("guest", body).status_code == 403
        assert send("stranger", body).status_code == 404
        done = send("installer", body)
        assert done.status_code == 201, done.text
        assert done.json()["acknowledged_by_me"] is True
        again = send("owner", body).json()
        assert again["acknowledged_at"] == done.json()["acknowledged_at"]
        assert again["acknowledged_by_me"] is False
        assert send("owner", {"incident_id": "x"}).status_code == 404
        wrong = send("owner", {"incident": "x"})
        kind = wrong.headers["content-type"]
        assert (wrong.status_code, kind) == (400, "application/problem+json")
        assert world.store.audit.verify() == []


def test_a_token_looks_and_changes_nothing(world: World, client: TestClient[Litestar]) -> None:
    page = ask(client, "/alarms").json()
    body = {"incident_id": page["items"][0]["incident_id"]}
    for who in ("owner", "installer"):
        answer = client.post(
            "/api/v1/alarms/acknowledgements", json=body, headers=world.header(who)
        )
        assert answer.status_code == 403
    (token,) = ask(client, "/me/tokens", **world.header("installer")).json()
    path = f"/api/v1/me/tokens/{token['token_id']}"
    assert client.delete(path, headers=world.header("installer")).status_code == 403
    with TestClient(assemble(world.portal, world.accounts)) as browser:
        assert browser.delete(path, headers=world.session("owner")).status_code == 404
        assert browser.delete(path, headers=world.session("installer")).status_code == 204
        gone = browser.get("/api/v1/me", headers=world.header("installer"))
        assert gone.status_code == 401
    _, secret = world.accounts.api.add_token(
        world.ids["installer"], "test", has_second_factor=True, now=NOW
    )
    world.tokens["installer"] = secret.reveal()


def test_me(world: World, client: TestClient[Litestar]) -> None:
    me = ask(client, "/me", **world.header("installer")).json()
    assert me["email"] == email("installer")
    assert list(me["organisations"].values()) == ["staff"]
    assert me["is_read_only"] is True
    assert ask(client, "/me/tokens").json() == []
    assert ask(client, f"/sites/{NORTH}/guarantees").json() == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/sites/{FOREIGN}", 404),
        (f"/sites/{FOREIGN}/readings", 404),
        (f"/sites/{NORTH}/readings?inverter={BATTERY}", 404),
        (f"/sites/{NORTH}/readings?columns=ssid", 400),
        (f"/sites/{NORTH}/readings?columns=", 400),
        (f"/sites/{NORTH}/readings?columns=source", 400),
        (f"/sites/{NORTH}/readings?from=2026-01-01", 400),
        (f"/sites/{NORTH}/readings?from=2026-09-02&to=2026-09-01", 400),
        (f"/sites/{NORTH}/readings?from=0001-01-01&to=0001-01-02", 400),
        (f"/sites/{NORTH}/readings?from=yesterday", 400),
        (f"/sites/{NORTH}/performance/secrets", 400),
        (f"/sites/{NORTH}/settlements/abc", 404),
        ("/sites?limit=1000", 400),
        ("/sites?after=-1", 400),
        ("/nothing", 404),
    ],
)
def test_refusals_are_problems(client: TestClient[Litestar], path: str, status: int) -> None:
    answer = client.get(f"/api/v1{path}")
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def test_a_format_that_nobody_has_is_refused(client: TestClient[Litestar]) -> None:
    path = f"/api/v1/sites/{NORTH}/readings"
    answer = client.get(path, headers={"Accept": "image/png"})
    assert answer.status_code == 406
    browser = "text/html,application/xhtml+xml,*/*;q=0.8"
    assert client.get(path, headers={"Accept": browser}).status_code == 200


def test_nobody_is_asked_for_a_name_by_the_browser(world: World) -> None:
    with TestClient(assemble(world.portal, world.accounts)) as client:
        answer = client.get("/api/v1/me")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_too_many_requests_wait_and_others_do_not() -> None:
    rate = rate_limit.Rate(per_minute=60, burst=3)
    empty_at: float | None = None
    for _ in range(3):
        wait, empty_at = rate_limit.wait_s(empty_at, 100.0, rate)
        assert wait == 0
    wait, empty_at = rate_limit.wait_s(empty_at, 100.0, rate)
    assert wait == pytest.approx(1)
    assert rate_limit.wait_s(empty_at, 101.01, rate)[0] == 0
    assert rate_limit.wait_s(None, 100.0, rate)[0] == 0


@pytest.mark.parametrize(
    ("query", "name"), [("state=bogus", "state"), ("open=perhaps", "open"), ("limit=0", "limit")]
)
def test_a_refusal_names_a_parameter_as_the_client_does(
    client: TestClient[Litestar], query: str, name: str
) -> None:
    answer = client.get(f"/api/v1/alarms?{query}")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"{name}: ")


def test_a_client_gone_wild_is_told_when_to_come_back(world: World) -> None:
    clock = [0.0]
    app = web.app(
        world.portal.settings,
        portal=world.portal,
        routes=[compat.router(lambda: clock[0], rate_limit.Rate(per_minute=60, burst=4))],
        identify=Identities(world.accounts, session_cookie="session"),
    )
    with TestClient(app) as client:
        path = f"/api/site/{NORTH}/kpis/power"
        owner, installer = world.header("owner"), world.header("installer")
        answers = [client.get(path, headers=owner) for _ in range(5)]
        assert {one.status_code for one in answers[:-1]} == {200}
        assert answers[-1].status_code == 429
        assert answers[-1].headers["retry-after"] == "1"
        assert client.get(path, headers=installer).status_code == 200
        clock[0] = 1.1
        assert client.get(path, headers=owner).status_code == 200


def test_an_answer_that_would_fill_the_memory_is_refused(
    client: TestClient[Litestar], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/api/v1/sites/{NORTH}/readings?columns=ts,ac_power"
    assert client.get(path).status_code == 200
    monkeypatch.setitem(readings.CELLS_MAX, tables.JSON, 300)
    refused = client.get(path)
    assert refused.status_code == 400
    assert "more than 100 rows of 2 columns" in refused.json()["detail"]
    assert client.get(path, headers={"Accept": tables.CSV}).status_code == 200


def test_few_large_answers_are_made_at_once(
    client: TestClient[Litestar], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "WAIT_S", 0.01)
    with tables.one_of_few(), tables.one_of_few():
        busy = client.get(f"/api/v1/sites/{NORTH}/readings")
    assert busy.status_code == 503
    assert busy.headers["retry-after"]
    assert client.get(f"/api/v1/sites/{NORTH}/readings").status_code == 200


def test_who_looks_at_anothers_site_is_in_the_log_once_a_day(
    world: World, client: TestClient[Litestar]
) -> None:
    def looks(who: str) -> list[tuple[str, str, str | None, str | None]]:
        return [
            (one.entry.action, one.entry.thing, one.entry.subject, one.entry.why)
            for one in world.store.audit.of(actor=world.ids[who])
            if one.entry.action.startswith("view_")
        ]

    owner, thing = world.ids["owner"], f"site:{HYBRID}"
    for _ in range(3):
        for who in ("owner", "guest", "installer"):
            headers = world.header(who)
            assert client.get(f"/api/v1/sites/{HYBRID}", headers=headers).status_code == 200
        headers = world.header("stranger")
        assert client.get(f"/api/v1/sites/{HYBRID}", headers=headers).status_code == 404
    assert looks("owner") == looks("stranger") == []
    record = world.store.sites.record(HYBRID)
    assert record is not None
    assert ("view_site", thing, owner, f"grant:{record.grants[0].grant_id}") in looks("guest")
    found = looks("installer")
    assert found.count(("view_site", thing, owner, None)) == 1
    assert found.count(("view_contact", thing, owner, None)) == 1
    assert not any(action == "view_contact" for action, *_ in looks("guest"))


def test_a_number_no_site_can_have_is_refused(client: TestClient[Litestar]) -> None:
    assert client.get(f"/api/v1/sites?after={2**31 - 1}").json()["items"] == []
    assert client.get(f"/api/v1/sites?after={10**23}").status_code == 400
