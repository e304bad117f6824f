"""Which inverters does an imaginary Dutch fleet have, and what does each one measure when?

Believable, not exact: sun by hour angle, one shared cloud cover with a little noise per roof, two
strings per inverter, counters that step as real devices step. Everything follows from a seed.
Physics for people's money belongs to the portal and uses pvlib; this only has to look like life.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from autarco_ingest.stick import UPLOAD_PERIOD_S, Identity, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator

ZONE = ZoneInfo("Europe/Amsterdam")
# Below this elevation the inverters, and the sticks that they feed, have no power.
WAKE_ELEVATION_DEG = 1.5
# Serial numbers that no maker gave out: easy to recognise, and to delete again.
LOGGER_SN_FIRST = 1_700_000_001
PANEL_KWP = 0.36
OVER_VOLTAGE_HOURS = (11.5, 15.0)
"""Local time in which a weak grid is too high when its roofs all feed in."""
_DAY = timedelta(days=1)


class Fault(StrEnum):
    """What is wrong with one roof of the fleet."""

    NONE = "none"
    BROKEN_STRING = "broken string"
    OUTAGE = "communication outage"
    DEAD = "dead inverter"
    OVER_VOLTAGE = "over-voltage trips"
    UNPLUGGED = "stick unplugged"


class Change(StrEnum):
    """What happens to a stick at one moment of its life."""

    POWER_ON = "power on"
    POLL = "poll"
    POWER_OFF = "power off"
    LINK_DOWN = "link down"
    LINK_UP = "link up"


@dataclass(frozen=True, slots=True)
class Event:
    """One moment of a stick's life; `measured` is there for a poll."""

    at_s: int
    change: Change
    measured: Measurement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One roof with its inverter and stick; angles in degrees, azimuth from north by east."""

    identity: Identity
    fault: Fault
    latitude: float
    longitude: float
    tilt: float
    azimuth: float
    kwp: float
    second_string_share: float
    rated_w: float
    fault_day: int = 1
    """Number of the day, from 0, on which the fault begins; the outage has its own."""
    first_poll_s: int
    seed: int


@dataclass(frozen=True, slots=True)
class Span:
    """The simulated time: complete local days, the last one up to `end_s`."""

    start_s: int
    end_s: int
    days: tuple[date, ...]

    @classmethod
    def ending(cls, end: datetime, days: int) -> Span:
        """Spans `days` calendar days, of which the last one is the day of `end`."""
        last = end.astimezone(ZONE).date()
        dates = tuple(last - n * _DAY for n in range(days - 1, -1, -1))
        return cls(local_s(dates[0], 0), int(end.timestamp()), dates)


def local_s(day: date, hour: float) -> int:
    """Returns unix seconds of a local wall clock time in the fleet's zone."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZONE)
    return int((midnight + timedelta(hours=hour)).timestamp())


# --- sun and sky ----------------------------------------------------------------------------


def sun(at_s: int, latitude: float, longitude: float) -> tuple[float, float]:
    """Returns the sun's elevation and azimuth in radians.

    Declination and equation of time by the Fourier series of Spencer (1971), without refraction;
    right within about a quarter of a degree, which moves a sunrise by two minutes.
    """
    moment = datetime.fromtimestamp(at_s, UTC)
    day = moment.timetuple().tm_yday
    angle = math.tau * (day - 1) / 365
    declination = (
        0.006918
        - 0.399912 * math.cos(angle)
        + 0.070257 * math.sin(angle)
        - 0.006758 * math.cos(2 * angle)
        + 0.000907 * math.sin(2 * angle)
        - 0.002697 * math.cos(3 * angle)
        + 0.00148 * math.sin(3 * angle)
    )
    equation_min = 229.18 * (
        0.000075
        + 0.001868 * math.cos(angle)
        - 0.032077 * math.sin(angle)
        - 0.014615 * math.cos(2 * angle)
        - 0.040849 * math.sin(2 * angle)
    )
    utc_h = moment.hour + moment.minute / 60 + moment.second / 3600
    hour_angle = math.radians(15 * (utc_h + longitude / 15 + equation_min / 60 - 12))
    phi = math.radians(latitude)
    sine = math.sin(phi) * math.sin(declination)
    sine += math.cos(phi) * math.cos(declination) * math.cos(hour_angle)
    elevation = math.asin(sine)
    east = -math.cos(declination) * math.sin(hour_angle)
    north = math.cos(phi) * math.sin(declination)
    north -= math.sin(phi) * math.cos(declination) * math.cos(hour_angle)
    return elevation, math.atan2(east, north) % math.tau


def plane_irradiance(
    elevation: float, azimuth: float, cloud: float, *, tilt: float, facing: float
) -> float:
    """Returns W/m² on a tilted plane under a cloud cover of 0..1; all angles in radians.

    Clear beam after Meinel (1976) with 10 % diffuse on top, clouds after Kasten and Czeplak
    (1980), diffuse light isotropic (Liu and Jordan 1960).
    """
    if elevation <= 0:
        return 0.0
    height = math.sin(elevation)
    # Kasten and Young (1989), safe down to the horizon.
    air_mass = 1 / (height + 0.50572 * math.pow(math.degrees(elevation) + 6.07995, -1.6364))
    clear_beam = 1353 * math.pow(0.7, math.pow(air_mass, 0.678))
    horizontal = 1.1 * clear_beam * height * (1 - 0.75 * math.pow(cloud, 3.4))
    beam = min(clear_beam * (1 - cloud), horizontal / height)
    diffuse = horizontal - beam * height
    incidence = math.sin(elevation) * math.cos(tilt)
    incidence += math.cos(elevation) * math.sin(tilt) * math.cos(azimuth - facing)
    return max(0.0, beam * incidence) + diffuse * (1 + math.cos(tilt)) / 2


class Sky:
    """Cloud cover of the whole region: each day its own mood, wandering within the day."""

    def __init__(self, span: Span, seed: int) -> None:
        self._start_s = span.start_s
        dice = random.Random(f"sky {seed}")  # noqa: S311 - weather, not secrets
        steps = (span.end_s - span.start_s) // UPLOAD_PERIOD_S + 2
        per_day = 86_400 // UPLOAD_PERIOD_S
        self._cover: list[float] = []
        cover = 0.4
        mood, unrest = 0.0, 0.0
        for step in range(steps):
            if step % per_day == 0:
                mood, unrest = dice.betavariate(1.4, 1.4), dice.uniform(0.02, 0.10)
            cover += 0.05 * (mood - cover) + dice.gauss(0, unrest)
            cover = min(1.0, max(0.0, cover))
            self._cover.append(cover)

    def cover(self, at_s: int) -> float:
        """Returns the cloud cover, 0..1, between two steps by a straight line."""
        step, rest = divmod(at_s - self._start_s, UPLOAD_PERIOD_S)
        step = min(max(step, 0), len(self._cover) - 2)
        share = rest / UPLOAD_PERIOD_S
        return self._cover[step] * (1 - share) + self._cover[step + 1] * share


def air_temperature(at_s: int) -> float:
    """Returns °C of a Dutch day: coldest in late January and before dawn."""
    moment = datetime.fromtimestamp(at_s, ZONE)
    season = -math.cos(math.tau * (moment.timetuple().tm_yday - 25) / 365)
    hour = moment.hour + moment.minute / 60
    return 10.5 + 7.5 * season + 3.5 * math.cos(math.tau * (hour - 15) / 24)


# --- the fleet ------------------------------------------------------------------------------


def sites(count: int, seed: int) -> list[Site]:
    """Lays out a fleet; the second roof has the broken string, the third the outage."""
    dice = random.Random(f"fleet {seed}")  # noqa: S311
    return [_site(index, dice) for index in range(count)]


TOWN_FAULTS = {1: Fault.BROKEN_STRING, 2: Fault.OUTAGE, 4: Fault.DEAD, 6: Fault.OVER_VOLTAGE,
               8: Fault.UNPLUGGED}  # fmt: skip


def town(count: int, seed: int, days: int) -> list[Site]:
    """Lays out a fleet within some kilometres, whose roofs look about the same way.

    These are neighbours that can be compared. Each kind of fault is planted once, if there are
    roofs enough, and begins when two thirds of `days` have passed.
    """
    dice = random.Random(f"town {seed}")  # noqa: S311
    return [
        replace(
            site,
            fault=TOWN_FAULTS.get(index, Fault.NONE),
            fault_day=days * 2 // 3,
            latitude=dice.uniform(52.07, 52.11),
            longitude=dice.uniform(5.08, 5.14),
            azimuth=dice.uniform(165, 195),
        )
        for index, site in enumerate(sites(count, seed))
    ]


def _site(index: int, dice: random.Random) -> Site:
    # The third roof keeps an inverter clock in its frames: only that dates a record of a stick
    # that lost its own clock.
    sensor_type = (0x0507, 0x0507, 0x0507, 0x0503, 0x0507, 0x0504)[index % 6]
    firmware = {0x0503: "ME_08_0501_1.31", 0x0504: "MW_08_0501_1.31"}
    kwp = round(dice.randint(8, 20) * PANEL_KWP, 2)
    return Site(
        identity=Identity(
            logger_sn=LOGGER_SN_FIRST + index,
            inverter_sn=f"SIM{sensor_type:04X}{index + 1:09d}",
            sensor_type=sensor_type,
            firmware=firmware.get(sensor_type, "MW_08_512_0501_1.82"),
            signal_pct=dice.randint(52, 100),
            mac=bytes([2, 0, 0, *(index + 1).to_bytes(3, "big")]),
        ),
        fault={1: Fault.BROKEN_STRING, 2: Fault.OUTAGE}.get(index, Fault.NONE),
        latitude=dice.uniform(51.2, 53.1),
        longitude=dice.uniform(4.3, 6.6),
        tilt=dice.uniform(25, 42),
        azimuth=dice.uniform(135, 235),
        kwp=kwp,
        second_string_share=dice.choice([0.4, 0.5, 0.5]),
        rated_w=math.ceil(kwp * 0.9) * 1_000.0,
        first_poll_s=dice.randrange(UPLOAD_PERIOD_S),
        seed=dice.randrange(2**32),
    )


@dataclass(slots=True)
class _Counters:
    """Energy registers in Wh that roll over at local midnight, month and year."""

    day: date
    today: float = 0.0
    yesterday: float = 0.0
    month: float = 0.0
    last_month: float = 0.0
    year: float = 0.0
    last_year: float = 0.0
    total: float = 0.0

    def add(self, day: date, energy_wh: float) -> None:
        if day != self.day:
            self.yesterday, self.today = self.today, 0.0
            if day.month != self.day.month:
                self.last_month, self.month = self.month, 0.0
            if day.year != self.day.year:
                self.last_year, self.year = self.year, 0.0
            self.day = day
        self.today += energy_wh
        self.month += energy_wh
        self.year += energy_wh
        self.total += energy_wh


@dataclass(slots=True)
class Plant:
    """One inverter through the simulated time; `daily_wh` is the truth it produced."""

    site: Site
    sky: Sky
    span: Span
    daily_wh: dict[date, float] = field(default_factory=dict)

    def life(self) -> Iterator[Event]:
        """Yields the events of the stick in order: power with the light, polls between."""
        outage = self.outage()
        dice = random.Random(self.site.seed)  # noqa: S311
        counters = self._history(dice)
        awake = link_down = restarted = False
        before_w = haze = 0.0
        for at_s in range(
            self.span.start_s + self.site.first_poll_s, self.span.end_s + 1, UPLOAD_PERIOD_S
        ):
            if outage and not link_down and outage[0] <= at_s < outage[1]:
                link_down = True
                yield Event(at_s, Change.LINK_DOWN)
            if outage and link_down and at_s >= outage[1]:
                link_down = False
                yield Event(at_s, Change.LINK_UP)
            haze = 0.9 * haze + dice.gauss(0, 0.01)
            elevation, azimuth = sun(at_s, self.site.latitude, self.site.longitude)
            if math.degrees(elevation) < WAKE_ELEVATION_DEG:
                if awake:
                    awake, before_w = False, 0.0
                    yield Event(at_s, Change.POWER_OFF)
                continue
            if not awake:
                awake = True
                yield Event(at_s, Change.POWER_ON)
            if (
                outage
                and link_down
                and not restarted
                and self.site.fault is Fault.OUTAGE
                and at_s >= sum(outage) // 2
            ):
                # Somebody pulls the plug, hoping that it helps: the stick forgets the time.
                restarted = True
                yield Event(at_s, Change.POWER_OFF)
                yield Event(at_s, Change.POWER_ON)
            strings = self._strings(at_s, elevation, azimuth, haze, dice)
            if self._is_off(at_s):
                # Without load the modules show their open voltage and give no current.
                strings = [(round(volt * 1.2, 1), 0.0) for volt, _ in strings]
            dc_w = sum(volt * ampere for volt, ampere in strings)
            ac_w = 0.0 if self._is_off(at_s) else self._ac_power(dc_w)
            day = datetime.fromtimestamp(at_s, ZONE).date()
            energy_wh = (before_w + ac_w) / 2 * UPLOAD_PERIOD_S / 3_600
            before_w = ac_w
            counters.add(day, energy_wh)
            self.daily_wh[day] = self.daily_wh.get(day, 0.0) + energy_wh
            yield Event(at_s, Change.POLL, self._measure(at_s, strings, ac_w, counters, dice))

    def outage(self) -> tuple[int, int] | None:
        """Tells from when to when this roof had no internet; unix seconds."""
        if self.site.fault is Fault.UNPLUGGED:
            # Nobody notices before the simulation ends.
            return local_s(self._fault_day(), 9), self.span.end_s + UPLOAD_PERIOD_S
        if self.site.fault is not Fault.OUTAGE:
            return None
        day = self.span.days[max(0, len(self.span.days) - 2)]
        return local_s(day, 10.6), local_s(day, 15.3)

    def broken_from_s(self) -> int | None:
        """Tells since when the second string gives nothing; unix seconds."""
        if self.site.fault is not Fault.BROKEN_STRING:
            return None
        if len(self.span.days) == 1:
            return local_s(self.span.days[0], 12)
        return local_s(self._fault_day(), 0)

    def fault_from_s(self) -> int | None:
        """Tells since when this roof has its fault; unix seconds."""
        match self.site.fault:
            case Fault.NONE:
                return None
            case Fault.BROKEN_STRING:
                return self.broken_from_s()
            case Fault.OUTAGE | Fault.UNPLUGGED:
                outage = self.outage()
                return outage[0] if outage else None
            case Fault.DEAD:
                return local_s(self._fault_day(), 11)
            case Fault.OVER_VOLTAGE:
                return local_s(self._fault_day(), OVER_VOLTAGE_HOURS[0])

    def _fault_day(self) -> date:
        return self.span.days[min(self.site.fault_day, len(self.span.days) - 1)]

    def _is_off(self, at_s: int) -> bool:
        """Tells whether the inverter gives nothing whatever the light."""
        since_s = self.fault_from_s()
        if since_s is None or at_s < since_s:
            return False
        if self.site.fault is Fault.DEAD:
            return True
        return self.site.fault is Fault.OVER_VOLTAGE and self._grid_rise_v(at_s) < 0

    def _grid_rise_v(self, at_s: int) -> float:
        """Returns the volts that a weak grid adds around noon; below zero just after a trip.

        The inverter lets go when the voltage has risen for a while, and comes back minutes later.
        """
        since_s = self.fault_from_s()
        if self.site.fault is not Fault.OVER_VOLTAGE or since_s is None or at_s < since_s:
            return 0.0
        hour = (at_s - local_s(datetime.fromtimestamp(at_s, ZONE).date(), 0)) / 3_600
        if not OVER_VOLTAGE_HOURS[0] <= hour < OVER_VOLTAGE_HOURS[1]:
            return 0.0
        step = at_s // UPLOAD_PERIOD_S % 8
        return 20.0 + step if step < 4 else -1.0

    def _strings(
        self, at_s: int, elevation: float, azimuth: float, haze: float, dice: random.Random
    ) -> list[tuple[float, float]]:
        """Returns volt and ampere of both strings, as coarse as the device measures them."""
        site = self.site
        cloud = min(1.0, max(0.0, self.sky.cover(at_s) + haze))
        light = plane_irradiance(
            elevation,
            azimuth,
            cloud,
            tilt=math.radians(site.tilt),
            facing=math.radians(site.azimuth),
        )
        # Ross (1976): a roof panel is about 0.03 K warmer per W/m²; -0.4 %/K for crystalline Si.
        cell_c = air_temperature(at_s) + 0.03 * light
        power_w = site.kwp * light * 0.92 * (1 - 0.004 * (cell_c - 25))
        broken_s = self.broken_from_s()
        strings = []
        for share in (1 - site.second_string_share, site.second_string_share):
            panels = max(1, round(site.kwp * share / PANEL_KWP))
            volt = panels * 34.0 * (1 - 0.003 * (cell_c - 25)) * dice.gauss(1, 0.004)
            volt *= 0.85 + 0.15 * min(1.0, light / 100)
            strings.append((round(volt, 1), round(power_w * share / volt, 1)))
        if broken_s is not None and at_s >= broken_s:
            # An open input floats at a few volts.
            strings[1] = (round(dice.uniform(2, 4), 1), 0.0)
        return strings

    def _ac_power(self, dc_w: float) -> float:
        # 3 % conversion loss and what the device itself eats.
        return min(max(0.0, dc_w * 0.97 - 12), self.site.rated_w)

    def _measure(
        self,
        at_s: int,
        strings: list[tuple[float, float]],
        ac_w: float,
        counters: _Counters,
        dice: random.Random,
    ) -> Measurement:
        hour = (at_s % 86_400) / 3_600
        grid_v = round(
            231 + 2.5 * math.sin(math.tau * hour / 24) + 0.0012 * ac_w + dice.gauss(0, 0.5), 1
        )
        rise_v = self._grid_rise_v(at_s)
        if rise_v > 0:
            grid_v = round(231 + rise_v + dice.gauss(0, 0.2), 1)
        ampere = round(ac_w / grid_v, 1)
        # The stick polls each minute and sends what it has: the inverter's clock lags a little.
        clock = datetime.fromtimestamp(at_s - dice.randrange(50), ZONE).replace(tzinfo=None)
        return Measurement(
            clock=clock,
            temperature_c=round(air_temperature(at_s) + 6 + 0.006 * ac_w, 1),
            dc_voltage_v=(strings[0][0], strings[1][0]),
            dc_current_a=(strings[0][1], strings[1][1]),
            ac_voltage_v=grid_v,
            ac_current_a=ampere,
            frequency_hz=round(50 + dice.gauss(0, 0.02), 2),
            ac_power_w=ac_w,
            dc_power_w=sum(volt * current for volt, current in strings),
            apparent_va=max(grid_v * ampere, ac_w),
            power_factor=1.0 if ac_w > 0 else 0.0,
            bus_voltage_v=round(max(370.0, strings[0][0] * 1.05), 1),
            limit_pct=110.0,
            status=1 if ac_w > 0 else 0,
            today_wh=int(counters.today),
            yesterday_wh=int(counters.yesterday),
            month_wh=int(counters.month),
            last_month_wh=int(counters.last_month),
            year_wh=int(counters.year),
            last_year_wh=int(counters.last_year),
            total_wh=int(counters.total),
        )

    def _history(self, dice: random.Random) -> _Counters:
        """Gives the inverter a plausible past: some years at about 900 kWh per kWp."""
        first = self.span.days[0]
        yearly_wh = 900_000 * self.site.kwp * dice.uniform(0.95, 1.05)
        so_far = _share_of_year(first)
        before_month = _share_of_year(first.replace(day=1))
        last_month = before_month - _share_of_year((first.replace(day=1) - _DAY).replace(day=1))
        return _Counters(
            day=first - _DAY,
            # The first `add` turns this into yesterday's register.
            today=yearly_wh * (_share_of_year(first) - _share_of_year(first - _DAY)) % yearly_wh,
            month=yearly_wh * (so_far - before_month),
            last_month=yearly_wh * (last_month % 1),
            year=yearly_wh * so_far,
            last_year=yearly_wh,
            total=yearly_wh * (dice.randint(1, 5) + so_far),
        )


def _share_of_year(day: date) -> float:
    """Returns which share of a year's yield lies before this day: a sine around midsummer."""
    part = (day - day.replace(month=1, day=1)).days / 365
    return part - 0.85 * math.sin(math.tau * part) / math.tau


def new_working_s(site: Site) -> int:
    """Returns the seconds that a stick has worked before the simulation begins."""
    return 10_000_000 + site.seed % 50_000_000
