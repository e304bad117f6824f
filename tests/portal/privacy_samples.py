"""People, sites and guarantees for the tests of rights."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from autarco_portal import guarantee
from autarco_portal.guarantee_contract import Contract
from autarco_portal.guarantee_evidence import Measured, YearEvidence
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.people import SELF, OrganisationKind, SiteOwner, SiteRole
from autarco_portal.site import Inverter, RoofPlane
from autarco_portal.site_record import Address, NewSite

if TYPE_CHECKING:
    from autarco_portal.guarantee import Settlement
    from autarco_portal.store import Store

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ZONE = ZoneInfo("Europe/Amsterdam")
PLANE = RoofPlane(name="south", surface_tilt=35, surface_azimuth=180, modules=8, pdc0=3_200)
PHONE = "+31 6 98765432"
LOGGER = 4_012_345_678
INVERTER = "SAMPLE0001"


def person(store: Store, name: str = "Jan Canary", email: str = "jan@canary.example") -> str:
    return store.people.add(
        name=name,
        email=email,
        source=SELF,
        now=NOW - 400 * DAY,
        phone=PHONE if email.endswith("@canary.example") else None,
    ).person_id


def account(store: Store, person_id: str) -> None:
    store.accounts.add(person_id, NOW - 400 * DAY)


def new_site(
    *owners: str,
    serial_number: str = INVERTER,
    logger_sn: int = LOGGER,
    installer: str | None = None,
    street: str = "Kanarieweg 7",
) -> NewSite:
    inverter = Inverter(
        serial_number=serial_number, pac0=3_000, installed_at=datetime(2023, 5, 1, tzinfo=UTC),
        mppt_planes=("south",), logger_sn=logger_sn,
    )  # fmt: skip
    since = NOW - 400 * DAY
    kind = OrganisationKind.INSTALLER
    installers = [installer] if installer is not None else []
    return NewSite(
        name=street, latitude=52.1, longitude=5.2, commissioned_on=date(2023, 5, 1),
        address=Address(street=street, postcode="3511 ZZ", city="Utrecht"),
        planes=(PLANE,), inverters=(inverter,),
        roles=tuple(SiteRole(organisation_id=o, kind=kind, from_at=since) for o in installers),
        owners=tuple(SiteOwner(person_id=one, from_at=since) for one in owners),
    )  # fmt: skip


def site(
    store: Store,
    *owners: str,
    serial_number: str = INVERTER,
    logger_sn: int = LOGGER,
    installer: str | None = None,
    street: str = "Kanarieweg 7",
) -> str:
    new = new_site(
        *owners,
        serial_number=serial_number,
        logger_sn=logger_sn,
        installer=installer,
        street=street,
    )
    return store.sites.add(new, NOW - 400 * DAY).public_key


def contract(site_id: str, contract_id: str = "C-1") -> Contract:
    return Contract(
        contract_id=contract_id, site_id=site_id, terms_version="2026-1",
        starts_on=date(2023, 5, 1), term_years=15, p50_kwh=Decimal(3_000),
        price_eur_per_kwh=Decimal("0.23"),
    )  # fmt: skip


def settlement(agreed: Contract, energy_kwh: int) -> Settlement:
    """The first year: below some 2,700 kWh something is owed."""
    evidence = YearEvidence(
        year=1,
        measured=(
            Measured(
                serial_number=INVERTER, from_at=datetime(2023, 5, 1, tzinfo=ZONE),
                to_at=datetime(2024, 5, 1, tzinfo=ZONE), energy_kwh=Decimal(energy_kwh),
                register_from_kwh=Decimal(0), register_to_kwh=Decimal(energy_kwh),
            ),
        ),
        weather_index=Decimal(1),
    )  # fmt: skip
    return guarantee.settle_year(
        agreed, evidence, code_version="test", input_sha256={"readings": "ab" * 32}
    )


def guaranteed(store: Store, site_id: str, *, energy_kwh: int | None = 1_000) -> str:
    """An active guarantee, with a first year that was settled."""
    agreed = contract(site_id)
    store.guarantees.add(agreed, NOW - 400 * DAY, GuaranteeStatus.ACTIVE)
    if energy_kwh is not None:
        store.guarantees.keep(settlement(agreed, energy_kwh), NOW - 100 * DAY)
    return agreed.contract_id
