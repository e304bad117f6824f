"""A request is answered in time, by a named person, to whoever proved to be the one who asked."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autarco_portal.privacy import deadline, letter, request
from autarco_portal.privacy.deadline import Pause
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy.request import (
    Channel,
    Kind,
    Method,
    Outcome,
    Request,
    Right,
    State,
)

DAY = timedelta(days=1)
RECEIVED = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
DIGEST = "ab" * 32


def mailed(right: Right = Right.ACCESS, received_at: datetime = RECEIVED) -> Request:
    return Request(
        request_id="r1", right=right, channel=Channel.MAIL, received_at=received_at, language="en"
    )


def signed_in(right: Right = Right.ACCESS) -> Request:
    return Request(
        request_id="r2", right=right, channel=Channel.PORTAL, received_at=RECEIVED, person="p1"
    )


def verified(asked: Request) -> Request:
    at = asked.received_at + timedelta(hours=1)
    if asked.channel is Channel.PORTAL:
        return request.verify(asked, at=at, by="p1", method=Method.FRESH_SIGN_IN, person="p1")
    return request.verify(asked, at=at, by="officer", method=Method.MAILED_LINK, person="p1")


def decided(asked: Request, outcome: Outcome = Outcome.GRANTED, reason: str = "") -> Request:
    return request.decide(
        verified(asked), at=RECEIVED + DAY, by="officer", outcome=outcome, reason=reason
    )


@pytest.mark.parametrize(
    ("received_on", "last_day"),
    [
        ((2026, 1, 31), (2026, 2, 28)),
        ((2028, 1, 31), (2028, 2, 29)),
        ((2026, 3, 15), (2026, 4, 15)),
        ((2026, 12, 31), (2027, 1, 31)),
        ((2026, 3, 31), (2026, 4, 30)),
    ],
)
def test_a_month_is_one_of_the_calendar(
    received_on: tuple[int, int, int], last_day: tuple[int, int, int]
) -> None:
    asked = mailed(received_at=datetime(*received_on, 12, tzinfo=UTC))
    ends = asked.deadline_at(asked.received_at)
    assert deadline.last_day(ends) == date(*last_day)
    # Midnight in Amsterdam, summer or winter.
    assert ends.astimezone(deadline.ZONE).hour == 0


def test_late_in_the_evening_in_utc_is_the_next_day_here() -> None:
    asked = mailed(received_at=datetime(2026, 6, 30, 22, 30, tzinfo=UTC))
    assert deadline.last_day(asked.deadline_at(asked.received_at)) == date(2026, 8, 1)


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)), st.integers(0, 90))
def test_a_deadline_is_never_later_than_the_law_allows(when: datetime, waited: int) -> None:
    received_at = when.replace(tzinfo=UTC)
    pause = Pause(from_at=received_at, to_at=received_at + waited * DAY)
    plain = deadline.deadline(received_at, received_at)
    # A day more than a month where midnight was just over, an hour where clocks changed between.
    hour = timedelta(hours=1)
    assert timedelta(days=28) - hour <= plain - received_at <= timedelta(days=32) + hour
    # Two hours: the night in which the clocks change.
    paused = deadline.deadline(received_at, pause.to_at or received_at, pauses=(pause,))
    assert abs(paused - plain - waited * DAY) <= timedelta(hours=2)


def test_waiting_for_proof_stops_the_clock() -> None:
    asked = request.ask_proof(mailed(), at=RECEIVED + DAY, by="officer", reason="no such address")
    assert asked.state is State.AWAITING_PROOF
    late = RECEIVED + 60 * DAY
    assert asked.deadline_at(late) > late
    assert asked.warnings_due(late) == ()
    proved = request.verify(
        asked, at=RECEIVED + 11 * DAY + timedelta(hours=20), by="officer",
        method=Method.KNOWN_FACT, person="p1",
    )  # fmt: skip
    # Ten whole days and twenty hours were waited; ten are given back.
    assert deadline.last_day(proved.deadline_at(late)) == date(2026, 3, 10)


def test_two_months_more_with_a_reason_and_only_within_the_first() -> None:
    asked = verified(mailed())
    with pytest.raises(PrivacyError, match="reason"):
        request.extend(asked, at=RECEIVED + DAY, by="officer", reason=" ")
    with pytest.raises(PrivacyError, match="too late"):
        request.extend(asked, at=RECEIVED + 40 * DAY, by="officer", reason="many requests")
    longer = request.extend(asked, at=RECEIVED + 20 * DAY, by="officer", reason="many requests")
    assert deadline.last_day(longer.deadline_at(RECEIVED)) == date(2026, 4, 30)
    with pytest.raises(PrivacyError, match="once"):
        request.extend(longer, at=RECEIVED + 21 * DAY, by="officer", reason="still")
    told = letter.extension(longer, longer.deadline_at(RECEIVED))
    assert "many requests" in told.text
    assert "2026-04-30" in told.text
    assert "complaint" in told.text


def test_the_officer_is_warned_ten_and_three_days_before_and_when_it_is_missed() -> None:
    asked = verified(mailed())
    given_warnings = []
    for hours in range(1, 24 * 45):
        now = RECEIVED + timedelta(hours=hours)
        for days in asked.warnings_due(now):
            given_warnings.append((days, asked.deadline_at(now) - now))
            asked = request.warn(asked, at=now, days=days)
    assert [days for days, _ in given_warnings] == [10, 3, 0]
    for days, left in given_warnings:
        assert timedelta(hours=-1) <= days * DAY - left <= timedelta(hours=1)


def test_an_extension_begins_the_warnings_anew() -> None:
    asked = verified(mailed())
    soon = asked.deadline_at(RECEIVED) - 2 * DAY
    asked = request.warn(asked, at=soon, days=3)
    asked = request.extend(asked, at=soon, by="officer", reason="many requests")
    assert asked.warnings_due(soon) == ()
    assert asked.warnings_due(asked.deadline_at(soon) - 9 * DAY) == (10,)


def test_without_proof_a_request_can_only_be_refused() -> None:
    with pytest.raises(PrivacyError, match="nobody verified"):
        request.decide(mailed(), at=RECEIVED, by="officer", outcome=Outcome.GRANTED)
    asked = request.ask_proof(mailed(), at=RECEIVED, by="officer", reason="unknown address")
    refused = request.decide(
        asked, at=RECEIVED + 60 * DAY, by="officer", outcome=Outcome.REFUSED,
        reason="no proof of identity came",
    )  # fmt: skip
    closed = request.close(refused, at=RECEIVED + 60 * DAY, by="officer", letter_sha256=DIGEST)
    assert closed.state is State.CLOSED


def test_a_duplicate_request_does_not_inherit_the_verification() -> None:
    first = verified(mailed(Right.ERASURE))
    second = mailed(Right.ERASURE, received_at=RECEIVED + DAY)
    assert first.is_verified
    assert not second.is_verified
    with pytest.raises(PrivacyError, match="nobody verified"):
        request.decide(second, at=RECEIVED + 2 * DAY, by="officer", outcome=Outcome.GRANTED)


@pytest.mark.parametrize(
    ("asked", "method", "by", "person", "reason"),
    [
        (mailed(), Method.FRESH_SIGN_IN, "p1", "p1", "proves nothing"),
        (signed_in(), Method.KNOWN_FACT, "p1", "p1", "proves nothing"),
        (signed_in(), Method.FRESH_SIGN_IN, "p2", "p2", "another person"),
        (signed_in(), Method.FRESH_SIGN_IN, "officer", "p1", "for somebody else"),
    ],
)
def test_a_proof_that_proves_nothing_is_refused(
    asked: Request, method: Method, by: str, person: str, reason: str
) -> None:
    with pytest.raises(PrivacyError, match=reason):
        request.verify(asked, at=RECEIVED, by=by, method=method, person=person)


def test_no_program_decides_and_no_refusal_goes_without_a_reason() -> None:
    asked = verified(signed_in())
    with pytest.raises(PrivacyError, match="named person"):
        request.decide(asked, at=RECEIVED + DAY, by="system", outcome=Outcome.GRANTED)
    with pytest.raises(PrivacyError, match="reason"):
        request.decide(asked, at=RECEIVED + DAY, by="officer", outcome=Outcome.PARTLY)


def test_what_was_granted_is_proved_before_it_is_closed() -> None:
    asked = decided(signed_in())
    with pytest.raises(PrivacyError, match="proved"):
        request.close(asked, at=RECEIVED + DAY, by="officer", letter_sha256=DIGEST)
    proved = request.add_evidence(asked, at=RECEIVED + DAY, by="officer", sha256=DIGEST)
    answer = letter.closing(proved)
    assert DIGEST in answer.text
    closed = request.close(
        proved, at=RECEIVED + 2 * DAY, by="officer", letter_sha256=answer.sha256()
    )
    assert (closed.state, closed.is_open) == (State.CLOSED, False)
    assert [step.kind for step in closed.steps] == [
        Kind.VERIFIED, Kind.DECIDED, Kind.EVIDENCE, Kind.CLOSED,
    ]  # fmt: skip
    with pytest.raises(PrivacyError, match="closed"):
        request.decide(closed, at=RECEIVED + 3 * DAY, by="officer", outcome=Outcome.REFUSED)


@pytest.mark.parametrize("right", list(Right))
@pytest.mark.parametrize("language", ["nl", "en"])
def test_a_refusal_says_why_and_where_to_complain(right: Right, language: str) -> None:
    asked = Request(
        request_id="r9", right=right, channel=Channel.LETTER, received_at=RECEIVED,
        language=language,
    )  # fmt: skip
    asked = decided(asked, Outcome.REFUSED, "asked twice a week")
    answer = letter.closing(asked)
    assert letter.RIGHTS[language][right] in answer.subject
    assert "asked twice a week" in answer.text
    assert "autoriteitpersoonsgegevens.nl" in answer.text


def test_only_the_person_withdraws_and_time_does_not_run_backwards() -> None:
    asked = verified(signed_in())
    with pytest.raises(PrivacyError, match="only the person"):
        request.withdraw(asked, at=RECEIVED + DAY, by="officer")
    with pytest.raises(PrivacyError, match="older"):
        request.withdraw(asked, at=RECEIVED - DAY, by="p1")
    assert request.withdraw(asked, at=RECEIVED + DAY, by="p1").state is State.WITHDRAWN
