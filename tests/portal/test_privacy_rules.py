"""Restriction, objection, erasure and human decisions bind everything that follows from them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from autarco_portal.privacy import (
    erasure,
    human_decision,
    legal_hold,
    letter,
    processing,
    suspension,
)
from autarco_portal.privacy.erasure import (
    ActionKind,
    Case,
    GuaranteeHolding,
    Holdings,
    SiteHolding,
)
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy.human_decision import Automated, Effect, Status
from autarco_portal.privacy.legal_hold import Hold
from autarco_portal.privacy.processing import ALWAYS, FREE, Flags, Purpose, may_process
from autarco_portal.privacy.suspension import GuaranteeState, SuspensionRules

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TODAY = NOW.date()
DAY = timedelta(days=1)
RULES = SuspensionRules()
ALONE = SiteHolding(
    site_id="site0001", loggers=(4_012_345_678,), inverters=("SN1", "SN2"), photos=3,
    guarantees=(
        GuaranteeHolding(
            contract_id="C-1", is_active=True, settled_claims=2, last_settled_on=date(2025, 7, 1)
        ),
    ),
)  # fmt: skip
SHARED = SiteHolding(site_id="site0002", other_owners=1, loggers=(7,), inverters=("SN9",), photos=1)
HOLDINGS = Holdings(
    person="p1", sites=(ALONE, SHARED),
    invoices={"2018-1": date(2018, 3, 1), "2024-7": date(2024, 3, 1)},
    records={"people": 1, "login_sessions": 4, "support_notes": 2},
)  # fmt: skip


def hold(store: str, subject: str = "p1", **changes: Any) -> Hold:
    values: dict[str, Any] = {
        "hold_id": "h1", "store": store, "subject": subject, "reason": "case 26/123",
        "begun_at": NOW, "begun_by": "officer", "review_at": NOW + 90 * DAY,
    }  # fmt: skip
    return Hold(**(values | changes))


def automated(**changes: Any) -> Automated:
    values: dict[str, Any] = {
        "decision_id": "d1", "person": "p1", "thing": "C-1", "effect": Effect.ZERO_VALUE,
        "decided_at": NOW, "told_at": NOW, "inputs_sha256": "ab" * 32,
        "model_version": "guarantee-1",
    }  # fmt: skip
    return Automated(**(values | changes))


@pytest.mark.parametrize("purpose", list(Purpose))
def test_restriction_leaves_storage_rights_law_and_account_only(purpose: Purpose) -> None:
    restricted = processing.restrict(FREE)
    assert may_process(restricted, purpose) == (purpose in ALWAYS)
    # One resident's restriction binds the site of both.
    assert may_process((FREE, restricted), purpose) == (purpose in ALWAYS)


@pytest.mark.parametrize("purpose", sorted(set(Purpose) - ALWAYS))
def test_an_objection_ends_its_purpose_and_no_other(purpose: Purpose) -> None:
    consenting = Flags(consents=frozenset({Purpose.MARKETING}))
    flags = processing.object_to(consenting, purpose)
    assert not may_process(flags, purpose)
    for other in set(Purpose) - {purpose}:
        assert may_process(flags, other)


@pytest.mark.parametrize("purpose", sorted(ALWAYS))
def test_nobody_objects_to_what_the_law_asks_for(purpose: Purpose) -> None:
    with pytest.raises(PrivacyError, match="the law"):
        processing.object_to(FREE, purpose)


def test_marketing_needs_consent_and_objection_ends_it_for_good() -> None:
    assert not may_process(FREE, Purpose.MARKETING)
    assert not may_process((), Purpose.MARKETING)
    consenting = Flags(consents=frozenset({Purpose.MARKETING}))
    assert may_process(consenting, Purpose.MARKETING)
    objected = processing.object_to(consenting, Purpose.MARKETING)
    again = msgspec.structs.replace(objected, consents=frozenset({Purpose.MARKETING}))
    assert not may_process(again, Purpose.MARKETING)


@pytest.mark.parametrize("purpose", list(Purpose))
def test_of_the_erased_only_what_the_law_keeps_is_used(purpose: Purpose) -> None:
    assert may_process(Flags(is_erased=True), purpose) == (purpose is Purpose.LEGAL)


def test_a_guarantee_is_suspended_by_what_it_cannot_do_without() -> None:
    for purpose in set(Purpose) - ALWAYS:
        is_suspended = processing.suspends_guarantee([processing.object_to(FREE, purpose)])
        assert is_suspended == (purpose in processing.GUARANTEE_NEEDS)
    assert processing.suspends_guarantee([FREE, processing.restrict(FREE)])


def test_a_suspended_guarantee_lapses_after_its_days_and_the_person_is_warned() -> None:
    states = [
        suspension.guarantee_state(NOW, NOW + days * DAY, RULES)
        for days in (0, RULES.lapse_after_days - 1, RULES.lapse_after_days)
    ]
    assert states == [
        GuaranteeState.SUSPENDED, GuaranteeState.SUSPENDED, GuaranteeState.LAPSE_DUE,
    ]  # fmt: skip
    assert suspension.guarantee_state(None, NOW, RULES) is GuaranteeState.IN_FORCE
    warned_on = next(
        days
        for days in range(200)
        if suspension.lapse_warning_due(NOW, NOW + days * DAY, was_warned=False, rules=RULES)
    )
    assert warned_on == RULES.lapse_after_days - RULES.lapse_warning_days
    assert not suspension.lapse_warning_due(NOW, NOW + 80 * DAY, was_warned=True, rules=RULES)


def test_the_end_of_a_restriction_is_announced_first() -> None:
    begun = suspension.begin(
        restriction_id="x1", subject="p1", ground="accuracy", at=NOW, by="officer"
    )
    with pytest.raises(PrivacyError, match="announced first"):
        suspension.lift(begun, at=NOW + DAY, by="officer")
    announced = suspension.announce_lifting(begun, at=NOW + DAY, rules=RULES)
    assert announced.is_in_force
    with pytest.raises(PrivacyError, match="holds until"):
        suspension.lift(announced, at=NOW + 2 * DAY, by="officer")
    ends_at = NOW + DAY + timedelta(days=RULES.lift_notice_days)
    assert not suspension.lift(announced, at=ends_at, by="officer").is_in_force
    # He may end his own at once.
    assert not suspension.lift(begun, at=NOW + DAY, by="p1").is_in_force
    with pytest.raises(PrivacyError, match="ground"):
        suspension.begin(restriction_id="x", subject="p1", ground="mood", at=NOW, by="officer")


def test_the_preview_says_what_ends_what_goes_and_what_stays() -> None:
    impact = erasure.preview(HOLDINGS, today=TODAY)
    assert impact.sites_without_monitoring == ("site0001",)
    assert impact.sites_he_leaves == ("site0002",)
    assert impact.guarantees_lapse == ("C-1",)
    assert impact.loggers_refused == (4_012_345_678,)
    assert impact.inverters_erased == ("SN1", "SN2")
    assert impact.photos_deleted == 3
    assert impact.removed == dict(sorted(HOLDINGS.records.items()))
    # The invoice of 2018 is past its seven years.
    assert [(part.what, part.count, part.until) for part in impact.kept] == [
        ("invoices", 1, date(2031, 12, 31)),
        ("guarantees", 1, date(2031, 5, 1)),
        ("settlements", 2, date(2030, 7, 1)),
        ("request", 1, date(2031, 5, 1)),
    ]


def test_a_hold_keeps_what_it_names_and_nothing_beside_it() -> None:
    impact = erasure.preview(HOLDINGS, today=TODAY, holds=(hold("support_notes"),))
    assert "support_notes" not in impact.removed
    assert impact.removed["login_sessions"] == 4
    assert [part.why for part in impact.kept if part.what == "support_notes"] == [
        "legal hold: case 26/123"
    ]
    frozen = erasure.preview(HOLDINGS, today=TODAY, holds=(hold("readings", "site0001"),))
    assert frozen.inverters_erased == ()
    assert frozen.loggers_refused == (4_012_345_678,)
    ended = erasure.preview(HOLDINGS, today=TODAY, holds=(hold("*", ended_at=NOW),))
    assert ended == erasure.preview(HOLDINGS, today=TODAY)
    other = erasure.preview(HOLDINGS, today=TODAY, holds=(hold("*", "p2"),))
    assert other == ended


@pytest.mark.parametrize("store", ["*", "login_sessions"])
def test_a_hold_on_what_is_nothing_without_the_person_blocks_the_erasure(store: str) -> None:
    free = erasure.preview(HOLDINGS, today=TODAY)
    case = Case(case_id="e1", request_id="r1", impact=free, cooling_off_days=7, previewed_at=NOW)
    case = erasure.confirm(case, at=NOW, by="p1", impact_sha256=free.sha256())
    blocked = erasure.preview(HOLDINGS, today=TODAY, holds=(hold(store),))
    assert blocked.blocked_by == ("case 26/123",)
    with pytest.raises(PrivacyError, match="legal hold blocks"):
        erasure.begin(case, blocked, at=NOW + 8 * DAY)
    assert erasure.begin(case, free, at=NOW + 8 * DAY).begun_at == NOW + 8 * DAY


def test_holds_are_looked_at_again() -> None:
    held = hold("photos")
    assert legal_hold.is_held([held], "photos", ["site0001", "p1"]) is held
    assert legal_hold.is_held([held], "leads", ["p1"]) is None
    assert legal_hold.to_review([held], NOW + 89 * DAY) == ()
    assert legal_hold.to_review([held], NOW + 90 * DAY) == (held,)
    with pytest.raises(PrivacyError, match="review_at"):
        hold("photos", review_at=NOW)


def test_erasure_waits_for_the_persons_yes_and_for_the_cooling_off() -> None:
    impact = erasure.preview(HOLDINGS, today=TODAY)
    case = Case(case_id="e1", request_id="r1", impact=impact, cooling_off_days=7, previewed_at=NOW)
    with pytest.raises(PrivacyError, match="not confirmed"):
        erasure.check_due(case, NOW + 30 * DAY)
    with pytest.raises(PrivacyError, match="only the person"):
        erasure.confirm(case, at=NOW, by="officer", impact_sha256=impact.sha256())
    other = erasure.preview(Holdings(person="p1"), today=TODAY)
    with pytest.raises(PrivacyError, match="not this preview"):
        erasure.confirm(case, at=NOW, by="p1", impact_sha256=other.sha256())
    confirmed = erasure.confirm(case, at=NOW, by="p1", impact_sha256=impact.sha256())
    with pytest.raises(PrivacyError, match="cooling-off"):
        erasure.check_due(confirmed, NOW + 7 * DAY - timedelta(seconds=1))
    erasure.check_due(confirmed, NOW + 7 * DAY)
    called_off = erasure.call_off(confirmed, at=NOW + 6 * DAY, by="p1")
    with pytest.raises(PrivacyError, match="called off"):
        erasure.check_due(called_off, NOW + 8 * DAY)
    told = letter.confirm_erasure(impact, NOW + 7 * DAY, "nl")
    assert "site0001" in told.text
    assert "C-1" in told.text
    assert "2026-05-08" in told.text


@pytest.mark.parametrize("days", [6, 15])
def test_a_cooling_off_outside_the_policy_is_refused(days: int) -> None:
    with pytest.raises(PrivacyError, match="7 to 14"):
        Case(
            case_id="e1", request_id="r1", cooling_off_days=days, previewed_at=NOW,
            impact=erasure.preview(HOLDINGS, today=TODAY),
        )  # fmt: skip


def test_what_stops_data_from_coming_in_is_done_first() -> None:
    order = erasure.actions(erasure.preview(HOLDINGS, today=TODAY))
    assert order[0] is ActionKind.STOP_USE
    assert order.index(ActionKind.REMEMBER) < order.index(ActionKind.ERASE_TELEMETRY)
    assert order[-2:] == (ActionKind.TELL_PARTNERS, ActionKind.ERASE_RECORDS)
    bare = erasure.actions(erasure.preview(Holdings(person="p2"), today=TODAY))
    assert ActionKind.TELL_PARTNERS not in bare
    assert ActionKind.ERASE_TELEMETRY not in bare


def test_a_changed_effect_is_noticed_and_more_sign_ins_are_not() -> None:
    confirmed = erasure.preview(HOLDINGS, today=TODAY)
    more = msgspec.structs.replace(HOLDINGS, records={**HOLDINGS.records, "login_sessions": 9})
    assert erasure.differences(confirmed, erasure.preview(more, today=TODAY)) == ()
    sold = msgspec.structs.replace(HOLDINGS, sites=(SHARED,))
    found = erasure.differences(confirmed, erasure.preview(sold, today=TODAY))
    assert [line.split(":")[0] for line in found] == [
        "sites_without_monitoring", "guarantees_lapse", "loggers_refused", "inverters_erased",
        "kept",
    ]  # fmt: skip


def test_a_contested_decision_is_never_final_without_a_named_person() -> None:
    contested = human_decision.contest(automated(), at=NOW + DAY, by="p1")
    assert human_decision.status(contested, NOW + 10_000 * DAY) is Status.CONTESTED
    assert human_decision.decide_until(contested) == NOW + 15 * DAY
    for nobody in ("system", "p1"):
        with pytest.raises(PrivacyError, match="named employee"):
            human_decision.decide(
                contested, at=NOW + 2 * DAY, by=nobody, is_upheld=True, reason="looked at it"
            )
    upheld = human_decision.decide(
        contested, at=NOW + 2 * DAY, by="expert", is_upheld=True, reason="the counter is right"
    )
    assert human_decision.status(upheld, NOW + 2 * DAY) is Status.FINAL
    assert human_decision.decide_until(upheld) is None
    overturned = human_decision.decide(
        contested, at=NOW + 2 * DAY, by="expert", is_upheld=False, reason="a string was open"
    )
    assert human_decision.status(overturned, NOW + 2 * DAY) is Status.OVERTURNED


def test_an_uncontested_decision_is_final_when_the_time_to_contest_is_over() -> None:
    limit = human_decision.contest_until(NOW)
    assert human_decision.status(automated(), limit - DAY) is Status.PROVISIONAL
    assert human_decision.status(automated(), limit) is Status.FINAL
    # Nobody contests what he was never told.
    untold = automated(told_at=None)
    assert human_decision.status(untold, limit + 1_000 * DAY) is Status.PROVISIONAL
    with pytest.raises(PrivacyError, match="final"):
        human_decision.contest(automated(), at=limit, by="p1")
    with pytest.raises(PrivacyError, match="only the person"):
        human_decision.contest(automated(), at=NOW, by="p2")
