"""A claim file proves itself, is the same bytes each time, and names nobody."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pytest

import rows
from autarco_portal import claim_file, guarantee
from autarco_portal.claim_file import ClaimFileError, Month, WeatherFile
from autarco_portal.guarantee_contract import Contract
from autarco_portal.guarantee_evidence import (
    Credit,
    GuaranteeError,
    Measured,
    Uncovered,
    YearEvidence,
)
from autarco_portal.incidents import Cause, Incident, Severity
from autarco_portal.site import Inverter, RoofPlane, Site

ZONE = ZoneInfo("Europe/Amsterdam")
BEGINS, ENDS = datetime(2023, 5, 1, tzinfo=ZONE), datetime(2024, 5, 1, tzinfo=ZONE)
DIED, REPLACED = datetime(2023, 9, 3, 14, tzinfo=UTC), datetime(2023, 9, 21, 10, tzinfo=UTC)
CONTRACT = Contract(
    contract_id="C-1", site_id="42", terms_version="2026-1", starts_on=date(2023, 5, 1),
    term_years=15, p50_kwh=Decimal(4_500), price_eur_per_kwh=Decimal("0.23"),
)  # fmt: skip
EVIDENCE = YearEvidence(
    year=1,
    measured=(
        Measured(
            serial_number="A", from_at=BEGINS, to_at=DIED, energy_kwh=Decimal("2088.2"),
            register_from_kwh=Decimal("9120.4"), register_to_kwh=Decimal("11208.6"),
        ),
        Measured(
            serial_number="B", from_at=REPLACED, to_at=ENDS, energy_kwh=Decimal("1471.8"),
            method="split",
        ),
    ),
    uncovered=(
        Uncovered(
            from_at=DIED, to_at=REPLACED, weight=Decimal("0.056898"),
            performance_index=Decimal("0.93"),
        ),
    ),
    credits=(
        Credit(
            cause="curtailment", from_at=datetime(2023, 7, 1, 10, tzinfo=UTC),
            to_at=datetime(2023, 7, 1, 14, tzinfo=UTC), energy_kwh=Decimal(62), method="peers",
            incident_id="i-7",
        ),
    ),
)  # fmt: skip
SETTLED = guarantee.settle_year(
    CONTRACT, EVIDENCE, code_version="0.1.0", input_sha256={"readings": "a" * 64}
)
PLANE = RoofPlane(name="roof", surface_tilt=35, surface_azimuth=180, modules=8, pdc0=3_200)
SITE = Site(
    site_id="42", latitude=52.0912, longitude=5.1234, commissioned_on=date(2020, 5, 1),
    planes=(PLANE,),
    inverters=(
        Inverter(
            serial_number="A", pac0=4_000, installed_at=datetime(2020, 5, 1, tzinfo=UTC),
            uninstalled_at=DIED, mppt_planes=("roof", None),
        ),
        Inverter(serial_number="B", pac0=4_000, installed_at=REPLACED),
    ),
)  # fmt: skip
READINGS = rows.readings(
    rows.reading(ts=REPLACED, inverter_sn="B", energy_total_wh=3_000),
    rows.reading(ts=BEGINS, inverter_sn="A", energy_total_wh=9_120_400),
    rows.reading(ts=DIED, inverter_sn="A", energy_total_wh=11_208_600),
    rows.reading(ts=DIED, inverter_sn="C", energy_total_wh=1),
    rows.reading(ts=DIED, inverter_sn="A"),
)
MONTHS = [
    Month(month=date(2023, 6, 1), energy_kwh=Decimal(570), expected_kwh=Decimal(600)),
    Month(
        month=date(2023, 5, 1), energy_kwh=Decimal(530), expected_kwh=Decimal(0),
        coverage=Decimal(1),
    ),
]  # fmt: skip
WEATHER = [
    WeatherFile(source="knmi-260", first=date(2023, 5, 1), last=date(2024, 4, 30), sha256="b" * 64)
]
INCIDENTS = [
    Incident(
        site_id="42", inverter_sn="A", cause=Cause.OVER_VOLTAGE, severity=Severity.WARNING,
        opened_at=DIED, detected_at=DIED + timedelta(days=1),
        installer_notified_at=DIED + timedelta(days=1), lost_kwh=62.0, method="peers", days=(),
    )
]  # fmt: skip
DECISION = guarantee.decide(
    SETTLED, compensation_eur=Decimal("40.00"), reason="ms Jansen rang: 06-12345678",
    decided_by="account-7", decided_at=datetime(2024, 6, 1, tzinfo=UTC),
)  # fmt: skip


def write(**changes: Any) -> bytes:
    values: dict[str, Any] = {
        "site": SITE, "counters": READINGS, "months": MONTHS, "weather": WEATHER,
        "incidents": INCIDENTS, "decisions": [DECISION],
    }  # fmt: skip
    return claim_file.write(changes.pop("settlement", SETTLED), **(values | changes))


def unzip(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezip(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def sealed(files: dict[str, bytes]) -> bytes:
    """Writes the manifest anew, as somebody would who knows the format."""
    manifest = json.loads(files["manifest.json"])
    manifest["settlement_sha256"] = hashlib.sha256(files["settlement.json"]).hexdigest()
    manifest["files"] = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
        if name != "manifest.json"
    }
    return rezip(files | {"manifest.json": json.dumps(manifest).encode()})


def table(data: bytes, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(unzip(data)[name].decode())))


class TestWrite:
    def test_it_has_what_the_document_lists_and_proves_itself(self) -> None:
        data = write()

        assert claim_file.verify(data) == ()
        assert sorted(unzip(data)) == [
            "calculation.csv", "calculation.md", "counters.csv", "credits.csv", "decisions.csv",
            "gaps.csv", "incidents.csv", "manifest.json", "monthly.csv", "settlement.json",
            "system.json", "weather.csv",
        ]  # fmt: skip

    def test_the_same_input_gives_the_same_bytes(self) -> None:
        shuffled = READINGS.take(pa.array([4, 2, 0, 1, 3]))

        assert write() == write(counters=shuffled, months=MONTHS[::-1])
        with zipfile.ZipFile(io.BytesIO(write())) as archive:
            assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}

    def test_the_sheet_leads_from_the_contract_to_the_money(self) -> None:
        sheet = {row["step"]: row for row in table(write(), "calculation.csv")}
        value = {step: Decimal(row["value"]) for step, row in sheet.items()}

        assert sheet["expected"]["how"] == "4500 * (1 - 0.005)^0"
        assert value["expected"] * CONTRACT.fraction == value["guaranteed"] == 4_050
        assert value["measured"] == Decimal("3560.0")
        assert value["estimate"] == round(4_500 * Decimal("0.056898") * Decimal("0.93"), 6)
        assert value["assessed"] == round(
            value["measured"] + value["estimated"] + value["excluded"], 2
        )
        assert value["shortfall"] == value["guaranteed"] - value["assessed"]
        assert value["compensation"] == SETTLED.compensation_eur
        assert (value["compensation"], sheet["compensation"]["unit"]) == (Decimal("43.67"), "EUR")
        page = unzip(write())["calculation.md"].decode()
        assert "**Shortfall 189.88 kWh, compensated 189.88 kWh, 43.67 EUR.**" in page

    def test_pro_rated_normalised_and_buffered_sheets_too(self) -> None:
        evidence = msgspec.structs.replace(EVIDENCE, weather_index=Decimal("1.05"))
        agreed = msgspec.structs.replace(
            CONTRACT, weather="normalised", uncovered="prorate", settlement="carry_over",
            degradation_kind="linear",
        )  # fmt: skip
        settled = guarantee.settle_year(
            agreed, evidence, code_version="0.1.0", input_sha256={}, buffer_kwh=Decimal(10)
        )
        data = write(settlement=settled, decisions=[])
        sheet = [(row["step"], row["how"]) for row in table(data, "calculation.csv")]

        assert claim_file.verify(data) == ()
        assert ("guaranteed", "4500.00 * 0.90 * 1.05 * 0.943102") in sheet
        assert ("buffer_before", "of the year before") in sheet
        assert "estimate" not in dict(sheet)

    def test_counters_are_those_of_the_site(self) -> None:
        assert table(write(), "counters.csv") == [
            {"serial_number": serial, "ts": ts, "energy_total_wh": wh}
            for serial, ts, wh in (
                ("A", "2023-04-30T22:00:00Z", "9120400"),
                ("A", "2023-09-03T14:00:00Z", "11208600"),
                ("B", "2023-09-21T10:00:00Z", "3000"),
            )
        ]

    def test_gaps_credits_and_months_are_listed(self) -> None:
        data = write()
        split, missing = table(data, "gaps.csv")
        (credit,) = table(data, "credits.csv")
        may, june = table(data, "monthly.csv")

        assert (split["kind"], split["serial_number"]) == ("split", "B")
        assert (missing["kind"], missing["weight"]) == ("estimate", "0.056898")
        assert missing["energy_kwh"] == "238.118130"[:-1]
        assert missing["share_of_expected"] == "0.052915"
        assert (credit["counted_kwh"], credit["reason"]) == ("62.00", "counted")
        assert (may["performance_index"], june["performance_index"]) == ("", "0.9500")
        (incident,) = table(data, "incidents.csv")
        assert incident["incident_id"] == "42:A:over_voltage:20230904T140000Z"
        assert (incident["closed_at"], incident["lost_kwh"]) == ("", "62.000")
        assert table(data, "weather.csv")[0]["source"] == "knmi-260"

    def test_a_decision_is_there_without_its_words(self) -> None:
        (found,) = table(write(), "decisions.csv")

        assert found["settlement_sha256"] == hashlib.sha256(guarantee.to_json(SETTLED)).hexdigest()
        assert (found["compensation_eur"], found["decided_by"]) == ("40.00", "account-7")
        assert found["reason_sha256"] == hashlib.sha256(DECISION.reason.encode()).hexdigest()

    def test_evidence_of_another_settlement_is_refused(self) -> None:
        with pytest.raises(ClaimFileError, match="is of site 42, not of 43"):
            write(site=msgspec.structs.replace(SITE, site_id="43"))
        with pytest.raises(ClaimFileError, match="another settlement"):
            write(decisions=[msgspec.structs.replace(DECISION, settlement_sha256="0" * 64)])


class OwnedSite(Site, frozen=True, kw_only=True):
    """A site as a store may hand it over: with its owner."""

    owner: str
    email: str
    address: str
    phone: str


class NamedInverter(Inverter, frozen=True, kw_only=True):
    """An inverter with what somebody wrote about it."""

    remark: str


class TestPrivacy:
    OWNER = ("Willemijn", "Quispel", "w.quispel@example.org", "Zonnekade", "3511 ZZ", "06-87654321")
    PLACES = ("52.09", "5.123")

    def test_no_contact_data_and_no_place_arrives(self) -> None:
        plane = msgspec.structs.replace(PLANE, name="roof of Willemijn Quispel")
        inverter = NamedInverter(
            serial_number="A", pac0=4_000, installed_at=datetime(2020, 5, 1, tzinfo=UTC),
            mppt_planes=(plane.name,), remark="call 06-87654321 first",
        )  # fmt: skip
        owned = OwnedSite(
            site_id="42", latitude=52.0912, longitude=5.1234, commissioned_on=date(2020, 5, 1),
            planes=(plane,), inverters=(inverter,), owner="Willemijn Quispel",
            email="w.quispel@example.org", address="Zonnekade 1, 3511 ZZ Utrecht",
            phone="06-87654321",
        )  # fmt: skip
        readings = READINGS.append_column(
            "owner_email", pa.array(["w.quispel@example.org"] * len(READINGS))
        )
        decision = msgspec.structs.replace(DECISION, reason="Willemijn Quispel, 06-87654321")
        data = write(site=owned, counters=readings, decisions=[decision])

        assert claim_file.verify(data) == ()
        for word in (*self.OWNER, *self.PLACES):
            assert word.encode() not in data, word
        assert b"@" not in data

    def test_a_code_that_is_a_text_is_refused(self) -> None:
        for changes in (
            {"incidents": [msgspec.structs.replace(INCIDENTS[0], inverter_sn="w@example.org")]},
            {"weather": [msgspec.structs.replace(WEATHER[0], source="the neighbour's")]},
            {
                "site": msgspec.structs.replace(
                    SITE,
                    inverters=(
                        msgspec.structs.replace(SITE.inverters[0], serial_number="W. Quispel"),
                    ),
                )
            },
        ):
            with pytest.raises(GuaranteeError, match="expected a code"):
                write(**changes)


class TestVerify:
    def test_a_changed_file_is_found(self) -> None:
        files = unzip(write())
        files["counters.csv"] = files["counters.csv"].replace(b"9120400", b"9120401")

        assert claim_file.verify(rezip(files)) == (
            "counters.csv was changed: its SHA-256 is not the manifest's",
        )

    def test_a_cut_a_missing_and_an_added_file_are_found(self) -> None:
        files = unzip(write())
        files["counters.csv"] += b"\n"
        del files["monthly.csv"]
        files["extra.txt"] = b""

        found = claim_file.verify(rezip(files))

        assert "extra.txt is not in the manifest" in found
        assert "monthly.csv is missing" in found
        assert any(re_said.startswith("counters.csv has ") for re_said in found)

    def test_an_amount_changed_together_with_its_hashes_does_not_follow(self) -> None:
        files = unzip(write())
        files["settlement.json"] = files["settlement.json"].replace(b'"43.67"', b'"143.67"')

        assert claim_file.verify(sealed(files)) == (
            "the settlement does not follow from its inputs",
        )

    def test_a_sheet_changed_together_with_its_hashes_is_found(self) -> None:
        files = unzip(write())
        files["calculation.csv"] = files["calculation.csv"].replace(b"43.67", b"143.67")

        assert claim_file.verify(sealed(files)) == ("calculation.csv is not the settlement's",)

    def test_a_settlement_of_other_rules_is_not_judged_by_these(self) -> None:
        files = unzip(write())
        files["settlement.json"] = files["settlement.json"].replace(b"guarantee-1", b"guarantee-0")

        (found,) = claim_file.verify(sealed(files))
        assert found.startswith("settled by guarantee-0, this is guarantee-1")

    @pytest.mark.parametrize(
        ("before", "after", "finding"),
        [
            (b'"term_years":15', b'"term_years":0', "settlement.json cannot be read"),
            (b'"year":1', b'"year":99', "cannot be calculated again"),
        ],
    )
    def test_a_settlement_that_cannot_be_is_found(
        self, before: bytes, after: bytes, finding: str
    ) -> None:
        files = unzip(write())
        files["settlement.json"] = files["settlement.json"].replace(before, after)

        assert any(finding in found for found in claim_file.verify(sealed(files)))

    def test_another_settlement_than_the_manifests_is_found(self) -> None:
        files = unzip(write())
        manifest = json.loads(files["manifest.json"]) | {"settlement_sha256": "0" * 64}
        files["manifest.json"] = json.dumps(manifest).encode()

        assert claim_file.verify(rezip(files)) == (
            "settlement.json is not the settlement of the manifest",
        )

    @pytest.mark.parametrize(
        ("data", "finding"),
        [
            (b"no zip", "not a claim file"),
            (rezip({"a": b""}), "manifest.json is missing"),
            (rezip({"manifest.json": b"{"}), "manifest.json cannot be read"),
            (rezip({"a": b"0" * 999}, zipfile.ZIP_DEFLATED), "compressed, encrypted or too large"),
        ],
    )
    def test_what_is_no_claim_file_is_said_to_be_none(self, data: bytes, finding: str) -> None:
        (found,) = claim_file.verify(data)

        assert finding in found

    def test_files_of_another_format_are_left_alone(self) -> None:
        files = unzip(write())
        files["manifest.json"] = files["manifest.json"].replace(b"claim-1", b"claim-9")

        (found,) = claim_file.verify(rezip(files))
        assert "expected format autarco-claim-1" in found

    def test_any_damaged_byte_is_found_or_harmless(self) -> None:
        """A flipped bit either is a finding or lies where the zip keeps nothing of ours."""
        data = write()
        whole = unzip(data)
        for place in range(0, len(data), 97):
            damaged = bytearray(data)
            damaged[place] ^= 0x10
            if not claim_file.verify(bytes(damaged)):
                assert unzip(bytes(damaged)) == whole
