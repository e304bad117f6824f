"""The client that people have, on a portal and a lake as they run: does it get what sticks sent?

Frames of simulated sticks and of a recorded one go over TCP to the real server, which writes the
Delta table; a battery's readings come in by `autarco-ingest load`, since no stick is known whose
frames tell of one. `autarco-portal serve` shows that data directory under TLS, and the client's
numbers are compared with what was put in, computed here by other means.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from autarco import AutarcoAuthenticationError, AutarcoConnectionError

import corpus
import rows
from autarco_ingest import catalog
from autarco_ingest.paths import DataDirectory
from autarco_portal.passwords import Hasher
from autarco_portal.people import SELF, SiteOwner
from autarco_portal.secret import Secret
from autarco_portal.site import Inverter, RoofPlane
from autarco_portal.site_record import Address, NewSite
from autarco_portal.store import open_store
from portal_process import Certificate, Server, all_of, by_client, serving
from portal_world import CHEAP
from server_process import running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from autarco import Autarco

# The client's own, and its code is not ours to change.
pytestmark = [
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'auth' parameter is deprecated:DeprecationWarning"),
]
ZONE = ZoneInfo("Europe/Amsterdam")
SOLAR, BATTERY, RECORDED = "solar001", "battery2", "recorde3"
EMPTY, FOREIGN = "empty004", "foreign5"
HYBRID = "26010007A1B2C3"
COUNTER_WH = 18_422_300
STEP = timedelta(minutes=5)
PASSWORD = "zonnige dagen in mei"  # noqa: S105
SIMULATED_DAYS = 2
REPLAYED = 700
"""Of 1,234 recorded frames: enough for live and historic ones."""
CO2_KG = 0.3686


class Put:
    """What was put in."""

    def __init__(self, data: Path) -> None:
        self.data = DataDirectory.at(data)
        self.now = datetime.now(UTC).replace(second=0, microsecond=0)
        self.truth: list[dict[str, Any]] = []
        self.hybrid: list[dict[str, Any]] = []
        self.recorded: str | None = None
        """Serial number of the inverter whose stick was recorded; None where that is not here."""

    @property
    def today(self) -> date:
        return self.now.astimezone(ZONE).date()

    def ask(self, sql: str) -> list[dict[str, Any]]:
        return catalog.query(self.data, sql).to_pylist()


@pytest.fixture(scope="module")
def put(tmp_path_factory: pytest.TempPathFactory) -> Put:
    directory = tmp_path_factory.mktemp("lake")
    put = Put(directory / "data")
    put.hybrid = hybrid_rows(put.now)
    pq.write_table(rows.readings(*put.hybrid), directory / "hybrid.parquet")
    ingest("load", "--data", str(put.data.root), f"readings={directory / 'hybrid.parquet'}")
    session = corpus.FRAMES / "solis-session.jsonl"
    truth = directory / "truth.json"
    log = directory / "ingest.log"
    with running(put.data.root, log=log, time_zone="Europe/Amsterdam") as server:
        to = ("--to", f"127.0.0.1:{server.port}")
        commands: list[tuple[str, ...]] = [
            ("simulate", *to, "--sticks", "2", "--days", str(SIMULATED_DAYS),
             "--end", put.now.isoformat(), "--truth", str(truth)),
        ]  # fmt: skip
        if session.is_file():
            limit = ("--limit", str(REPLAYED), "--one-connection")
            commands.append(("replay", str(session), *to, *limit))
        # At once: each frame waits for a commit of its own.
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda command: ingest(*command), commands))
        assert server.stop() == 0, log.read_text()
    put.truth = json.loads(truth.read_text())["inverters"]
    if session.is_file():
        (found,) = put.ask(
            "SELECT DISTINCT inverter_sn AS sn FROM readings WHERE ts < '2022-01-01'"
        )
        put.recorded = found["sn"]
    return put


@pytest.fixture(scope="module")
def server(put: Put, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    populate(put)
    certificate = Certificate(tmp_path_factory.mktemp("tls"))
    command: list[str | Path] = [
        "-m", "autarco_portal.cli", "serve", "--listen", "127.0.0.1:0",
        "--data", str(put.data.root),
        "--tls-cert", certificate.chain, "--tls-key", certificate.key,
    ]  # fmt: skip
    with serving(command, certificate) as server:
        yield server


def ingest(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "autarco_ingest", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def hybrid_rows(now: datetime) -> list[dict[str, Any]]:
    """Every five minutes since 40 days ago; the battery gives by night what it took by day."""
    at = (now - timedelta(days=40)).replace(hour=0, minute=0)
    found, counter = [], COUNTER_WH
    while at <= now:
        takes = 6 <= at.hour < 18
        made, battery = (1_500.0, 700.0) if takes else (300.0, -240.0)
        load = 420.0
        found.append(
            rows.reading(
                ts=at, received_at=at, inverter_sn=HYBRID, logger_sn=4_100_000_777, sensor_type=0,
                ac_power=made, energy_total_wh=counter, battery_power=battery,
                battery_soc_pct=63.4, load_power=load, grid_power=load + battery - made,
                ac_voltage_l1=231.0, status=4,
            )
        )  # fmt: skip
        counter += round(made / 12)
        at += STEP
    return found


def populate(put: Put) -> None:
    """Two people; all sites but one are the first one's."""
    portal = put.data.root / "portal"
    portal.mkdir(mode=0o700, exist_ok=True)
    store = open_store(str(portal / "portal.sqlite"), migrate=True)
    began = datetime(2021, 1, 1, tzinfo=UTC)
    hasher = Hasher(CHEAP)
    ids = []
    for who in ("owner", "neighbour"):
        person = store.people.add(name=who, email=f"{who}@example.org", source=SELF, now=began)
        store.accounts.add(person.person_id, began)
        store.accounts.set_password(person.person_id, hasher.hash(Secret(PASSWORD)), began)
        ids.append(person.person_id)
    installed = put.now - timedelta(days=SIMULATED_DAYS + 1)
    inverters = {
        SOLAR: [(one["inverter_sn"], one["rated_w"], installed) for one in put.truth],
        BATTERY: [(HYBRID, 10_000.0, began)],
        RECORDED: [(put.recorded, 3_600.0, began)] if put.recorded else [],
        EMPTY: [],
        FOREIGN: [],
    }
    for key, hanging in inverters.items():
        store.sites.add(
            NewSite(
                public_key=key,
                name=f"Huis {key}",
                address=Address(street="Teststraat 12", postcode="3511 ZZ", city="Utrecht"),
                latitude=52.09,
                longitude=5.12,
                commissioned_on=None if key == EMPTY else date(2021, 1, 1),
                planes=(
                    RoofPlane(
                        name="roof", surface_tilt=38, surface_azimuth=165, modules=14, pdc0=5_740
                    ),
                ),
                inverters=tuple(
                    Inverter(serial_number=serial, pac0=pac0, installed_at=at)
                    for serial, pac0, at in hanging
                ),
                owners=(SiteOwner(person_id=ids[key == FOREIGN], from_at=began),),
            ),
            began,
        )
    store.close()


def asked(
    server: Server,
    use: Callable[[Autarco], Awaitable[Any]],
    *,
    who: str = "owner",
    password: str = PASSWORD,
) -> Any:
    return by_client(server, use, email=f"{who}@example.org", password=password)


def whole(wh: Mapping[datetime, float], today: date) -> tuple[int, int, int]:
    """Whole kWh of today, this month and ever, as differences of whole sums."""
    ends = []
    for until in (today.replace(day=1), today, date.max):
        before = math.fsum(v for at, v in wh.items() if at.astimezone(ZONE).date() < until)
        ends.append(math.floor(before / 1_000 + 1e-9))
    return ends[2] - ends[1], ends[2] - ends[0], ends[2]


def by_quarter(put: Put, flow: Callable[[dict[str, Any]], float]) -> dict[datetime, float]:
    """Wh by quarter of an hour: the mean power of what was measured in it, for all of it."""
    watts: dict[datetime, list[float]] = defaultdict(list)
    for row in put.hybrid:
        at = row["ts"]
        watts[at.replace(minute=at.minute // 15 * 15)].append(flow(row))
    return {at: sum(found) / len(found) / 4 for at, found in watts.items()}


def test_the_account_lists_the_sites_of_its_owner(server: Server) -> None:
    sites = asked(server, lambda client: client.get_account())
    assert [(one.public_key, one.system_name) for one in sites] == [
        (key, f"Huis {key}") for key in (SOLAR, BATTERY, RECORDED, EMPTY)
    ]
    assert [one.site_id for one in sites] == [1, 2, 3, 4]
    health = {one.public_key: one.health for one in sites}
    # The recorded stick was last heard years ago.
    assert (health[BATTERY], health[EMPTY]) == ("OK", "OK")
    (mine,) = asked(server, lambda client: client.get_account(), who="neighbour")
    assert mine.public_key == FOREIGN


def test_simulated_sticks_come_out_as_they_went_in(put: Put, server: Server) -> None:
    site, solar, inverters, power, energy = asked(server, all_of(SOLAR))
    assert (site.has_battery, site.has_consumption_meter, site.timezone) == (
        False,
        False,
        "Europe/Amsterdam",
    )
    serials = {one["inverter_sn"] for one in put.truth}
    assert set(inverters) == serials
    listed = ", ".join(f"'{serial}'" for serial in sorted(serials))
    newest = put.ask(
        "SELECT inverter_sn AS sn, max(energy_total_wh) AS wh, arg_max(ac_power, ts) AS w, "  # noqa: S608
        f"count(*) AS n FROM readings WHERE inverter_sn IN ({listed}) GROUP BY 1"
    )
    sent = {one["inverter_sn"]: one["readings"] for one in put.truth}
    assert {row["sn"]: row["n"] for row in newest} == sent
    for row in newest:
        assert inverters[row["sn"]].out_ac_energy_total == row["wh"] // 1_000
        assert inverters[row["sn"]].out_ac_power in (round(row["w"]), 0)
    totals = sum(one.out_ac_energy_total for one in inverters.values())
    assert solar.energy_production_total == totals
    assert solar.power_production == sum(one.out_ac_power for one in inverters.values())

    # Days by the truth of who simulated; the counters on the wire have steps of 1 kWh.
    graph = energy.graphs.pv_energy
    for one in put.truth:
        for text, kwh in one["kwh"].items():
            day = date.fromisoformat(text)
            if put.today.replace(day=1) <= day < put.today and len(one["kwh"]) > 1:
                is_first = text == min(one["kwh"])
                shown = graph[one["inverter_sn"]][day] or 0
                assert is_first or abs(shown - kwh) <= 1, (text, kwh)
    month = sum(kwh or 0 for days in graph.values() for kwh in days.values())
    assert solar.energy_production_month == month
    assert site.co2_month == round(month * CO2_KG)
    assert solar.energy_production_today == sum(days[put.today] or 0 for days in graph.values())

    # Today's curve, from the table itself: a row whose clock stands still measured nothing.
    means: dict[str, dict[datetime, int]] = defaultdict(dict)
    for row in put.ask(
        "SELECT inverter_sn AS sn, time_bucket(INTERVAL 15 minutes, ts) AS q, "  # noqa: S608
        "avg(ac_power) AS w "
        "FROM (SELECT *, lag(inverter_clock) OVER (PARTITION BY inverter_sn ORDER BY ts) AS b "
        f"FROM readings WHERE inverter_sn IN ({listed})) "
        "WHERE inverter_clock IS DISTINCT FROM b AND ac_power IS NOT NULL GROUP BY 1, 2"
    ):
        wall = row["q"].astimezone(ZONE).replace(tzinfo=None)
        if wall.date() == put.today:
            means[row["sn"]][wall] = round(row["w"])
    for serial in serials:
        curve = power.graphs.pv_power.get(serial, {})
        assert {at: w for at, w in curve.items() if w is not None} == pytest.approx(
            means[serial], abs=1
        )


def test_a_battery_comes_out_as_it_went_in(put: Put, server: Server) -> None:
    async def ask(client: Autarco) -> Any:
        return (
            await client.get_site(BATTERY),
            await client.get_solar(BATTERY),
            await client.get_battery(BATTERY),
            await client.get_inverters(BATTERY),
            await client.get_power_statistics(BATTERY, "week"),
            await client.get_energy_statistics(BATTERY, "year"),
        )

    site, solar, battery, inverters, power, energy = asked(server, ask)
    last = put.hybrid[-1]
    assert (site.has_battery, site.has_consumption_meter) == (True, True)
    assert solar.power_production == inverters[HYBRID].out_ac_power == last["ac_power"]
    assert battery.flow_now == battery.net_charged_now == last["battery_power"]
    assert battery.state_of_charge == 63
    charged = by_quarter(put, lambda row: max(0.0, row["battery_power"]))
    assert (battery.charged_today, battery.charged_month, battery.charged_total) == whole(
        charged, put.today
    )
    discharged = by_quarter(put, lambda row: max(0.0, -row["battery_power"]))
    assert (
        battery.discharged_today,
        battery.discharged_month,
        battery.discharged_total,
    ) == whole(discharged, put.today)
    used = by_quarter(put, lambda row: row["load_power"])
    assert (site.consumption_today, site.consumption_month, site.consumption_total) == whole(
        used, put.today
    )

    def register(at: date) -> int:
        """Whole kWh at a local midnight, on which there is a sample."""
        moment = datetime(at.year, at.month, at.day, tzinfo=ZONE)
        return int(next(r["energy_total_wh"] for r in put.hybrid if r["ts"] >= moment) // 1_000)

    total = last["energy_total_wh"] // 1_000
    assert inverters[HYBRID].out_ac_energy_total == solar.energy_production_total == total
    assert solar.energy_production_today == total - register(put.today)
    first = put.today.replace(day=1)
    assert solar.energy_production_month == total - register(first)
    assert site.co2_total == round(total * CO2_KG)
    assert energy.graphs.pv_energy[HYBRID][first] == solar.energy_production_month
    assert energy.kpis["pv_month"] == solar.energy_production_month
    monday = put.today - timedelta(days=put.today.weekday())
    made = {}
    for row in put.hybrid:
        wall = row["ts"].astimezone(ZONE).replace(tzinfo=None)
        if wall.date() >= monday:
            made[wall.replace(minute=wall.minute // 15 * 15)] = round(row["ac_power"])
    assert power.graphs.pv_power[HYBRID] == made


def test_a_recorded_stick_comes_out_as_its_cloud_showed_it(put: Put, server: Server) -> None:
    lines = corpus.lines("solis-session.jsonl")
    shown = [one["cloud_export"] for one in lines if "cloud_export" in one]

    async def ask(client: Autarco) -> Any:
        return (
            await client.get_solar(RECORDED),
            await client.get_inverters(RECORDED),
            await client.get_power_statistics(RECORDED),
            await client.get_energy_statistics(RECORDED, "total"),
        )

    solar, inverters, power, energy = asked(server, ask)
    assert put.recorded is not None
    inverter = inverters[put.recorded]
    total = max(float(one["Total Generation (Active)(kWh)"]) for one in shown)
    assert inverter.out_ac_energy_total == solar.energy_production_total == int(total)
    assert (inverter.out_ac_power, inverter.health) == (0, "OFFLINE")
    assert (solar.power_production, solar.energy_production_today) == (0, 0)
    assert power.graphs.pv_power == {put.recorded: {}}
    years = energy.graphs.pv_energy[put.recorded]
    sent = [bytes.fromhex(one["hex"]) for one in lines if one["direction"] == "stick->server"]
    sent = sent[:REPLAYED]
    counted = [
        int.from_bytes(frame[80:84], "little") // 10 for frame in sent if frame[4:5] == b"\x42"
    ]
    # Also replayed records of the hours before count.
    assert years.pop(date(2021, 1, 1)) == max(counted) - min(counted) == 2
    assert set(years.values()) == {None}


def test_an_empty_site_is_zeros_and_empty_maps(server: Server) -> None:
    async def ask(client: Autarco) -> Any:
        return (
            await client.get_site(EMPTY),
            await client.get_solar(EMPTY),
            await client.get_inverters(EMPTY),
            await client.get_battery(EMPTY),
            await client.get_power_statistics(EMPTY),
            await client.get_energy_statistics(EMPTY, "total"),
        )

    site, solar, inverters, battery, power, energy = asked(server, ask)
    assert (site.co2_total, site.consumption_total, site.has_battery) == (0, 0, False)
    assert (solar.energy_production_total, battery.flow_now, battery.charged_total) == (0, 0, 0)
    assert inverters == power.graphs.pv_power == energy.graphs.pv_energy == {}


def test_refusals_are_those_that_the_client_tells_apart(server: Server) -> None:
    with pytest.raises(AutarcoAuthenticationError):
        asked(server, lambda client: client.get_account(), password="not that one")  # noqa: S106
    with pytest.raises(AutarcoAuthenticationError):
        asked(server, lambda client: client.get_account(), who="nobody")
    with pytest.raises(AutarcoConnectionError):
        asked(server, lambda client: client.get_site(FOREIGN))
    with pytest.raises(AutarcoConnectionError):
        asked(server, lambda client: client.get_site("nothing1"))
