"""Consent, sharing, notices, incidents, processors and retention keep what the policy promises."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from autarco_portal.privacy import (
    consent,
    policy,
    processors,
    retention,
    security_incident,
    sharing,
    transfer,
)
from autarco_portal.privacy.consent import Consent
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy.policy import Delivery, DeliveryState, Version
from autarco_portal.privacy.processors import Processor, TransferBasis
from autarco_portal.privacy.security_incident import SecurityIncident
from autarco_portal.privacy.sharing import Basis, Disclosure, RecipientKind
from autarco_portal.privacy.transfer import Transfer

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TODAY = NOW.date()
DAY = timedelta(days=1)
KEY = bytes(range(32))


def asked(**changes: Any) -> Consent:
    values: dict[str, Any] = {
        "consent_id": "c1", "person": "p1", "topic": "news", "text_version": "2026-1",
        "asked_at": NOW, "asked_network": consent.truncated("203.0.113.77"),
    }  # fmt: skip
    return Consent(**(values | changes))


def disclosure(kind: RecipientKind, **changes: Any) -> Disclosure:
    values: dict[str, Any] = {
        "disclosure_id": "s1", "recipient": "somebody", "kind": kind, "basis": Basis.CONTRACT,
        "why": "claim 12", "fields": ("readings",), "sites": ("site0001",),
        "period": (date(2025, 1, 1), date(2025, 12, 31)), "asked_at": NOW, "asked_by": "clerk",
    }  # fmt: skip
    return Disclosure(**(values | changes))


def version(name: str, in_force_on: date, **changes: Any) -> Version:
    values: dict[str, Any] = {
        "version": name, "language": "nl", "text": f"Beleid {name}\nWij verkopen niets.",
        "in_force_on": in_force_on, "published_at": datetime(2025, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    return Version(**(values | changes))


def incident(**changes: Any) -> SecurityIncident:
    values: dict[str, Any] = {
        "incident_id": "i1", "aware_at": NOW, "recorded_by": "officer",
        "summary": "a laptop was stolen",
    }  # fmt: skip
    return SecurityIncident(**(values | changes))


def test_a_newsletter_needs_two_yes_and_one_no() -> None:
    first = asked()
    assert not first.is_given
    assert consent.recipients([first], "news") == ()
    given = consent.confirm(first, at=NOW + DAY, address="::ffff:203.0.113.200")
    assert given.is_given
    assert (given.asked_network, given.confirmed_network) == ("203.0.113.0/24", "203.0.113.0/24")
    assert consent.recipients([given, given], "news") == ("p1",)
    assert consent.recipients([given], "products") == ()
    ended = consent.withdraw(given, at=NOW + 2 * DAY, by="one_click")
    assert not ended.is_given
    assert consent.withdraw(ended, at=NOW + 3 * DAY, by="account") is ended
    with pytest.raises(PrivacyError, match="withdrawn"):
        consent.confirm(ended, at=NOW + 3 * DAY, address="203.0.113.77")


def test_an_old_link_confirms_nothing() -> None:
    with pytest.raises(PrivacyError, match="too old"):
        consent.confirm(asked(), at=NOW + consent.CONFIRM_DAYS * DAY, address="203.0.113.77")
    with pytest.raises(PrivacyError, match="topic"):
        asked(topic="gossip")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
    ],
)
def test_of_an_address_only_its_network_is_kept(address: str, network: str) -> None:
    assert consent.truncated(address) == network


def test_a_link_is_good_for_one_use_of_one_consent() -> None:
    token = consent.token(KEY, "c1", "withdraw")
    consent.check_token(KEY, "c1", "withdraw", token)
    for wrong in (("c1", "confirm", token), ("c2", "withdraw", token), ("c1", "withdraw", "")):
        with pytest.raises(PrivacyError, match="not valid"):
            consent.check_token(KEY, *wrong)


def test_withdrawal_is_offered_as_rfc_8058_says() -> None:
    headers = consent.unsubscribe_headers("https://portal.example/u/c1/tok", "privacy@example.nl")
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "<https://portal.example/u/c1/tok>" in headers["List-Unsubscribe"]
    with pytest.raises(PrivacyError, match="https"):
        consent.unsubscribe_headers("http://portal.example/u", "privacy@example.nl")


def test_an_insurer_gets_performance_of_one_site_and_period_only() -> None:
    left = sharing.disclose(disclosure(RecipientKind.INSURER), at=NOW, sha256="ab" * 32)
    assert left.disclosed_at == NOW
    for changes in (
        {"fields": ("readings", "email")},
        {"sites": ("site0001", "site0002")},
        {"period": None},
    ):
        with pytest.raises(PrivacyError, match=r"may not get|one site"):
            disclosure(RecipientKind.INSURER, **changes)
    with pytest.raises(PrivacyError, match="entry of its own"):
        sharing.disclose(left, at=NOW + DAY)


def test_a_legal_demand_needs_two_people_who_did_not_ask() -> None:
    with pytest.raises(PrivacyError, match="ground"):
        disclosure(RecipientKind.AUTHORITY)
    demand = disclosure(RecipientKind.AUTHORITY, ground="law", fields=("name", "readings"))
    with pytest.raises(PrivacyError, match="does not approve"):
        sharing.approve(demand, by="clerk")
    once = sharing.approve(demand, by="officer")
    with pytest.raises(PrivacyError, match="1 more"):
        sharing.disclose(once, at=NOW)
    with pytest.raises(PrivacyError, match="two people"):
        sharing.approve(once, by="officer")
    twice = sharing.approve(once, by="director")
    assert sharing.disclose(twice, at=NOW).approvals == ("officer", "director")


def test_the_policy_of_each_day_can_be_had() -> None:
    versions = [
        version("1", date(2025, 1, 1)), version("2", date(2026, 1, 1)),
        version("1", date(2025, 1, 1), language="en"),
    ]  # fmt: skip
    for day, name in (
        (date(2024, 12, 31), None), (date(2025, 1, 1), "1"), (date(2025, 12, 31), "1"),
        (date(2026, 1, 1), "2"),
    ):  # fmt: skip
        found = policy.in_force(versions, "nl", day)
        assert (found.version if found else None) == name
    assert "+Beleid 2" in policy.difference(versions[0], versions[1])


def test_a_significant_change_is_not_in_force_before_people_could_read_of_it() -> None:
    soon = version("3", TODAY + 29 * DAY)
    with pytest.raises(PrivacyError, match="30 days"):
        policy.check_new(soon, today=TODAY)
    policy.check_new(version("3", TODAY + 30 * DAY), today=TODAY)
    policy.check_new(version("3", TODAY, is_significant=False), today=TODAY)


def test_every_registered_user_was_told_before_it_starts() -> None:
    starts_on = TODAY + 30 * DAY
    told = Delivery(notice_id="n", person="p1", state=DeliveryState.DELIVERED, at=NOW)
    dead = Delivery(notice_id="n", person="p2", state=DeliveryState.REFUSED, at=NOW)
    queued = Delivery(notice_id="n", person="p3")
    found = policy.readiness(["p1", "p2", "p3", "p4"], [told, dead, queued], starts_on=starts_on)
    assert (found.is_ready, found.missing, found.waiting, found.refused) == (
        False, ("p4",), ("p3",), ("p2",),
    )  # fmt: skip
    assert policy.readiness(["p1", "p2"], [told, dead], starts_on=starts_on).is_ready
    late = Delivery(notice_id="n", person="p1", state=DeliveryState.DELIVERED, at=NOW + 30 * DAY)
    assert not policy.readiness(["p1"], [late], starts_on=starts_on).is_ready


def test_nothing_is_transferred_before_the_day_of_the_notice() -> None:
    with pytest.raises(PrivacyError, match="30 days"):
        Transfer(
            transfer_id="t", acquirer="Zon BV", noticed_on=TODAY, transfers_on=TODAY + 29 * DAY,
            notice_id="n",
        )  # fmt: skip
    takeover = Transfer(
        transfer_id="t", acquirer="Zon BV", noticed_on=TODAY, transfers_on=TODAY + 30 * DAY,
        notice_id="n",
    )  # fmt: skip
    with pytest.raises(PrivacyError, match="before 2026-05-31"):
        transfer.check_due(takeover, today=TODAY + 29 * DAY, is_noticed=True)
    with pytest.raises(PrivacyError, match="reached everybody"):
        transfer.check_due(takeover, today=TODAY + 30 * DAY, is_noticed=False)
    transfer.check_due(takeover, today=TODAY + 30 * DAY, is_noticed=True)
    assert transfer.cohort(["b", "a", "c"], ["b"]) == ("a", "c")


def test_the_authority_hears_of_a_breach_within_72_hours() -> None:
    lost = incident()
    assert security_incident.hours_left(lost, NOW + timedelta(hours=70)) == 2
    assert security_incident.hours_left(lost, NOW + timedelta(hours=73)) == -1
    with pytest.raises(PrivacyError, match="after 72 hours"):
        security_incident.report(
            lost, at=NOW + timedelta(hours=73), by="officer", known={"nature": "theft"}
        )
    told = security_incident.report(
        lost, at=NOW + timedelta(hours=71), by="officer", known={"nature": "theft"}
    )
    assert security_incident.hours_left(told, NOW + 9 * DAY) is None
    with pytest.raises(PrivacyError, match="says nothing of categories"):
        security_incident.close(told, at=NOW + DAY)
    rest = {name: "known" for name in security_incident.REPORT if name != "nature"}
    whole = security_incident.report(told, at=NOW + 5 * DAY, by="officer", known=rest)
    assert security_incident.close(whole, at=NOW + 6 * DAY).closed_at == NOW + 6 * DAY


def test_people_hear_of_a_high_risk_unless_the_data_was_encrypted() -> None:
    assert security_incident.must_tell_people(incident(is_high_risk=True))
    assert not security_incident.must_tell_people(incident(is_high_risk=True, is_encrypted=True))
    assert not security_incident.must_tell_people(incident(is_high_risk=True, told_people_at=NOW))
    with pytest.raises(PrivacyError, match="no risk is seen"):
        incident(is_risk=False)
    harmless = incident(is_risk=False, assessment="the disk was encrypted")
    assert security_incident.hours_left(harmless, NOW) is None
    assert security_incident.close(harmless, at=NOW).closed_at == NOW


def test_the_register_of_processors_says_what_is_missing() -> None:
    host = Processor(
        processor_id="1", name="Host", service="servers", region="NL", stores=("readings",),
        agreement_on=date(2025, 4, 1), transfer_basis=TransferBasis.WITHIN_EEA,
    )  # fmt: skip
    mail = Processor(
        processor_id="2", name="Mail", service="mail", region="IE", stores=("people",),
        agreement_on=None, transfer_basis=TransferBasis.WITHIN_EEA,
    )  # fmt: skip
    assert processors.findings([host, mail], TODAY) == (
        "Host: not reviewed since 2025-04-01", "Mail: no data processing agreement",
    )  # fmt: skip


@pytest.mark.parametrize("rule", retention.RULES, ids=lambda rule: str(rule.name))
def test_each_rule_is_due_after_its_days_and_not_before(rule: retention.Rule) -> None:
    after = NOW + timedelta(days=rule.days)
    assert not retention.due(rule, NOW, after - timedelta(microseconds=1))
    assert retention.due(rule, NOW, after)
    assert not retention.due(rule, None, after)


def test_a_deployment_keeps_things_shorter_but_never_longer() -> None:
    shorter = retention.with_periods({"sessions": 30})
    assert {rule.name: rule.days for rule in shorter}["sessions"] == 30
    for periods, reason in (
        ({"sessions": 10_000}, "1 to 366 days"),
        ({"sessions": 0}, "1 to 366 days"),
        ({"sessions": "ever"}, "expected days"),
        ({"gossip": 3}, "no rule named gossip"),
    ):
        with pytest.raises(PrivacyError, match=reason):
            retention.with_periods(periods)
