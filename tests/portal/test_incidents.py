"""When does an incident open and close, and does judging a day again change what it should?"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autarco_portal.incidents import (
    Cause,
    CloseReason,
    Incident,
    Severity,
    State,
    Verdict,
    fold,
    respond_by,
    without_regional,
)

DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
FIRST = dt.date(2026, 6, 1)
F, H, U = State.FAULTY, State.HEALTHY, State.UNKNOWN


def ends(number: int) -> dt.datetime:
    """End of that local day, in UTC."""
    return dt.datetime(2026, 6, 1, 22, tzinfo=dt.UTC) + number * DAY


def verdict(number: int, state: State = F, **changes: Any) -> Verdict:
    """What a rule says of day `number`; a fault costs 2 kWh and alarms."""
    values: dict[str, Any] = {
        "site_id": "s",
        "inverter_sn": "i",
        "cause": Cause.OUTAGE,
        "day": FIRST + number * DAY,
        "state": state,
        "alarm": state is F,
        "ends": ends(number),
        "lost_kwh": 2.0 if state is F else 0.0,
        "method": "test, 1",
        "evidence": {"day": number},
    }
    return Verdict(**(values | changes))


def history(*states: State, now: dt.datetime | None = None) -> list[Incident]:
    """Folds one verdict a day, each the night after."""
    incidents: list[Incident] = []
    for number, state in enumerate(states):
        incidents = fold(incidents, [verdict(number, state)], now or ends(number) + HOUR)
    return incidents


def test_an_alarm_opens_an_incident_and_says_when_it_was_seen() -> None:
    (incident,) = history(F)

    assert incident.is_open
    assert incident.opened_at == ends(0) - DAY
    assert incident.detected_at == ends(0) + HOUR
    assert incident.lost_kwh == 2
    assert incident.method == "test, 1"
    assert incident.incident_id == "s:i:outage:20260601T230000Z"


def test_a_rule_that_knows_when_the_fault_began_is_believed() -> None:
    began = ends(0) - 8 * HOUR
    (incident,) = fold([], [verdict(0, begins=began)], ends(0))

    assert incident.opened_at == began


def test_a_faulty_day_without_an_alarm_opens_nothing_but_keeps_open() -> None:
    assert fold([], [verdict(0, alarm=False)], ends(0)) == []
    assert history(H, U) == []

    opened = history(F)
    (incident,) = fold(opened, [verdict(1, alarm=False)], ends(1))
    assert incident.lost_kwh == 4


def test_one_incident_a_cause_and_inverter() -> None:
    both = [
        verdict(0),
        verdict(0, inverter_sn="j"),
        verdict(0, cause=Cause.STALE),
        verdict(0, inverter_sn=None),
        verdict(1),
    ]
    incidents = fold([], both, ends(1))

    assert len(incidents) == 4
    assert len({incident.incident_id for incident in incidents}) == 4


def test_three_healthy_days_close_it_and_unknown_ones_do_not_count() -> None:
    (open_yet,) = history(F, H, H)
    (closed,) = history(F, H, U, H, U, H)

    assert open_yet.is_open
    assert closed.closed_at == ends(5)
    assert closed.close_reason is CloseReason.RECOVERED
    assert history(F, H, H, F, H)[0].is_open, "a relapse starts the count again"


def test_a_stick_that_sends_again_is_back_on_the_first_day() -> None:
    cause = Cause.COMMUNICATION_LOSS
    opened = fold([], [verdict(0, cause=cause)], ends(0))
    (closed,) = fold(opened, [verdict(1, H, cause=cause)], ends(1))

    assert closed.closed_at == ends(1)


def test_the_next_fault_after_recovery_is_another_incident() -> None:
    first, second = history(F, H, H, H, U, F)

    assert first.closed_at == ends(3)
    assert second.is_open
    assert second.opened_at == ends(5) - DAY
    assert second.lost_kwh == 2


def test_judging_again_within_48_hours_replaces_what_was_said() -> None:
    opened = history(F, F)
    late = verdict(1, lost_kwh=0.5, evidence={"late": True})
    (incident,) = fold(opened, [late], ends(1) + 48 * HOUR)

    assert incident.lost_kwh == 2.5
    assert incident.days[1].evidence == {"late": True}
    assert incident.detected_at == opened[0].detected_at


def test_after_48_hours_a_verdict_stands() -> None:
    opened = history(F, F)

    assert fold(opened, [verdict(1, H)], ends(1) + 49 * HOUR) == opened


def test_late_data_that_show_no_fault_withdraw_the_incident() -> None:
    (incident,) = fold(history(F), [verdict(0, H)], ends(0) + 10 * HOUR)

    assert incident.close_reason is CloseReason.WITHDRAWN
    assert incident.lost_kwh == 0
    (again,) = fold([incident], [verdict(0)], ends(0) + 20 * HOUR)
    assert again.is_open
    assert again.detected_at == incident.detected_at


def test_late_data_can_reopen_what_seemed_recovered() -> None:
    closed = history(F, H, H, H)
    (incident,) = fold(closed, [verdict(3, F, alarm=False)], ends(3) + 24 * HOUR)

    assert incident.is_open
    assert incident.lost_kwh == 4


def test_an_incident_opened_again_swallows_the_one_after_it() -> None:
    two = history(F, H, H, H, F)
    assert len(two) == 2
    (incident,) = fold(two, [verdict(3, F, alarm=False)], ends(4))

    assert incident.is_open
    assert incident.lost_kwh == 6
    assert incident.detected_at == two[0].detected_at


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([F, H, U]), min_size=1, max_size=12), st.data())
def test_folding_the_same_verdicts_again_changes_nothing(
    states: list[State], data: st.DataObject
) -> None:
    now = ends(len(states))
    verdicts = [verdict(number, state) for number, state in enumerate(states)]
    once = fold([], verdicts, now)
    again = data.draw(st.lists(st.sampled_from(verdicts), max_size=12))

    assert fold(once, again, now) == once
    assert fold([], data.draw(st.permutations(verdicts)), now) == once


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([F, H, U]), max_size=20))
def test_each_faulty_day_is_paid_once(states: list[State]) -> None:
    incidents = history(*states)

    assert sum(incident.lost_kwh for incident in incidents) == 2 * states.count(F)
    for incident in incidents:
        assert incident.closed_at is None or incident.opened_at < incident.closed_at
    assert sum(incident.is_open for incident in incidents) <= 1


def test_what_people_did_is_kept() -> None:
    (incident,) = history(F)
    told = msgspec.structs.replace(
        incident, installer_notified_at=ends(0) + 2 * HOUR, acknowledged_at=ends(0) + 3 * HOUR
    )
    (later,) = fold([told], [verdict(1)], ends(1))

    assert later.installer_notified_at == told.installer_notified_at
    assert later.acknowledged_at == told.acknowledged_at


def test_severity_is_the_worst_of_the_faulty_days() -> None:
    opened = history(F)
    (worse,) = fold(opened, [verdict(1, severity=Severity.ALARM)], ends(1))

    assert opened[0].severity is Severity.WARNING
    assert worse.severity is Severity.ALARM


def region(alarming: int, of: int = 11) -> list[Verdict]:
    return [verdict(0, F if number < alarming else H, site_id=f"s{number}") for number in range(of)]


def test_a_regional_event_is_no_sites_fault() -> None:
    near = {f"s{a}": [f"s{b}" for b in range(11) if b != a] for a in range(11)}
    few, many = region(3), region(4)

    assert without_regional(few, near) == few
    kept = without_regional(many, near)
    assert not any(found.alarm for found in kept)
    assert kept[0].state is State.UNKNOWN
    assert kept[0].evidence["regional_share"] == pytest.approx(0.3)
    assert fold([], kept, ends(0)) == []
    assert without_regional(many, {}) == many, "a site alone has no region"


def test_other_causes_and_other_days_are_no_region() -> None:
    near = {"s0": ["s1"], "s1": ["s0"]}
    apart = [verdict(0, site_id="s0"), verdict(1, site_id="s1")]
    unlike = [verdict(0, site_id="s0"), verdict(0, site_id="s1", cause=Cause.STALE)]

    assert without_regional(apart, near) == apart
    assert without_regional(unlike, near) == unlike


def test_the_clock_of_thirty_days_runs_from_the_report() -> None:
    (incident,) = history(F)
    told = msgspec.structs.replace(incident, installer_notified_at=ends(0))

    assert respond_by(incident) is None
    assert respond_by(told) == ends(30)


def test_an_incident_survives_json() -> None:
    (incident,) = history(F, H, U)

    assert msgspec.json.decode(msgspec.json.encode(incident), type=Incident) == incident
