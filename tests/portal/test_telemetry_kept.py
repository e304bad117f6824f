"""Old readings become quarter hours, but never those that a guarantee or a legal hold needs."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
import pytest

import privacy_samples as samples
import rows
from autarco_ingest import held
from autarco_ingest.ageing import Age
from autarco_portal import guarantee, privacy_retention, telemetry_kept
from autarco_portal.guarantee import Decision
from autarco_portal.guarantee_evidence import Uncovered, YearEvidence
from autarco_portal.guarantee_record import GuaranteeStatus, SettlementRecord
from autarco_portal.privacy import human_decision, retention
from autarco_portal.privacy.human_decision import Automated, Effect
from autarco_portal.privacy.legal_hold import Hold
from autarco_portal.store import open_store
from autarco_portal.telemetry_kept import Entry, needed_since
from test_maintenance import Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from autarco_portal.guarantee_contract import Contract
    from autarco_portal.store import Store

NOW, DAY = samples.NOW, samples.DAY
OTHER, OTHER_LOGGER = "SAMPLE0002", samples.LOGGER + 1


@pytest.fixture
def own(sqlite_url: str) -> Iterator[Store]:
    with open_store(sqlite_url) as opened:
        yield opened


def two_sites(store: Store) -> tuple[str, str]:
    return samples.site(store, samples.person(store)), samples.site(
        store, serial_number=OTHER, logger_sn=OTHER_LOGGER, street="Elders 1"
    )


def settled(store: Store, agreed: Contract, year: int, at: datetime) -> SettlementRecord:
    measured = samples.settlement(agreed, 2_900).years[0].evidence.measured[0]
    begins = datetime(2022 + year, 5, 1, tzinfo=samples.ZONE)
    ends = datetime(2023 + year, 5, 1, tzinfo=samples.ZONE)
    evidence = YearEvidence(
        year=year,
        measured=(msgspec.structs.replace(measured, from_at=begins, to_at=ends),),
        weather_index=Decimal(1),
    )
    made = guarantee.settle_year(
        agreed, evidence, code_version="test", input_sha256={"readings": "ab" * 32}
    )
    return store.guarantees.keep(made, at)


def whole(store: Store, now: datetime) -> dict[str, date | None]:
    return {entry.serial: entry.since for entry in telemetry_kept.entries(store, now)}


def test_readings_wait_for_the_settlement_of_their_year_and_for_who_may_contest_it(
    own: Store,
) -> None:
    site, _ = two_sites(own)
    agreed = samples.contract(site)
    own.guarantees.add(agreed, NOW, GuaranteeStatus.ACTIVE)
    # With the 60 days before the year that a settlement reads.
    assert whole(own, NOW) == {samples.INVERTER: date(2023, 3, 1)}
    settled(own, agreed, 1, NOW)
    final = NOW + telemetry_kept.SETTLED_FOR_GOOD
    assert whole(own, final - timedelta(seconds=1)) == {samples.INVERTER: date(2023, 3, 1)}
    assert whole(own, final) == {samples.INVERTER: date(2024, 3, 1)}
    # A year that is not settled holds all that follow, settled or not.
    settled(own, agreed, 3, NOW)
    assert whole(own, final) == {samples.INVERTER: date(2024, 3, 1)}
    for year in range(2, 16):
        settled(own, agreed, year, NOW)
    assert whole(own, NOW + 20 * 366 * DAY) == {}


def test_a_contested_settlement_is_not_final_before_somebody_has_decided(own: Store) -> None:
    site, _ = two_sites(own)
    agreed = samples.contract(site)
    own.guarantees.add(agreed, NOW, GuaranteeStatus.ACTIVE)
    kept = settled(own, agreed, 1, NOW)
    person = own.sites.record(site)
    assert person is not None
    decision = Automated(
        decision_id="d", person=person.owners[0].person_id, thing="guarantee:C-1",
        effect=Effect.ZERO_VALUE, decided_at=NOW, told_at=NOW, inputs_sha256=kept.sha256,
        model_version="m",
    )  # fmt: skip
    own.privacy.decisions.add(decision)
    own.privacy.decisions.change(
        "d", lambda one: human_decision.contest(one, at=NOW + DAY, by=one.person)
    )
    late = NOW + 300 * DAY
    assert whole(own, late) == {samples.INVERTER: date(2023, 3, 1)}
    own.privacy.decisions.change(
        "d",
        lambda one: human_decision.decide(
            one, at=NOW + 2 * DAY, by="employee", is_upheld=True, reason="looked"
        ),
    )
    assert whole(own, late) == {samples.INVERTER: date(2024, 3, 1)}


def test_a_settlement_that_waits_for_a_person_is_not_final(own: Store) -> None:
    site, _ = two_sites(own)
    agreed = samples.contract(site)
    own.guarantees.add(agreed, NOW, GuaranteeStatus.ACTIVE)
    # Half of the year has no counter: a person must look.
    measured = samples.settlement(agreed, 1_000).years[0].evidence.measured[0]
    noon = datetime(2023, 9, 1, tzinfo=samples.ZONE)
    evidence = YearEvidence(
        year=1,
        measured=(msgspec.structs.replace(measured, to_at=noon),),
        uncovered=(
            Uncovered(
                from_at=noon, to_at=measured.to_at, weight=Decimal("0.6"),
                performance_index=Decimal(1),
            ),
        ),
        weather_index=Decimal(1),
    )  # fmt: skip
    made = guarantee.settle_year(
        agreed, evidence, code_version="test", input_sha256={"readings": "ab" * 32}
    )
    assert made.status == "review"
    kept = own.guarantees.keep(made, NOW)
    late = NOW + 300 * DAY
    assert whole(own, late) == {samples.INVERTER: date(2023, 3, 1)}
    own.guarantees.decide(
        Decision(
            settlement_sha256=kept.sha256, decided_by="employee", decided_at=NOW, reason="looked",
            compensation_eur=Decimal(0),
        )
    )  # fmt: skip
    assert whole(own, late) == {samples.INVERTER: date(2024, 3, 1)}


@pytest.mark.parametrize(
    ("status", "is_needed"),
    [(status, status in telemetry_kept.OWING) for status in GuaranteeStatus],
)
def test_which_guarantees_still_need_readings(
    own: Store, status: GuaranteeStatus, is_needed: bool
) -> None:
    site, _ = two_sites(own)
    own.guarantees.add(samples.contract(site), NOW, status)
    assert bool(whole(own, NOW)) == is_needed


def test_a_block_is_needed_from_its_first_year_on() -> None:
    agreed = msgspec.structs.replace(samples.contract("abcdefgh"), settlement="block")
    assert needed_since(agreed, [], NOW) == date(2023, 3, 1)
    before = datetime(2023, 4, 1, tzinfo=UTC)
    assert needed_since(agreed, [], before) is None


def test_a_hold_keeps_what_it_names_of_a_person_and_of_a_site(own: Store) -> None:
    person = samples.person(own)
    site = samples.site(own, person)
    for number, (store, subject) in enumerate(
        [("readings", person), ("sessions", site), ("photos", site)]
    ):
        own.privacy.holds.add(
            Hold(
                hold_id=str(number), store=store, subject=subject, reason="case", begun_at=NOW,
                begun_by="officer", review_at=NOW + DAY,
            )
        )  # fmt: skip
    assert telemetry_kept.entries(own, NOW) == [
        Entry(table="readings", serial=samples.INVERTER),
        Entry(table="sessions", serial=str(samples.LOGGER)),
    ]


def test_ingest_reads_what_is_written(own: Store, tmp_path: Path) -> None:
    path = tmp_path / "held.json"
    wanted = [Entry(table="readings", serial="A", since=date(2026, 1, 1))]
    assert telemetry_kept.write(path, wanted)
    assert not telemetry_kept.write(path, wanted)
    (entry,) = held.load(path).entries
    assert (entry.table, entry.serial, entry.since) == ("readings", "A", date(2026, 1, 1))
    assert (telemetry_kept.WHOLE, telemetry_kept.WITHOUT_ADDRESSES) == (
        Age.WHOLE, Age.WITHOUT_ADDRESSES,
    )  # fmt: skip


def test_the_retention_job_thins_old_readings_and_none_that_are_needed(
    own: Store, tmp_path: Path
) -> None:
    """The whole way, by the command, whose clock is the machine's: so the samples are old."""
    now = datetime.now(UTC)
    day = (now - timedelta(days=3 * 365 + 30)).replace(hour=9, minute=0, second=0, microsecond=0)
    young = day + timedelta(days=60)
    place = Place(tmp_path / "data")
    for start in (day, young):
        place.commit(
            rows.readings(
                *(
                    rows.reading(
                        ts=start + timedelta(minutes=minute), inverter_sn=serial, logger_sn=logger,
                        ac_power=100.0, record_no=minute, source="192.0.2.0",
                    )
                    for minute in range(0, 60, 5)
                    for serial, logger in (
                        (samples.INVERTER, samples.LOGGER), (OTHER, OTHER_LOGGER),
                    )
                )
            )
        )  # fmt: skip
    site, _ = two_sites(own)
    agreed = msgspec.structs.replace(samples.contract(site), starts_on=day.date())
    own.guarantees.add(agreed, now, GuaranteeStatus.ACTIVE)

    told = privacy_retention.run_ingest(own, place.data, retention.RULES, now)

    def found() -> Counter[tuple[str, date]]:
        return Counter((row["inverter_sn"], row["ts"].date()) for row in place.stored())

    assert found() == {
        (samples.INVERTER, day.date()): 12, (OTHER, day.date()): 4,
        (samples.INVERTER, young.date()): 12, (OTHER, young.date()): 12,
    }  # fmt: skip
    assert "readings: held rows of 2 days stay as they are" in told
    assert "48 rows -> 40 rows" in told
    addresses = {(row["inverter_sn"], row["source"]) for row in place.stored()}
    # A settlement asks what was made, not from where it came.
    assert addresses == {(samples.INVERTER, None), (OTHER, None)}

    own.guarantees.set_status(agreed.contract_id, GuaranteeStatus.LAPSED, now)
    privacy_retention.run_ingest(own, place.data, retention.RULES, now)
    assert found()[samples.INVERTER, day.date()] == 4
