"""Alarms, guarantees and the audit log are kept as they were, whoever writes at the same time."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autarco_portal import guarantee, guarantee_contract
from autarco_portal.audit import FIRST_HASH, AuditEntry, AuditError, Seal, fault, seal
from autarco_portal.guarantee_contract import Contract
from autarco_portal.guarantee_evidence import Measured, YearEvidence
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.incidents import Cause, Severity, State, Verdict, fold
from autarco_portal.people import SELF
from autarco_portal.site_record import Address, NewSite
from autarco_portal.store import StoreError
from autarco_portal.store.account_tables import AuditRow
from autarco_portal.store.engine import writing

if TYPE_CHECKING:
    from autarco_portal.guarantee import Settlement
    from autarco_portal.incidents import Incident
    from autarco_portal.store import Store

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
START = Seal(sequence=0, hash=FIRST_HASH)


def site(store: Store, key: str = "k7m2q9xd") -> str:
    address = Address(street="Teststraat 12", postcode="3511 ZZ", city="Utrecht")
    new = NewSite(name="A", address=address, latitude=52.0, longitude=5.0, public_key=key)
    return store.sites.add(new, NOW).public_key


def verdict(day: date, state: State, *, key: str = "k7m2q9xd", **more: Any) -> Verdict:
    return Verdict(
        site_id=key,
        inverter_sn="A",
        cause=Cause.OUTAGE,
        day=day,
        state=state,
        alarm=state is State.FAULTY,
        severity=Severity.ALARM,
        ends=datetime(day.year, day.month, day.day, 22, tzinfo=UTC),
        lost_kwh=3.5 if state is State.FAULTY else 0.0,
        method="test-1",
        evidence={"ratio": 0.25, "note": None},
        **more,
    )


def days(*states: State, key: str = "k7m2q9xd") -> list[Verdict]:
    return [verdict(date(2026, 10, 1) + n * DAY, one, key=key) for n, one in enumerate(states)]


FAULTY, HEALTHY = State.FAULTY, State.HEALTHY


def judged(
    store: Store, found: list[Verdict], now: datetime = NOW, key: str = "k7m2q9xd"
) -> list[Incident]:
    """Takes over what an analysis makes of a site's verdicts from the beginning."""
    after = fold([], found, now)
    store.alarms.take_over(after, [key])
    return after


def test_alarms_are_what_the_analysis_found_and_come_back_whole(store: Store) -> None:
    key = site(store)
    found = days(FAULTY, FAULTY)
    expected = judged(store, found)
    assert [one.incident for one in store.alarms.of_site(key)] == expected
    assert judged(store, found) == expected
    assert [one.incident for one in store.alarms.open()] == expected
    record = store.alarms.get(expected[0].incident_id)
    assert record is not None
    assert record.incident.days[0].evidence == {"ratio": 0.25, "note": None}
    (closed,) = judged(store, days(FAULTY, FAULTY, HEALTHY, HEALTHY, HEALTHY))
    assert not closed.is_open
    assert store.alarms.open() == []
    assert len(store.alarms.of_sites([key], only_open=False)) == 1
    assert store.alarms.of_sites([key], only_open=True) == []


def test_what_an_analysis_found_replaces_what_was_and_keeps_what_people_did(store: Store) -> None:
    key, other = site(store), site(store, "z2z2z2z2")
    untouched = judged(store, days(FAULTY, key=other), key=other)
    (known,) = judged(store, days(FAULTY))
    store.alarms.acknowledge(known.incident_id, by="p1", now=NOW + DAY, note="on our way")
    found = fold([], days(FAULTY, FAULTY, key=key), NOW)

    store.alarms.take_over(found, [key])
    (record,) = store.alarms.of_site(key)
    assert (record.acknowledged_by, record.incident.acknowledged_at) == ("p1", NOW + DAY)
    assert len(record.incident.days) == 2

    # Judged again from its beginning, it was detected at another time and so has another name.
    again = fold([], days(FAULTY, FAULTY, FAULTY, key=key), NOW + DAY)
    store.alarms.take_over([*again, *untouched], [key])
    (record,) = store.alarms.of_site(key)
    assert record.incident.incident_id == again[0].incident_id
    assert (record.acknowledged_by, record.acknowledgement) == ("p1", "on our way")

    store.alarms.take_over([], [key])
    assert store.alarms.of_site(key) == []
    assert [one.incident for one in store.alarms.of_site(other)] == untouched


def test_the_first_who_acknowledges_stays(store: Store) -> None:
    key = site(store)
    incident_id = judged(store, days(FAULTY))[0].incident_id
    store.alarms.acknowledge(incident_id, by="p1", now=NOW + DAY, note="on our way")
    store.alarms.acknowledge(incident_id, by="p2", now=NOW + 2 * DAY, note="me too")
    judged(store, days(FAULTY, FAULTY))
    (record,) = store.alarms.of_site(key)
    assert (record.acknowledged_by, record.acknowledgement) == ("p1", "on our way")
    assert record.incident.acknowledged_at == NOW + DAY
    assert len(record.incident.days) == 2
    with pytest.raises(StoreError, match="no such alarm"):
        store.alarms.acknowledge("nothing", by="p1", now=NOW)


def test_an_incident_that_swallows_another_takes_over_who_acknowledged(store: Store) -> None:
    key = site(store)
    later = days(HEALTHY, HEALTHY, FAULTY, FAULTY)[2:]
    swallowed = judged(store, later)[0].incident_id
    store.alarms.acknowledge(swallowed, by="p1", now=NOW, note="seen")
    judged(store, [*days(FAULTY), *later], NOW + DAY)
    (record,) = store.alarms.of_site(key)
    assert record.incident.incident_id != swallowed
    assert record.incident.days[0].day == date(2026, 10, 1)
    assert len(record.incident.days) == 3
    assert (record.acknowledged_by, record.acknowledgement) == ("p1", "seen")
    assert record.incident.acknowledged_at == NOW


def test_acknowledging_while_days_are_taken_over_loses_nothing(store: Store) -> None:
    key = site(store)
    incident_id = judged(store, days(FAULTY))[0].incident_id
    history = days(*[FAULTY] * 20)
    failed: list[BaseException] = []

    def analyses() -> None:
        try:
            for number in range(1, len(history) + 1):
                judged(store, history[:number])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=analyses) for _ in range(2)]
    for thread in threads:
        thread.start()
    store.alarms.acknowledge(incident_id, by="p1", now=NOW + DAY)
    for thread in threads:
        thread.join()
    assert failed == []
    (record,) = store.alarms.of_site(key)
    assert record.acknowledged_by == "p1"
    assert record.incident.acknowledged_at == NOW + DAY
    assert len(record.incident.days) == 20


def test_of_a_restricted_site_nobody_is_told(store: Store) -> None:
    key, other = site(store), site(store, "aaaaaaaa")
    judged(store, days(FAULTY))
    judged(store, days(FAULTY, key=other), key=other)
    store.sites.set_restricted(key, NOW)
    assert [one.incident.site_id for one in store.alarms.open()] == [other]


def test_alarms_are_seen_by_who_sees_the_site(store: Store) -> None:
    key, other = site(store), site(store, "aaaaaaaa")
    for one in (key, other):
        judged(store, days(FAULTY, key=one), key=one)
    owner = store.people.add(name="An", email="an@x.nl", source=SELF, now=NOW).person_id
    store.sites.add_owner(key, owner, NOW)
    actor = store.people.actor(owner, NOW)
    assert actor is not None
    assert [one.incident.site_id for one in store.alarms.visible(actor)] == [key]
    assert store.alarms.visible(actor, offset=1) == []


CONTRACT = Contract(
    contract_id="C-1", site_id="k7m2q9xd", terms_version="2026-1", starts_on=date(2023, 5, 1),
    term_years=15, p50_kwh=Decimal("4500.10"), price_eur_per_kwh=Decimal("0.23"),
)  # fmt: skip


def settlement(contract: Contract = CONTRACT, energy: str = "3858") -> Settlement:
    begins, ends = guarantee_contract.year_span(contract, 1)
    part = Measured(serial_number="A", from_at=begins, to_at=ends, energy_kwh=Decimal(energy))
    evidence = YearEvidence(year=1, measured=(part,))
    return guarantee.settle_year(contract, evidence, code_version="0.1.0", input_sha256={})


def test_a_contract_comes_back_to_the_last_digit(store: Store) -> None:
    site(store)
    record = store.guarantees.add(CONTRACT, NOW)
    assert store.guarantees.get("C-1") == record
    assert str(record.contract.p50_kwh) == "4500.10"
    assert record.contract == CONTRACT
    with pytest.raises(StoreError, match="that name already"):
        store.guarantees.add(CONTRACT, NOW)
    with pytest.raises(StoreError, match="no such site"):
        store.guarantees.add(msgspec.structs.replace(CONTRACT, site_id="nothere1"), NOW)
    lapsed = store.guarantees.set_status("C-1", GuaranteeStatus.LAPSED, NOW + DAY, reason="erasure")
    assert (lapsed.status_since, lapsed.status_reason) == (NOW + DAY, "erasure")
    assert store.guarantees.of_site("k7m2q9xd") == [lapsed]
    assert store.guarantees.all(GuaranteeStatus.ACTIVE) == []
    assert store.guarantees.all() == [lapsed]


def test_a_settlement_is_kept_byte_for_byte_and_once(store: Store) -> None:
    site(store)
    store.guarantees.add(CONTRACT, NOW)
    one = settlement()
    kept = store.guarantees.keep(one, NOW)
    assert store.guarantees.keep(one, NOW + DAY) == kept
    assert kept.document == guarantee.to_json(one)
    assert kept.settlement == one
    assert kept.sha256 == guarantee.digest(one)
    decision = guarantee.decide(
        one, compensation_eur=Decimal("40.00"), reason="goodwill", decided_by="p1", decided_at=NOW
    )
    decided = store.guarantees.decide(decision)
    assert decided.decisions == (decision,)
    assert decided.document == kept.document
    assert store.guarantees.settlement(kept.sha256) == decided
    other = store.guarantees.keep(settlement(energy="3900"), NOW + DAY)
    assert store.guarantees.settlements("C-1") == [decided, other]


def test_a_settlement_of_another_contract_than_agreed_is_refused(store: Store) -> None:
    site(store)
    with pytest.raises(StoreError, match="no such guarantee"):
        store.guarantees.keep(settlement(), NOW)
    store.guarantees.add(CONTRACT, NOW)
    cheaper = msgspec.structs.replace(CONTRACT, price_eur_per_kwh=Decimal("0.10"))
    with pytest.raises(StoreError, match="another contract"):
        store.guarantees.keep(settlement(cheaper), NOW)
    decision = guarantee.decide(
        settlement(), compensation_eur=Decimal(1), reason="x", decided_by="p1", decided_at=NOW
    )
    with pytest.raises(StoreError, match="no such settlement"):
        store.guarantees.decide(decision)


def entry(number: int = 0, **more: Any) -> AuditEntry:
    values = {"at": NOW + number * DAY, "actor": "p1", "action": "view", "thing": f"site:{number}"}
    return AuditEntry(**{**values, **more})


def test_the_log_is_a_chain_and_can_be_asked(store: Store) -> None:
    for number in range(5):
        store.audit.append(entry(number, subject="p2" if number % 2 else None))
    store.audit.append(entry(5), entry(6, actor="p3", why="grant:g1", detail={"rows": 4}))
    assert store.audit.verify() == []
    assert store.audit.head().sequence == 7
    assert [one.entry.thing for one in store.audit.of(subject="p2")] == ["site:3", "site:1"]
    assert [one.sequence for one in store.audit.of(thing="site:2")] == [3]
    assert [one.sequence for one in store.audit.of(actor="p1", before=4, limit=2)] == [3, 2]
    (last,) = store.audit.of(limit=1)
    assert last.entry == entry(6, actor="p3", why="grant:g1", detail={"rows": 4})


@pytest.mark.parametrize("fault_kind", ["changed", "removed", "renumbered", "moved"])
def test_whatever_is_done_to_the_log_shows(store: Store, fault_kind: str) -> None:
    for number in range(4):
        store.audit.append(entry(number))
    with writing(store._engine) as session:
        row = session.get(AuditRow, 2)
        assert row is not None
        if fault_kind == "changed":
            row.actor = "p9"
        elif fault_kind == "removed":
            session.delete(row)
        elif fault_kind == "renumbered":
            row.sequence = 9
        else:
            row.at += timedelta(microseconds=1)
    (wrong,) = store.audit.verify()
    assert "entry 2" in wrong


def test_an_end_that_was_cut_off_shows_against_a_seal_kept_elsewhere(store: Store) -> None:
    for number in range(4):
        store.audit.append(entry(number))
    known = store.audit.head()
    assert store.audit.verify(known) == []
    with writing(store._engine) as session:
        session.delete(session.get_one(AuditRow, 4))
    assert store.audit.verify() == []
    assert store.audit.verify(known) == ["entry 4 is gone or another one"]
    store.audit.append(entry(9))
    assert store.audit.verify() == []
    assert store.audit.verify(known) == ["entry 4 is gone or another one"]


def test_a_pruned_log_is_still_a_chain(store: Store) -> None:
    for number in range(6):
        store.audit.append(entry(number))
    early, known = Seal(sequence=2, hash=store.audit.of(before=3)[0].hash), store.audit.head()
    assert store.audit.prune(NOW + 3 * DAY, NOW + 9 * DAY) == 3
    assert [one.sequence for one in store.audit.of()] == [6, 5, 4]
    assert store.audit.verify(known) == []
    assert store.audit.verify(early) == []
    assert store.audit.prune(NOW + 30 * DAY, NOW + 30 * DAY) == 3
    assert store.audit.prune(NOW + 30 * DAY, NOW + 30 * DAY) == 0
    assert store.audit.append(entry(7)).sequence == 7
    assert store.audit.verify() == []


def test_entries_at_once_are_one_chain(store: Store) -> None:
    failed: list[BaseException] = []

    def writes(number: int) -> None:
        try:
            for _ in range(5):
                store.audit.append(entry(number))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=writes, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert store.audit.verify() == []
    assert store.audit.head().sequence == 30


@pytest.mark.parametrize(
    "changes",
    [
        {"actor": "An Jansen"},
        {"thing": "an@example.org"},
        {"why": "he asked me to look"},
        {"why": ""},
        {"detail": {"street": "Teststraat 12"}},
        {"detail": {"a name": 1}},
        {"at": NOW.replace(tzinfo=None)},
    ],
)
def test_the_log_takes_no_text_of_people(changes: dict[str, Any]) -> None:
    with pytest.raises(AuditError) as raised:
        entry(**changes)
    assert "Jansen" not in str(raised.value)


CODES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:/+-]{0,20}", fullmatch=True)

ENTRIES = st.tuples(CODES, CODES, st.dictionaries(CODES, CODES, max_size=2))


@settings(max_examples=30)
@given(
    st.lists(ENTRIES, min_size=2, max_size=6),
    st.data(),
)
def test_any_change_of_any_entry_breaks_the_chain(
    texts: list[tuple[str, str, dict[str, str]]], data: st.DataObject
) -> None:
    after, sealed = START, []
    for actor, thing, detail in texts:
        entry_ = entry(actor=actor, thing=thing, detail=dict(detail))
        sealed.append(seal(entry_, after))
        after = Seal(sequence=sealed[-1].sequence, hash=sealed[-1].hash)
    number = data.draw(st.integers(0, len(sealed) - 1))
    victim = sealed[number]
    changed = msgspec.structs.replace(
        victim, entry=msgspec.structs.replace(victim.entry, action="another")
    )
    before = START
    for one in sealed[:number]:
        assert fault(one, before) is None
        before = Seal(sequence=one.sequence, hash=one.hash)
    assert fault(victim, before) is None
    assert fault(changed, before) is not None
