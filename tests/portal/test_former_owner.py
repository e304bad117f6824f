"""Whoever buys a house receives nothing of those who lived there before, whatever he asks.

The same house twice: with a quiet past, and with a loud one in readings, derived tables, alarms,
settlements and the log. The buyer and his guest get the same answers, byte for byte, from every
route that there is; the installer, who may see both, does not. What the lifetime counter shows is
the device's and the same in both.
"""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import pyarrow as pa
import pytest
from litestar.testing import TestClient

from autarco_ingest import schema
from autarco_ingest.paths import DataDirectory
from autarco_portal import bundle_export, derived, guarantee
from autarco_portal.audit import AuditEntry
from autarco_portal.derived_store import DerivedStore, frame
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.incidents import Cause, Incident, Severity, State, Verdict
from autarco_portal.live_fleet import Fleet
from autarco_portal.live_sites import Views
from autarco_portal.personal_record import SupportNote
from autarco_portal.portal import Portal
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.privacy.sharing import Basis, Disclosure, RecipientKind
from autarco_portal.serve_app import assemble
from autarco_portal.shown_totals import ShownTotals
from made_lake import MadeLake
from portal_world import BATTERY, BEGAN, FIRST, FOREIGN, HYBRID, NOW, World
from privacy_samples import contract, settlement
from reading_rows import reading

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from autarco_portal.bundle import Profile
    from autarco_portal.bundle_telemetry import StickTable
    from autarco_portal.derived import Derived

SOLD = datetime(2026, 9, 14, 11, 22, tzinfo=UTC)
"""13:22 in Amsterdam: within a day, and within a quarter of an hour."""
SOLD_TODAY = datetime(2026, 9, 23, 6, 37, tzinfo=UTC)
COUNTER = 9_000_000
"""Wh that the counter shows when the house is sold."""
QUIET, LOUD = 120.0, 3_210.0
"""W that the house makes in the former owner's time."""
DAY = timedelta(days=1)
STEP = timedelta(minutes=5)
WHOSE = ("stranger", "guest", "installer")
"""The buyer, his guest, and somebody who may see all of it."""
CONTRACT = "C-1"
TABLES = (
    derived.DAILY_ENERGY,
    derived.SITE_DAY,
    derived.EXPECTED,
    derived.PERFORMANCE_RATIO,
    derived.PEER_RATIO,
    derived.AVAILABILITY,
)


Answers: TypeAlias = dict[str, tuple[int, bytes]]
"""Status and body by address."""


class House:
    """A world whose site HYBRID was sold by `owner` to `stranger`, who let `guest` in."""

    def __init__(self, directory: Path, sold: datetime) -> None:
        self.sold = sold
        self.directory = directory
        self.world = World(directory)
        store, ids = self.world.store, self.world.ids
        store.sites.end_owner(HYBRID, ids["owner"], sold)
        store.sites.add_owner(HYBRID, ids["stranger"], sold)
        store.sites.grant(
            HYBRID, person_id=ids["guest"], now=sold, why="tenant", given_by=ids["stranger"]
        )
        store.guarantees.add(contract(HYBRID, CONTRACT), BEGAN, GuaranteeStatus.ACTIVE)
        self.derived = DerivedStore(PortalDirectory.of(DataDirectory.at(directory)))
        self.sessions = {who: self.world.session(who) for who in WHOSE}

    def client(self, watts: float, *, is_loud: bool) -> TestClient[Any]:
        """The portal of a house with a past; what the store knows stays for the next one."""
        self._remember(is_loud=is_loud)
        lake = SoldLake(rows(self.sold, watts), NOW)
        fleet = Fleet(lake, self.directory / f"summaries-{watts}", placed=self.world._placed)
        fleet.refresh(NOW)
        old = self.world.portal
        portal = Portal(
            old.settings,
            store=self.world.store,
            sites=Views(
                fleet,
                self.world.store.sites.record,
                revision=lambda: self.world.store.revision,
                totals=ShownTotals(self.directory / f"totals-{watts}-{is_loud}.json"),
            ),
            now=lambda: NOW,
        )
        # Looks are noted once a day.
        portal._looks = old._looks
        self.lake = lake
        return TestClient(assemble(portal, self.world.accounts))

    def _remember(self, *, is_loud: bool) -> None:
        store, factor = self.world.store, 7.0 if is_loud else 1.0
        store.alarms.take_over(incidents(self.sold, factor), [HYBRID])
        for table in TABLES:
            self._derive(table, factor)
        if not is_loud:
            return
        store.guarantees.keep(settlement(contract(HYBRID, CONTRACT), 1_000), SOLD - 100 * DAY)
        look = AuditEntry(
            at=self.sold - DAY,
            actor=self.world.ids["installer"],
            action="view_site",
            thing=f"site:{HYBRID}",
        )
        store.privacy.add_note(
            SupportNote(
                note_id="before",
                site=HYBRID,
                text="The router of the former owner is in the cellar.",
                written_by=self.world.ids["support"],
                written_at=self.sold - 2 * DAY,
            ),
        )
        store.privacy.share(
            Disclosure(
                disclosure_id="before",
                recipient="Verzekeraar NV",
                kind=RecipientKind.INSURER,
                basis=Basis.CONTRACT,
                why="a claim of the former owner",
                fields=("settlements",),
                sites=(HYBRID,),
                period=(date(2026, 5, 1), date(2026, 6, 1)),
                asked_at=self.sold - 9 * DAY,
                asked_by="system:cli",
                disclosed_at=self.sold - 9 * DAY,
            ),
            look,
        )

    def _derive(self, table: Derived, factor: float) -> None:
        """One row for each of some days; the day of the sale is of both."""
        days = [self.sold.date() + n * DAY for n in (-20, -2, -1, 0, 1, 2)]
        days = [day for day in days if day <= NOW.date()]
        columns: dict[str, object] = {}
        for column in table.columns:
            values: list[object]
            if column.name == "date":
                values = list(days)
            elif column.name in table.keys or column.name == "site_id":
                values = [{"site_id": HYBRID, "inverter_sn": BATTERY}.get(column.name)] * len(days)
            else:
                values = [_value(column.type, day <= self.sold.date(), factor) for day in days]
            columns[column.name] = values
        self.derived.put(table, frame(table, columns), days)


Answered: TypeAlias = tuple[House, dict[str, tuple[Answers, Answers]]]


class SoldLake(MadeLake):
    """Knows of no sticks, and fills what a real lake's rows must have."""

    def readings(self, *asked: Any, **how: Any) -> pa.Table:
        rows = super().readings(*asked, **how)
        for name, value in CONSTANT.items():
            if name in rows.column_names:
                place, kind = (
                    rows.column_names.index(name),
                    schema.arrow_schema(schema.READINGS).field(name).type,
                )
                rows = rows.set_column(place, name, pa.array([value] * rows.num_rows, kind))
        return rows

    def of_sticks(
        self,
        table: StickTable,
        loggers: Collection[int],
        begins: datetime,
        ends: datetime,
        columns: Sequence[str],
    ) -> pa.Table:
        whole = schema.arrow_schema({one.name: one for one in schema.TABLES}[table])
        return pa.schema([whole.field(name) for name in columns]).empty_table()


CONSTANT = {
    "received_at": NOW, "time_source": "stick", "logger_sn": 1, "protocol": "v5",
    "sensor_type": 0, "historic": False,
}  # fmt: skip


def rows(sold: datetime, watts: float) -> list[dict[str, Any]]:
    """Constant power before the sale, another one after; the counter meets at the sale."""
    found, made = [], float(COUNTER)
    at = sold - STEP
    while at >= FIRST:
        found.append(_row(at, made, watts))
        made -= watts / 12
        at -= STEP
    made, at = float(COUNTER), sold
    while at <= NOW:
        found.append(_row(at, made, 600.0))
        made += 50.0
        at += STEP
    return sorted(found, key=lambda one: one["ts"])


def _row(at: datetime, made: float, watts: float) -> dict[str, Any]:
    return reading(at, int(made), ac_power=watts) | {
        "inverter_sn": BATTERY,
        "battery_power": watts / 3,
        "battery_soc_pct": watts / 100,
        "load_power": watts / 2,
        "grid_power": watts / 3 + watts / 2 - watts,
    }


def incidents(sold: datetime, factor: float) -> list[Incident]:
    """One that ended before, with a loud past only; two that outlast the sale; one of later."""
    lasting = [
        incident(cause, sold - 3 * DAY, closed, factor)
        for cause, closed in (
            (Cause.UNDERPERFORMANCE, None),
            (Cause.OPEN_STRING, sold + timedelta(hours=2)),
        )
    ]
    later = incident(Cause.CLOCK, sold + timedelta(minutes=5), None, 1.0)
    ended = incident(Cause.OUTAGE, sold - 9 * DAY, sold - 5 * DAY, factor)
    return [*lasting, later, *([ended] if factor > 1 else [])]


def incident(cause: Cause, begins: datetime, closed: datetime | None, factor: float) -> Incident:
    last = min(closed or NOW, NOW)
    days = [begins.date() + n * DAY for n in range((last.date() - begins.date()).days + 1)]
    verdicts = tuple(
        Verdict(
            site_id=HYBRID,
            inverter_sn=BATTERY,
            cause=cause,
            day=day,
            state=State.FAULTY,
            ends=datetime(day.year, day.month, day.day, 22, tzinfo=UTC),
            lost_kwh=1.25 * (factor if day <= begins.date() + 3 * DAY else 1.0),
            method="test",
            evidence={"ratio": 0.125 * (factor if day <= begins.date() + 3 * DAY else 1.0)},
        )
        for day in days
    )
    return Incident(
        site_id=HYBRID,
        inverter_sn=BATTERY,
        cause=cause,
        severity=Severity.WARNING,
        opened_at=begins,
        detected_at=begins + timedelta(minutes=1),
        owner_notified_at=begins + timedelta(minutes=factor) if factor > 1 else None,
        closed_at=closed,
        lost_kwh=sum(one.lost_kwh for one in verdicts),
        method="test",
        days=verdicts,
    )


def _value(kind: object, is_former: bool, factor: float) -> object:
    text = str(kind)
    if "int" in text or "float" in text or "double" in text:
        return int(3 * factor) if is_former else 2
    if text == "bool":
        return factor > 1 if is_former else True
    return None


BY_CHANCE = {"/profile/second-factor"}
"""A new secret each time."""
DAYS = ("2026-09-13", "2026-09-14", "2026-09-23")
"""Before the sale, the day of it, after it."""
PARTS: dict[str, tuple[str, ...]] = {
    "key": (HYBRID,),
    "serial": (BATTERY,),
    "contract": (CONTRACT,),
    "table": (
        "daily-energy", "site-day", "expected", "performance-ratio", "peer-ratio", "availability",
    ),
}  # fmt: skip
QUERIES: dict[str, tuple[str, ...]] = {
    "power": tuple(f"r={r}&d={d}" for r, d in itertools.product(("day", "week"), DAYS)),
    "energy": tuple(f"r={r}&d={d}" for r, d in itertools.product(("week", "month"), DAYS)),
    "site/{key:str}/energy": ("r=year", "r=total"),
    "readings": tuple(f"columns=all&from={d}&to={d}" for d in DAYS),
    "{table:str}": ("from=2026-08-24&to=2026-09-23", "from=2026-08-24&to=2026-09-05"),
    "alarms": ("open=false", "open=true", "state=all", "state=open"),
    "sites/{key:str}": tuple(f"day={d}" for d in DAYS),
}
"""By the end of a route."""


_API = f"/api/v1/sites/{HYBRID}"
WITH_PAST = {
    f"/sites/{HYBRID}", "/alarms", f"/guarantees/{CONTRACT}", "/guarantees",
    f"{_API}/readings", f"{_API}/alarms", f"{_API}/guarantees", "/api/v1/alarms", f"{_API}/now",
    *(f"{_API}/performance/{table}" for table in PARTS["table"]),
    *(
        f"/api/site/{HYBRID}{path}"
        for path in (
            "/power", "/energy", "/kpis/energy", f"/inverter/{BATTERY}/power",
            f"/inverter/{BATTERY}/energy", "/consumption/power", "/consumption/energy",
            "/batterypack/power", "/batterypack/energy",
        )
    ),
}  # fmt: skip
"""Addresses, without their queries, at which the past shows to whom it may."""


def addresses(app: Any, incident_ids: list[str], sha256: str) -> Iterator[str]:
    """Every address that can be read, of every route."""
    parts = PARTS | {"incident": tuple(incident_ids), "sha256": (sha256,)}
    for route in app.routes:
        if "GET" not in getattr(route, "methods", ()):
            continue
        # The aliases of the old portal's addresses have the same handlers.
        if route.path in BY_CHANCE or route.path.startswith("/api/m1/"):
            continue
        names = [one.name for one in route.path_parameters.values()]
        # Requests, links and files of somebody: there is none of these here.
        filled = [parts.get(name, ("nothing",)) for name in names]
        ends = [query for end, query in QUERIES.items() if route.path.endswith(end)]
        for values in itertools.product(*filled):
            path = route.path
            for name, value in zip(names, values, strict=True):
                path = path.replace(f"{{{name}:str}}", value).replace(f"{{{name}:path}}", value)
            yield path
            yield from (f"{path}?{query}" for queries in ends for query in queries)


def answers(
    house: House, client: TestClient[Any], whose: tuple[str, ...] = WHOSE
) -> dict[str, Answers]:
    """What each gets from everywhere."""
    ids = [one.incident_id for one in incidents(house.sold, 7.0)]
    loud = guarantee.digest(settlement(contract(HYBRID, CONTRACT), 1_000))
    found: dict[str, Answers] = {who: {} for who in whose}
    with client:

        def ask(who: str, address: str) -> tuple[int, bytes]:
            client.cookies.clear()
            answer = client.get(address, headers=house.sessions[who], follow_redirects=False)
            assert answer.status_code < 500, (address, answer.text)
            return answer.status_code, answer.content

        for who in house.sessions:
            # The first answers would be without the looks that they are.
            for address in (
                f"/sites/{HYBRID}",
                f"/guarantees/{CONTRACT}",
                f"/sites/{HYBRID}/looks",
            ):
                ask(who, address)
        for address in addresses(client.app, ids, loud):
            for who in whose:
                if who != "installer" or address.partition("?")[0] in WITH_PAST:
                    found[who][address] = ask(who, address)
    profiles: tuple[Profile, ...] = ("access", "portability")
    for profile in profiles:
        found["stranger"][profile] = (200, bundle(house, profile))
    return found


def bundle(house: House, profile: Profile) -> bytes:
    """All that is known of the buyer, without what grows while tests look."""
    buyer = house.world.ids["stranger"]
    records = house.world.store.person_data.collect(
        buyer, NOW, is_portable=profile == "portability"
    )
    out = house.directory / "bundle.zip"
    bundle_export.export(
        records,
        house.lake,
        PortalDirectory.of(DataDirectory.at(house.directory)),
        out,
        profile=profile,
        now=NOW,
    )
    made = out.read_bytes()
    out.unlink()
    return made


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answered]:
    house = House(tmp_path_factory.mktemp("house"), SOLD)
    quiet = answers(house, house.client(QUIET, is_loud=False))
    loud = answers(house, house.client(LOUD, is_loud=True))
    yield house, {who: (quiet[who], loud[who]) for who in house.sessions}
    house.world.close()


def differing(quiet: Answers, loud: Answers) -> list[str]:
    assert quiet.keys() == loud.keys()
    return [address for address in quiet if quiet[address] != loud[address]]


@pytest.mark.parametrize("who", ["stranger", "guest"])
def test_the_past_of_a_house_changes_no_answer(answered: Answered, who: str) -> None:
    quiet, loud = answered[1][who]
    assert differing(quiet, loud) == []
    assert len([1 for status, _ in quiet.values() if status == 200]) > 60


def test_nor_on_the_day_it_was_sold(tmp_path: Path) -> None:
    """Then most of what is shown is of quarters in memory."""
    house = House(tmp_path, SOLD_TODAY)
    buyer = ("stranger",)
    quiet = answers(house, house.client(QUIET, is_loud=False), buyer)["stranger"]
    loud = answers(house, house.client(LOUD, is_loud=True), buyer)["stranger"]
    house.world.close()
    assert differing(quiet, loud) == []


def test_whoever_cares_for_the_house_sees_its_past(answered: Answered) -> None:
    """Or the test above could not fail."""
    found = {address.partition("?")[0] for address in differing(*answered[1]["installer"])}
    assert found == WITH_PAST


def test_his_own_time_is_there_from_the_first_moment(answered: Answered) -> None:
    house, found = answered
    quiet = found["stranger"][0]
    day = house.sold.date()
    curve = msgspec.json.decode(quiet[f"/api/site/{HYBRID}/power?r=day&d={day}"][1])
    power = curve["stats"]["graphs"]["pv_power"][BATTERY]
    # The quarter of the sale is of both.
    assert next(iter(power)) == "2026-09-14 13:30:00"
    assert set(power.values()) == {600}
    bars = msgspec.json.decode(quiet[f"/api/site/{HYBRID}/energy?r=month&d={day}"][1])
    kwh = bars["stats"]["graphs"]["pv_energy"][BATTERY]
    assert kwh["2026-09-13"] is None
    # 10 h 38 min of the day, at 600 W.
    assert kwh["2026-09-14"] in (6, 7)
    assert kwh["2026-09-15"] in (14, 15)
    flows = msgspec.json.decode(
        quiet[f"/api/site/{HYBRID}/batterypack/energy?r=week&d=2026-09-14"][1]
    )
    assert flows["energy"]["2026-09-14"] == 2
    assert flows["energy"]["2026-09-15"] == 5
    kpis = msgspec.json.decode(quiet[f"/api/site/{HYBRID}/kpis/energy"][1])
    hours = (NOW - house.sold).total_seconds() / 3_600
    assert kpis["pv_to_date"] == int((COUNTER + 600 * hours) / 1_000)
    assert abs(kpis["pv_month"] - 0.6 * hours) <= 1
    assert abs(kpis["battery_charged_to_date"] - 0.2 * hours) <= 1
    rows = msgspec.json.decode(
        quiet[f"/api/v1/sites/{HYBRID}/readings?columns=all&from={day}&to={day}"][1]
    )
    assert rows[0]["ts"] == "2026-09-14T11:22:00Z"
    alarms = msgspec.json.decode(quiet[f"/api/v1/sites/{HYBRID}/alarms"][1])
    assert [one["cause"] for one in alarms] == ["clock", "underperformance", "open_string"]


def test_an_inverter_that_moved_shows_each_house_its_own_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    moved = SOLD + timedelta(hours=3)
    store = world.store
    before = store.sites.record(HYBRID)
    assert before is not None
    (device,) = before.inverters
    store.sites.uninstall(HYBRID, BATTERY, SOLD, NOW)
    store.sites.install(
        FOREIGN, msgspec.structs.replace(device, installed_at=moved, uninstalled_at=None), NOW
    )
    lake = SoldLake(rows(SOLD, LOUD), NOW)
    fleet = Fleet(lake, tmp_path / "summaries-moved", placed=world._placed)
    fleet.refresh(NOW)
    views = Views(
        fleet,
        store.sites.record,
        revision=lambda: store.revision,
        totals=ShownTotals(tmp_path / "totals.json"),
    )
    day = SOLD.date()
    charged = {}
    for key in (HYBRID, FOREIGN):
        site = store.sites.record(key)
        assert site is not None
        charged[key] = views.flows(site, NOW, "charged_wh", [day, day + DAY])[day]
        quarters = views.quarters(site, NOW, first=day, last=day)[BATTERY].quarter_us
        at = [datetime.fromtimestamp(one / 1e6, UTC) for one in quarters.tolist()]
        assert all(one < SOLD if key == HYBRID else one >= moved for one in at)
        assert at
    # 13 h 22 min of a third of 3,210 W here, 7 h 38 min of a third of 600 W there.
    assert charged[HYBRID] == pytest.approx(1_070 * 13.37, abs=300)
    assert charged[FOREIGN] == pytest.approx(200 * 7.63, abs=60)
    world.close()
