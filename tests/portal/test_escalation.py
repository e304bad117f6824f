"""Who hears of an alarm when, and in which words?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autarco_portal.escalation import (
    Addressee,
    Case,
    Due,
    EscalationRules,
    Notice,
    Parties,
    Party,
    Step,
    Why,
    due,
)
from autarco_portal.escalation_letter import _HEADS, LISTED_MAX, Item, digest
from autarco_portal.incidents import Cause, Incident, Severity

BEGAN = datetime(2026, 6, 1, 8, tzinfo=UTC)
NOW = datetime(2026, 6, 2, 6, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)

CARE, DAK, SHOP = (Addressee(organisation_id=name) for name in ("care", "dak", "shop"))
ANNA, BOB = Addressee(person_id="anna"), Addressee(person_id="bob")
ALL = Parties(maintenance=(CARE,), installers=(DAK,), sellers=(SHOP,), owners=(ANNA,))


def incident(cause: Cause = Cause.UNDERPERFORMANCE, **changes: Any) -> Incident:
    values: dict[str, Any] = {
        "site_id": "k7m2q9xd", "inverter_sn": None, "cause": cause, "severity": Severity.WARNING,
        "opened_at": BEGAN, "detected_at": NOW, "lost_kwh": 2.5, "method": "test", "days": (),
    }  # fmt: skip
    return Incident(**(values | changes))


def case(cause: Cause = Cause.UNDERPERFORMANCE, parties: Parties = ALL, **changes: Any) -> Case:
    more = {name: changes.pop(name) for name in ("reaction_days", "may_tell") if name in changes}
    return Case(incident=incident(cause, **changes), parties=parties, **more)


def run(
    case: Case, until: timedelta, *, refuses: frozenset[Addressee] = frozenset()
) -> list[tuple[int, Step, Addressee, Why]]:
    """What is sent if somebody looks twice a day, by day; mails arrive at once or never."""
    sent: list[Notice] = []
    found = []
    for number in range(until // (12 * HOUR) + 1):
        now = NOW + number * 12 * HOUR
        for one in due(case, sent, now):
            is_refused = one.addressee in refuses
            sent.append(
                Notice(
                    incident_id=one.incident_id, step=one.step, party=one.party,
                    addressee=one.addressee, queued_at=now,
                    delivered_at=None if is_refused else now,
                    refused_at=now if is_refused else None,
                )
            )  # fmt: skip
            found.append((number // 2, one.step, one.addressee, one.why))
    return found


NEW = (0, Step.FIRST, CARE, Why.NEW)
REMINDER = (3, Step.REMINDER, CARE, Why.NO_ANSWER)
SELLER = (7, Step.SELLER, SHOP, Why.NO_ANSWER)
LAST = (14, Step.OWNER, ANNA, Why.NO_ANSWER)


def owner(day: int, why: Why) -> tuple[int, Step, Addressee, Why]:
    return (day, Step.OWNER, ANNA, why)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(case(), [NEW, REMINDER, SELLER, LAST], id="the ladder"),
        pytest.param(
            case(Cause.ZERO_DAY),
            [NEW, owner(1, Why.NO_ANSWER), REMINDER, SELLER],
            id="nothing is made",
        ),
        pytest.param(
            case(Cause.OUTAGE),
            [NEW, owner(1, Why.NO_ANSWER), REMINDER, SELLER],
            id="an outage",
        ),
        pytest.param(
            case(Cause.COMMUNICATION_LOSS, severity=Severity.ALARM, lost_kwh=0.0),
            [NEW, owner(0, Why.CONNECTION), REMINDER, SELLER],
            id="a lost connection",
        ),
        pytest.param(
            case(Cause.COMMUNICATION_LOSS), [], id="half an hour without connection"
        ),
        pytest.param(
            case(reaction_days=30),
            [NEW, owner(0, Why.GUARANTEE), REMINDER, SELLER],
            id="a guarantee at stake",
        ),
        pytest.param(
            case(Cause.CLOCK, reaction_days=30, lost_kwh=0.0),
            [NEW, REMINDER, SELLER, LAST],
            id="a guarantee that loses nothing",
        ),
        pytest.param(
            case(parties=Parties(owners=(ANNA, BOB))),
            [owner(0, Why.NO_PARTNER), (0, Step.OWNER, BOB, Why.NO_PARTNER)],
            id="nobody looks after it",
        ),
        pytest.param(
            case(parties=Parties(installers=(DAK,), owners=(ANNA,))),
            [(0, Step.FIRST, DAK, Why.NEW), (3, Step.REMINDER, DAK, Why.NO_ANSWER), LAST],
            id="an installer and no seller",
        ),
        pytest.param(
            case(parties=Parties(sellers=(SHOP,), owners=(ANNA,))),
            [(0, Step.FIRST, SHOP, Why.NEW), (3, Step.REMINDER, SHOP, Why.NO_ANSWER), LAST],
            id="a seller only, who is not told as a seller again",
        ),
        pytest.param(case(severity=Severity.INFO), [], id="for information"),
        pytest.param(case(acknowledged_at=NOW), [], id="taken on"),
        pytest.param(case(acknowledged_at=NOW, reaction_days=30), [], id="taken on, guaranteed"),
        pytest.param(case(closed_at=NOW), [], id="over"),
        pytest.param(case(may_tell=False, reaction_days=30), [], id="restricted"),
    ],
)  # fmt: skip
def test_who_hears_when(found: Case, expected: list[tuple[int, Step, Addressee, Why]]) -> None:
    assert run(found, 40 * DAY) == expected


def test_whom_no_mail_reaches_is_followed_by_the_next_and_in_the_end_the_owner() -> None:
    assert run(case(), 2 * DAY, refuses=frozenset({CARE})) == [
        NEW, (0, Step.FIRST, DAK, Why.NEW),
    ]  # fmt: skip
    assert run(case(), 2 * DAY, refuses=frozenset({CARE, DAK, SHOP}))[3:] == [
        (1, Step.OWNER, ANNA, Why.NO_PARTNER)
    ]


def test_who_is_not_reached_for_days_is_followed_by_the_next_and_told_nonetheless() -> None:
    def waiting(who: Addressee, queued_at: datetime, **more: Any) -> Notice:
        return Notice(
            incident_id="i", step=Step.FIRST, party=Party.MAINTENANCE, addressee=who,
            queued_at=queued_at, **more,
        )  # fmt: skip

    def asked(sent: list[Notice], parties: Parties = ALL) -> list[tuple[Step, Addressee]]:
        return [(one.step, one.addressee) for one in due(case(parties=parties), sent, NOW)]

    late, soon = NOW - 5 * DAY, NOW - 5 * DAY + HOUR
    assert asked([waiting(CARE, soon)]) == []
    assert asked([waiting(CARE, late)]) == [(Step.FIRST, DAK)]
    # Its mail was taken back, for it told of something else too: it is due again.
    assert asked([waiting(CARE, soon, has_mail=False)]) == [(Step.FIRST, CARE)]
    again = [waiting(CARE, late, has_mail=False)]
    assert asked(again) == [(Step.FIRST, CARE), (Step.FIRST, DAK)]
    assert asked([waiting(CARE, late, delivered_at=NOW, has_mail=False)]) == []
    # Who does several things is asked once, and in the end it is the owner's.
    alone = Parties(maintenance=(CARE,), installers=(CARE,), owners=(ANNA,))
    assert asked(again, alone) == [(Step.FIRST, CARE), (Step.OWNER, ANNA)]


def test_time_runs_from_the_first_mail_that_left_and_not_from_the_fault() -> None:
    waiting = Notice(
        incident_id="i", step=Step.FIRST, party=Party.MAINTENANCE, addressee=CARE, queued_at=NOW
    )
    # Until it waited so long that it counts as refused.
    assert due(case(), [waiting], NOW + 5 * DAY - HOUR) == []
    left = msgspec.structs.replace(waiting, delivered_at=NOW + 20 * DAY)
    assert due(case(), [left], NOW + 23 * DAY - HOUR) == []
    (reminder,) = due(case(), [left], NOW + 23 * DAY)
    assert (reminder.step, reminder.addressee) == (Step.REMINDER, CARE)


def test_a_new_company_hears_of_it_and_is_reminded_in_its_own_time() -> None:
    told = Notice(
        incident_id="i", step=Step.FIRST, party=Party.MAINTENANCE, addressee=CARE, queued_at=NOW,
        delivered_at=NOW,
    )  # fmt: skip
    changed = case(parties=msgspec.structs.replace(ALL, maintenance=()))
    (first,) = due(changed, [told], NOW + 5 * DAY)
    assert (first.step, first.party, first.addressee) == (Step.FIRST, Party.INSTALLER, DAK)


def test_the_waits_are_rules() -> None:
    rules = EscalationRules(owner_after=HOUR)
    told = Notice(
        incident_id="i", step=Step.FIRST, party=Party.MAINTENANCE, addressee=CARE, queued_at=NOW,
        delivered_at=NOW,
    )  # fmt: skip
    assert [one.step for one in due(case(), [told], NOW + HOUR, rules)] == [Step.OWNER]


CASES = st.builds(
    case,
    st.sampled_from(list(Cause)),
    st.builds(
        Parties,
        maintenance=st.sampled_from([(), (CARE,)]),
        installers=st.sampled_from([(), (DAK,), (DAK, BOB)]),
        sellers=st.sampled_from([(), (SHOP,), (DAK,)]),
        owners=st.sampled_from([(), (ANNA,), (ANNA, BOB)]),
    ),
    severity=st.sampled_from(list(Severity)),
    reaction_days=st.sampled_from([None, 30]),
    acknowledged_at=st.sampled_from([None, NOW]),
    may_tell=st.booleans(),
)


@settings(max_examples=200)
@given(CASES, st.sets(st.sampled_from([CARE, DAK, SHOP, ANNA])))
def test_nobody_is_told_a_step_twice_and_nobody_where_it_is_not_allowed(
    found: Case, refuses: set[Addressee]
) -> None:
    told = run(found, 20 * DAY, refuses=frozenset(refuses))
    assert len({(step, who) for _, step, who, _ in told}) == len(told)
    if found.incident.acknowledged_at or not found.may_tell:
        assert told == []
    for _, step, who, _ in told:
        assert step is not Step.OWNER or who in found.parties.owners


def test_an_addressee_is_one() -> None:
    for wrong in ({}, {"person_id": "a", "organisation_id": "b"}):
        with pytest.raises(ValueError, match="one organisation or one person"):
            Addressee(**wrong)


def item(step: Step = Step.FIRST, why: Why = Why.NEW, number: int = 1, **more: Any) -> Item:
    values: dict[str, Any] = {
        "due": Due(
            incident_id=f"k7m2q9xd:A {number}:outage:x", step=step, party=Party.INSTALLER,
            addressee=DAK, why=why,
        ),
        "site_id": "k7m2q9xd", "site_name": "Kanarieweg 7", "time_zone": "Europe/Amsterdam",
        "cause": Cause.OUTAGE, "opened_at": BEGAN, "lost_kwh": 12.34,
    }  # fmt: skip
    return Item(**(values | more))


def test_one_alarm_is_told_in_full_and_its_subject_names_no_house() -> None:
    letter = digest([item()], "nl", url="https://portal.example.nl/")
    assert letter.subject == "Een melding over een zonne-installatie: Uitval"
    assert letter.text.startswith("Nieuw, voor u om naar te kijken:")
    assert "- Kanarieweg 7: Uitval, sinds 1 jun 2026, 10:00, tot nu toe 12,3 kWh verloren" in (
        letter.text
    )
    assert "\n  https://portal.example.nl/alarms/k7m2q9xd:A%201:outage:x\n" in letter.text
    assert "my-data" not in letter.text
    english = digest([item()], "en", url="https://portal.example.nl")
    assert "- Kanarieweg 7: Outage, since 1 Jun 2026, 10:00, 12.3 kWh lost so far" in english.text


def test_the_owner_reads_why_how_soon_and_how_to_end_such_mails() -> None:
    letter = digest(
        [
            item(Step.REMINDER, Why.NO_ANSWER),
            item(Step.OWNER, Why.GUARANTEE, 2, reaction_days=30),
        ],
        "en",
        url="https://p.example",
    )  # fmt: skip
    assert letter.subject == "2 alarms of solar systems"
    # The most urgent first.
    assert letter.text.startswith("Your yield guarantee is at stake.")
    assert "act within 30 days" in letter.text
    assert letter.text.index("at stake") < letter.text.index("A reminder")
    assert "say so here: https://p.example/my-data" in letter.text


def test_a_name_begins_no_line_of_its_own() -> None:
    named = item(site_name="Huis\u2028  https://evil.example\u2029- Weg")
    text = digest([named], "nl", url="https://portal.example.nl").text
    (line,) = (line for line in text.splitlines() if "evil" in line)
    assert line.startswith("- Huis https://evil.example - Weg: ")


def test_a_mail_lists_what_somebody_reads_and_says_how_many_more_there_are() -> None:
    letter = digest([item(number=n) for n in range(LISTED_MAX + 7)], "nl", url="https://p.example")
    assert letter.text.count("\n- Kanarieweg 7") == LISTED_MAX
    assert "En nog 7: https://p.example/alarms" in letter.text


def test_every_turn_has_words_in_both_languages() -> None:
    turns = {(step, why) for _, step, _, why in _turns()}
    for heads in _HEADS.values():
        assert turns == set(heads)


def _turns() -> list[tuple[int, Step, Addressee, Why]]:
    lonely = Parties(owners=(ANNA,))
    return [
        turn
        for found in (
            case(),
            case(reaction_days=30),
            case(Cause.COMMUNICATION_LOSS, severity=Severity.ALARM, lost_kwh=0.0),
            case(parties=lonely),
        )
        for turn in run(found, 20 * DAY)
    ]
