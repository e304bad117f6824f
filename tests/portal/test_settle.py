"""A year's readings become a settlement that anyone can check, once and for all.

The worked example of the reference (3.3) is settled here from its counter readings on.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl
import pytest

import rows
from autarco_ingest import catalog, paths, schema
from autarco_ingest.lake import Lake
from autarco_ingest.table_store import LocalStore
from autarco_portal import (
    claim_file,
    cli,
    derived,
    derived_rows,
    guarantee,
    privacy_guarantees,
    settle,
    settle_credits,
    settle_evidence,
    settle_model,
)
from autarco_portal.derived_store import DerivedStore
from autarco_portal.guarantee_contract import Contract
from autarco_portal.guarantee_evidence import Credit, GuaranteeError
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.guarantee_terms import Guarantee, GuaranteeFile
from autarco_portal.incidents import Cause, Incident, Severity, State, Verdict
from autarco_portal.people import SELF
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.privacy.human_decision import Effect
from autarco_portal.settle_evidence import SettleError
from autarco_portal.settle_load import Loader
from autarco_portal.settle_model import Modelled
from autarco_portal.site import Inverter, RoofPlane, Site
from autarco_portal.site_record import Address, NewSite
from autarco_portal.store import StoreError, migrate, open_store
from autarco_portal.weather import Station, WeatherFile, conform
from autarco_portal.weather_store import WeatherStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

ZONE = ZoneInfo("Europe/Amsterdam")
BEGINS, ENDS = datetime(2025, 5, 1, tzinfo=ZONE), datetime(2026, 5, 1, tzinfo=ZONE)
DIED, REPLACED = datetime(2025, 9, 3, 14, tzinfo=ZONE), datetime(2025, 9, 21, 10, tzinfo=ZONE)
SHARES = tuple(
    Decimal(share)
    for share in (
        "0.028016", "0.049396", "0.089761", "0.117224", "0.131232", "0.126901", "0.127177",
        "0.118883", "0.09483", "0.061745", "0.033822", "0.021012",
    )
)  # fmt: skip
CONTRACT = Contract(
    contract_id="C-1", site_id="roof0001", terms_version="2026-1", starts_on=date(2023, 5, 1),
    term_years=15, p50_kwh=Decimal(4_500), price_eur_per_kwh=Decimal("0.23"),
)  # fmt: skip
CURTAILED = Credit(
    cause="curtailment", from_at=datetime(2025, 7, 1, 10, tzinfo=UTC),
    to_at=datetime(2025, 7, 1, 14, tzinfo=UTC), energy_kwh=Decimal("62.0"), method="peers",
)  # fmt: skip
GUARANTEED = Guarantee(contract=CONTRACT, monthly_share=SHARES, credits=(CURTAILED,))
SITE = Site(
    site_id="roof0001", latitude=52.1, longitude=5.18, commissioned_on=date(2023, 4, 20),
    planes=(RoofPlane(name="r", surface_tilt=35, surface_azimuth=180, modules=12, pdc0=4_800),),
    inverters=(
        Inverter(
            serial_number="A", pac0=4_000, installed_at=datetime(2023, 4, 20, tzinfo=UTC),
            uninstalled_at=DIED,
        ),
        Inverter(serial_number="B", pac0=4_000, installed_at=REPLACED),
    ),
)  # fmt: skip
NEW_SITE = NewSite(
    name="A", address=Address(street="Z 1", postcode="3511 ZZ", city="U"),
    public_key="roof0001", latitude=SITE.latitude, longitude=SITE.longitude,
    commissioned_on=SITE.commissioned_on, planes=SITE.planes, inverters=SITE.inverters,
)  # fmt: skip
REGISTERS = (
    ("A", BEGINS, 9_120.4), ("A", datetime(2025, 6, 10, 6, tzinfo=ZONE), 9_727.9),
    ("A", datetime(2025, 6, 24, 12, tzinfo=ZONE), 9_985.1), ("A", DIED, 11_208.6),
    ("B", REPLACED, 3.0), ("B", ENDS, 1_474.8),
)  # fmt: skip
"""Reference 3.3, `guarantee_vectors.json`: kWh."""


def readings(*registers: tuple[str, datetime, float]) -> pa.Table:
    return rows.readings(
        *(
            rows.reading(
                inverter_sn=serial, ts=at.astimezone(UTC), energy_total_wh=round(kwh * 1e3)
            )
            for serial, at, kwh in registers
        )
    )


def modelled(*spans: tuple[datetime, datetime, float], unknown: bool = False) -> Modelled:
    """Each span's kWh spread evenly over its hours, nothing elsewhere."""
    first, last = datetime(2025, 2, 1, tzinfo=UTC), datetime(2026, 7, 5, tzinfo=UTC)
    hours = round((last - first) / timedelta(hours=1))
    energy = np.zeros(hours)
    for begins, ends, kwh in spans:
        here = slice(*(round((at - first) / timedelta(hours=1)) for at in (begins, ends)))
        energy[here] = kwh * 1_000 / (here.stop - here.start)
    return Modelled(
        begins_us=int(first.timestamp() * 1e6),
        energy_wh=np.full(hours, np.nan) if unknown else energy,
        clearsky_wh=energy,
    )


SUMMER_KWH_PER_HOUR = 1_223.5 / (71 * 24 + 2)
"""Of A, from 24 June 12:00 to 3 September 14:00."""
MODEL = modelled(
    (datetime(2025, 6, 25, tzinfo=ZONE), DIED, SUMMER_KWH_PER_HOUR / 0.93 * (70 * 24 + 14)),
    (DIED, REPLACED, 4_500 * 0.995**2 * 0.09483 * 18 / 30),
)


def settled(guaranteed: Guarantee = GUARANTEED, **changes: Any) -> guarantee.Settlement:
    prepared = settle_evidence.prepare(
        guaranteed, 3, SITE, changes.pop("readings", readings(*REGISTERS)),
        changes.pop("model", MODEL), **changes,
    )  # fmt: skip
    files = settle.evidence_files([prepared], SITE)
    return settle.settled(guaranteed.contract, [prepared.evidence], files, code_version="0.1.0")


class TestWorkedExample:
    """Reference 3.3; kWh and EUR to the cent."""

    def test_year_3_from_its_registers(self) -> None:
        found = settled()
        (year,) = found.years

        assert [part.energy_kwh for part in year.evidence.measured] == [
            Decimal("607.5"), Decimal("257.2"), Decimal("1223.5"), Decimal("1471.8")
        ]  # fmt: skip
        assert year.measured_kwh == Decimal("3560.0")
        assert round(year.guaranteed_kwh, 2) == Decimal("4009.60")
        assert year.evidence.uncovered[0].performance_index == Decimal("0.93")
        assert round(year.estimated_kwh, 2) == Decimal("235.74")
        assert (found.assessed_kwh, found.shortfall_kwh, found.compensation_eur) == (
            Decimal("3857.74"), Decimal("151.86"), Decimal("34.93")
        )  # fmt: skip

    def test_without_weather_the_gap_is_worth_its_share_of_the_year(self) -> None:
        agreed = msgspec.structs.replace(
            GUARANTEED, contract=msgspec.structs.replace(CONTRACT, uncovered="prorate")
        )
        found = settled(agreed, model=modelled(unknown=True))

        assert round(found.years[0].coverage, 6) == Decimal("0.943102")
        assert (found.guaranteed_kwh, found.assessed_kwh) == (
            Decimal("3781.46"), Decimal("3622.00")
        )  # fmt: skip
        assert (found.shortfall_kwh, found.compensation_eur) == (
            Decimal("159.46"), Decimal("36.68")
        )  # fmt: skip

    def test_normalised_by_the_weather(self) -> None:
        agreed = msgspec.structs.replace(
            GUARANTEED, contract=msgspec.structs.replace(CONTRACT, weather="normalised")
        )
        found = settled(agreed, weather_index=Decimal("1.0497"))

        assert (found.guaranteed_kwh, found.shortfall_kwh, found.compensation_eur) == (
            Decimal("4208.88"), Decimal("351.14"), Decimal("80.76")
        )  # fmt: skip

    def test_a_gap_over_the_border_is_shared_out_by_expected_energy(self) -> None:
        """3.1 2.2 4.4 | 6.5 5.2 4.1 3.0 5.5 kWh expected: 13.694 of 48 kWh are the year's."""
        days = [
            (at := ENDS + timedelta(days=day), at + timedelta(days=1), kwh)
            for day, kwh in zip(range(-3, 5), (3.1, 2.2, 4.4, 6.5, 5.2, 4.1, 3.0, 5.5), strict=True)
        ]
        registers = (
            ("A", BEGINS, 0.0), ("A", ENDS - timedelta(days=3), 4_210.0),
            ("A", ENDS + timedelta(days=5), 4_258.0),
        )  # fmt: skip
        site = msgspec.structs.replace(
            SITE, inverters=(msgspec.structs.replace(SITE.inverters[0], uninstalled_at=None),)
        )
        prepared = settle_evidence.prepare(
            GUARANTEED, 3, site, readings(*registers), modelled(*days)
        )
        last = prepared.evidence.measured[-1]

        assert (round(last.energy_kwh, 3), last.method) == (Decimal("13.694"), "split")
        with pytest.raises(SettleError, match=r"silent for 8\.0 days around 2026-05-01"):
            settle_evidence.prepare(
                GUARANTEED, 3, site, readings(*registers), modelled(unknown=True)
            )


class TestEvidence:
    def test_what_comes_after_the_year_and_comes_twice_changes_nothing(self) -> None:
        later = [("B", ENDS + timedelta(minutes=5 * n), 1_474.8 + n / 10) for n in range(1, 40)]
        some, more = (readings(*REGISTERS, *later[:n], REGISTERS[1]) for n in (20, 39))

        assert guarantee.to_json(settled(readings=some)) == guarantee.to_json(
            settled(readings=more)
        )

    def test_time_without_a_counter_needs_shares(self) -> None:
        agreed = msgspec.structs.replace(GUARANTEED, monthly_share=())

        with pytest.raises(SettleError, match=r"2025-09-03 to 2025-09-21.*monthly_share"):
            settled(agreed)
        assert settled(agreed, monthly_share=SHARES).compensation_eur == Decimal("34.93")

    def test_time_to_be_estimated_needs_an_index(self) -> None:
        with pytest.raises(GuaranteeError, match="performance_index"):
            settled(model=modelled(unknown=True))

    def test_a_year_without_readings_or_inverters_is_refused(self) -> None:
        with pytest.raises(SettleError, match="no reading of A, B from 2025-05-01"):
            settled(readings=readings())
        with pytest.raises(SettleError, match="had no inverter"):
            settle_evidence.prepare(
                GUARANTEED, 3, msgspec.structs.replace(SITE, inverters=()), readings(), MODEL
            )

    def test_months_add_up_to_the_counters(self) -> None:
        prepared = settle_evidence.prepare(GUARANTEED, 3, SITE, readings(*REGISTERS), MODEL)

        assert [f"{one.month:%Y-%m}" for one in prepared.months[:2]] == ["2025-05", "2025-06"]
        assert len(prepared.months) == 12
        assert sum(one.energy_kwh for one in prepared.months) == pytest.approx(
            Decimal(3_560), abs=1
        )
        assert prepared.months[4].coverage is not None
        assert prepared.months[4].coverage < Decimal("0.5")


def incident(cause: Cause, **changes: Any) -> Incident:
    opened = datetime(2025, 7, 1, 8, tzinfo=UTC)
    days = tuple(
        Verdict(
            site_id="roof0001", inverter_sn="A", cause=cause,
            day=date(2025, 7, 1) + timedelta(days=day), state=State.FAULTY,
            begins=opened + timedelta(days=day), ends=opened + timedelta(days=day, hours=14),
            lost_kwh=7.0, method="peers, x-1",
        )
        for day in range(40 if cause is Cause.OUTAGE else 1)
    )  # fmt: skip
    values: dict[str, Any] = {
        "site_id": "roof0001", "inverter_sn": "A", "cause": cause, "severity": Severity.ALARM,
        "opened_at": opened, "detected_at": opened, "lost_kwh": 7.0, "method": "peers, x-1",
        "days": days,
    }  # fmt: skip
    return Incident(**(values | changes))


class TestCredits:
    def test_the_grids_faults_are_excused_and_the_sites_are_not(self) -> None:
        found = settle_credits.credits(
            [incident(Cause.OVER_VOLTAGE), incident(Cause.OUTAGE)], CONTRACT, BEGINS, ENDS
        )

        assert [(one.cause, one.energy_kwh, one.method) for one in found] == [
            ("curtailment", Decimal("7.000"), "peers-x-1")
        ]

    def test_an_alarm_not_acted_on_is_the_owners_after_the_deadline(self) -> None:
        told = datetime(2025, 7, 1, 9, tzinfo=UTC)
        slow = incident(Cause.OUTAGE, owner_notified_at=told)
        quick = incident(
            Cause.OUTAGE, owner_notified_at=told, acknowledged_at=told + timedelta(days=29)
        )
        found = settle_evidence.prepare(
            GUARANTEED, 3, SITE, readings(*REGISTERS), MODEL, incidents=[slow]
        )
        counted = [
            one
            for one in guarantee.assess_year(CONTRACT, found.evidence).credits
            if one.credit.cause == "alarm_not_acted_on"
        ]

        assert len(counted) == 40
        # From 31 July 09:00 on: of that day 13 of 14 hours, and the nine days after it.
        assert sum(one.counted_kwh for one in counted) == pytest.approx(Decimal(9 * 7 + 6.5))
        assert settle_credits.credits([quick], CONTRACT, BEGINS, ENDS) == []

    def test_of_a_day_over_the_border_the_years_part_counts(self) -> None:
        ends = datetime(2025, 7, 1, 15, tzinfo=UTC)
        (found,) = settle_credits.credits([incident(Cause.GRID_OUTAGE)], CONTRACT, BEGINS, ends)

        assert (found.energy_kwh, found.to_at) == (Decimal("3.500"), ends)


class TestWhichYear:
    def test_a_year_is_its_number_or_the_one_it_begins_in(self) -> None:
        assert settle.contract_year(CONTRACT, 3) == settle.contract_year(CONTRACT, 2025) == 3
        for wrong in (0, 16, 2022, 2038):
            with pytest.raises(SettleError, match=f"no year {wrong}: it has the years 1 to 15"):
                settle.contract_year(CONTRACT, wrong)

    def test_it_must_be_over_for_two_days(self) -> None:
        settle.check_over(CONTRACT, 3, ENDS + timedelta(days=2))
        with pytest.raises(SettleError, match="settle it from 2026-05-02 22:00 UTC on"):
            settle.check_over(CONTRACT, 3, ENDS + timedelta(days=1))

    def test_a_block_is_settled_as_one(self) -> None:
        block = msgspec.structs.replace(CONTRACT, settlement="block", term_years=13)

        assert list(guarantee.period(block, 7)) == [6, 7, 8, 9, 10]
        assert list(guarantee.period(block, 13)) == [11, 12, 13]
        assert list(guarantee.period(CONTRACT, 7)) == [7]


# From a data directory


NOW = datetime(2026, 6, 1, tzinfo=UTC)


def keep_readings(root: Path, *registers: tuple[str, datetime, float]) -> None:
    data = paths.DataDirectory.at(root)
    data.create()
    lake = Lake(LocalStore(data.lake), "n1")
    number = len(lake.files("readings")) + 1
    lake.commit(
        number, readings(*registers), schema.empty(schema.SESSIONS), schema.empty(schema.QUARANTINE)
    )
    moment = catalog.Moment(readings=lake.files("readings"))
    catalog.rebuild(data, moment, time_zone="Europe/Amsterdam")


def portal_of(root: Path) -> PortalDirectory:
    return PortalDirectory.of(paths.DataDirectory.at(root))


def keep(root: Path, sites: Sequence[Site], guarantees: Sequence[Guarantee]) -> None:
    portal = portal_of(root)
    portal.root.mkdir(exist_ok=True)
    portal.sites.write_bytes(msgspec.json.encode(list(sites)))
    portal.guarantees.write_bytes(msgspec.json.encode(list(guarantees)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    keep_readings(tmp_path, *REGISTERS)
    agreed = msgspec.structs.replace(
        GUARANTEED, contract=msgspec.structs.replace(CONTRACT, uncovered="prorate")
    )
    keep(tmp_path, [SITE], [agreed])
    return tmp_path


def load(root: Path, **changes: Any) -> Loader:
    return Loader(paths.DataDirectory.at(root), **({"now": NOW} | changes))


class TestDirectory:
    def test_a_settlement_never_changes(self, data: Path) -> None:
        first = load(data).settle_period("roof0001", 2025)
        before = first.document.read_bytes(), first.claim.read_bytes()
        again = load(data, now=NOW + timedelta(days=90)).settle_period("roof0001", 3)

        assert (first.is_new, again.is_new, again.version) == (True, False, 1)
        assert first.settlement.compensation_eur == Decimal("36.68")
        assert (again.document.read_bytes(), again.claim.read_bytes()) == before

        keep_readings(data, ("B", ENDS - timedelta(days=9), 1_450.0), ("B", ENDS, 1_474.8))
        other = load(data).settle_period("roof0001", 3)

        assert (other.is_new, other.version) == (True, 2)
        assert other.settlement.input_sha256["former_settlement"] == guarantee.digest(
            first.settlement
        )
        assert load(data).settle_period("roof0001", 3) == msgspec.structs.replace(
            other, is_new=False
        )
        assert (first.document.read_bytes(), first.claim.read_bytes()) == before

    def test_the_claim_file_proves_itself_down_to_the_counters(self, data: Path) -> None:
        kept = load(data).settle_period("roof0001", 3)
        claim = kept.claim.read_bytes()

        assert claim_file.verify(claim) == ()
        for secret in (b"52.1", b"5.18"):
            assert secret not in claim
        other = claim_file.evidence(site=SITE, counters=readings(*REGISTERS[1:]))
        with pytest.raises(claim_file.ClaimFileError, match="not what the settlement was made of"):
            claim_file.sealed(kept.settlement, other)

    def test_a_claim_file_that_somebody_took_comes_back_the_same(self, data: Path) -> None:
        kept = load(data).settle_period("roof0001", 3)
        before = kept.claim.read_bytes()
        kept.claim.unlink()

        load(data).settle_period("roof0001", 3)
        assert kept.claim.read_bytes() == before

    def test_incidents_are_evidence(self, data: Path) -> None:
        found = incident(Cause.OVER_VOLTAGE)
        DerivedStore(portal_of(data)).replace_all(
            derived.ALARMS, derived_rows.incident_rows([found], "Europe/Amsterdam")
        )
        kept = load(data).settle_period("roof0001", 3)
        # 62 kWh were agreed for the same hours, and count more.
        assert [str(one.reason) for one in kept.settlement.years[0].credits] == [
            "overlaps", "counted"
        ]  # fmt: skip
        assert b"roof0001:A:over_voltage:20250701T080000Z" in kept.claim.read_bytes()

    def test_a_buffer_is_that_of_the_year_before(self, data: Path) -> None:
        carrying = msgspec.structs.replace(
            CONTRACT, uncovered="prorate", settlement="carry_over", starts_on=date(2024, 5, 1)
        )
        keep(data, [SITE], [msgspec.structs.replace(GUARANTEED, contract=carrying, credits=())])
        with pytest.raises(SettleError, match="year 1 is not settled yet"):
            load(data).settle_period("roof0001", 2)
        keep_readings(data, ("A", BEGINS - timedelta(days=365), 4_900.4))

        first = load(data).settle_period("roof0001", 1)
        second = load(data).settle_period("roof0001", 2)
        assert first.settlement.buffer_after_kwh == Decimal("4220.0") - Decimal(4_050)
        assert second.settlement.buffer_before_kwh == first.settlement.buffer_after_kwh

    @pytest.mark.parametrize(
        ("site_id", "year", "contract_id", "why"),
        [
            ("nobody", 3, None, "has no sites 'nobody'"),
            ("roof0001", 3, "C-9", "has no contract 'C-9'"),
            ("roof0001", 4, None, "settle it from 2027-05-02"),
            ("roof0001", 1, None, "no reading of A, B from 2023-05-01"),
        ],
    )
    def test_what_cannot_be_settled_is_said(
        self, data: Path, site_id: str, year: int, contract_id: str | None, why: str
    ) -> None:
        with pytest.raises(SettleError, match=re.escape(why)):
            load(data).settle_period(site_id, year, contract_id=contract_id)

    def test_of_several_contracts_one_is_chosen(self, data: Path) -> None:
        other = msgspec.structs.replace(CONTRACT, contract_id="C-2", uncovered="prorate")
        keep(data, [SITE], [GUARANTEED, Guarantee(contract=other, monthly_share=SHARES)])

        with pytest.raises(SettleError, match="C-1, C-2: choose by --contract"):
            load(data).settle_period("roof0001", 3)
        assert load(data).settle_period("roof0001", 3, contract_id="C-2").document.name == (
            "C-2.year-3.v1.json"
        )

    def test_a_site_without_guarantee_or_lake_is_refused(self, tmp_path: Path) -> None:
        keep(tmp_path, [SITE], [])
        with pytest.raises(SettleError, match="has no guarantee"):
            load(tmp_path).settle_period("roof0001", 3)
        keep(tmp_path, [SITE], [GUARANTEED])
        with pytest.raises(catalog.NoCatalogError, match="no catalog"):
            load(tmp_path).settle_period("roof0001", 3)


def test_amounts_are_read_as_exact_decimals(tmp_path: Path) -> None:
    path = tmp_path / "guarantees.json"
    path.write_bytes(msgspec.json.encode([GUARANTEED]))
    assert GuaranteeFile(path).of_site("roof0001") == [GUARANTEED]
    assert GuaranteeFile(path).of_site("other") == []
    path.write_text("[{}]")
    with pytest.raises(GuaranteeError, match=r"guarantees\.json: .*contract"):
        GuaranteeFile(path).of_site("roof0001")
    path.write_bytes(msgspec.json.encode([GUARANTEED, GUARANTEED]))
    with pytest.raises(GuaranteeError, match="two contracts"):
        GuaranteeFile(path).of_site("roof0001")


# The model


def weather(first: date, last: date) -> pl.DataFrame:
    """Every hour of noon-like days; a station of our own."""
    ts = pl.datetime_range(
        datetime(first.year, first.month, first.day), datetime(last.year, last.month, last.day),
        "1h", closed="left", time_unit="us", time_zone="UTC", eager=True,
    )  # fmt: skip
    hour = ts.dt.hour().to_numpy()
    season = 1 - np.cos(2 * np.pi * ts.dt.ordinal_day().to_numpy() / 365)
    return conform(
        pl.DataFrame({"ts": ts}).with_columns(
            station=pl.lit("own:1"), sun_offset_s=pl.lit(1_800),
            ghi=pl.Series(np.maximum(0, 1 - np.abs(hour - 11.5) / 6) * (50 + 250 * season)),
            temp_air=pl.lit(12.0), wind_speed=pl.lit(2.0), source=pl.lit("own"),
            source_file_sha256=pl.lit("c" * 64),
        )
    )  # fmt: skip


def keep_weather(root: Path, first: date, last: date) -> None:
    station = Station(station="own:1", name="Own", latitude=52.1, longitude=5.2)
    found = WeatherFile(stations=(station,), rows=weather(first, last), attribution="ours")
    WeatherStore(portal_of(root)).add(found, file="own", sha256="c" * 64, now=NOW)


class TestWeather:
    def test_two_years_of_weather_stand_in_for_shares_and_estimate_the_gap(
        self, data: Path
    ) -> None:
        keep(data, [SITE], [Guarantee(contract=CONTRACT)])
        with pytest.raises(SettleError, match="monthly_share"):
            load(data).settle_period("roof0001", 3)
        keep_weather(data, date(2024, 1, 1), date(2026, 5, 30))

        kept = load(data).settle_period("roof0001", 3)
        (part,) = kept.settlement.years[0].evidence.uncovered
        days = (part.to_at - part.from_at) / timedelta(days=1)
        assert days == pytest.approx(17.8, abs=0.1)
        assert part.performance_index is not None
        assert part.expected_kwh is not None
        # About what the model says of such days, times what the site makes of the model.
        summer = Decimal("17.2") * Decimal(days)
        estimate = part.expected_kwh * part.performance_index
        assert estimate == pytest.approx(summer, rel=Decimal("0.3"))
        assert kept.settlement.years[0].evidence.weather_source == "own:1"
        # Of the climate's years too, since the shares come from them.
        assert b"own:1,2024-01-01,2026-04-30," in kept.claim.read_bytes()

    def test_a_normalised_guarantee_takes_its_index_from_the_weather(self, data: Path) -> None:
        agreed = msgspec.structs.replace(CONTRACT, weather="normalised", uncovered="prorate")
        keep(data, [SITE], [msgspec.structs.replace(GUARANTEED, contract=agreed)])
        with pytest.raises(SettleError, match="two whole calendar years"):
            load(data).settle_period("roof0001", 3)
        keep_weather(data, date(2023, 1, 1), date(2026, 4, 20))
        with pytest.raises(SettleError, match="has gaps"):
            load(data).settle_period("roof0001", 3)
        keep_weather(data, date(2026, 4, 20), date(2026, 5, 30))

        # Every year of this weather is alike.
        kept = load(data).settle_period("roof0001", 3)
        assert kept.settlement.years[0].weather_index == pytest.approx(
            Decimal(1), abs=Decimal("0.003")
        )

    def test_shares_are_those_of_the_climate(self) -> None:
        days = pl.DataFrame(
            {
                "date": pl.date_range(date(2024, 1, 1), date(2025, 12, 31), eager=True),
                "energy_kwh": 2.0,
            }
        )
        shares = settle_model.monthly_share(days)
        assert (shares[0], shares[1]) == (Decimal("0.084815"), Decimal("0.077975"))
        assert settle_model.climate_year_kwh(days) == 731
        assert settle_model.monthly_share(days.clear()) == ()

    def test_days_of_which_an_hour_is_unknown_are_unknown(self) -> None:
        begins = datetime(2025, 3, 28, 23, tzinfo=UTC)
        energy = np.ones(24 + 23 + 24)
        energy[-1] = np.nan
        found = Modelled(
            begins_us=int(begins.timestamp() * 1e6), energy_wh=energy, clearsky_wh=energy
        )

        # 30 March has 23 hours.
        assert found.daily_kwh("Europe/Amsterdam") == {
            date(2025, 3, 29): 0.024, date(2025, 3, 30): 0.023
        }  # fmt: skip
        assert not found.known(found.begins_us, int(found.edges_us[-1]))
        assert np.isnan(found.made_wh(found.begins_us - 1, found.begins_us))


# The command


def _refuse(*_: object, **__: object) -> None:
    raise StoreError("the database does not answer")


class TestCommand:
    def test_it_says_what_is_owed_and_where_the_proof_is(
        self, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code = cli.main(["settle", "roof0001", "2025", "--data", str(data)])
        out = capsys.readouterr().out

        assert code == 0
        assert "151" not in out
        for word in ("3,781.46", "3,560.00", "159.46", "36.68", "Version 1, new"):
            assert word in out
        (document,) = re.findall(r"/\S+\.json", out)
        assert json.loads(Path(document).read_bytes())["compensation_eur"] == "36.68"

        cli.main(["settle", "roof0001", "2025", "--data", str(data)])
        assert "as it was settled before" in capsys.readouterr().out

    def test_what_a_person_must_look_at_is_a_finding(
        self, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        strict = msgspec.structs.replace(CONTRACT, coverage_min=Decimal("0.99"))
        keep(data, [SITE], [msgspec.structs.replace(GUARANTEED, contract=strict)])

        assert cli.main(["settle", "roof0001", "3", "--data", str(data)]) == 1
        assert "A person must look: year_3_coverage_below_minimum." in capsys.readouterr().out

    def test_with_a_store_it_settles_what_stands_there(
        self, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        agreed = msgspec.structs.replace(CONTRACT, uncovered="prorate")
        keep(data, [], [])
        keep_weather(data, date(2024, 1, 1), date(2026, 5, 30))
        command = ["settle", "roof0001", "3", "--data", str(data)]
        migrate(str(portal_of(data).database))
        with open_store(str(portal_of(data).database)) as store:
            store.sites.add(NEW_SITE, NOW)
            store.guarantees.add(agreed, NOW, GuaranteeStatus.SUSPENDED)
            assert cli.main(command) == 2
            assert "C-1 is suspended" in capsys.readouterr().err
            store.guarantees.set_status("C-1", GuaranteeStatus.ACTIVE, NOW)

            assert cli.main(command) == 0
            (kept,) = store.guarantees.settlements("C-1")
            assert kept.settlement.years[0].measured_kwh == Decimal("3560.0")
            assert store.privacy.decisions.all(thing="guarantee:C-1") == []
            strict = msgspec.structs.replace(
                agreed, contract_id="C-2", coverage_min=Decimal("0.99"), p50_kwh=Decimal(2_000)
            )
            store.guarantees.add(strict, NOW, GuaranteeStatus.ACTIVE)
            # Owes nothing, but a person looks first: nothing is decided yet.
            assert cli.main([*command, "--contract", "C-2"]) == 1
            assert store.privacy.decisions.all(thing="guarantee:C-2") == []
            store.sites.set_restricted("roof0001", NOW)
            assert cli.main(command) == 2

    def test_owners_hear_of_a_settlement_that_owes_them_nothing(
        self, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        agreed = msgspec.structs.replace(CONTRACT, uncovered="prorate", p50_kwh=Decimal(2_000))
        keep(data, [], [])
        keep_weather(data, date(2024, 1, 1), date(2026, 5, 30))
        migrate(str(portal_of(data).database))
        with open_store(str(portal_of(data).database)) as store:
            store.sites.add(NEW_SITE, NOW)
            owner = store.people.add(name="O", email="o@house.example", source=SELF, now=NOW)
            store.sites.add_owner("roof0001", owner.person_id, NOW)
            store.guarantees.add(agreed, NOW, GuaranteeStatus.ACTIVE)
            command = ["settle", "roof0001", "3", "--data", str(data)]
            with monkeypatch.context() as broken:
                # It ends after the settlement was kept, before anybody was told.
                broken.setattr(privacy_guarantees, "record_outcome", _refuse)
                assert cli.main(command) == 2
            for _ in range(2):
                assert cli.main(command) == 0
            (decision,) = store.privacy.decisions.all(thing="guarantee:C-1")
            assert (decision.person, decision.effect) == (owner.person_id, Effect.ZERO_VALUE)
            (kept,) = store.guarantees.settlements("C-1")
            assert decision.inputs_sha256 == kept.sha256

    def test_a_refusal_is_one_sentence(
        self, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["settle", "roof0001", "1", "--data", str(data)]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("autarco-portal settle: no reading of A, B")
