"""What would a thousand sticks store in a month? Whole days of readings, made with numpy.

One Arrow table per UTC date with exactly the columns of `schema.READINGS`, sorted by inverter and
time. Everything follows from the seed. For the size and speed of files, not for people's money:
sun and sky as in `autarco_ingest.fleet`, registers as coarse as real Solis frames have them.

What counts for compression is as in the captures: whole seconds in `ts`, an inverter clock that
lags up to 50 s, microseconds in `received_at`, power in steps of 10 W, volts and amperes in tenths,
counters in steps of 0.1 and 1 kWh. At night a third of the sticks is silent, half goes on sending
the registers of dusk with their old clock, the rest sends zeros. Few samples repeat the one before;
few come hours late, after an outage. `python benchmarks/synthetic_fleet.py` shows how each column
moves from sample to sample, beside the captured session (there fresh samples are a minute apart,
on one cloudy afternoon; here five minutes).
"""

from __future__ import annotations

import datetime as dt
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autarco_ingest import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

FIRST_DAY = dt.date(2026, 6, 1)
SLOTS = 288
SLOT_S = 300
LOCAL_S = 7_200
"""Summer time in Amsterdam: the generator makes days of one summer only."""

WAKE_ELEVATION = np.radians(1.5)
PANEL_KWP = 0.36
FAULT_NONE = "0" * 24
FAULTS = ("000020000000000000000000", "000000000004000000000000")

SILENT, CACHED, AWAKE = 0, 1, 2


def arrival_order(rows: pa.Table) -> pa.Table:
    """Returns the rows in the order in which they came."""
    return rows.take(pc.sort_indices(rows, sort_keys=[("received_at", "ascending")]))


class Fleet:
    """Inverters with sizes, roofs and habits of their own; ask for the days in order."""

    def __init__(self, inverters: int, *, seed: int = 1) -> None:
        """Draws the fleet; the same seed gives the same fleet and weather."""
        dice = np.random.default_rng(seed)
        n = inverters
        self._dice = dice
        self.inverters = n
        self.kwp = dice.integers(8, 28, n) * PANEL_KWP
        self.rated_w = np.ceil(self.kwp * 0.85) * 1_000
        self.tilt = np.radians(dice.uniform(15, 45, n))
        self.facing = np.radians(dice.uniform(100, 260, n))
        self.latitude = np.radians(dice.uniform(51.2, 53.1, n))
        self.longitude_deg = dice.uniform(4.3, 6.6, n)
        self.three_phase = (self.kwp > 5) & (dice.random(n) < 0.6)
        self.two_inputs = dice.random(n) < 0.7
        self.volts = dice.uniform(180, 420, n)
        # Old layouts have neither the inverter's clock nor its bus voltage.
        self.sensor = np.where(dice.random(n) < 0.75, 0x0507, 0x0503)
        self.night = dice.choice([SILENT, CACHED, AWAKE], n, p=[1 / 3, 1 / 2, 1 / 6])
        self.total_step_wh = dice.choice([1_000, 100], n, p=[0.8, 0.2])
        self.phase_slot = dice.integers(1, 4, n)
        self.poll_s = dice.uniform(0, SLOT_S, n)
        self.period_s = SLOT_S * (1 + dice.normal(0, 3e-4, n))
        self.clock_s = np.round(dice.normal(0, 40, n))
        self.latency_s = dice.uniform(0.2, 0.6, n)
        self.logger_sn = np.sort(
            dice.choice(np.arange(1_700_000_000, 2_100_000_000, 97), n, replace=False)
        )
        serials = dice.choice(10**10, n, replace=False)
        self.inverter_sn = np.sort(np.array([f"1{s % 7:02X}E{s:011d}" for s in serials]))
        self.source = np.array([f"198.{18 + s // 250 % 2}.{s % 250}.0" for s in serials])
        yearly_wh = 900 * self.kwp * 1_000 * dice.uniform(0.9, 1.1, n)
        self.total_wh = yearly_wh * dice.uniform(0.5, 9, n)
        self.year_wh = yearly_wh * 0.4
        self.last_year_wh = yearly_wh
        self.month_wh = np.zeros(n)
        self.last_month_wh = yearly_wh * 0.13
        self.today_wh = np.zeros(n)
        self.yesterday_wh = yearly_wh / 250
        self.booted_s = np.full(n, float(_midnight_s(FIRST_DAY))) - dice.uniform(0, 9e5, n)
        self.record_no = dice.integers(0, 60_000, n)
        self.haze = np.zeros(n)
        self.cover = 0.4
        self.awake_before = np.zeros(n, np.bool_)
        self._registers: dict[str, Any] = {}

    def days(self, count: int, *, first: dt.date = FIRST_DAY) -> Iterator[tuple[dt.date, pa.Table]]:
        """Yields `count` UTC dates, each with its readings."""
        for number in range(count):
            date = first + dt.timedelta(days=number)
            yield date, self._day(date)

    def _day(self, date: dt.date) -> pa.Table:
        n, dice = self.inverters, self._dice
        midnight_s = _midnight_s(date)
        ts = self._sample_times(midnight_s)
        elevation, azimuth = _sun(ts, self.latitude, self.longitude_deg)
        light = _light(
            elevation, azimuth, self._cloud(), tilt=self.tilt[:, None], facing=self.facing[:, None]
        )
        producing = elevation > WAKE_ELEVATION
        registers = self._measure(ts, light, producing, date)
        awake = producing | (self.night == AWAKE)[:, None]

        # Which earlier sample do the registers come from? Slot 0 stands for yesterday's last.
        fresh = awake & (dice.random((n, SLOTS)) > 0.005)
        fresh[:, 0] |= awake[:, 0]
        origin = np.maximum.accumulate(np.where(fresh, np.arange(1, SLOTS + 1), 0), axis=1)
        for name, values in registers.items():
            before = self._registers.get(name, values[:, 0])
            whole = np.concatenate([before[:, None], values], axis=1)
            registers[name] = np.take_along_axis(whole, origin, axis=1)
            self._registers[name] = registers[name][:, -1].copy()

        uptime, boots = self._uptime(ts, awake)
        number = self.record_no[:, None] + np.arange(1, SLOTS + 1)
        self.record_no = self.record_no + SLOTS
        received_us, historic = self._arrival(ts, midnight_s)
        sent = awake | (self.night != SILENT)[:, None]
        sent &= (ts >= midnight_s) & (ts < midnight_s + 86_400)
        # The first minutes after a boot, and now and then a sample that never came.
        sent &= ~boots & (dice.random((n, SLOTS)) > 0.002)
        return self._table(
            sent,
            registers
            | {
                "ts": ts * 1_000_000,
                "received_at": received_us,
                "historic": historic,
                "record_no": number,
                "uptime_s": uptime,
                "repeat": ~fresh,
            },
        )

    def _sample_times(self, midnight_s: int) -> Ints:
        """Returns unix seconds: a period of about 300 s, with a second of jitter."""
        n, dice = self.inverters, self._dice
        slots = np.arange(SLOTS) * self.period_s[:, None]
        jitter = np.round(dice.normal(0, 0.4, (n, SLOTS)))
        late = np.where(dice.random((n, SLOTS)) < 0.02, dice.integers(5, 40, (n, SLOTS)), 0)
        # A stick that boots each morning starts its period anew.
        start = np.where(self.night == SILENT, dice.uniform(0, SLOT_S, n), self.poll_s)
        seconds = midnight_s + start[:, None] + slots + jitter + late
        self.poll_s = (self.poll_s + SLOTS * (self.period_s - SLOT_S)) % SLOT_S
        return np.asarray(seconds.astype(np.int64))

    def _cloud(self) -> Floats:
        dice, n = self._dice, self.inverters
        mood, unrest = dice.beta(1.2, 1.2), dice.uniform(0.02, 0.1)
        cloud = np.empty((n, SLOTS))
        pushes = dice.normal(0, 0.025, (SLOTS, n))
        for slot in range(SLOTS):
            self.cover += 0.05 * (mood - self.cover) + dice.normal(0, unrest)
            self.cover = min(1.0, max(0.0, self.cover))
            self.haze = 0.9 * self.haze + pushes[slot]
            cloud[:, slot] = self.cover + self.haze
        return np.clip(cloud, 0, 1)

    def _measure(
        self, ts: Ints, light: Floats, producing: Bools, date: dt.date
    ) -> dict[str, NDArray[Any]]:
        dice, n = self._dice, self.inverters
        shape = ts.shape
        hour = (ts + LOCAL_S) % 86_400 / 3_600
        air_c = 15 + 5 * np.cos(np.pi * (hour - 15) / 12)
        cell_c = air_c + 0.03 * light
        share = np.where(self.two_inputs, 0.5, 1.0)[:, None]
        dc_w = self.kwp[:, None] * light * 0.92 * (1 - 0.004 * (cell_c - 25)) * producing
        ac_w = np.clip(dc_w * 0.97 - 12, 0, self.rated_w[:, None])
        dc_w = np.where(ac_w == self.rated_w[:, None], ac_w / 0.97 + 12, dc_w)
        sag = (1 - 0.003 * (cell_c - 25)) * (0.85 + 0.15 * np.minimum(1, light / 100))
        registers: dict[str, NDArray[Any]] = {}
        for number in (1, 2):
            volt = self.volts[:, None] * sag * dice.normal(1, 0.004, shape)
            part = (1 - share) if number == 2 else share
            live = producing & (part > 0)
            registers[f"dc_voltage_mppt{number}"] = _coarse(np.where(live, volt, 0.7), 0.1)
            registers[f"dc_current_mppt{number}"] = _coarse(
                np.where(live, dc_w * part / volt, 0.0), 0.1
            )
        registers["dc_voltage_mppt3"] = registers["dc_current_mppt3"] = np.zeros(shape, np.float32)
        phases = np.where(self.three_phase, 3, 1)[:, None]
        base_v = 231 + 2.5 * np.sin(np.pi * hour / 12) + 0.0006 * ac_w
        for phase in (1, 2, 3):
            # Slow wandering of the grid plus what a sample adds.
            grid_v = base_v + dice.normal(0, 1.0, (n, 1)) + dice.normal(0, 0.6, shape)
            registers[f"ac_voltage_l{phase}"] = _coarse(grid_v, 0.1)
            registers[f"ac_current_l{phase}"] = _coarse(ac_w / phases / grid_v, 0.1)
        hertz = 50 + np.cumsum(dice.normal(0, 0.004, SLOTS)) * 0.5
        registers["ac_frequency"] = _coarse(hertz + dice.normal(0, 0.015, shape), 0.01)
        new = (self.sensor == 0x0507)[:, None]
        registers["ac_power"] = _coarse(np.where(new, ac_w - ac_w % 10, np.floor(ac_w)), 1)
        apparent = ac_w + 8 + dice.uniform(0, 12, shape)
        registers["ac_apparent_power"] = _coarse(
            np.where(producing, apparent - apparent % 10, 0.0), 1
        )
        registers["power_factor"] = np.where(producing, 1.0, 0.0).astype(np.float32)
        registers["dc_power"] = _coarse(dc_w, 1)
        bus = np.maximum(370, self.volts[:, None] * 1.05) + dice.normal(0, 2.5, shape)
        registers["dc_bus_voltage"] = _coarse(np.where(producing, bus, 0.0), 0.1)
        warm = air_c + 6 + 20 * ac_w / self.rated_w[:, None] + dice.normal(0, 0.15, shape)
        registers["temp_inverter"] = _coarse(warm, 0.1)
        registers["status"] = np.where(producing, 4, 2).astype(np.int16)
        registers["status_vendor"] = np.where(producing, 3, 0).astype(np.int32)
        trouble = dice.random((n, 1)) < 0.003
        registers["fault"] = (trouble & (dice.random(shape) < 0.2)) * dice.integers(1, 3, (n, 1))
        registers["power_limit_pct"] = np.full(shape, 110.0, np.float32)
        lag = dice.integers(0, 50, shape)
        registers["inverter_clock"] = (
            ts + LOCAL_S + self.clock_s[:, None].astype(np.int64) - lag
        ) * 1_000_000
        return registers | self._count(ts, ac_w, date)

    def _count(self, ts: Ints, ac_w: Floats, date: dt.date) -> dict[str, NDArray[Any]]:
        """Lets the counters run; the local day begins within the UTC date, in the dark."""
        grown = np.cumsum(ac_w, axis=1) * (SLOT_S / 3_600)
        energy = grown[:, -1]
        tomorrow = (ts + LOCAL_S) // 86_400 > (_midnight_s(date) // 86_400)
        today = np.where(tomorrow, 0, self.today_wh[:, None] + grown)
        yesterday = np.where(
            tomorrow, (self.today_wh + energy)[:, None], self.yesterday_wh[:, None]
        )
        if date.day == 1:
            if self.month_wh.any():
                self.last_month_wh = self.month_wh
            self.month_wh = np.zeros(self.inverters)
        step = self.total_step_wh[:, None]
        whole = 1_000
        counters = {
            "energy_total_wh": (self.total_wh[:, None] + grown) // step * step,
            "energy_today_wh": today // 100 * 100,
            "energy_yesterday_wh": yesterday // 100 * 100,
            "energy_month_wh": (self.month_wh[:, None] + grown) // whole * whole,
            "energy_last_month_wh": np.broadcast_to(
                self.last_month_wh[:, None] // whole * whole, ts.shape
            ),
            "energy_year_wh": (self.year_wh[:, None] + grown) // whole * whole,
            "energy_last_year_wh": np.broadcast_to(
                self.last_year_wh[:, None] // whole * whole, ts.shape
            ),
        }
        self.total_wh = self.total_wh + energy
        self.month_wh = self.month_wh + energy
        self.year_wh = self.year_wh + energy
        self.yesterday_wh = self.today_wh + energy
        self.today_wh = np.zeros(self.inverters)
        return {name: values.astype(np.int64) for name, values in counters.items()}

    def _uptime(self, ts: Ints, awake: Bools) -> tuple[Ints, Bools]:
        """Returns seconds since the stick's start, and which samples fall into a start."""
        n, dice = self.inverters, self._dice
        before = np.concatenate([self.awake_before[:, None], awake[:, :-1]], axis=1)
        boots = (self.night == SILENT)[:, None] & awake & ~before
        boots |= dice.random((n, SLOTS)) < 0.02 / SLOTS
        self.awake_before = awake[:, -1]
        started = np.maximum.accumulate(
            np.where(boots, ts + dice.integers(10, 40, (n, SLOTS)), self.booted_s[:, None]), axis=1
        )
        self.booted_s = started[:, -1]
        return (ts - started).astype(np.int64), boots

    def _arrival(self, ts: Ints, midnight_s: int) -> tuple[Ints, Bools]:
        """Returns unix microseconds; one roof in a hundred is cut off for some hours."""
        n, dice = self.inverters, self._dice
        delay_s = self.latency_s[:, None] + dice.exponential(0.15, ts.shape)
        delay_s = delay_s - 0.5 + dice.random(ts.shape)
        from_s = midnight_s + dice.uniform(0, 80_000, (n, 1))
        until_s = from_s + dice.uniform(3_600, 14_400, (n, 1))
        cut = (ts > from_s) & (ts < until_s) & (dice.random((n, 1)) < 0.01)
        # A stick replays the newest record first, one each few seconds.
        catch_up_s = until_s + (until_s - ts) / SLOT_S * 11 + dice.random(ts.shape)
        at_s = np.where(cut, catch_up_s, ts + delay_s)
        return (at_s * 1e6).astype(np.int64), cut

    def _table(self, sent: Bools, values: dict[str, NDArray[Any]]) -> pa.Table:
        row = np.nonzero(sent)[0]
        new = self.sensor[row] == 0x0507
        three = self.three_phase[row]
        absent = {
            **dict.fromkeys(_ONLY_NEW, ~new),
            **dict.fromkeys(("dc_voltage_mppt3", "dc_current_mppt3"), new),
            **dict.fromkeys(_OTHER_PHASES, ~three),
            "phase_slot": three,
        }
        constant = {
            "time_source": "stick",
            "protocol": "v5",
        }
        per_inverter = {
            "inverter_sn": self.inverter_sn,
            "logger_sn": self.logger_sn,
            "source": self.source,
            "sensor_type": self.sensor,
            "phase_slot": self.phase_slot,
        }
        faults = np.array([FAULT_NONE, *FAULTS])
        arrays: list[Any] = []
        for field in schema.arrow_schema(schema.READINGS, metadata=False):
            name = field.name
            if name == "date":
                arrays.append(pa.array(values["ts"][sent] // 86_400_000_000).cast(pa.int32()))
            elif name in constant:
                arrays.append(pa.repeat(constant[name], len(row)))
            elif name in per_inverter:
                arrays.append(pa.array(per_inverter[name][row], mask=absent.get(name)))
            elif name == "fault_vendor":
                arrays.append(pa.array(faults[values["fault"][sent]], mask=~new))
            elif name in values:
                arrays.append(pa.array(values[name][sent], mask=absent.get(name)))
            else:
                arrays.append(pa.nulls(len(row), field.type))
            arrays[-1] = arrays[-1].cast(field.type)
        table = pa.Table.from_arrays(
            arrays, schema=schema.arrow_schema(schema.READINGS, metadata=False)
        )
        return table.take(
            pc.sort_indices(table, sort_keys=[("inverter_sn", "ascending"), ("ts", "ascending")])
        )


def main() -> int:
    """Compares the columns of a made afternoon with those of the captured one."""
    import captures

    captured = captures.session().sort_by([("inverter_sn", "ascending"), ("ts", "ascending")])
    (_, day), *_ = Fleet(300).days(1)
    hour = day.column("ts").cast(pa.int64()).to_numpy() // 3_600_000_000 % 24
    sensor = day.column("sensor_type").to_numpy()
    new = ~day.column("repeat").to_numpy()
    made = day.filter(pa.array((sensor == 0x0507) & new & (hour >= 12) & (hour < 18)))
    fresh = captured.filter(pc.invert(captured.column("repeat")))
    sys.stdout.write(f"{'column':22} {'unchanged':>21} {'median move':>23} {'zero':>19}\n")
    for field in made.schema:
        numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        if numeric or pa.types.is_timestamp(field.type):
            pairs = zip(_moves(made, field.name), _moves(fresh, field.name), strict=True)
            cells = "   ".join(f"{ours:10.3g} {real:10.3g}" for ours, real in pairs)
            sys.stdout.write(f"{field.name:22} {cells}\n")
    sys.stdout.write("each pair: made, captured; nan where a column is absent; times in seconds\n")
    return 0


def _moves(rows: pa.Table, name: str) -> tuple[float, float, float]:
    """Returns the share of unchanged neighbours, the median move of the others, and of zeros."""
    column = rows.column(name)
    unit = 1e6 if pa.types.is_timestamp(column.type) else 1
    if unit > 1:
        column = column.cast(pa.int64())
    values = column.cast(pa.float64()).to_numpy() / unit
    serials = rows.column("inverter_sn").to_numpy()
    moves = np.abs(np.diff(values))[serials[1:] == serials[:-1]]
    moves = moves[~np.isnan(moves)]
    moved = moves[moves > 1e-9]
    if not len(moves):
        return np.nan, np.nan, np.nan
    unchanged = 1 - len(moved) / len(moves)
    return unchanged, float(np.median(moved)) if len(moved) else 0.0, float(np.mean(values == 0))


_ONLY_NEW = (
    *("ac_apparent_power", "power_factor", "dc_power", "dc_bus_voltage", "energy_year_wh"),
    *("energy_last_year_wh", "fault_vendor", "power_limit_pct", "inverter_clock"),
)
_OTHER_PHASES = ("ac_voltage_l2", "ac_voltage_l3", "ac_current_l2", "ac_current_l3")


def _midnight_s(date: dt.date) -> int:
    return int(dt.datetime(date.year, date.month, date.day, tzinfo=dt.UTC).timestamp())


def _coarse(values: Floats, step: float) -> NDArray[np.float32]:
    """Returns values as a register of this step gives them, in the nearest f32."""
    if step == 1:
        return np.asarray(np.round(values).astype(np.float32))
    return np.asarray((np.round(values / step) / round(1 / step)).astype(np.float32))


def _sun(ts: Ints, latitude: Floats, longitude_deg: Floats) -> tuple[Floats, Floats]:
    """Returns elevation and azimuth in radians; as `autarco_ingest.fleet.sun`, rougher."""
    day = ts // 86_400 % 365
    declination = np.radians(-23.44) * np.cos(2 * np.pi * (day + 10) / 365)
    utc_h = ts % 86_400 / 3_600
    hour_angle = np.radians(15 * (utc_h + longitude_deg[:, None] / 15 - 12))
    phi = latitude[:, None]
    sine = np.sin(phi) * np.sin(declination)
    sine = sine + np.cos(phi) * np.cos(declination) * np.cos(hour_angle)
    east = -np.cos(declination) * np.sin(hour_angle)
    north = np.cos(phi) * np.sin(declination)
    north = north - np.sin(phi) * np.cos(declination) * np.cos(hour_angle)
    return np.arcsin(sine), np.arctan2(east, north)


def _light(
    elevation: Floats, azimuth: Floats, cloud: Floats, *, tilt: Floats, facing: Floats
) -> Floats:
    """Returns W/m² on the roof; as `autarco_ingest.fleet.plane_irradiance`."""
    height = np.maximum(np.sin(elevation), 0.01)
    air_mass = 1 / (
        height + 0.50572 * np.power(np.maximum(np.degrees(elevation), 0) + 6.07995, -1.6364)
    )
    clear_beam = 1353 * np.power(0.7, np.power(air_mass, 0.678))
    horizontal = 1.1 * clear_beam * height * (1 - 0.75 * np.power(cloud, 3.4))
    beam = np.minimum(clear_beam * (1 - cloud), horizontal / height)
    diffuse = horizontal - beam * height
    incidence = np.sin(elevation) * np.cos(tilt)
    incidence = incidence + np.cos(elevation) * np.sin(tilt) * np.cos(azimuth - facing)
    light = np.maximum(0, beam * incidence) + diffuse * (1 + np.cos(tilt)) / 2
    return np.where(elevation > 0, light, 0.0)


if __name__ == "__main__":
    raise SystemExit(main())
