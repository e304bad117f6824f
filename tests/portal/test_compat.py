"""Clients of the old portal get whole numbers that add up, and clear refusals, never HTML."""

from __future__ import annotations

import base64
import itertools
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from litestar.testing import TestClient

from autarco_portal.serve_app import assemble
from portal_world import (
    BATTERY,
    DISABLED,
    EMPTY,
    FOREIGN,
    HYBRID,
    NEW,
    NORTH,
    NOW,
    OLD,
    TWIN,
    World,
    email,
    password,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar import Litestar


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[TestClient[Litestar]]:
    app = assemble(world.portal, world.accounts)
    with TestClient(app) as client:
        yield client


def basic(who: str, secret: str | None = None, encoding: str = "latin-1") -> dict[str, str]:
    text = f"{email(who)}:{password(who) if secret is None else secret}"
    return {"Authorization": "Basic " + base64.b64encode(text.encode(encoding)).decode()}


def ask(client: TestClient[Litestar], path: str, who: str = "owner") -> Any:
    answer = client.get(path, headers=basic(who))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def integers(value: Any) -> bool:
    """Whether no number anywhere is a float."""
    if isinstance(value, dict):
        return all(integers(one) for one in value.values())
    if isinstance(value, list):
        return all(integers(one) for one in value)
    return not isinstance(value, float)


@pytest.mark.parametrize("root", ["/api/site", "/api/m1/site"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_both_spellings_of_both_roots_answer_the_same(
    client: TestClient[Litestar], root: str, slash: str
) -> None:
    listed = ask(client, root + slash)
    assert [one["public_key"] for one in listed["data"]] == [NORTH, HYBRID, EMPTY]
    assert listed["data"][0]["name_retailer"] == "Reseller BV"
    assert listed["per_page"] == 30
    assert (listed["from"], listed["to"], listed["next_page_url"]) == (1, 3, None)
    found = ask(client, f"{root}/{NORTH}{slash}")
    assert found["address"]["country"] == "Nederland"
    assert found["systems"][0]["layout"] == [
        {"qty": 14, "type": "south", "pitch": 38, "azimuth": -15}
    ]
    assert found["dt_created"] == "2024-04-09"
    assert found["has_battery"] is False
    assert ask(client, f"{root}/{HYBRID}{slash}")["has_battery"] is True


def test_days_sum_to_the_month_and_totals_carry_over_a_swap(client: TestClient[Litestar]) -> None:
    kpis = ask(client, f"/api/site/{NORTH}/kpis/energy")
    month = ask(client, f"/api/site/{NORTH}/energy?r=month")["stats"]
    bars = month["graphs"]["pv_energy"]
    assert set(bars) == {OLD, NEW, TWIN}
    assert next(iter(bars[TWIN])) == "2026-09-01"
    assert sum(kwh or 0 for sn in bars for kwh in bars[sn].values()) == kpis["pv_month"]
    assert sum(bars[sn].get("2026-09-23") or 0 for sn in bars) == kpis["pv_today"]
    assert month["kpis"] == {
        "pv_today": kpis["pv_today"],
        "pv_month": kpis["pv_month"],
        "pv_to_date": kpis["pv_to_date"],
    }
    now = ask(client, f"/api/site/{NORTH}/power")["inverters"]
    total = {sn: one["out_ac_energy_total"] for sn, one in now.items()}
    # What the new one's counter showed when it came was not made here.
    assert kpis["pv_to_date"] == sum(total.values()) - 5
    assert now[OLD]["out_ac_power"] == 0
    assert now[OLD]["health"] == "OK"
    year = ask(client, f"/api/site/{NORTH}/energy?r=year")["stats"]["graphs"]["pv_energy"]
    assert list(year[TWIN]) == [f"2026-{month:02}-01" for month in range(1, 10)]
    assert year[TWIN]["2026-07-01"] is None
    assert sum(year[sn]["2026-09-01"] or 0 for sn in year) == kpis["pv_month"]
    ever = ask(client, f"/api/site/{NORTH}/energy?r=total")["stats"]["graphs"]["pv_energy"]
    assert list(ever[TWIN]) == ["2024-01-01", "2025-01-01", "2026-01-01"]
    week = ask(client, f"/api/site/{NORTH}/energy?r=week&d=20260831")["stats"]["graphs"]
    assert list(week["pv_energy"][TWIN]) == [
        f"{date(2026, 8, 31) + timedelta(days=n)}" for n in range(7)
    ]
    assert week["pv_energy"][TWIN]["2026-09-03"] == bars[TWIN]["2026-09-03"]


def test_a_day_s_curve_is_in_site_local_quarters(client: TestClient[Litestar]) -> None:
    found = ask(client, f"/api/site/{NORTH}/power?r=day")
    curve = found["stats"]["graphs"]["pv_power"][TWIN]
    keys = [datetime.strptime(at, "%Y-%m-%d %H:%M:%S") for at in curve]
    assert keys[0] == datetime(2026, 9, 23, 7, 0)
    assert keys[-1] == datetime(2026, 9, 23, 12, 0)
    assert {after - before for before, after in itertools.pairwise(keys)} == {timedelta(minutes=15)}
    assert set(found["stats"]["graphs"]["pv_power"][OLD].values()) == {None}
    assert found["inverters"][TWIN]["dt_latest_msg"] == "2026-09-23T10:05:00+00:00"
    assert found["stats"]["kpis"]["pv_now"] == sum(
        one["out_ac_power"] for one in found["inverters"].values()
    )
    older = ask(client, f"/api/site/{NORTH}/power?r=day&d=2026-09-01")["stats"]["graphs"]
    assert next(iter(older["pv_power"][TWIN])) == "2026-09-01 07:00:00"
    assert max(w or 0 for w in older["pv_power"][OLD].values()) in range(2_990, 3_001)
    assert set(older["pv_power"][NEW].values()) == {None}


def test_a_battery_s_numbers(client: TestClient[Litestar]) -> None:
    power = ask(client, f"/api/site/{HYBRID}/kpis/power")
    assert power["battery_now"] == power["battery_net_charged_now"] == 2_000
    assert power["consumption_now"] == 500
    assert power["battery_soc"] == 63
    assert power["is_daytime"] is True
    # What is made is used, stored or fed in.
    assert abs(power["pv_now"] - 500 - 2_000 - power["grid_export_now"]) <= 1
    kpis = ask(client, f"/api/site/{HYBRID}/kpis/energy")
    assert kpis["consumption_month"] == 22 * 12 + kpis["consumption_today"]
    for name in ("charged", "discharged"):
        assert 0 < kpis[f"battery_{name}_today"] < kpis[f"battery_{name}_month"]
        assert kpis[f"battery_{name}_month"] < kpis[f"battery_{name}_to_date"]
    assert kpis["battery_net_charged_to_date"] == (
        kpis["battery_charged_to_date"] - kpis["battery_discharged_to_date"]
    )
    assert kpis["self_consumption_month"] <= 100
    grid = ask(client, f"/api/site/{HYBRID}/consumption/energy?r=week&d=20260914")["energy"]
    assert len(grid) == 7
    assert all(kwh < 0 for kwh in grid.values())
    charging = ask(client, f"/api/site/{HYBRID}/batterypack/power?r=day&d=20260914&i=60")["power"]
    assert len(charging) == 24
    assert (min(charging.values()), max(charging.values())) == (-400, 2_000)
    one = ask(client, f"/api/site/{HYBRID}/inverter/{BATTERY}/energy?r=week&d=20260914")
    assert len(one["energy"]) == 7
    assert ask(client, f"/api/site/{NORTH}/batterypack/power?r=day") == {"power": {}}


def test_an_empty_site_has_empty_maps_and_zeros(client: TestClient[Litestar]) -> None:
    power = ask(client, f"/api/site/{EMPTY}/power")
    assert power["inverters"] == {}
    assert power["stats"]["graphs"] == {"pv_power": {}}
    assert power["stats"]["no_comms"] == []
    kpis = ask(client, f"/api/site/{EMPTY}/kpis/energy")
    assert {value for name, value in kpis.items() if name != "is_daytime"} == {0}
    for range_ in ("week", "month", "year", "total"):
        found = ask(client, f"/api/site/{EMPTY}/energy?r={range_}")
        assert found["stats"]["graphs"] == {"pv_energy": {}}


@pytest.mark.parametrize("key", [NORTH, HYBRID, EMPTY])
@pytest.mark.parametrize(
    "path",
    ["", "/kpis/energy", "/kpis/power", "/power", "/power?r=week", "/energy", "/energy?r=year"],
)
def test_every_number_is_whole(client: TestClient[Litestar], key: str, path: str) -> None:
    assert integers(ask(client, f"/api/site/{key}{path}"))


def test_silence_by_day_is_listed_and_null(world: World, client: TestClient[Litestar]) -> None:
    before = world.lake.all
    eight = datetime(2026, 9, 23, 8, tzinfo=UTC)
    gap = pl.col("ts").is_between(eight, eight + timedelta(minutes=44)) & (
        pl.col("inverter_sn") != BATTERY
    )
    try:
        world.lake.all = before.filter(~gap)
        world.lake.version += 1
        world.portal.sites.fleet.refresh(NOW + timedelta(minutes=31))
        found = ask(client, f"/api/site/{NORTH}/power")["stats"]
        assert {"start": "2026-09-23 10:00:00", "end": "2026-09-23 10:45:00"} in found["no_comms"]
        curve = found["graphs"]["pv_power"][TWIN]
        assert [at for at, watts in curve.items() if watts is None] == [
            "2026-09-23 10:00:00", "2026-09-23 10:15:00", "2026-09-23 10:30:00",
        ]  # fmt: skip
    finally:
        world.lake.all = before
        world.lake.version += 1
        world.portal.sites.fleet.refresh(NOW + timedelta(minutes=62))


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/site", {}, 401),
        ("/api/site", basic("owner", "wrong"), 401),
        ("/api/site", basic("nobody"), 401),
        ("/api/site", basic(DISABLED), 401),
        ("/api/site", {"Authorization": "Basic ???"}, 401),
        ("/api/site", {"Authorization": "Digest x"}, 401),
        ("/api/site", {"Authorization": "Basic " + "A" * 5_000}, 401),
        (f"/api/site/{NORTH}", {}, 401),
        (f"/api/site/{FOREIGN}/", basic("owner"), 404),
        (f"/api/site/{FOREIGN}/power", basic("owner"), 404),
        ("/api/site/nowhere0/power", basic("owner"), 404),
        ("/api/site/%2e%2e%2f/power", basic("owner"), 404),
        (f"/api/site/{NORTH}/inverter/{BATTERY}/power", basic("owner"), 404),
        (f"/api/site/{NORTH}/inverter/{BATTERY}/energy", basic("owner"), 404),
        (f"/api/site/{NORTH}/power?r=year", basic("owner"), 400),
        (f"/api/site/{NORTH}/energy?r=eternity", basic("owner"), 400),
        (f"/api/site/{NORTH}/energy?d=yesterday", basic("owner"), 400),
        (f"/api/site/{NORTH}/energy?d=19690101", basic("owner"), 400),
        (f"/api/site/{HYBRID}/batterypack/power?i=7", basic("owner"), 400),
        (f"/api/site/{HYBRID}/batterypack/power?i=x", basic("owner"), 400),
        ("/api/site?page=0", basic("owner"), 400),
        ("/api/site/a/b/c", basic("owner"), 404),
    ],
)
def test_refusals_are_problems_and_never_redirects(
    client: TestClient[Litestar], path: str, headers: dict[str, str], status: int
) -> None:
    answer = client.get(path, headers=headers, follow_redirects=False)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_names_and_passwords_come_in_both_encodings(client: TestClient[Litestar]) -> None:
    for encoding in ("utf-8", "latin-1"):
        answer = client.get("/api/site", headers=basic("owner", encoding=encoding))
        assert answer.status_code == 200, encoding


def test_a_change_of_password_or_disabling_ends_at_once_what_was_verified(
    world: World, client: TestClient[Litestar]
) -> None:
    ask(client, "/api/site", "guest")
    world.store.accounts.disable(world.ids["guest"], NOW)
    try:
        assert client.get("/api/site", headers=basic("guest")).status_code == 401
    finally:
        world.store.accounts.enable(world.ids["guest"])
        world.set_password("guest")
    ask(client, "/api/site", "guest")


def test_partners_need_a_token_and_are_told_so(world: World, client: TestClient[Litestar]) -> None:
    refused = client.get("/api/site", headers=basic("installer"))
    assert refused.status_code == 401
    assert "app token" in refused.json()["detail"]
    token = world.tokens["installer"]
    for headers in (world.header("installer"), {"Authorization": f"Bearer {token}"}):
        listed = client.get("/api/site", headers=headers).json()["data"]
        assert [one["public_key"] for one in listed] == [NORTH, HYBRID, EMPTY]
    wrong = client.get("/api/site", headers=world.header("installer", "aut_wrong"))
    assert wrong.status_code == 401


def test_who_guesses_waits_and_others_do_not(world: World, client: TestClient[Litestar]) -> None:
    answers = [
        client.get("/api/site", headers=basic("stranger", f"guess {n}")).status_code
        for n in range(8)
    ]
    assert answers[0] == 401
    assert answers[-1] == 429
    ask(client, "/api/site", "owner")


def test_a_guest_sees_no_address(world: World, client: TestClient[Litestar]) -> None:
    assert ask(client, f"/api/site/{NORTH}", "guest")["address"] == {}
    listed = ask(client, "/api/site", "guest")["data"][0]
    assert (listed["address_line_1"], listed["postcode"]) == ("-", "-")
    seen = client.get(f"/api/site/{NORTH}", headers=world.header("installer")).json()
    assert seen["address"]["city"] == "Utrecht"


def test_an_answer_that_is_the_same_is_not_sent_again(client: TestClient[Litestar]) -> None:
    path = f"/api/site/{NORTH}/kpis/energy"
    first = client.get(path, headers=basic("owner"))
    again = client.get(path, headers=basic("owner") | {"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get(path, headers=basic("owner") | {"If-None-Match": '"other", W/"x"'})
    assert other.status_code == 200
    assert first.headers["cache-control"] == "private, no-cache"


def test_before_the_lake_was_read_a_client_is_told_to_come_back(
    world: World, tmp_path_factory: pytest.TempPathFactory, client: TestClient[Litestar]
) -> None:
    fleet = world.portal.sites.fleet
    known, fleet._snapshot = fleet._snapshot, None
    try:
        answer = client.get(f"/api/site/{NORTH}/kpis/power", headers=basic("owner"))
    finally:
        fleet._snapshot = known
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
