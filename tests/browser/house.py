"""A portal with an installer, a house and three days of readings, for a real browser to look at."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec
import pyotp

import rows
from autarco_ingest import catalog, paths, schema
from autarco_ingest.lake import Lake
from autarco_ingest.latest import Latest
from autarco_ingest.table_store import LocalStore
from autarco_portal.accounts import Accounts
from autarco_portal.audit import AuditEntry
from autarco_portal.derived import (
    AVAILABILITY,
    EXPECTED,
    PEER_RATIO,
    PERFORMANCE_RATIO,
    SITE_DAY,
)
from autarco_portal.derived_store import DerivedStore, frame
from autarco_portal.guarantee_contract import Contract
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.incidents import Cause, Severity, State, Verdict, fold
from autarco_portal.people import (
    SELF,
    MemberRole,
    OrganisationKind,
    PortalRole,
    SiteOwner,
    SiteRole,
    known_language,
)
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.privacy.human_decision import Effect
from autarco_portal.privacy.policy import Version
from autarco_portal.privacy.request import Right
from autarco_portal.privacy.security_incident import SecurityIncident
from autarco_portal.privacy.sharing import Basis, Disclosure, RecipientKind
from autarco_portal.privacy_desk import Desk
from autarco_portal.privacy_guarantees import contest, record_outcome
from autarco_portal.privacy_settings import PrivacySettings
from autarco_portal.proofs import SEAL_PURPOSE
from autarco_portal.sealed import seal
from autarco_portal.secret import Secret, derived, load_key
from autarco_portal.site import Inverter, RoofPlane
from autarco_portal.site_record import Address, NewSite
from autarco_portal.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date
    from pathlib import Path

    from autarco_portal.derived import Derived
    from autarco_portal.store import Store

ZONE = ZoneInfo("Europe/Amsterdam")
SITE = "k7m2q9xd"
INVERTERS = {"26010007A1B2C3": 3_600.0, "26010007A1B2C4": 1_900.0}
"""Serial numbers, and W at noon."""
EMAIL, PASSWORD = "installer@example.org", "zonnige panelen op het dak"
READY_S = 60
DAYS = 40
"""Of readings, in fewer of them before yesterday."""


class House(msgspec.Struct, frozen=True, kw_only=True):
    """What a visitor needs to know."""

    url: str
    totp: str
    yesterday: date


def furnish(data: Path, now: datetime) -> str:
    """Fills a data directory and returns the secret of the installer's second factor."""
    directory = paths.DataDirectory.at(data)
    directory.create()
    _readings(directory, now)
    portal = PortalDirectory.of(directory)
    portal.root.mkdir(mode=0o700)
    with open_store(str(portal.root / "portal.sqlite"), migrate=True) as store:
        person_id = _people_and_sites(store, now)
        _alarm(store, now)
        _guarantee(store, now)
        _rights(store, person_id, now)
        accounts = Accounts(store, load_key(portal.root / "secret.key"))
        link = accounts.invite(person_id, by=None, now=now)
        accounts.accept(link, Secret(PASSWORD), now)
        secret = pyotp.random_base32()
        key = derived(load_key(portal.root / "secret.key"), SEAL_PURPOSE)
        sealed = seal(key, Secret(secret), of=person_id)
        store.second_factors.offer_totp(person_id, sealed, now)
        assert store.second_factors.confirm_totp(person_id, 1, (), now)
    _days(DerivedStore(portal), now)
    return secret


def serve(data: Path) -> Iterator[str]:
    """Runs `autarco-portal serve`; yields its address."""
    command = [sys.executable, "-c", "from autarco_portal.cli import main; exit(main())"]
    with subprocess.Popen(
        [*command, "serve", "--data", str(data), "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("listening on "))
            yield f"http://{line.removeprefix('listening on ').strip()}"
        finally:
            process.terminate()
            process.wait(READY_S)


def _power(at: datetime, peak: float) -> float:
    """A fair day with clouds."""
    local = at.astimezone(ZONE)
    hour = local.hour + local.minute / 60
    if not 6 < hour < 21:
        return 0.0
    bell: float = math.sin((hour - 6) / 15 * math.pi) ** 1.5
    return round(peak * bell * (0.9 + 0.1 * math.sin(hour * 7)), 1)


def _readings(directory: paths.DataDirectory, now: datetime) -> None:
    start = now.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    start = start.astimezone(UTC) - timedelta(days=DAYS)
    made = []
    for serial, peak in INVERTERS.items():
        total, at = 9_000_000.0, start
        while at <= now:
            power = _power(at, peak)
            total += power / (12 if at >= now - timedelta(days=2) else 4)
            local = at.astimezone(ZONE)
            is_silent = local.date() == now.astimezone(ZONE).date() - timedelta(days=1) and (
                11 <= local.hour < 12
            )
            if not is_silent:
                made.append(
                    rows.reading(
                        ts=at,
                        inverter_sn=serial,
                        ac_power=power,
                        energy_total_wh=int(total) // 100 * 100,
                        inverter_clock=local.replace(tzinfo=None),
                        ac_voltage_l1=231.0,
                        dc_voltage_mppt1=400.0,
                        dc_current_mppt1=power * 0.55 / 400,
                        dc_voltage_mppt2=380.0,
                        dc_current_mppt2=power * 0.48 / 380,
                        status=4 if power else 2,
                    )
                )
            is_recent = at >= now - timedelta(days=2)
            at += timedelta(minutes=5 if is_recent else 15)
    readings = rows.readings(*made)
    lake = Lake(LocalStore(directory.lake), "n1")
    lake.commit(1, readings, schema.empty(schema.SESSIONS), schema.empty(schema.QUARANTINE))
    latest = Latest(directory)
    latest.merge(schema.conform(schema.READINGS, readings))
    moment = catalog.Moment(readings=lake.files("readings"), latest=directory.latest)
    catalog.rebuild(directory, moment, time_zone="Europe/Amsterdam")


def _people_and_sites(store: Store, now: datetime) -> str:
    began = now - timedelta(days=900)
    installer = store.organisations.add(
        name="Zonnig Installatie BV", kind=OrganisationKind.INSTALLER, now=began
    )
    person = store.people.add(name="Piet Bos", email=EMAIL, source=SELF, now=began)
    store.people.join(person.person_id, installer.organisation_id, MemberRole.MANAGER, began)
    owner = store.people.add(name="Anna Smit", email="anna@example.org", source=SELF, now=began)
    role = SiteRole(
        organisation_id=installer.organisation_id, kind=OrganisationKind.INSTALLER, from_at=began
    )
    for key, name, city, serials in (
        (SITE, "Familie Smit", "Utrecht", tuple(INVERTERS)),
        ("m3p8w2zz", "Bakkerij De Vries", "Deurne", ("26010009F0F0F0",)),
    ):
        store.sites.add(
            NewSite(
                public_key=key,
                name=name,
                address=Address(street="Teststraat 12", postcode="3511 ZZ", city=city),
                latitude=52.09,
                longitude=5.12,
                commissioned_on=began.date(),
                planes=(
                    RoofPlane(
                        name="south", surface_tilt=38, surface_azimuth=165, modules=14, pdc0=5_740
                    ),
                ),
                inverters=tuple(
                    Inverter(serial_number=serial, pac0=4_000, installed_at=began)
                    for serial in serials
                ),
                roles=(role,),
                owners=(SiteOwner(person_id=owner.person_id, from_at=began),),
            ),
            began,
        )
    return person.person_id


def _alarm(store: Store, now: datetime) -> None:
    day = now - timedelta(days=1)
    found = fold(
        [],
        [
            Verdict(
                site_id=SITE,
                inverter_sn="26010007A1B2C4",
                cause=Cause.UNDERPERFORMANCE,
                day=day.date(),
                state=State.FAULTY,
                alarm=True,
                severity=Severity.WARNING,
                begins=day - timedelta(days=3),
                ends=day,
                lost_kwh=14.2,
                method="peers of detection-1",
                evidence={"cusum": 7.4, "peers": 14, "mean_deviation": -0.11},
            )
        ],
        now,
    )
    store.alarms.take_over(found, [SITE])


def _rights(store: Store, person_id: str, now: datetime) -> None:
    """The installer is the privacy officer too, so that one visitor sees every page."""
    store.people.give_portal_role(person_id, PortalRole.PRIVACY_OFFICER, now)
    owner = store.people.by_email("anna@example.org")
    assert owner is not None
    desk = Desk(store, PrivacySettings())
    for right, who, days in ((Right.ACCESS, owner.person_id, 24), (Right.ERASURE, person_id, 3)):
        at = now - timedelta(days=days)
        desk.receive_from_person(right, who, now=at, is_fresh=True)
    decision = record_outcome(
        store, person=owner.person_id, thing="guarantee:g-0007", effect=Effect.ZERO_VALUE,
        inputs_sha256="ab" * 32, model_version="guarantee-1", now=now - timedelta(days=2),
    )  # fmt: skip
    contest(store, decision.decision_id, now, by=owner.person_id, reason="Het was een mooi jaar.")
    store.privacy.incidents.add(
        SecurityIncident(
            incident_id="1a2b3c4d", aware_at=now - timedelta(hours=50), recorded_by=person_id,
            summary="Een laptop met klantgegevens is gestolen", is_high_risk=True,
        )
    )  # fmt: skip
    store.privacy.share(
        Disclosure(
            disclosure_id="d1", recipient="Politie Utrecht", kind=RecipientKind.AUTHORITY,
            ground="fraud", basis=Basis.LEGAL_OBLIGATION, why="vordering 2026/7",
            fields=("readings", "guarantee"), sites=(SITE,), asked_at=now, asked_by="clerk",
        ),
        AuditEntry(at=now, actor="clerk", action="share", thing="disclosure:d1"),
    )  # fmt: skip
    for language, text in (("nl", "Wij verwerken zo weinig mogelijk."), ("en", "As little.")):
        store.privacy.policies.add(
            Version(
                version=f"2026-1-{language}", language=known_language(language), text=text * 20,
                in_force_on=now.date(), published_at=now,
            )
        )  # fmt: skip
    store.sites.grant(SITE, person_id=person_id, why="kijkt mee", given_by=owner.person_id, now=now)


def _guarantee(store: Store, now: datetime) -> None:
    store.guarantees.add(
        Contract(
            contract_id="g-0007",
            site_id=SITE,
            terms_version="2024-1",
            starts_on=(now - timedelta(days=100)).date(),
            term_years=15,
            p50_kwh=Decimal(5200),
            price_eur_per_kwh=Decimal("0.10"),
        ),
        now,
        status=GuaranteeStatus.ACTIVE,
    )


def _days(derived: DerivedStore, now: datetime) -> None:
    today = now.astimezone(ZONE).date()
    days = [today - timedelta(days=n) for n in range(DAYS, 0, -1)]
    names = {"site_id": [SITE] * len(days), "date": days}
    kwh = sum(INVERTERS.values()) / 1_000 * 7.3
    swing = [1.04 + 0.1 * math.sin(n) for n in range(len(days))]

    def put(table: Derived, **columns: list[float]) -> None:
        blank = {column.name: [None] * len(days) for column in table.columns}
        derived.put(table, frame(table, {**blank, **names, **columns}), days)

    put(EXPECTED, energy_expected_kwh=[kwh * one for one in swing])
    put(SITE_DAY, energy_kwh=[kwh] * len(days))
    put(PERFORMANCE_RATIO, yr=[7.9] * len(days), yf=[6.9] * len(days))
    put(AVAILABILITY, producing_minutes=[600.0] * len(days), outage_minutes=[2.0] * len(days))
    put(PEER_RATIO, n_peers=[14] * len(days), ratio=[0.96] * len(days), usable=[True] * len(days))
