"""The store keeps rights, obeys them in one question, and lets nothing of the erased remain."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import privacy_samples as samples
from autarco_portal.audit import AuditEntry
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.people import SELF
from autarco_portal.personal_record import Invoice, Lead, SupportNote
from autarco_portal.privacy import consent, erasure, request, retention, suspension
from autarco_portal.privacy.consent import Consent
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy.legal_hold import Hold
from autarco_portal.privacy.letter import Letter
from autarco_portal.privacy.policy import DeliveryState, Language, Notice
from autarco_portal.privacy.processing import Purpose, may_process, suspends_guarantee
from autarco_portal.privacy.request import Channel, Method, Request, Right, State
from autarco_portal.privacy.sharing import Basis, Disclosure, RecipientKind
from autarco_portal.store import StoreError
from autarco_portal.store.privacy_retention import EXPIRED

if TYPE_CHECKING:
    from autarco_portal.store import Store

NOW, DAY = samples.NOW, samples.DAY
SECOND = timedelta(seconds=1)


def entry(action: str, **more: Any) -> AuditEntry:
    return AuditEntry(at=NOW, actor="officer", action=action, thing="request:r1", **more)


def received(store: Store, request_id: str = "r1", person: str | None = None) -> Request:
    channel = Channel.MAIL if person is None else Channel.PORTAL
    asked = Request(
        request_id=request_id, right=Right.ERASURE, channel=channel, received_at=NOW,
        person=person,
    )  # fmt: skip
    contact = "somebody@canary.example" if person is None else None
    return store.privacy.requests.add(asked, entry("receive_request"), contact=contact)


def restricted(store: Store, subject: str) -> suspension.Restriction:
    restriction = suspension.begin(
        restriction_id=f"x-{subject}", subject=subject, ground="accuracy", at=NOW, by="officer"
    )
    store.privacy.restrict(restriction, entry("restrict", subject=subject))
    return restriction


def test_a_request_goes_its_way_with_an_audit_entry_for_each_step(store: Store) -> None:
    somebody = samples.person(store)
    received(store, person=somebody)
    changed = store.privacy.change_request(
        "r1",
        lambda asked: request.verify(
            asked, at=NOW, by=somebody, method=Method.FRESH_SIGN_IN, person=somebody
        ),
        entry("verify_request"),
    )
    assert store.privacy.requests.get("r1") == changed
    assert [one.entry.action for one in store.audit.of(thing="request:r1")] == [
        "verify_request", "receive_request",
    ]  # fmt: skip
    received(store, "r2", person=somebody)
    with pytest.raises(PrivacyError, match="nobody signs in"):
        store.privacy.change_request(
            "r2",
            lambda asked: request.verify(
                asked, at=NOW, by="officer", method=Method.FRESH_SIGN_IN, person=somebody
            ),
            entry("never"),
        )
    # What a rule refuses leaves nothing, not even the entry.
    assert store.privacy.requests.get("r2") is not None
    assert "never" not in [one.entry.action for one in store.audit.of(actor="officer")]
    assert store.audit.verify() == []


def test_a_link_proves_one_request_once(store: Store) -> None:
    somebody = samples.person(store)
    for name in ("r1", "r2"):
        received(store, name)
    store.privacy.add_proof_link("r1", somebody, "hash", now=NOW, until=NOW + 7 * DAY)
    # A duplicate request must not be verified by the link of the first one.
    with pytest.raises(StoreError, match="not valid"):
        store.privacy.use_proof_link("r2", "hash", NOW)
    with pytest.raises(StoreError, match="not valid"):
        store.privacy.use_proof_link("r1", "hash", NOW + 7 * DAY)
    asked = store.privacy.use_proof_link("r1", "hash", NOW + DAY)
    assert (asked.state, asked.person) == (State.VERIFIED, somebody)
    with pytest.raises(StoreError, match="not valid"):
        store.privacy.use_proof_link("r1", "hash", NOW + DAY)
    second = store.privacy.requests.get("r2")
    assert second is not None
    assert not second.is_verified


def test_a_request_that_ends_forgets_the_address_it_came_from(store: Store) -> None:
    received(store)
    assert store.privacy.contact("r1") == "somebody@canary.example"
    store.privacy.change_request("r1", lambda asked: request.withdraw(asked, at=NOW, by="officer"))
    assert store.privacy.contact("r1") is None


def test_restriction_of_a_person_reaches_his_sites_and_ends_with_it(store: Store) -> None:
    somebody, other = samples.person(store), samples.person(store, "Piet", "piet@x.example")
    mine = samples.site(store, somebody, other)
    theirs = samples.site(store, other, serial_number="OTHER", logger_sn=7)
    restriction = restricted(store, somebody)
    record = store.sites.record(mine)
    assert record is not None
    assert record.restricted_at == NOW
    assert [site.site_id for site in store.sites.all()] == [theirs]
    flags = store.privacy.flags_of_site(mine, NOW)
    assert not may_process(flags, Purpose.MONITORING)
    assert may_process(flags, Purpose.STORAGE)
    assert store.privacy.blocked_sites(Purpose.ALARMS, NOW) == {mine}
    assert store.privacy.blocked_sites(Purpose.STORAGE, NOW) == frozenset()
    # A second restriction holds the site when the first one ends.
    again = restricted(store, mine)
    store.privacy.change_restriction(
        restriction.restriction_id, lambda one: suspension.lift(one, at=NOW + DAY, by=somebody),
        NOW + DAY,
    )  # fmt: skip
    assert store.privacy.blocked_sites(Purpose.ALARMS, NOW + DAY) == {mine}
    store.privacy.change_restriction(
        again.restriction_id,
        lambda one: msgspec.structs.replace(one, lifted_at=NOW + 2 * DAY),
        NOW + 2 * DAY,
    )
    assert store.privacy.blocked_sites(Purpose.ALARMS, NOW + 2 * DAY) == frozenset()
    record = store.sites.record(mine)
    assert record is not None
    assert record.restricted_at is None


def test_the_one_question_for_many_sites_says_what_the_flags_say(store: Store) -> None:
    people = [samples.person(store, f"P{n}", f"p{n}@x.example") for n in range(4)]
    sites = [
        samples.site(store, *owners, serial_number=f"SN{n}", logger_sn=n)
        for n, owners in enumerate(
            [(people[0],), (people[1],), (people[0], people[2]), (people[3],), (people[2],)]
        )
    ]
    store.privacy.object_to(people[0], Purpose.RESEARCH, NOW)
    store.privacy.object_to(people[1], Purpose.ANALYTICS, NOW)
    restricted(store, people[3])
    for purpose in set(Purpose) - {Purpose.MARKETING}:
        blocked = {
            site
            for site in sites
            if not may_process(store.privacy.flags_of_site(site, NOW), purpose)
        }
        assert store.privacy.blocked_sites(purpose, NOW) == blocked, purpose
    assert store.privacy.blocked_sites(Purpose.RESEARCH, NOW) == {sites[0], sites[2], sites[3]}
    assert suspends_guarantee(store.privacy.flags_of_site(sites[1], NOW))
    assert not suspends_guarantee(store.privacy.flags_of_site(sites[0], NOW))
    assert store.privacy.withdraw_objection(people[0], Purpose.RESEARCH)
    assert store.privacy.blocked_sites(Purpose.RESEARCH, NOW) == {sites[3]}


def test_a_no_holds_for_the_time_before_the_house_was_sold(store: Store) -> None:
    seller, buyer = samples.person(store), samples.person(store, "Piet", "piet@x.example")
    house = samples.site(store, seller)
    sold = NOW - 30 * DAY
    store.sites.end_owner(house, seller, sold)
    store.sites.add_owner(house, buyer, sold)
    store.privacy.object_to(seller, Purpose.RESEARCH, NOW)
    assert store.privacy.blocked_sites(Purpose.RESEARCH, NOW) == frozenset()
    assert store.privacy.blocked_sites(Purpose.RESEARCH, NOW, since=sold) == frozenset()
    assert store.privacy.blocked_sites(Purpose.RESEARCH, NOW, since=sold - DAY) == {house}


def test_objecting_to_marketing_ends_consent_at_once(store: Store) -> None:
    somebody = samples.person(store)
    asked = Consent(
        consent_id="c1", person=somebody, topic="news", text_version="1", asked_at=NOW,
        asked_network="203.0.113.0/24",
    )  # fmt: skip
    store.privacy.consents.add(asked)
    assert not may_process(store.privacy.flags_of_person(somebody), Purpose.MARKETING)
    store.privacy.consents.change(
        "c1", lambda one: consent.confirm(one, at=NOW + DAY, address="203.0.113.9")
    )
    assert may_process(store.privacy.flags_of_person(somebody), Purpose.MARKETING)
    store.privacy.object_to(somebody, Purpose.MARKETING, NOW + 2 * DAY)
    assert not may_process(store.privacy.flags_of_person(somebody), Purpose.MARKETING)
    assert consent.recipients(store.privacy.consents.all(), "news") == ()


def full_life(store: Store) -> tuple[str, str, str]:
    """Somebody with a site, a guarantee, an account and whatever else is kept of people."""
    somebody = samples.person(store)
    samples.account(store, somebody)
    site = samples.site(store, somebody)
    contract = samples.guaranteed(store, site)
    store.privacy.invoices.add(
        Invoice(
            number="2026-1", person_id=somebody, issued_on=date(2026, 1, 5), name="Jan Canary",
            address="Kanarieweg 7", total_eur="6.050,00",
        )
    )  # fmt: skip
    store.privacy.leads.add(
        Lead(
            lead_id="l1", name="Jan Canary", email="jan@canary.example", source="fair",
            added_at=NOW,
        )
    )  # fmt: skip
    store.privacy.add_note(
        SupportNote(
            note_id="n1", site=site, text="router in the attic", written_by="s", written_at=NOW
        )
    )
    store.privacy.consents.add(
        Consent(
            consent_id="c1", person=somebody, topic="news", text_version="1", asked_at=NOW,
            asked_network="203.0.113.0/24",
        )
    )  # fmt: skip
    store.privacy.object_to(somebody, Purpose.RESEARCH, NOW)
    store.mails.queue(Letter(subject="Hi", text="Jan"), now=NOW, person_id=somebody)
    return somebody, site, contract


def test_erasure_removes_what_the_preview_said_and_keeps_what_it_said(store: Store) -> None:
    somebody, site, contract = full_life(store)
    holdings = store.erasure.holdings(somebody, NOW)
    impact = erasure.preview(holdings, today=NOW.date())
    assert impact.sites_without_monitoring == (site,)
    assert impact.loggers_refused == (samples.LOGGER,)
    assert impact.inverters_erased == (samples.INVERTER,)
    assert [(part.what, part.count) for part in impact.kept] == [
        ("invoices", 1), ("guarantees", 1), ("settlements", 1), ("request", 1),
    ]  # fmt: skip
    removed = store.erasure.erase(impact, NOW)
    # Preview is effect.
    assert removed == impact.removed
    assert store.erasure.traces(somebody) == []
    assert store.people.get(somebody) is None
    assert store.people.find("Canary") == []
    assert store.privacy.flags_of_person(somebody).is_erased
    lapsed = store.guarantees.get(contract)
    assert lapsed is not None
    assert (lapsed.status, lapsed.status_reason) == (GuaranteeStatus.LAPSED, "erasure")
    assert len(store.guarantees.settlements(contract)) == 1
    stub = store.sites.record(site)
    assert stub is not None
    assert (stub.address.street, stub.latitude, stub.inverters, stub.owners) == ("-", 0, (), ())
    assert store.privacy.notes_of(public_key=site) == []
    assert [one.number for one in store.privacy.invoices.all()] == ["2026-1"]
    assert store.mails.due(NOW + DAY) == []
    with pytest.raises(StoreError, match="no such person"):
        store.erasure.erase(impact, NOW)


def test_a_site_without_a_guarantee_goes_as_a_whole(store: Store) -> None:
    somebody = samples.person(store)
    site = samples.site(store, somebody)
    impact = erasure.preview(store.erasure.holdings(somebody, NOW), today=NOW.date())
    store.erasure.erase(impact, NOW)
    assert store.sites.record(site) is None


def test_who_lives_with_others_leaves_and_the_site_stays(store: Store) -> None:
    somebody, other = samples.person(store), samples.person(store, "Piet", "piet@x.example")
    site = samples.site(store, somebody, other)
    samples.guaranteed(store, site)
    impact = erasure.preview(store.erasure.holdings(somebody, NOW), today=NOW.date())
    assert impact.sites_he_leaves == (site,)
    assert (impact.guarantees_lapse, impact.loggers_refused) == ((), ())
    store.erasure.erase(impact, NOW)
    record = store.sites.record(site)
    assert record is not None
    assert [owner.person_id for owner in record.owners] == [other]
    assert record.inverters


def test_an_inverter_that_hangs_elsewhere_is_not_erased(store: Store) -> None:
    somebody, other = samples.person(store), samples.person(store, "Piet", "piet@x.example")
    site = samples.site(store, somebody)
    store.sites.uninstall(site, samples.INVERTER, NOW - 30 * DAY, NOW)
    samples.site(store, other)
    holding = store.erasure.holdings(somebody, NOW).sites[0]
    assert (holding.inverters, holding.moved) == ((), (samples.INVERTER,))
    impact = erasure.preview(store.erasure.holdings(somebody, NOW), today=NOW.date())
    assert "the inverter is somebody else's now" in [part.why for part in impact.kept]


def test_under_a_hold_notes_stay_without_a_name(store: Store) -> None:
    somebody, _, _ = full_life(store)
    hold = Hold(
        hold_id="h1", store="support_notes", subject=somebody, reason="case 26/1", begun_at=NOW,
        begun_by="officer", review_at=NOW + 90 * DAY,
    )  # fmt: skip
    store.privacy.holds.add(hold)
    impact = erasure.preview(store.erasure.holdings(somebody, NOW), today=NOW.date(), holds=(hold,))
    removed = store.erasure.erase(impact, NOW)
    assert removed == impact.removed
    assert "support_notes" not in removed


def test_a_notice_reaches_every_registered_user_once(store: Store) -> None:
    people = [samples.person(store, f"P{n}", f"p{n}@x.example") for n in range(3)]
    for one in people[:2]:
        samples.account(store, one)
    letters: dict[Language, Letter] = {
        "nl": Letter(subject="Nieuw beleid", text="nl"),
        "en": Letter(subject="New policy", text="en"),
    }
    notice = Notice(
        notice_id="n1", kind="policy", thing="2", starts_on=(NOW + 30 * DAY).date(),
        created_at=NOW, letters=letters,
    )  # fmt: skip
    store.privacy.notices.add(notice)
    assert store.mails.queue_notice("n1", letters, NOW) == 2
    assert store.mails.queue_notice("n1", letters, NOW) == 0
    samples.account(store, people[2])
    assert store.mails.queue_notice("n1", letters, NOW) == 1
    first, *rest = store.mails.due(NOW)
    assert len(rest) == 2
    store.mails.note(first.mail_id, DeliveryState.DELIVERED, NOW + SECOND, answer="250 taken")
    store.mails.note(
        rest[0].mail_id, DeliveryState.QUEUED, NOW + SECOND, answer="451", next_at=NOW + DAY
    )
    assert [one.mail_id for one in store.mails.due(NOW + SECOND)] == [rest[1].mail_id]
    assert sorted(one.state for one in store.mails.deliveries("n1")) == [
        DeliveryState.DELIVERED, DeliveryState.QUEUED, DeliveryState.QUEUED,
    ]  # fmt: skip


def test_each_rule_of_the_portal_has_its_rows(store: Store) -> None:
    enforced = {rule.name for rule in retention.RULES if rule.enforcer is retention.Enforcer.PORTAL}
    assert set(EXPIRED) | {"photos"} == enforced
    for rule in retention.RULES:
        if rule.name in EXPIRED:
            row, _ = EXPIRED[rule.name]
            assert store.retention.due(rule, NOW).count == 0
            names = {row.__tablename__, "notice_deliveries" if rule.name == "notices" else ""}
            assert rule.store in names


def life_of(store: Store, rule: str, since: datetime) -> None:
    """Something that a rule's period begins for at a moment."""
    somebody = samples.person(store)
    privacy = store.privacy
    if rule == "support_notes":
        privacy.add_note(
            SupportNote(
                note_id="n", person_id=somebody, text="x", written_by="s", written_at=since,
                closed_at=since,
            )
        )  # fmt: skip
    elif rule == "leads":
        privacy.leads.add(
            Lead(lead_id="l", name="Kees", email="k@x.example", source="fair", added_at=since)
        )
    elif rule == "requests":
        asked = Request(
            request_id="r", right=Right.ACCESS, channel=Channel.PORTAL, person=somebody,
            received_at=since - DAY,
        )  # fmt: skip
        privacy.requests.add(request.withdraw(asked, at=since, by=somebody))
    elif rule == "consents_unconfirmed":
        privacy.consents.add(
            Consent(
                consent_id="c", person=somebody, topic="news", text_version="1", asked_at=since,
                asked_network="203.0.113.0/24",
            )
        )  # fmt: skip
    elif rule == "disclosures":
        privacy.share(
            Disclosure(
                disclosure_id="d", recipient="x", kind=RecipientKind.RESEARCHER,
                basis=Basis.LEGITIMATE_INTEREST, why="study", fields=("aggregates",), sites=(),
                asked_at=since, asked_by="s", disclosed_at=since,
            ),
            entry("share"),
        )  # fmt: skip
    elif rule == "attribute_history":
        store.people.change(somebody, {"phone": "+31 6 11111111"}, SELF, since)
    elif rule == "invoices":
        year = since.year - 1
        privacy.invoices.add(
            Invoice(
                number="1", person_id=somebody, issued_on=date(year, 12, 31), name="x",
                address="x", total_eur="1",
            )
        )  # fmt: skip
    else:
        raise AssertionError(rule)


@pytest.mark.parametrize(
    "name",
    [
        "support_notes", "leads", "requests", "consents_unconfirmed", "disclosures",
        "attribute_history",
    ],
)  # fmt: skip
def test_rows_go_when_their_time_is_over_and_not_a_second_before(store: Store, name: str) -> None:
    life_of(store, name, NOW)
    rule = {one.name: one for one in retention.RULES}[name]
    ends = NOW + timedelta(days=rule.days)
    assert store.retention.run(rule, ends - SECOND).count == 0
    assert store.retention.due(rule, ends).count == 1
    assert store.retention.run(rule, ends).count == 1
    assert store.retention.run(rule, ends).count == 0


def test_an_invoice_is_kept_for_seven_years_after_the_end_of_its_own(store: Store) -> None:
    life_of(store, "invoices", datetime(2026, 1, 1, tzinfo=NOW.tzinfo))
    rule = {one.name: one for one in retention.RULES}["invoices"]
    last_day = datetime(2032, 12, 31, 12, tzinfo=NOW.tzinfo)
    assert store.retention.run(rule, last_day).count == 0
    assert store.retention.run(rule, last_day + 2 * DAY).count == 1


def test_a_hold_stops_retention_of_what_it_names(store: Store) -> None:
    life_of(store, "support_notes", NOW)
    somebody = store.people.find("Canary")[0].person_id
    store.privacy.holds.add(
        Hold(
            hold_id="h", store="support_notes", subject=somebody, reason="case", begun_at=NOW,
            begun_by="officer", review_at=NOW + DAY,
        )
    )  # fmt: skip
    rule = {one.name: one for one in retention.RULES}["support_notes"]
    found = store.retention.run(rule, NOW + 3 * 365 * DAY)
    assert (found.count, found.held) == (0, 1)
    store.privacy.holds.change("h", lambda hold: msgspec.structs.replace(hold, ended_at=NOW + DAY))
    assert store.retention.run(rule, NOW + 3 * 365 * DAY).count == 1


def test_the_audit_log_is_pruned_and_still_verifies(store: Store) -> None:
    for days in (0, 1, 2000):
        store.audit.append(
            AuditEntry(at=NOW + days * DAY, actor="a", action="view_site", thing="site:x")
        )
    rule = {one.name: one for one in retention.RULES}["audit_log"]
    assert store.retention.run(rule, NOW + 2000 * DAY).count == 2
    assert store.audit.verify() == []
