"""What has to be there before a fleet can be polled: two days of its readings, sites, owners?

Each stick of the load fleet sends one record first: that tells its inverter's serial number and
counter. Made-up readings every five minutes lead up to these counters, and come in by `load`. Each
inverter hangs at a site of its own, whose owner's program has an app token, or for some of them
his password, as programs of people have that were set up before there were tokens.
"""

from __future__ import annotations

import base64
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from autarco_ingest import load, schema, settings
from autarco_ingest.paths import DataDirectory
from autarco_portal.api_access import ApiAccess
from autarco_portal.passwords import Hasher
from autarco_portal.people import SELF, SiteOwner
from autarco_portal.proofs import Proofs
from autarco_portal.secret import Secret
from autarco_portal.site import Inverter, RoofPlane
from autarco_portal.site_record import Address, NewSite
from autarco_portal.store import open_store
from processes import Fleet, Server, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

STEP = timedelta(minutes=5)
DAYS_BEFORE = 2
PEAK_W = 3_000.0
ONE_OF_HAS_PASSWORD = 50
"""Every so manieth program has a password. Comparing one takes both cores 0.1 s, and each is
compared before anything is measured."""
_PASSWORD = Secret("as good as any for all of them")


class Poller(msgspec.Struct, frozen=True):
    """A site, and what the program of its owner sends."""

    key: str
    authorization: str
    has_password: bool


def make(root: Path, sites: int) -> list[Poller]:
    """Makes the data directory `root`: lake and store; nothing runs there in the end."""
    registers = _first_records(root, sites)
    _make_history(root, registers)
    found = _make_store(root, list(registers))
    _file(root).write_bytes(msgspec.json.encode(found))
    return found


def made(root: Path) -> list[Poller] | None:
    """Returns the sites of a directory that `make` has made before, None for another one."""
    if not _file(root).exists():
        return None
    return msgspec.json.decode(_file(root).read_bytes(), type=list[Poller])


def _file(root: Path) -> Path:
    return root.with_suffix(".pollers.json")


def fleet(server: Server, sticks: int, *options: str) -> Fleet:
    """Starts the sticks that the sites are of."""
    where = ("--to", f"127.0.0.1:{server.port}", "--sticks", str(sticks))
    return Fleet(*where, "--sources", str(-(-sticks // 1_000)), *options)


def _first_records(root: Path, sticks: int) -> dict[str, int]:
    """Lets each stick send a record, and returns the counters by serial number in Wh."""
    server = Server(root, port=free_port(), latest_seconds="1")
    latest = DataDirectory.at(root).latest

    def have_come() -> bool:
        return latest.exists() and pq.read_metadata(latest).num_rows >= sticks

    try:
        sent = fleet(server, sticks, "--hold", "600")
        wait_until("every stick has sent a record", have_come, seconds=120)
        sent.report(end=True)
        server.stop()
    finally:
        server.end()
    rows = pq.read_table(latest, columns=["inverter_sn", "energy_total_wh"])
    return dict(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def _make_history(root: Path, registers: dict[str, int]) -> None:
    now = datetime.now(UTC)
    days = [now.date() - timedelta(days=n) for n in range(DAYS_BEFORE, -1, -1)]
    files = []
    for day in days:
        file = root.with_name(f"{root.name}-{day}.parquet")
        pq.write_table(_day(day, registers, now), file)
        files.append(("readings", file))
    load.run(settings.load(overrides={"data": str(root)}), files)
    for _, file in files:
        file.unlink()


def _day(day: date, registers: dict[str, int], now: datetime) -> pa.Table:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    # The last five minutes are the record that each stick has sent.
    steps = sum(begin + (n + 1) * STEP <= now for n in range(288))
    ms = round(begin.timestamp() * 1_000) + np.arange(steps) * 300_000
    watts = _watts(np.arange(steps) / 12)
    # Backwards from what the counter shows now.
    hours_now = (now - begin).total_seconds() / 3_600
    later = np.arange(max(0, (now.date() - day).days) * 288 + 288) / 12
    made_wh = np.cumsum(np.where(later < hours_now, _watts(later % 24), 0) / 12)
    missing_wh = made_wh[-1] - made_wh[:steps]
    serials = list(registers)
    totals = np.repeat(np.array(list(registers.values())), steps) - np.tile(
        missing_wh, len(serials)
    )
    ts = pa.array(np.tile(ms, len(serials))).cast(pa.timestamp("ms", "UTC")).cast(schema.INSTANT)
    rows = len(ts)
    given: dict[str, Any] = {
        "ts": ts,
        "received_at": ts,
        "inverter_sn": np.repeat(serials, steps),
        "ac_power": np.tile(watts, len(serials)).astype(np.float32),
        "energy_total_wh": totals.astype(np.int64) // 100 * 100,
        "logger_sn": np.zeros(rows, np.int64),
        "sensor_type": np.full(rows, 0x0507, np.int32),
    }
    table = pa.table(given)
    fill: dict[str, Any] = {"time_source": "stick", "protocol": "v5", "historic": False}
    for column in schema.READINGS.columns:
        if column.name not in table.column_names and column.name != "date":
            value: Any = pa.scalar(fill.get(column.name), column.type)
            table = table.append_column(column.name, pa.repeat(value, rows))
    return table


def _watts(hour: Any) -> Any:
    return np.clip(np.sin((hour - 6) / 12 * np.pi), 0, None) * PEAK_W


def _make_store(root: Path, serials: list[str]) -> list[Poller]:
    (root / "portal").mkdir(mode=0o700, exist_ok=True)
    now = datetime.now(UTC) - timedelta(days=400)
    plane = RoofPlane(name="south", surface_tilt=35, surface_azimuth=180, modules=10, pdc0=4_000)
    hasher = Hasher()
    password_hash = hasher.hash(_PASSWORD)
    owners, news = [], []
    with open_store(str(root / "portal" / "portal.sqlite"), migrate=True) as store:
        access = ApiAccess(store, Proofs(store, bytes(32), hasher))
        for n, serial in enumerate(serials):
            email = f"owner{n}@example.org"
            person_id = store.people.add(
                name=f"Owner {n}", email=email, source=SELF, now=now
            ).person_id
            store.accounts.add(person_id, now)
            has_password = n % ONE_OF_HAS_PASSWORD == 0
            if has_password:
                store.accounts.set_password(person_id, password_hash, now)
                secret = _PASSWORD
            else:
                _, secret = access.add_token(person_id, "home", has_second_factor=False, now=now)
            owners.append((_basic(email, secret), has_password))
            news.append(
                NewSite(
                    name=f"Site {n}",
                    address=Address(street=f"Street {n}", postcode="3511 ZZ", city="Utrecht"),
                    latitude=52.1,
                    longitude=5.1,
                    commissioned_on=now.date(),
                    planes=(plane,),
                    inverters=(Inverter(serial_number=serial, pac0=6_000, installed_at=now),),
                    owners=(SiteOwner(person_id=person_id, from_at=now),),
                )
            )
        made_sites = store.sites.add_all(news, now)
    return [
        Poller(site.public_key, authorization, has_password)
        for site, (authorization, has_password) in zip(made_sites, owners, strict=True)
    ]


def _basic(email: str, secret: Secret) -> str:
    """As the client that Home Assistant uses: Basic, whatever the secret is."""
    return "Basic " + base64.b64encode(f"{email}:{secret.reveal()}".encode("latin-1")).decode()
