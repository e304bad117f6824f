"""A small world for tests of the portal's routes: people of every role, sites, and their readings.

`north` has string inverters one of which was replaced, `hybrid` a battery and a meter, `empty`
nothing yet, `foreign` belongs to somebody else and is cared for by nobody here.
"""

from __future__ import annotations

import base64
import math
import secrets
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from autarco_portal.account import LoginSession
from autarco_portal.accounts import Accounts
from autarco_portal.live_fleet import Fleet, Placed
from autarco_portal.live_sites import Views
from autarco_portal.passwords import Hasher, Parameters
from autarco_portal.people import (
    SELF,
    MemberRole,
    OrganisationKind,
    PortalRole,
    SiteOwner,
    SiteRole,
)
from autarco_portal.portal import Portal, Settings
from autarco_portal.secret import Secret, digest
from autarco_portal.shown_totals import ShownTotals
from autarco_portal.site import Inverter, RoofPlane
from autarco_portal.site_record import Address, NewSite
from autarco_portal.store import Store, open_store
from made_lake import MadeLake
from reading_rows import reading

if TYPE_CHECKING:
    from pathlib import Path


CHEAP = Parameters(time_cost=1, memory_kib=8, parallelism=1)
NOW = datetime(2026, 9, 23, 10, 7, tzinfo=UTC)
"""12:07 in Amsterdam."""
BEGAN = datetime(2024, 4, 9, 10, tzinfo=UTC)
FIRST = datetime(2026, 8, 20, tzinfo=UTC)
SWAP = datetime(2026, 9, 10, 12, tzinfo=UTC)
NORTH, HYBRID, EMPTY, FOREIGN = "north001", "hybrid02", "empty003", "foreign4"
OLD, NEW, TWIN, BATTERY, OTHER = "26010001", "26010002", "26010003", "26010004", "26010005"
PARTNERS = ("installer", "maintenance", "reseller", "distributor", "above")
STAFF = ("administrator", "support", "privacy_officer")
PEOPLE = ("owner", "guest", "stranger", *PARTNERS, *STAFF)
DISABLED = "disabled"


def email(who: str) -> str:
    return f"{who}@example.org"


def password(who: str) -> str:
    return f"pässword of {who}"


class World:
    """Everything together; `ids` are the persons' identifiers by role."""

    def __init__(self, directory: Path, *, now: datetime = NOW) -> None:
        self.now = now
        self.directory = directory
        # As `serve` leaves it.
        (directory / "portal").mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = Settings(data=directory, database=str(directory / "portal.sqlite"))
        self.store: Store = open_store(settings.store_url, migrate=True)
        self.ids: dict[str, str] = {}
        self._hasher = Hasher(CHEAP)
        self.accounts = Accounts(self.store, bytes(32), hasher=self._hasher)
        self.tokens: dict[str, str] = {}
        self._people()
        self._sites()
        self.lake = MadeLake(readings(), now)
        self.totals = directory / "portal" / "shown-totals.json"
        self.settings = settings
        self.restart()

    def restart(self) -> None:
        """Begins anew, with what is on disk and in the lake."""
        fleet = Fleet(self.lake, self.directory / "summaries", placed=self._placed)
        fleet.refresh(self.now)
        views = Views(
            fleet,
            self.store.sites.record,
            revision=lambda: self.store.revision,
            totals=ShownTotals(self.totals),
        )
        self.portal = Portal(self.settings, store=self.store, sites=views, now=lambda: self.now)

    def header(
        self, who: str, secret: str | None = None, encoding: str = "latin-1"
    ) -> dict[str, str]:
        """What a program of somebody sends: partners and staff need a token."""
        shown = self.tokens[who] if secret is None and who in self.tokens else password(who)
        pair = f"{email(who)}:{shown if secret is None else secret}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode(encoding)).decode()}

    def set_password(self, who: str) -> None:
        """Gives somebody the password that `password` says."""
        self.store.accounts.set_password(
            self.ids[who], self._hasher.hash(Secret(password(who))), BEGAN
        )

    def session(self, who: str) -> dict[str, str]:
        """What a browser of somebody sends, who showed a second factor where he needs one."""
        token, at = secrets.token_urlsafe(8), self.now
        login = LoginSession(
            session_id=f"session-{token}",
            person_id=self.ids[who],
            has_second_factor=who in (*PARTNERS, *STAFF),
            created_at=at,
            authenticated_at=at,
            last_seen_at=at,
            expires_at=at + timedelta(days=1),
            client="test",
            network="192.0.2.0/24",
        )
        self.store.sessions.begin_session(login, digest(Secret(token)))
        return {"Cookie": f"session={token}"}

    def close(self) -> None:
        self.store.close()

    def _placed(self) -> list[Placed]:
        return [
            Placed(serial_number=one.serial_number, time_zone=site.time_zone, pac0=one.pac0)
            for site in self.store.sites.records()
            for one in site.inverters
        ]

    def _people(self) -> None:
        for who in (*PEOPLE, DISABLED):
            person = self.store.people.add(
                name=who.title(), email=email(who), source=SELF, now=BEGAN
            )
            self.ids[who] = person.person_id
            self.store.accounts.add(person.person_id, BEGAN)
            self.set_password(who)
            if who in (*PARTNERS, *STAFF):
                _, token = self.accounts.api.add_token(
                    person.person_id, "test", has_second_factor=True, now=BEGAN
                )
                self.tokens[who] = token.reveal()
        self.store.accounts.disable(self.ids[DISABLED], BEGAN)
        above = self.store.organisations.add(
            name="Above BV", kind=OrganisationKind.RESELLER, now=BEGAN
        )
        self.organisations = {"above": above.organisation_id}
        for kind in OrganisationKind:
            made = self.store.organisations.add(
                name=f"{kind.title()} BV",
                kind=kind,
                now=BEGAN,
                parent=above.organisation_id if kind is OrganisationKind.INSTALLER else None,
            )
            self.organisations[kind.value] = made.organisation_id
        for who in PARTNERS:
            self.store.people.join(self.ids[who], self.organisations[who], MemberRole.STAFF, BEGAN)
        for who in STAFF:
            self.store.people.give_portal_role(self.ids[who], PortalRole(who), BEGAN)

    def _sites(self) -> None:
        roles = tuple(
            SiteRole(organisation_id=self.organisations[kind.value], kind=kind, from_at=BEGAN)
            for kind in OrganisationKind
        )
        south = RoofPlane(
            name="south", surface_tilt=38, surface_azimuth=165, modules=14, pdc0=5_740
        )

        def inverter(serial: str, **more: Any) -> Inverter:
            values: dict[str, Any] = {"pac0": 5_000.0, "installed_at": BEGAN}
            return Inverter(serial_number=serial, **(values | more))

        for key, owner, inverters, more in (
            (
                NORTH,
                "owner",
                (
                    inverter(OLD, uninstalled_at=SWAP),
                    inverter(NEW, installed_at=SWAP + timedelta(hours=3)),
                    inverter(TWIN),
                ),
                {"roles": roles},
            ),
            (
                HYBRID,
                "owner",
                (inverter(BATTERY, variant_code="S2.LH10000-MII.1"),),
                {"roles": roles},
            ),
            (EMPTY, "owner", (), {"roles": roles, "planes": (), "commissioned_on": None}),
            (FOREIGN, "stranger", (inverter(OTHER),), {}),
        ):
            values: dict[str, Any] = {
                "public_key": key,
                "name": f"Huis {key}",
                "address": Address(street="Teststraat 12", postcode="3511 ZZ", city="Utrecht"),
                "latitude": 52.09,
                "longitude": 5.12,
                "commissioned_on": date(2024, 4, 9),
                "planes": (south,),
                "inverters": inverters,
                "owners": (SiteOwner(person_id=self.ids[owner], from_at=BEGAN),),
            }
            new = NewSite(**(values | more))
            self.store.sites.add(new, BEGAN)
        for key in (NORTH, HYBRID, EMPTY):
            self.store.sites.grant(
                key, person_id=self.ids["guest"], now=BEGAN, why="neighbour",
                given_by=self.ids["owner"],
            )  # fmt: skip


def readings() -> list[dict[str, Any]]:
    """Five-minute readings of five weeks: a sunny half sine each day, the same one."""
    rows: list[dict[str, Any]] = []
    for serial, total, begin, end, peak in (
        (OLD, 9_000_000, FIRST, SWAP, 3_000.0),
        (NEW, 5_000, SWAP + timedelta(hours=4), NOW, 3_000.0),
        (TWIN, 4_000_000, FIRST, NOW, 1_500.0),
        (BATTERY, 7_000_000, FIRST, NOW, 4_000.0),
        (OTHER, 1_000_000, FIRST, NOW, 1_000.0),
    ):
        at, made = begin, float(total)
        while at <= end:
            hour = at.hour + at.minute / 60
            power = max(0.0, math.sin((hour - 5) / 13 * math.pi)) * peak if 5 < hour < 18 else 0.0
            made += power / 12
            if power > 0 or serial == BATTERY:
                rows.append(_row(serial, at, power, made))
            at += timedelta(minutes=5)
    return rows


def _row(serial: str, at: datetime, power: float, made: float) -> dict[str, Any]:
    row = reading(at, int(made) // 100 * 100, ac_power=power) | {"inverter_sn": serial}
    if serial != BATTERY:
        return row
    load = 500.0
    battery = min(2_000.0, max(-400.0, power - load))
    return row | {
        "battery_power": battery,
        "battery_soc_pct": 63.0,
        "load_power": load,
        "grid_power": load + battery - power,
    }
