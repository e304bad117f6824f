"""An incident that outlasts the sale of a house is shown without what its past measured."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import msgspec

from autarco_portal import alarm_record
from autarco_portal.alarm_record import AlarmRecord
from autarco_portal.incidents import Cause, Incident, Severity, State, Verdict
from autarco_portal.site_record import Address, SiteRecord, whole_day_from

SOLD = datetime(2026, 9, 14, 11, tzinfo=UTC)
HOUR = timedelta(hours=1)
SITE = SiteRecord(
    number=1, public_key="k7m2q9xd", name="A",
    address=Address(street="A 1", postcode="3511 ZZ", city="Utrecht"),
    latitude=52.0, longitude=5.0, altitude=0.0, time_zone="Europe/Amsterdam", commissioned_on=None,
    planes=(), inverters=(), roles=(), owners=(), grants=(), has_consumption_meter=False,
    has_battery=False, created_at=SOLD, updated_at=SOLD, seen_from=SOLD,
)  # fmt: skip


def record(*, closed_at: datetime | None = None, acknowledged_at: datetime) -> AlarmRecord:
    days = tuple(
        Verdict(
            site_id="k7m2q9xd", cause=Cause.OPEN_STRING, day=date(2026, 9, 13 + n),
            state=State.FAULTY, ends=SOLD, lost_kwh=lost, method="test", evidence={"lost": lost},
        )
        for n, lost in enumerate((3.5, 2.5, 1.5))
    )  # fmt: skip
    incident = Incident(
        site_id="k7m2q9xd", inverter_sn=None, cause=Cause.OPEN_STRING, severity=Severity.ALARM,
        opened_at=SOLD - 30 * HOUR, detected_at=SOLD - 6 * HOUR, owner_notified_at=SOLD - 5 * HOUR,
        acknowledged_at=acknowledged_at, closed_at=closed_at, lost_kwh=7.5, method="test",
        days=days,
    )  # fmt: skip
    return AlarmRecord(incident=incident, acknowledged_by="seller", acknowledgement="I sell it")


def test_what_was_measured_and_done_before_is_left_out() -> None:
    before = record(acknowledged_at=SOLD - HOUR)
    seen = alarm_record.of_site(before, SITE)
    assert seen is not None
    assert [one.day for one in seen.incident.days] == [date(2026, 9, 15)]
    assert seen.incident.lost_kwh == 1.5
    assert seen.incident.owner_notified_at is None
    assert (seen.acknowledged_by, seen.acknowledgement) == (None, None)
    assert seen.incident.incident_id == before.incident.incident_id
    later = alarm_record.of_site(record(acknowledged_at=SOLD + HOUR), SITE)
    assert later is not None
    assert later.acknowledged_by == "seller"


def test_one_that_ended_before_is_none_and_one_that_went_on_is_one() -> None:
    ended = record(acknowledged_at=SOLD - HOUR, closed_at=SOLD)
    assert alarm_record.of_site(ended, SITE) is None
    went_on = record(acknowledged_at=SOLD - HOUR, closed_at=SOLD + HOUR)
    assert alarm_record.of_site(went_on, SITE) is not None
    all_ = msgspec.structs.replace(SITE, seen_from=None)
    assert alarm_record.of_site(ended, all_) is ended


def test_the_first_whole_day_begins_at_a_local_midnight() -> None:
    midnight = datetime(2026, 9, 13, 22, tzinfo=UTC)
    assert whole_day_from(midnight, "Europe/Amsterdam") == date(2026, 9, 14)
    assert whole_day_from(midnight + HOUR, "Europe/Amsterdam") == date(2026, 9, 15)
    assert whole_day_from(midnight + HOUR, "America/New_York") == date(2026, 9, 14)
