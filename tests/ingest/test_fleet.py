"""Does the imaginary fleet behave like roofs in the Netherlands?"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from itertools import pairwise

import pytest

from autarco_ingest import fleet
from autarco_ingest.fleet import Change, Fault

JUNE = datetime(2025, 6, 20, 21, 0, tzinfo=UTC)


def plants(count: int, days: int, *, end: datetime = JUNE, seed: int = 1) -> list[fleet.Plant]:
    """Lays out a fleet under one sky."""
    span = fleet.Span.ending(end, days)
    sky = fleet.Sky(span, seed)
    return [fleet.Plant(site, sky, span) for site in fleet.sites(count, seed)]


def test_the_sun_stands_where_the_published_example_says() -> None:
    # Reda and Andreas, NREL/TP-560-34302 (2008), A.5: zenith 50.11162°, azimuth 194.34024°.
    moment = datetime(2003, 10, 17, 19, 30, 30, tzinfo=UTC)

    elevation, azimuth = fleet.sun(int(moment.timestamp()), 39.742476, -105.1786)

    assert 90 - math.degrees(elevation) == pytest.approx(50.11162, abs=0.5)
    assert math.degrees(azimuth) == pytest.approx(194.34024, abs=0.5)


def test_a_south_roof_sees_about_a_kilowatt_on_a_clear_june_noon_and_little_under_clouds() -> None:
    noon = int(datetime(2025, 6, 21, 11, 40, tzinfo=UTC).timestamp())
    elevation, azimuth = fleet.sun(noon, 52.1, 5.2)

    def light(cloud: float) -> float:
        return fleet.plane_irradiance(
            elevation, azimuth, cloud, tilt=math.radians(35), facing=math.pi
        )

    assert 850 < light(0.0) < 1_050
    assert light(0.0) > light(0.5) > light(1.0) > 100
    assert fleet.plane_irradiance(-0.1, azimuth, 0.0, tilt=0.6, facing=math.pi) == 0


def test_a_span_is_whole_local_days_up_to_its_end() -> None:
    # The clocks change on 30 March 2025: that day has 23 hours.
    span = fleet.Span.ending(datetime(2025, 3, 30, 20, 0, tzinfo=UTC), 2)

    assert span.days == (date(2025, 3, 29), date(2025, 3, 30))
    assert datetime.fromtimestamp(span.start_s, UTC) == datetime(2025, 3, 28, 23, tzinfo=UTC)
    assert fleet.local_s(date(2025, 3, 30), 0) - span.start_s == 86_400


def test_the_same_seed_gives_the_same_days_and_another_seed_does_not() -> None:
    first, again = (list(plants(2, 2)[1].life()) for _ in range(2))
    other = list(plants(2, 2, seed=2)[1].life())

    assert first == again
    assert first != other


def test_sticks_have_power_only_between_dawn_and_dusk() -> None:
    for plant in plants(4, 3):
        powered = False
        for event in plant.life():
            if event.change is Change.POWER_ON:
                powered = True
            elif event.change is Change.POWER_OFF:
                powered = False
            elif event.change is Change.POLL:
                assert powered
                hour = datetime.fromtimestamp(event.at_s, fleet.ZONE).hour
                assert 5 <= hour <= 21
        assert not powered


def test_counters_step_up_agree_with_each_other_and_start_anew_each_day() -> None:
    for plant in plants(6, 3):
        polls = [event.measured for event in plant.life() if event.measured]
        for before, after in pairwise(polls):
            assert after.total_wh >= before.total_wh
            same_day = after.clock.date() == before.clock.date()
            assert same_day == (after.today_wh >= before.today_wh)
            if same_day:
                grown = after.total_wh - before.total_wh
                assert abs(after.today_wh - before.today_wh - grown) <= 1
            else:
                assert after.yesterday_wh == before.today_wh
        last_day = max(plant.daily_wh)
        assert abs(polls[-1].today_wh - plant.daily_wh[last_day]) < 1


def test_month_and_year_registers_roll_over() -> None:
    new_year = datetime(2025, 1, 1, 20, 0, tzinfo=UTC)
    polls = [event.measured for event in plants(1, 2, end=new_year)[0].life() if event.measured]
    old = [poll for poll in polls if poll.clock.year == 2024][-1]
    new = next(poll for poll in polls if poll.clock.year == 2025)

    assert (new.last_month_wh, new.last_year_wh) == (old.month_wh, old.year_wh)
    assert new.month_wh == new.year_wh == new.today_wh < 1_000


def test_the_second_string_of_one_roof_dies_on_the_second_day() -> None:
    healthy, broken = plants(2, 3)
    assert (healthy.site.fault, broken.site.fault) == (Fault.NONE, Fault.BROKEN_STRING)
    polls = [event.measured for event in broken.life() if event.measured]
    days = sorted({poll.clock.date() for poll in polls})

    highest = [
        max(poll.dc_current_a[1] for poll in polls if poll.clock.date() == day) for day in days
    ]

    assert highest[0] > 2
    assert highest[1:] == [0, 0]
    for _ in healthy.life():
        pass
    ratio = [broken.daily_wh[day] / healthy.daily_wh[day] for day in days]
    assert max(ratio[1:]) < 0.75 * ratio[0]


def test_one_roof_loses_its_connection_for_some_hours_and_its_clock_in_between() -> None:
    plant = plants(3, 4)[2]
    outage = plant.outage()
    assert outage is not None
    events = list(plant.life())

    changes = {
        event.change: event.at_s
        for event in events
        if event.change in (Change.LINK_DOWN, Change.LINK_UP)
    }
    restarts = [
        e for e in events if e.change is Change.POWER_OFF and outage[0] < e.at_s < outage[1]
    ]

    assert 0 <= changes[Change.LINK_DOWN] - outage[0] < 300
    assert 0 <= changes[Change.LINK_UP] - outage[1] < 300
    assert len(restarts) == 1
    # Only a frame with the inverter's clock can be dated when the stick has lost its own.
    assert plant.site.identity.sensor_type == 0x0507


def test_a_june_day_yields_what_dutch_roofs_yield() -> None:
    for plant in plants(6, 10):
        for _ in plant.life():
            pass
        if plant.site.fault is not Fault.BROKEN_STRING:
            per_kwp = [wh / 1_000 / plant.site.kwp for wh in plant.daily_wh.values()]
            assert max(per_kwp) < 8
            assert 1.5 < sum(per_kwp) / len(per_kwp) < 7


def test_a_town_has_neighbours_and_each_fault_once() -> None:
    days = 3
    span = fleet.Span.ending(datetime(2025, 6, 24, 23, tzinfo=fleet.ZONE), days)
    sky = fleet.Sky(span, 1)
    town = [fleet.Plant(site, sky, span) for site in fleet.town(12, 1, days)]
    by_fault = {plant.site.fault: plant for plant in town}
    assert len({plant.site.latitude for plant in town}) == 12
    assert set(by_fault) == set(Fault)
    assert sum(plant.site.fault is Fault.NONE for plant in town) == 7

    dead = by_fault[Fault.DEAD]
    polls = [event for event in dead.life() if event.measured]
    began_s = dead.fault_from_s()
    assert began_s is not None
    assert datetime.fromtimestamp(began_s, fleet.ZONE).date() == span.days[2]
    after = [event.measured for event in polls if event.measured and event.at_s >= began_s]
    assert after
    assert all(poll.ac_power_w == 0 and poll.dc_current_a == (0.0, 0.0) for poll in after)
    assert dead.daily_wh[span.days[2]] < dead.daily_wh[span.days[1]] / 2

    weak = by_fault[Fault.OVER_VOLTAGE]
    polls = [event for event in weak.life() if event.measured]
    tripped = [
        number for number, event in enumerate(polls)
        if event.measured and event.measured.ac_power_w == 0 and number
        and (before := polls[number - 1].measured) is not None and before.ac_voltage_v > 253
    ]  # fmt: skip
    assert len(tripped) > 3

    changes = [event.change for event in by_fault[Fault.UNPLUGGED].life()]
    assert Change.LINK_DOWN in changes
    assert Change.LINK_UP not in changes
