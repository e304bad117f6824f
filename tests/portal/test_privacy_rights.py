"""Each right of the policy, from the request to the letter, with the lapses that it states.

Time is an argument: a test of three months takes no longer than one of a day.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

import privacy_samples as samples
import smtp_server
from autarco_ingest.paths import DataDirectory
from autarco_portal import privacy_duties, privacy_guarantees
from autarco_portal.audit import AuditEntry
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.mail_smtp import MailSettings
from autarco_portal.people import SELF, OrganisationKind
from autarco_portal.privacy import human_decision, suspension
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy.human_decision import Effect, Status
from autarco_portal.privacy.letter import Letter
from autarco_portal.privacy.policy import DeliveryState, Notice, readiness
from autarco_portal.privacy.processing import Purpose
from autarco_portal.privacy.request import Channel, Method, Outcome, Right, State
from autarco_portal.privacy.security_incident import SecurityIncident
from autarco_portal.privacy_desk import Desk
from autarco_portal.privacy_erasure import Eraser
from autarco_portal.privacy_settings import PrivacySettings
from autarco_portal.store import StoreError, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from autarco_portal.store import Store

NOW, DAY = samples.NOW, samples.DAY
SETTINGS = PrivacySettings(
    officer="officer@autarco.example", insurer="claims@insurer.example",
    url="https://portal.example",
)  # fmt: skip
OFFICER = "officer01"


@pytest.fixture
def own(sqlite_url: str) -> Iterator[Store]:
    """A store; these tests are of what is done with it, not of the database."""
    with open_store(sqlite_url) as opened:
        yield opened


@pytest.fixture
def desk(own: Store) -> Desk:
    return Desk(own, SETTINGS)


@pytest.fixture
def eraser(own: Store, tmp_path: Path) -> Eraser:
    """Of people without telemetry; the lake has tests of its own."""

    def refuse(kind: str, serial: str) -> str:
        raise AssertionError(f"no telemetry is to be erased here: {kind} {serial}")

    return Eraser(own, DataDirectory.at(tmp_path), refuse)


def subjects(store: Store) -> list[str]:
    return [one.subject for one in store.mails.due(NOW + 10_000 * DAY)]


def begun(store: Store, subject: str) -> str:
    restriction = suspension.begin(
        restriction_id="x1", subject=subject, ground="accuracy", at=NOW, by=OFFICER
    )
    store.privacy.restrict(
        restriction,
        AuditEntry(at=NOW, actor=OFFICER, action="restrict", thing="restriction:x1"),
    )
    return restriction.restriction_id


def status(store: Store, contract: str) -> GuaranteeStatus:
    found = store.guarantees.get(contract)
    assert found is not None
    return found.status


def test_access_by_mail_is_proved_by_a_link_and_answered_with_evidence(
    own: Store, desk: Desk
) -> None:
    somebody = samples.person(own)
    asked = desk.receive_by_staff(
        Right.ACCESS, Channel.MAIL, "Jan@Canary.example", received_at=NOW - 2 * DAY, now=NOW,
        by=OFFICER, language="en",
    )  # fmt: skip
    desk.ask_proof(asked.request_id, now=NOW, by=OFFICER, reason="a mail proves nothing")
    mails = {one.recipient: one.text for one in own.mails.due(NOW)}
    assert set(mails) == {"Jan@Canary.example", "jan@canary.example"}
    # To the address on file, whatever the mail said.
    link = mails["jan@canary.example"].split("/privacy/verify/")[1].split()[0]
    request_id, token = link.split("/")
    with pytest.raises(StoreError, match="not valid"):
        desk.use_link(request_id, token + "x", now=NOW + DAY)
    verified = desk.use_link(request_id, token, now=NOW + DAY)
    assert (verified.state, verified.person) == (State.VERIFIED, somebody)
    desk.decide(request_id, now=NOW + 2 * DAY, by=OFFICER, outcome=Outcome.GRANTED)
    with pytest.raises(PrivacyError, match="proved before"):
        desk.close(request_id, now=NOW + 2 * DAY, by=OFFICER)
    answer = desk.close(request_id, now=NOW + 2 * DAY, by=OFFICER, evidence_sha256="ab" * 32)
    assert "ab" * 32 in answer.text
    assert own.privacy.contact(request_id) is None
    assert subjects(own)[-1].startswith("Answer to your request")
    assert [one.entry.action for one in own.audit.of(thing=f"request:{request_id}")][::-1] == [
        "receive_request", "ask_proof", "verify_request", "decide_request", "close_request",
    ]  # fmt: skip


def test_nobody_learns_whether_an_address_is_known(own: Store, desk: Desk) -> None:
    samples.person(own)
    texts = []
    for address in ("jan@canary.example", "nobody@canary.example"):
        asked = desk.receive_by_staff(
            Right.ACCESS, Channel.MAIL, address, received_at=NOW, now=NOW, by=OFFICER
        )
        after = desk.ask_proof(asked.request_id, now=NOW, by=OFFICER, reason="as always")
        assert after.person is None
        receipt = next(one for one in own.mails.due(NOW) if "kosteloos" in one.text)
        own.mails.note(receipt.mail_id, DeliveryState.DELIVERED, NOW)
        texts.append(receipt.text.replace(asked.request_id, ""))
    assert texts[0] == texts[1]


def test_an_unproved_request_is_refused_with_reasons(own: Store, desk: Desk) -> None:
    asked = desk.receive_by_staff(
        Right.ERASURE, Channel.LETTER, "x@x.example", received_at=NOW, now=NOW, by=OFFICER
    )
    with pytest.raises(PrivacyError, match="proves itself"):
        desk.verify(asked.request_id, now=NOW, by=OFFICER, method=Method.MAILED_LINK, person_id="p")
    desk.decide(
        asked.request_id, now=NOW + DAY, by=OFFICER, outcome=Outcome.REFUSED,
        reason="niet bewezen",
    )  # fmt: skip
    answer = desk.close(asked.request_id, now=NOW + DAY, by=OFFICER)
    assert "niet bewezen" in answer.text
    assert "autoriteitpersoonsgegevens.nl" in answer.text


def test_rectification_keeps_the_old_value_in_the_history(own: Store, desk: Desk) -> None:
    somebody = samples.person(own)
    asked = desk.receive_from_person(Right.RECTIFICATION, somebody, now=NOW, is_fresh=True)
    assert asked.state is State.VERIFIED
    own.people.change(somebody, {"name": "Jan Kanarie"}, SELF, NOW + DAY)
    history = [one.value for one in own.people.history(somebody) if one.attribute == "name"]
    assert history == ["Jan Canary", "Jan Kanarie"]
    desk.decide(asked.request_id, now=NOW + DAY, by=OFFICER, outcome=Outcome.GRANTED)
    desk.close(asked.request_id, now=NOW + DAY, by=OFFICER, evidence_sha256="cd" * 32)
    closed = own.privacy.requests.get(asked.request_id)
    assert closed is not None
    assert closed.state is State.CLOSED


def test_without_a_fresh_sign_in_a_request_of_the_portal_waits(own: Store, desk: Desk) -> None:
    somebody, other = samples.person(own), samples.person(own, "Piet", "piet@x.example")
    asked = desk.receive_from_person(Right.ERASURE, somebody, now=NOW, is_fresh=False)
    assert asked.state is State.RECEIVED
    with pytest.raises(PrivacyError, match="another person"):
        desk.confirm_sign_in(asked.request_id, other, now=NOW)
    assert desk.confirm_sign_in(asked.request_id, somebody, now=NOW).state is State.VERIFIED


def test_restriction_suspends_the_guarantee_then_lapses_it_unless_contested(
    own: Store, eraser: Eraser
) -> None:
    somebody = samples.person(own)
    site = samples.site(own, somebody)
    contract = samples.guaranteed(own, site)
    begun(own, somebody)
    privacy_duties.run(own, eraser, SETTINGS, NOW)
    assert status(own, contract) is GuaranteeStatus.SUSPENDED
    assert [one.site_id for one in own.sites.all()] == []
    rules = SETTINGS.suspension
    seen: dict[int, str] = {}
    warned = rules.lapse_after_days - rules.lapse_warning_days
    lapses = rules.lapse_after_days + human_decision.CONTEST_DAYS
    turns = (warned, rules.lapse_after_days, lapses)
    for days in sorted({day + step for day in turns for step in (-1, 0, 1)}):
        done = privacy_duties.run(own, eraser, SETTINGS, NOW + days * DAY).guarantees
        for name in ("warned", "decided", "lapsed"):
            if getattr(done, name):
                seen[days] = name
    assert seen == {warned: "warned", rules.lapse_after_days: "decided", lapses: "lapsed"}
    lapsed = own.guarantees.get(contract)
    assert lapsed is not None
    assert (lapsed.status, lapsed.status_reason) == (GuaranteeStatus.LAPSED, "data_not_usable")
    assert any("dreigt te vervallen" in subject for subject in subjects(own))


def test_a_contested_lapse_waits_for_a_named_employee(own: Store, eraser: Eraser) -> None:
    somebody = samples.person(own)
    contract = samples.guaranteed(own, samples.site(own, somebody))
    begun(own, somebody)
    due_at = NOW + SETTINGS.suspension.lapse_after_days * DAY
    privacy_duties.run(own, eraser, SETTINGS, NOW)
    privacy_duties.run(own, eraser, SETTINGS, due_at)
    (decision,) = own.privacy.decisions.all()
    privacy_guarantees.contest(own, decision.decision_id, due_at + DAY, by=somebody)
    later = due_at + 400 * DAY
    report = privacy_duties.run(own, eraser, SETTINGS, later)
    assert status(own, contract) is GuaranteeStatus.SUSPENDED
    assert report.attention == [
        f"decision {decision.decision_id} on guarantee:{contract} is contested"
    ]
    privacy_guarantees.decide(
        own, decision.decision_id, later, by="expert01", is_upheld=False, reason="it was our fault"
    )
    privacy_duties.run(own, eraser, SETTINGS, later + DAY)
    assert status(own, contract) is GuaranteeStatus.SUSPENDED
    assert own.privacy.suspensions()[0].since == later + DAY


def test_a_restriction_ends_on_the_announced_day_and_the_guarantee_goes_on(
    own: Store, eraser: Eraser
) -> None:
    somebody = samples.person(own)
    site = samples.site(own, somebody)
    contract = samples.guaranteed(own, site)
    name = begun(own, somebody)
    privacy_duties.run(own, eraser, SETTINGS, NOW)
    rules = SETTINGS.suspension
    own.privacy.change_restriction(
        name, lambda one: suspension.announce_lifting(one, at=NOW + DAY, rules=rules), NOW + DAY
    )
    day = NOW + DAY + timedelta(days=rules.lift_notice_days)
    assert privacy_duties.run(own, eraser, SETTINGS, day - timedelta(seconds=1)).lifted == 0
    report = privacy_duties.run(own, eraser, SETTINGS, day)
    assert (report.lifted, report.guarantees.resumed) == (1, 1)
    assert status(own, contract) is GuaranteeStatus.ACTIVE
    assert [one.site_id for one in own.sites.all()] == [site]


def test_objection_ends_its_purpose_for_every_job_and_leaves_the_guarantee(
    own: Store, desk: Desk, eraser: Eraser
) -> None:
    somebody = samples.person(own)
    site = samples.site(own, somebody)
    contract = samples.guaranteed(own, site)
    asked = desk.receive_from_person(Right.OBJECTION, somebody, now=NOW, is_fresh=True)
    own.privacy.object_to(somebody, Purpose.RESEARCH, NOW)
    privacy_duties.run(own, eraser, SETTINGS, NOW)
    assert own.privacy.blocked_sites(Purpose.RESEARCH, NOW) == {site}
    assert own.privacy.blocked_sites(Purpose.ANALYTICS, NOW) == frozenset()
    assert status(own, contract) is GuaranteeStatus.ACTIVE
    # What the guarantee cannot do without suspends it, as the policy says.
    own.privacy.object_to(somebody, Purpose.ANALYTICS, NOW)
    privacy_duties.run(own, eraser, SETTINGS, NOW)
    assert status(own, contract) is GuaranteeStatus.SUSPENDED
    own.privacy.withdraw_objection(somebody, Purpose.ANALYTICS)
    privacy_duties.run(own, eraser, SETTINGS, NOW + DAY)
    assert status(own, contract) is GuaranteeStatus.ACTIVE
    assert asked.state is State.VERIFIED


def test_a_settlement_of_nothing_is_told_and_a_person_may_look_at_it(own: Store) -> None:
    somebody = samples.person(own)
    contract = samples.guaranteed(own, samples.site(own, somebody), energy_kwh=5_000)
    (kept,) = own.guarantees.settlements(contract)
    assert kept.settlement.compensation_eur == 0
    decision = privacy_guarantees.record_outcome(
        own, person=somebody, thing=f"settlement:{kept.sha256[:16]}", effect=Effect.ZERO_VALUE,
        inputs_sha256=kept.sha256, model_version=kept.settlement.model_version, now=NOW,
    )  # fmt: skip
    assert "besluit" in subjects(own)[-1]
    privacy_guarantees.contest(own, decision.decision_id, NOW + DAY, by=somebody)
    with pytest.raises(PrivacyError, match="named employee"):
        privacy_guarantees.decide(
            own, decision.decision_id, NOW + DAY, by="system", is_upheld=True, reason="x"
        )
    ended = privacy_guarantees.decide(
        own, decision.decision_id, NOW + 2 * DAY, by="expert01", is_upheld=True, reason="right"
    )
    assert human_decision.status(ended, NOW + 2 * DAY) is Status.FINAL


def test_the_officer_is_warned_by_mail_and_of_everything_only_once(
    own: Store, desk: Desk, eraser: Eraser
) -> None:
    somebody = samples.person(own)
    desk.receive_from_person(Right.ACCESS, somebody, now=NOW, is_fresh=True)
    warned = [
        days
        for days in (1, 21, 22, 23, 28, 29, 30, 31, 32, 33, 40)
        if privacy_duties.run(own, eraser, SETTINGS, NOW + days * DAY).warnings
    ]
    # Received on 1 May, due at the end of 1 June.
    assert warned == [22, 29, 32]
    assert [one.subject for one in own.mails.due(NOW) if one.recipient == SETTINGS.officer] == []


def test_a_notice_is_delivered_and_each_delivery_is_on_record(own: Store, eraser: Eraser) -> None:
    names = {"jan@canary.example": "Jan", "gone@canary.example": "An", "later@canary.example": "Bo"}
    people = {email: samples.person(own, name, email) for email, name in names.items()}
    for one in people.values():
        samples.account(own, one)
    letters = {
        "nl": Letter(subject="Nieuw beleid", text="Vanaf 1 juli.\n"),
        "en": Letter(subject="New policy", text="From 1 July on.\n"),
    }
    notice = Notice(
        notice_id="n1", kind="policy", thing="2", starts_on=date(2026, 7, 1), created_at=NOW,
        letters=letters,  # type: ignore[arg-type]
    )  # fmt: skip
    own.privacy.notices.add(notice)
    with smtp_server.running() as (inbox, port):
        mail = MailSettings(
            host="127.0.0.1", port=port, security="none", sender="p@autarco.example"
        )
        settings = PrivacySettings(mail=mail)
        report = privacy_duties.run(own, eraser, settings, NOW)
    sent = report.mails
    assert (report.notices, sent.delivered, sent.refused, sent.deferred) == (3, 1, 1, 1)
    assert [message["To"] for message in inbox.messages] == ["jan@canary.example"]
    found = readiness(
        own.privacy.registered(), own.mails.deliveries("n1"), starts_on=date(2026, 7, 1)
    )
    assert not found.is_ready
    assert found.waiting == (people["later@canary.example"],)
    assert found.refused == (people["gone@canary.example"],)
    states = {one.person: one.state for one in own.mails.deliveries("n1")}
    assert states[people["jan@canary.example"]] is DeliveryState.DELIVERED
    # A mail server that is away loses nothing, and is told in one sentence.
    report = privacy_duties.run(own, eraser, settings, NOW + DAY)
    assert report.failures == [
        f"the mail server 127.0.0.1:{port} cannot be used: ConnectionRefusedError"
    ]
    assert len(own.mails.due(NOW + DAY)) == 1


def test_a_breach_is_on_the_officers_desk_until_the_authority_knows(
    own: Store, eraser: Eraser
) -> None:
    own.privacy.incidents.add(
        SecurityIncident(
            incident_id="i1", aware_at=NOW, recorded_by=OFFICER, summary="a laptop was stolen",
            is_high_risk=True,
        )
    )  # fmt: skip
    report = privacy_duties.run(own, eraser, SETTINGS, NOW + timedelta(hours=70))
    assert report.attention == [
        "incident i1: 2 hours left to tell the authority",
        "incident i1: the people concerned must be told",
    ]
    assert own.mails.due(NOW + 3 * DAY)[-1].recipient == SETTINGS.officer


def test_a_partner_sees_a_site_as_long_as_it_has_a_role_there(own: Store) -> None:
    from autarco_portal.people import MemberRole
    from autarco_portal.rights import Action, may

    installer = own.organisations.add(
        name="Zon BV", kind=OrganisationKind.INSTALLER, email="zon@x.example",
        now=NOW - 500 * DAY,
    ).organisation_id  # fmt: skip
    worker = samples.person(own, "Wim", "wim@x.example")
    own.people.join(worker, installer, MemberRole.STAFF, NOW - 400 * DAY)
    site = samples.site(own, samples.person(own), installer=installer)

    def may_see(at: object) -> bool:
        actor = own.people.actor(worker, at, has_second_factor=True)  # type: ignore[arg-type]
        access = own.sites.access(site)
        assert actor is not None
        assert access is not None
        return may(actor, Action.VIEW_SITE, access)

    assert may_see(NOW)
    own.sites.end_role(site, installer, OrganisationKind.INSTALLER, NOW + DAY)
    assert not may_see(NOW + DAY)
