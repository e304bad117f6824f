"""Does the analysis find faults that somebody planted? A made town, its server, and the answer.

Starts `autarco-ingest serve` on a free loopback port, lets `autarco-ingest simulate --town` send it
some days of June over TCP, stops it, analyses the days, and compares the incidents with the truth
that the simulation wrote. `shown` then serves the portal on what is there, with somebody of each
role. All programs run as an operator would run them: the portal knows of ingest no more than its
commands.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from autarco_portal.incidents import Cause
from autarco_portal.site import Inverter, RoofPlane, Site

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from autarco_portal.analysis import DayReport
    from autarco_portal.demo_people import DemoAccount
    from autarco_portal.incidents import Incident

ZONE = ZoneInfo("Europe/Amsterdam")
LAST_EVENING = datetime(2025, 6, 24, 23, tzinfo=ZONE)
"""Summer, so that a day has light enough for every rule."""
MODULE_W = 360.0
READY = "listening on "
DEADLINE_S = 30.0

SETTINGS = {
    "AUTARCO_COMMIT_TICK_MS": "10",
    "AUTARCO_HTTP_LISTEN": "",
    "AUTARCO_FLUSH_SECONDS": "3",
    "AUTARCO_LATEST_SECONDS": "1",
    "AUTARCO_TAIL_SECONDS": "1",
}

SHOWS_AS = {
    "none": frozenset[Cause](),
    "broken string": frozenset({Cause.OPEN_STRING, Cause.MPPT_MISMATCH}),
    # The stick sends afterwards what it kept, so that nothing is missing.
    "communication outage": frozenset[Cause](),
    "dead inverter": frozenset({Cause.OUTAGE, Cause.ZERO_DAY}),
    "over-voltage trips": frozenset({Cause.OVER_VOLTAGE}),
    "stick unplugged": frozenset({Cause.COMMUNICATION_LOSS}),
}
"""What each planted fault should be called."""


class DemoError(Exception):
    """A step of the demo failed; the message is one sentence."""


class Planted(msgspec.Struct, frozen=True, kw_only=True):
    """A roof, what is wrong with it, and what the analysis said."""

    inverter_sn: str
    fault: str
    since: datetime | None
    found: tuple[tuple[Cause, date], ...]
    """Causes and the local day on which each alarmed."""
    lost_kwh: float

    @property
    def is_right(self) -> bool:
        """Whether the fault has its name, and nothing else was said."""
        wanted = SHOWS_AS[self.fault]
        causes = {cause for cause, _ in self.found}
        return bool(causes & wanted) if wanted else not causes

    @property
    def days(self) -> int | None:
        """On which day of the fault it was found, 1 for its first; None if it was not."""
        wanted = SHOWS_AS[self.fault]
        on = [day for cause, day in self.found if cause in wanted]
        if not on or self.since is None:
            return None
        return (min(on) - self.since.astimezone(ZONE).date()).days + 1


def run(data: Path, *, sticks: int, days: int) -> tuple[list[Planted], list[DayReport]]:
    """Runs all steps with fresh data in `data`; raises DemoError when one fails."""
    _clear(data)
    truth_file = data / "truth.json"
    with _server(data) as endpoint:
        print(f"town: {sticks} sticks live {days} days to {LAST_EVENING:%d %B %Y}", flush=True)
        _run(
            "simulate", "--town", "--to", endpoint, "--sticks", str(sticks), "--days", str(days),
            "--end", LAST_EVENING.isoformat(), "--truth", str(truth_file),
        )  # fmt: skip
    truth = json.loads(truth_file.read_text(encoding="utf-8"))["inverters"]
    last = LAST_EVENING.date()
    reports, incidents = _analyse(data, truth, last - timedelta(days=days - 1), last)
    return compared(truth, incidents), reports


def compared(truth: Sequence[dict[str, Any]], incidents: Sequence[Incident]) -> list[Planted]:
    """Puts what was said beside what was planted, roof by roof."""
    from autarco_portal.derived_rows import found_on

    result = []
    for number, roof in enumerate(truth):
        mine = [one for one in incidents if one.site_id == _site_id(number)]
        found = [(one.cause, day) for one in mine if (day := found_on(one)) is not None]
        since = roof["fault_from"]
        result.append(
            Planted(
                inverter_sn=roof["inverter_sn"],
                fault=roof["fault"],
                since=None if since is None else datetime.fromisoformat(since),
                found=tuple(sorted(found, key=lambda one: one[1])),
                lost_kwh=sum(one.lost_kwh for one in mine),
            )
        )
    return result


def sites(truth: Sequence[dict[str, Any]]) -> list[Site]:
    """Returns the sites of a simulated fleet: a plane for each string."""
    return [_site(number, roof) for number, roof in enumerate(truth)]


def _site(number: int, roof: dict[str, Any]) -> Site:
    watts = roof["kwp"] * 1_000
    shares = (1 - roof["second_string_share"], roof["second_string_share"])
    return Site(
        site_id=_site_id(number),
        latitude=roof["latitude"],
        longitude=roof["longitude"],
        commissioned_on=date(2022, 1, 1),
        planes=tuple(
            RoofPlane(
                name=f"string {string}",
                surface_tilt=roof["tilt"],
                surface_azimuth=roof["azimuth"],
                modules=max(1, round(watts * share / MODULE_W)),
                pdc0=watts * share,
            )
            for string, share in enumerate(shares, start=1)
        ),
        inverters=(
            Inverter(
                serial_number=roof["inverter_sn"],
                pac0=roof["rated_w"],
                installed_at=datetime(2022, 1, 1, tzinfo=UTC),
                mppt_planes=("string 1", "string 2"),
            ),
        ),
    )


def _site_id(number: int) -> str:
    return f"demo{number + 1:04d}"


def _analyse(
    data: Path, truth: Sequence[dict[str, Any]], first: date, last: date
) -> tuple[list[DayReport], list[Incident]]:
    from autarco_ingest.paths import DataDirectory
    from autarco_portal import analysis, derived, derived_rows, sites_file
    from autarco_portal.derived_store import DerivedStore
    from autarco_portal.lake_reader import LakeReader
    from autarco_portal.portal_paths import PortalDirectory
    from autarco_portal.weather_store import WeatherStore

    directory = DataDirectory.at(data)
    portal = PortalDirectory.of(directory)
    portal.root.mkdir(exist_ok=True)
    portal.sites.write_bytes(msgspec.json.format(msgspec.json.encode(sites(truth))))
    store, lake = DerivedStore(portal), LakeReader(directory)
    with store.locked():
        reports = analysis.analyse(
            sites_file.load(portal.sites),
            lake,
            WeatherStore(portal),
            store,
            analysis.Plan(first=first, last=last),
            # As if each day had been analysed when it was over.
            clock=lambda day: (
                datetime(day.year, day.month, day.day, tzinfo=ZONE) + timedelta(days=1, hours=1)
            ),
        )
    lake.publish()
    return reports, derived_rows.incidents_of(store.everything(derived.ALARMS))


@contextmanager
def shown(data: Path) -> Iterator[tuple[str, list[DemoAccount]]]:
    """Serves the portal on the demo's data: where it is, and who can sign in."""
    from autarco_ingest.paths import DataDirectory
    from autarco_portal import demo_people, derived, derived_rows, sites_file
    from autarco_portal.derived_store import DerivedStore
    from autarco_portal.portal_paths import PortalDirectory

    portal = PortalDirectory.of(DataDirectory.at(data))
    accounts = demo_people.populate(
        portal,
        sites_file.load(portal.sites),
        derived_rows.incidents_of(DerivedStore(portal).everything(derived.ALARMS)),
        datetime.now(UTC),
    )
    command = [sys.executable, "-m", "autarco_portal.cli", "serve"]
    with _served(command, data, data / "portal.log") as endpoint:
        yield f"http://{endpoint.removeprefix('http://')}", accounts


def answers(address: str, account: DemoAccount) -> int:
    """Asks for the sign-in page, and for somebody's sites by the API; returns how many those are.

    Raises DemoError.
    """
    word = f"{account.email}:{account.password.reveal()}".encode()
    who = {"Authorization": f"Basic {base64.b64encode(word).decode()}"}
    try:
        with urllib.request.urlopen(f"{address}/sign-in", timeout=DEADLINE_S) as page:  # noqa: S310
            page.read()
        ask = urllib.request.Request(f"{address}/api/site/", headers=who)  # noqa: S310 - as above
        with urllib.request.urlopen(ask, timeout=DEADLINE_S) as answer:  # noqa: S310
            return len(json.load(answer)["data"])
    except OSError as error:
        raise DemoError(f"the portal does not answer: {error}") from error


@contextmanager
def _server(data: Path) -> Iterator[str]:
    """Runs a server for sticks and says where it listens; stops it in the end."""
    with _served(_program("serve"), data, data / "server.log") as endpoint:
        yield endpoint


@contextmanager
def _served(command: Sequence[str], data: Path, log: Path) -> Iterator[str]:
    """Runs a server and says where it listens; stops it by SIGTERM in the end."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AUTARCO_")}
    with log.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own program, fixed arguments
            [*command, "--listen", "127.0.0.1:0", "--data", str(data)],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment | SETTINGS,
        )
    try:
        yield _ready(process, log)
        process.send_signal(signal.SIGTERM)
        if code := process.wait(DEADLINE_S):
            raise DemoError(f"the server ended with exit code {code}, see {log}")
    except subprocess.TimeoutExpired:
        raise DemoError(f"the server did not stop in {DEADLINE_S:.0f} s") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """Returns where the server listens, as its first line says."""
    if process.stdout is None:
        raise AssertionError("started without a pipe")
    deadline_s = time.monotonic() + DEADLINE_S
    line = b""
    while not line.endswith(b"\n"):
        left_s = max(0.0, deadline_s - time.monotonic())
        chunk = b""
        if select.select([process.stdout], [], [], left_s)[0]:
            chunk = os.read(process.stdout.fileno(), 4_096)
        if not chunk:
            raise DemoError(f"the server did not start, see {log}")
        line += chunk
    return line.decode("utf-8", "replace").strip().removeprefix(READY)


def _run(*arguments: str) -> None:
    if subprocess.run(_program(*arguments), check=False).returncode:  # noqa: S603 - as above
        raise DemoError(f"autarco-ingest {arguments[0]} failed")


def _program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "autarco_ingest", *arguments]


def _clear(data: Path) -> None:
    """Removes the data of an earlier demo, and nothing that looks like something else."""
    if data.is_dir() and any(data.iterdir()) and not (data / "truth.json").is_file():
        raise DemoError(f"{data} exists and is no data of a demo; use another --data")
    try:
        if data.exists():
            shutil.rmtree(data)
        data.mkdir(parents=True)
    except OSError as error:
        raise DemoError(f"cannot prepare {data}: {error.strerror}") from error
