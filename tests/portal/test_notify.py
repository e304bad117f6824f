"""Alarms are told to the right people at the right time, by real mail and never twice."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import privacy_samples as samples
import smtp_server
from autarco_ingest import file_lock
from autarco_ingest.paths import DataDirectory
from autarco_portal import mail_queue, notify, privacy_settings
from autarco_portal.audit import AuditEntry
from autarco_portal.cli import main
from autarco_portal.escalation import Addressee, Party, Step
from autarco_portal.escalation_letter import digest
from autarco_portal.guarantee_record import GuaranteeStatus
from autarco_portal.incidents import Cause, Severity, State, Verdict, fold
from autarco_portal.mail_smtp import MailSettings
from autarco_portal.pages.alarm_rows import timeline
from autarco_portal.people import SELF, MemberRole, OrganisationKind, SiteOwner, SiteRole
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.privacy import erasure, suspension
from autarco_portal.privacy.processing import Purpose
from autarco_portal.site_record import Address, NewSite
from autarco_portal.store import StoreError, open_store
from autarco_portal.store.engine import writing
from autarco_portal.store.tables import AlarmNoticeRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from autarco_portal.alarm_record import AlarmRecord
    from autarco_portal.escalation import Notice
    from autarco_portal.incidents import Incident
    from autarco_portal.store import Store

NOW, DAY, HOUR = samples.NOW, samples.DAY, timedelta(hours=1)
URL = "https://portal.example.nl"
CARE, DAK, SHOP = "storing@care.example", "dak@dak.example", "shop@shop.example"
ANNA = "anna@home.example"


class Town:
    """A site with everybody who can hear of it, and a mail server."""

    def __init__(self, store: Store, data: Path, inbox: smtp_server.Inbox, port: int) -> None:
        self.store, self.inbox = store, inbox
        self.directory = PortalDirectory.of(DataDirectory.at(data))
        self.mail = MailSettings(host="127.0.0.1", port=port, security="none", sender="a@x.example")
        self.anna = samples.person(store, "Anna", ANNA)
        self.care = self.organisation("Care BV", OrganisationKind.MAINTENANCE, CARE)
        self.dak = self.organisation("Dakwerk BV", OrganisationKind.INSTALLER, DAK)
        self.shop = self.organisation("Zonhandel BV", OrganisationKind.RESELLER, SHOP)
        self.site = self.add_site("k7m2q9xd", self.care, self.dak, self.shop)

    def organisation(self, name: str, kind: OrganisationKind, email: str | None) -> SiteRole:
        made = self.store.organisations.add(name=name, kind=kind, now=NOW - 9 * DAY, email=email)
        return SiteRole(
            organisation_id=made.organisation_id, kind=kind, from_at=NOW - 9 * DAY
        )  # fmt: skip

    def add_site(self, key: str, *roles: SiteRole, owner: str | None = None) -> str:
        new = NewSite(
            name=f"Huis {key}", public_key=key, latitude=52.0, longitude=5.0,
            address=Address(street="Teststraat 12", postcode="3511 ZZ", city="Utrecht"),
            roles=roles,
            owners=(SiteOwner(person_id=owner or self.anna, from_at=NOW - 9 * DAY),),
        )  # fmt: skip
        return self.store.sites.add(new, NOW - 9 * DAY).public_key

    def judge(
        self, *causes: Cause, days: int = 1, site: str = "", detected_at: datetime = NOW
    ) -> list[Incident]:
        """Lets an analysis find these faults, from scratch."""
        key = site or self.site
        verdicts = [verdict(key, cause, number) for cause in causes for number in range(days)]
        found = fold([], verdicts, detected_at)
        self.store.alarms.take_over(found, [key])
        return found

    def run(self, at: datetime) -> dict[str, list[str]]:
        """Runs the job; returns the texts that arrived, by recipient."""
        before = len(self.inbox.messages)
        self.report = notify.run(self.store, self.directory, self.mail, url=URL, now=at)
        came: dict[str, list[str]] = {}
        for message in self.inbox.messages[before:]:
            came.setdefault(str(message["To"]), []).append(message.get_content())  # type: ignore[attr-defined]
        return came

    def notices(self, incident_id: str) -> list[Notice]:
        return self.store.alarm_notices.of([incident_id]).get(incident_id, [])

    def record(self, incident_id: str) -> AlarmRecord:
        found = self.store.alarms.get(incident_id)
        assert found is not None
        return found


def verdict(key: str, cause: Cause, number: int = 0) -> Verdict:
    return Verdict(
        site_id=key, cause=cause, day=(NOW - DAY + number * DAY).date(), state=State.FAULTY,
        alarm=True, severity=Severity.ALARM, ends=NOW - HOUR + number * DAY, lost_kwh=1.5,
        method="test",
    )  # fmt: skip


@pytest.fixture
def town(store: Store, tmp_path: Path) -> Iterator[Town]:
    with smtp_server.running() as (inbox, port):
        yield Town(store, tmp_path, inbox, port)


def test_the_ladder_is_climbed_a_day_at_a_time(town: Town) -> None:
    (alarm,) = town.judge(Cause.UNDERPERFORMANCE)
    came = {
        (day, to)
        for day in range(31)
        for to in town.run(NOW + day * DAY)
    }  # fmt: skip
    assert came == {(0, CARE), (3, CARE), (7, SHOP), (14, ANNA)}
    kept = [(one.step, one.party, one.delivered_at) for one in town.notices(alarm.incident_id)]
    assert kept == [
        (Step.FIRST, Party.MAINTENANCE, NOW),
        (Step.REMINDER, Party.MAINTENANCE, NOW + 3 * DAY),
        (Step.SELLER, Party.SELLER, NOW + 7 * DAY),
        (Step.OWNER, Party.OWNER, NOW + 14 * DAY),
    ]
    # What the guarantee counts from.
    incident = town.record(alarm.incident_id).incident
    assert incident.installer_notified_at == NOW
    assert incident.owner_notified_at == NOW + 14 * DAY
    whats = [
        entry.what
        for entry in timeline(
            town.record(alarm.incident_id), town.notices(alarm.incident_id), "nobody"
        )
    ]  # fmt: skip
    assert whats[2:] == [
        "The maintenance company was told",
        "The maintenance company was reminded",
        "The seller was told",
        "The owner was told",
    ]


@pytest.mark.parametrize("acknowledged", [0, 4, 8])
def test_acknowledging_ends_it_wherever_it_stands(town: Town, acknowledged: int) -> None:
    (alarm,) = town.judge(Cause.UNDERPERFORMANCE)
    for day in range(acknowledged):
        town.run(NOW + day * DAY)
    town.store.alarms.acknowledge(alarm.incident_id, by="p1", now=NOW + acknowledged * DAY)
    for day in range(acknowledged, 31):
        assert town.run(NOW + day * DAY) == {}
    assert town.inbox.to(ANNA) == []


def test_the_end_of_the_fault_ends_it(town: Town) -> None:
    town.judge(Cause.UNDERPERFORMANCE)
    town.run(NOW)
    town.judge()
    assert town.run(NOW + 20 * DAY) == {}


def test_a_guarantee_in_force_lets_the_owner_hear_at_once_in_his_language(town: Town) -> None:
    samples.guaranteed(town.store, town.site, energy_kwh=None)
    town.store.people.change(town.anna, {"language": "en"}, SELF, NOW)
    (alarm,) = town.judge(Cause.UNDERPERFORMANCE)
    came = town.run(NOW)
    assert set(came) == {CARE, ANNA}
    (text,) = came[ANNA]
    assert "Your yield guarantee is at stake." in text
    assert "act within 30 days" in text
    assert f"{URL}/alarms/{alarm.incident_id}" in text
    assert came[CARE][0].startswith("Nieuw, voor u")
    assert "garantie" not in came[CARE][0]
    assert town.record(alarm.incident_id).incident.owner_notified_at == NOW


def test_a_guarantee_that_is_suspended_or_over_is_not_at_stake(town: Town) -> None:
    samples.guaranteed(town.store, town.site, energy_kwh=None)
    town.judge(Cause.UNDERPERFORMANCE)
    contract = town.store.guarantees.of_site(town.site)[0].contract
    status = GuaranteeStatus.SUSPENDED
    town.store.guarantees.set_status(contract.contract_id, status, NOW, reason="photos")
    assert [one.name for one in notify.plan(town.store, NOW).messages] == ["Care BV"]
    town.store.guarantees.set_status(contract.contract_id, GuaranteeStatus.ACTIVE, NOW)
    assert len(notify.plan(town.store, NOW).messages) == 2
    long_after = NOW.replace(year=contract.starts_on.year + contract.term_years + 1)
    assert set(town.run(long_after)) == {CARE}


def test_one_mail_tells_all_that_is_due_to_somebody(town: Town) -> None:
    others = [town.add_site(f"site000{n}", town.care) for n in range(3)]
    for site in (town.site, *others):
        town.judge(Cause.UNDERPERFORMANCE, Cause.OVER_VOLTAGE, site=site)
    came = town.run(NOW)
    assert {to: len(texts) for to, texts in came.items()} == {CARE: 1}
    assert came[CARE][0].count("\n- Huis ") == 8
    assert (town.report.queued, town.report.notices) == (1, 8)
    assert town.run(NOW + HOUR) == {}


@pytest.mark.parametrize("how", ["restricted", "objects"])
def test_of_whom_wants_no_such_use_nobody_hears(town: Town, how: str) -> None:
    town.judge(Cause.ZERO_DAY)
    if how == "objects":
        town.store.privacy.object_to(town.anna, Purpose.ALARMS, NOW)
    else:
        restrict(town)
    for day in range(20):
        assert town.run(NOW + day * DAY) == {}
    assert notify.plan(town.store, NOW).of_nobody == ()


def test_without_a_company_the_owner_hears_and_without_both_the_report_says_so(town: Town) -> None:
    alone = town.add_site("alone001")
    ended = town.add_site("ended001", town.organisation("Weg BV", OrganisationKind.INSTALLER, DAK))
    gone = town.store.organisations.get(
        town.store.sites.record(ended).roles[0].organisation_id  # type: ignore[union-attr]
    )
    assert gone is not None
    town.store.organisations.change(msgspec.structs.replace(gone, ended_at=NOW - HOUR))
    nobody = town.store.sites.add(
        NewSite(
            name="Leeg", public_key="nobody01", latitude=52.0, longitude=5.0,
            address=Address(street="Weg 1", postcode="3511 ZZ", city="Utrecht"),
        ),
        NOW,
    ).public_key  # fmt: skip
    for site in (alone, ended, nobody):
        town.judge(Cause.UNDERPERFORMANCE, site=site)
    came = town.run(NOW)
    assert set(came) == {ANNA}
    assert came[ANNA][0].count("\n- Huis ") == 2
    assert town.report.of_nobody == [nobody]


def test_a_company_without_an_address_is_reached_by_its_managers(town: Town) -> None:
    role = town.organisation("Klein BV", OrganisationKind.INSTALLER, None)
    people = {
        name: samples.person(town.store, name, f"{name}@klein.example")
        for name in ("manager", "staff", "former")
    }
    for name, person in people.items():
        kind = MemberRole.STAFF if name == "staff" else MemberRole.MANAGER
        town.store.people.join(person, role.organisation_id, kind, NOW - 9 * DAY)
    samples.account(town.store, people["former"])
    town.store.accounts.disable(people["former"], NOW - DAY)
    small = town.add_site("small001", role)
    town.judge(Cause.UNDERPERFORMANCE, site=small)
    assert set(town.run(NOW)) == {"manager@klein.example"}
    town.store.people.leave(people["manager"], role.organisation_id, NOW + HOUR)
    assert set(town.run(NOW + DAY)) == {"staff@klein.example"}


def test_an_address_that_is_refused_reaches_nobody_so_the_next_one_hears(town: Town) -> None:
    role = town.organisation("Weg BV", OrganisationKind.INSTALLER, "gone@weg.example")
    site = town.add_site("gone0001", role)
    (alarm,) = town.judge(Cause.UNDERPERFORMANCE, site=site)
    assert town.run(NOW) == {}
    assert town.report.mails.refused == 1
    # The claim file must not say that somebody was told whom nothing reached.
    assert town.record(alarm.incident_id).incident.installer_notified_at is None
    assert set(town.run(NOW + HOUR)) == {ANNA}


def test_a_mail_that_waits_counts_when_it_left(town: Town) -> None:
    role = town.organisation("Later BV", OrganisationKind.INSTALLER, "later@x.example")
    (alarm,) = town.judge(Cause.UNDERPERFORMANCE, site=town.add_site("later001", role))
    assert town.run(NOW) == {}
    assert town.report.mails.deferred == 1
    assert town.run(NOW + 5 * 60 * timedelta(seconds=1)) == {}
    (notice,) = town.notices(alarm.incident_id)
    assert notice.delivered_at is None
    town.inbox.takes_all = True
    assert set(town.run(NOW + DAY)) == {"later@x.example"}
    (notice,) = town.notices(alarm.incident_id)
    assert notice.delivered_at == NOW + DAY
    assert town.record(alarm.incident_id).incident.installer_notified_at == NOW + DAY


@pytest.mark.parametrize("what", ["acknowledged", "restricted"])
def test_a_mail_that_waits_is_taken_back_when_it_is_not_true_any_more(
    town: Town, what: str
) -> None:
    role = town.organisation("Later BV", OrganisationKind.INSTALLER, "later@x.example")
    first, second = (town.add_site(f"later00{n}", role) for n in (1, 2))
    other = samples.person(town.store, "Bob", "bob@home.example")
    third = town.add_site("later003", role, owner=other)
    for site in (first, second, third):
        town.judge(Cause.UNDERPERFORMANCE, site=site)
    town.run(NOW)
    if what == "restricted":
        restrict(town)
    else:
        for site in (first, second):
            (record,) = town.store.alarms.of_site(site)
            town.store.alarms.acknowledge(record.incident.incident_id, by="p1", now=NOW)
    town.inbox.takes_all = True
    came = town.run(NOW + DAY)
    assert set(came) == {"later@x.example"}
    (text,) = came["later@x.example"]
    assert "Huis later003" in text
    assert "Huis later001" not in text


@pytest.mark.parametrize("what", ["sold", "ended", "moved", "left", "objects"])
def test_a_mail_that_waits_leaves_only_for_whose_business_it_still_is(
    town: Town, what: str
) -> None:
    store = town.store
    role = town.organisation("Later BV", OrganisationKind.INSTALLER, "later@x.example")
    small = town.organisation("Klein BV", OrganisationKind.INSTALLER, None)
    kim = samples.person(store, "Kim", "later-kim@x.example")
    store.people.join(kim, small.organisation_id, MemberRole.MANAGER, NOW - 9 * DAY)
    jan = samples.person(store, "Jan", "later-jan@x.example")
    if what == "sold":
        site = town.add_site("later001", owner=jan)
    else:
        site = town.add_site("later001", small if what in ("left", "objects") else role)
    (alarm,) = town.judge(Cause.UNDERPERFORMANCE, site=site)
    assert town.run(NOW) == {}
    (queued,) = town.notices(alarm.incident_id)
    assert queued.delivered_at is None
    if what == "sold":
        store.sites.end_owner(site, jan, NOW + HOUR)
        store.sites.add_owner(site, town.anna, NOW + HOUR)
    elif what == "ended":
        store.sites.end_role(site, role.organisation_id, OrganisationKind.INSTALLER, NOW + HOUR)
    elif what == "moved":
        found = store.organisations.get(role.organisation_id)
        assert found is not None
        store.organisations.change(msgspec.structs.replace(found, email="new@x.example"))
    elif what == "left":
        store.people.leave(kim, small.organisation_id, NOW + HOUR)
    else:
        store.privacy.object_to(kim, Purpose.ALARMS, NOW + HOUR)
    town.inbox.takes_all = True
    # Not by `notify`: a portal that sends a password's mail sends all that waits.
    mail_queue.send_waiting(store, town.directory, town.mail, NOW + 2 * HOUR)
    assert town.inbox.messages == []
    assert set(town.run(NOW + 3 * HOUR)) == {"new@x.example" if what == "moved" else ANNA}


@pytest.mark.parametrize("what", ["acknowledged", "restricted", "objects"])
def test_whoever_sends_takes_back_what_nobody_may_hear(town: Town, what: str) -> None:
    role = town.organisation("Later BV", OrganisationKind.INSTALLER, "later@x.example")
    (alarm,) = town.judge(Cause.UNDERPERFORMANCE, site=town.add_site("later001", role))
    town.run(NOW)
    if what == "acknowledged":
        town.store.alarms.acknowledge(alarm.incident_id, by="p1", now=NOW)
    elif what == "restricted":
        restrict(town)
    else:
        town.store.privacy.object_to(town.anna, Purpose.ALARMS, NOW)
    town.inbox.takes_all = True
    mail_queue.send_waiting(town.store, town.directory, town.mail, NOW + DAY)
    assert town.inbox.messages == []


def test_who_is_never_reached_is_followed_also_where_his_mails_change_each_day(town: Town) -> None:
    role = town.organisation("Later BV", OrganisationKind.INSTALLER, "later@x.example")
    site = town.add_site("later001", role)
    bob = samples.person(town.store, "Bob", "bob@home.example")
    others = [town.add_site(f"other00{n}", role, owner=bob) for n in range(6)]
    (alarm,) = town.judge(Cause.UNDERPERFORMANCE, site=site)
    heard: dict[int, set[str]] = {}
    for day, other in enumerate(others):
        # What a big company's mail tells of is never all true a day later.
        (record,) = town.judge(Cause.OVER_VOLTAGE, site=other, detected_at=NOW + day * DAY)
        heard[day] = set(town.run(NOW + day * DAY))
        town.store.alarms.acknowledge(record.incident_id, by="p1", now=NOW + day * DAY)
    assert heard == {0: set(), 1: set(), 2: set(), 3: set(), 4: set(), 5: {ANNA}}
    (told,) = town.store.mails.due(NOW + 20 * DAY)
    assert told.recipient == "later@x.example"
    town.inbox.takes_all = True
    assert set(town.run(NOW + 7 * DAY)) == {"later@x.example"}
    first = next(one for one in town.notices(alarm.incident_id) if one.step is Step.FIRST)
    assert (first.queued_at, first.delivered_at) == (NOW, NOW + 7 * DAY)


@pytest.mark.parametrize("what", ["withdrawn", "erased"])
def test_a_mail_about_an_alarm_that_is_gone_goes_too(town: Town, what: str) -> None:
    role = town.organisation("Later BV", OrganisationKind.INSTALLER, "later@x.example")
    bob = samples.person(town.store, "Bob", "bob@home.example")
    first, second = town.add_site("later001", role), town.add_site("later002", role, owner=bob)
    for site in (first, second):
        town.judge(Cause.UNDERPERFORMANCE, site=site)
    assert town.run(NOW) == {}
    if what == "withdrawn":
        town.judge(site=first)
    else:
        holdings = town.store.erasure.holdings(town.anna, NOW)
        town.store.erasure.erase(erasure.preview(holdings, today=NOW.date()), NOW)
    assert town.store.mails.due(NOW + DAY) == []
    town.inbox.takes_all = True
    came = town.run(NOW + DAY)
    assert set(came) == {"later@x.example"}
    assert "Huis later002" in came["later@x.example"][0]
    assert "Huis later001" not in came["later@x.example"][0]


def test_nothing_is_taken_back_while_somebody_sends(town: Town) -> None:
    role = town.organisation("Later BV", OrganisationKind.INSTALLER, "later@x.example")
    (alarm,) = town.judge(Cause.UNDERPERFORMANCE, site=town.add_site("later001", role))
    town.run(NOW)
    town.store.alarms.acknowledge(alarm.incident_id, by="p1", now=NOW)
    with ThreadPoolExecutor(1) as pool:
        with file_lock.held(town.directory.mail_lock):
            running = pool.submit(town.run, NOW + DAY)
            assert wait([running], timeout=0.3).not_done
            assert len(town.notices(alarm.incident_id)) == 1
        assert running.result() == {}
    assert town.notices(alarm.incident_id) == []


def test_without_a_mail_server_nothing_is_lost_and_nothing_told_twice(town: Town) -> None:
    (alarm,) = town.judge(Cause.UNDERPERFORMANCE)
    here, town.mail = town.mail, MailSettings(
        host="127.0.0.1", port=1, security="none", sender="a@x.example"
    )  # fmt: skip
    town.run(NOW)
    assert "cannot be used" in town.report.failures[0]
    (queued,) = town.notices(alarm.incident_id)
    town.judge(Cause.UNDERPERFORMANCE, Cause.OVER_VOLTAGE)
    town.run(NOW + HOUR)
    assert town.report.queued == 0
    town.mail = here
    came = town.run(NOW + 2 * HOUR)
    assert [len(texts) for texts in came.values()] == [2]
    assert town.run(NOW + 3 * HOUR) == {}
    assert queued.queued_at == NOW


def test_a_crash_leaves_mail_and_record_or_neither(town: Town) -> None:
    (alarm,) = town.judge(Cause.UNDERPERFORMANCE)
    (message,) = notify.plan(town.store, NOW).messages
    due = [item.due for item in message.items]

    def dies(_: object) -> Any:
        raise RuntimeError("the power fails")

    with pytest.raises(RuntimeError):
        town.store.alarm_notices.queue(due, dies, now=NOW, language="nl", recipient=CARE)
    assert town.notices(alarm.incident_id) == []
    assert town.store.mails.due(NOW) == []

    def write(_: object) -> Any:
        return digest(message.items, "nl", url=URL)

    # It died after the transaction: the mail waits, and leaves once.
    for _ in range(3):
        town.store.alarm_notices.queue(due, write, now=NOW, language="nl", recipient=CARE)
    assert len(town.store.mails.due(NOW)) == 1
    assert {to: len(texts) for to, texts in town.run(NOW).items()} == {CARE: 1}
    assert town.run(NOW + HOUR) == {}


def test_two_jobs_at_once_send_one_mail(town: Town) -> None:
    town.judge(Cause.UNDERPERFORMANCE, Cause.OVER_VOLTAGE)
    (message,) = notify.plan(town.store, NOW).messages
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: notify._queue(town.store, message, URL, NOW), range(8)))
    assert sorted(len(one) for one in told) == [0] * 7 + [2]
    assert len(town.store.mails.due(NOW)) == 1


def test_what_changed_between_plan_and_mail_is_left_out(town: Town) -> None:
    first, second = town.judge(Cause.UNDERPERFORMANCE, Cause.OVER_VOLTAGE)
    (message,) = notify.plan(town.store, NOW).messages
    town.store.alarms.acknowledge(first.incident_id, by="p1", now=NOW)
    told = notify._queue(town.store, message, URL, NOW)
    assert [one.incident_id for one in told] == [second.incident_id]
    restrict(town)
    assert notify._queue(town.store, message, URL, NOW + HOUR) == []


def test_an_alarm_that_is_named_anew_goes_on_where_it_stood(town: Town) -> None:
    (old,) = town.judge(Cause.UNDERPERFORMANCE)
    town.run(NOW)
    # Judged again from its beginning.
    (new,) = town.judge(Cause.UNDERPERFORMANCE, days=2, detected_at=NOW + DAY)
    assert new.incident_id != old.incident_id
    assert town.run(NOW + 2 * DAY) == {}
    assert town.notices(old.incident_id) == []
    assert set(town.run(NOW + 3 * DAY)) == {CARE}
    assert [one.step for one in town.notices(new.incident_id)] == [Step.FIRST, Step.REMINDER]


def test_the_database_itself_tells_nobody_a_step_twice(town: Town) -> None:
    (alarm,) = town.judge(Cause.UNDERPERFORMANCE)
    town.run(NOW)
    with (
        pytest.raises(StoreError, match="refuses"),
        writing(town.store._engine) as session,
    ):
        session.add(
            AlarmNoticeRow(
                incident_id=alarm.incident_id, step="first", party="maintenance",
                organisation_id=town.care.organisation_id, queued_at=NOW,
            )
        )  # fmt: skip


def test_who_is_erased_leaves_no_notice(town: Town) -> None:
    samples.guaranteed(town.store, town.site, energy_kwh=None)
    (alarm,) = town.judge(Cause.UNDERPERFORMANCE)
    town.run(NOW)
    assert Addressee(person_id=town.anna) in {
        one.addressee for one in town.notices(alarm.incident_id)
    }
    assert "alarm_notices" in town.store.erasure.holdings(town.anna, NOW).records


def test_the_command_says_who_would_hear_and_then_tells_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    (root / "portal").mkdir(parents=True)
    command = ["notify", "--data", str(root)]
    with smtp_server.running() as (inbox, port):
        with open_store(str(root / "portal" / "portal.sqlite"), migrate=True) as store:
            Town(store, root, inbox, port).judge(Cause.UNDERPERFORMANCE)
        assert main([*command, "--dry-run"]) == 0
        shown = capsys.readouterr().out.splitlines()
        assert [line.split("\t")[:6] for line in shown] == [
            ["to", "as", "step", "why", "site", "alarm"],
            ["Care BV", "maintenance", "first", "new", "k7m2q9xd", "underperformance"],
        ]
        assert main(command) == 2
        assert "names no mail server" in capsys.readouterr().err
        assert inbox.messages == []
        (root / "portal" / "privacy.toml").write_text(
            f'url = "{URL}"\n[mail]\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\n'
            'sender = "alarm@x.example"\n'
        )
        assert privacy_settings.load(root / "portal" / "privacy.toml").url == URL
        for mails in (1, 0):
            assert main(command) == 0
            report = json.loads(capsys.readouterr().out)
            assert (report["queued"], report["mails"]["delivered"]) == (mails, mails)
        assert len(inbox.to(CARE)) == 1
        assert f"{URL}/alarms/" in inbox.to(CARE)[0].get_content()  # type: ignore[attr-defined]


def restrict(town: Town) -> None:
    town.store.privacy.restrict(
        suspension.begin(
            restriction_id="x", subject=town.anna, ground="claim", at=NOW, by="officer"
        ),
        AuditEntry(at=NOW, actor="officer", action="restrict", thing="restriction:x"),
    )
