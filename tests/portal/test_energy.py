"""A counter's energy survives resets, glitches, gaps, swaps and the days on which clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rows
from autarco_ingest import catalog, paths
from autarco_ingest.lake import Lake
from autarco_ingest.table_store import LocalStore
from autarco_portal import counter, energy
from autarco_portal.counter import Counter, EnergyError
from autarco_portal.energy import Expected
from autarco_portal.site import Inverter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ZONE = "Europe/Amsterdam"
NOON = datetime(2026, 6, 15, 10, tzinfo=UTC)
STEP = timedelta(minutes=5)


def clean(
    values: Sequence[float], *, start: datetime = NOON, step: timedelta = STEP, pac0: float = 4_000
) -> Counter:
    return clean_at([(start + n * step, value) for n, value in enumerate(values)], pac0=pac0)


def clean_at(samples: Sequence[tuple[datetime, float]], *, pac0: float = 4_000) -> Counter:
    return counter.clean_counter(
        np.array([counter.instant(at) for at, _ in samples], dtype=np.int64),
        np.array([value for _, value in samples], dtype=np.float64),
        serial_number="A",
        pac0=pac0,
    )


def made(cleaned: Counter) -> float:
    return float(cleaned.made_wh[-1])


def local(*when: int) -> datetime:
    return datetime(*when, tzinfo=ZoneInfo(ZONE))  # type: ignore[arg-type,misc]


def daily(first: date, *kwh: float) -> Expected:
    edges = energy.midnights(first, first + timedelta(days=len(kwh) - 1), ZONE)
    return Expected(edges_us=edges, energy_wh=np.array(kwh) * 1_000)


class TestCleanCounter:
    def test_energy_is_what_the_counter_grew(self) -> None:
        cleaned = clean([5_000_000, 5_000_100, 5_000_300, 5_000_300])

        assert cleaned.made_wh.tolist() == [0, 100, 300, 300]
        assert cleaned.breaks == ()

    def test_a_counter_that_restarts_at_zero_counts_on(self) -> None:
        cleaned = clean([5_000_000, 5_000_200, *(100 + 200 * n for n in range(8))])

        assert made(cleaned) == 200 + 100 + 1_400
        assert [(b.counted_wh, b.is_lost) for b in cleaned.breaks] == [(100, False)]

    @pytest.mark.parametrize("level", [3_000_000, 9_000_000])
    def test_a_counter_set_to_another_level_loses_that_step_and_says_so(self, level: int) -> None:
        cleaned = clean([5_000_000, 5_000_200, *(level + 200 * n for n in range(8))])

        assert made(cleaned) == 200 + 1_400
        assert [(b.counted_wh, b.is_lost) for b in cleaned.breaks] == [(0, True)]

    @pytest.mark.parametrize("glitch", [0, 4_294_967_295, 4_999_000, 5_100_000])
    @pytest.mark.parametrize("place", range(1, 9))
    def test_one_absurd_value_does_not_matter(self, glitch: int, place: int) -> None:
        values = [5_000_000 + 200 * n for n in range(10)]
        values[place] = glitch
        cleaned = clean(values)

        assert made(cleaned) == 1_800
        assert cleaned.glitches_us.tolist() == [counter.instant(NOON + place * STEP)]

    @pytest.mark.parametrize("glitch", [0, 4_294_967_295])
    def test_an_absurd_first_value_is_left_out(self, glitch: int) -> None:
        assert made(clean([glitch, 5_000_000, 5_000_200, 5_000_400])) == 400

    def test_an_absurd_last_value_waits_for_its_successors(self) -> None:
        assert made(clean([5_000_000, 5_000_200, 0])) == 200

    def test_a_new_level_is_believed_after_six_more_samples(self) -> None:
        old = [5_000_000, 5_000_200]

        assert clean([*old, *[300_000] * 6]).breaks == ()
        assert len(clean([*old, *[300_000] * 7]).breaks) == 1

    def test_several_absurd_values_in_a_row_do_not_matter(self) -> None:
        values = [5_000_000, 5_000_200, 0, 4_294_967_295, 17, 5_000_800, 5_001_000]

        assert made(clean(values)) == 1_000

    def test_an_inverter_that_answers_zero_all_night_has_not_restarted(self) -> None:
        cleaned = clean([5_000_000, 5_000_200, *[0] * 100, 5_000_300, *[5_000_500] * 8])

        assert made(cleaned) == 500
        assert (cleaned.breaks, len(cleaned.glitches_us)) == ((), 100)

    def test_two_restarts_count_both(self) -> None:
        ramp = [200 * n for n in range(8)]

        cleaned = clean([*(5_000_000 + wh for wh in ramp), *ramp, *ramp])

        assert (made(cleaned), len(cleaned.breaks)) == (3 * 1_400, 2)

    def test_a_restart_after_days_without_samples_is_lost(self) -> None:
        samples = [(NOON, 5_000_000.0), (NOON + STEP, 5_000_200.0)]
        later = NOON + timedelta(days=14)
        samples += [(later + n * STEP, 900.0 + 100 * n) for n in range(8)]
        cleaned = clean_at(samples)

        assert made(cleaned) == 200 + 700
        assert [b.is_lost for b in cleaned.breaks] == [True]

    def test_more_than_the_inverter_can_make_is_a_glitch(self) -> None:
        # 4 kW make 350 Wh in five minutes, and the counter may be two steps of 1 kWh off.
        assert made(clean([0, 2_349, 2_349])) == 2_349
        assert made(clean([10_000_000, 10_000_000, 10_002_400, 10_000_000])) == 0

    def test_no_samples_make_no_energy(self) -> None:
        cleaned = clean([])

        assert energy.made_wh(cleaned, np.array([0, 1])).tolist() == [0, 0]
        assert energy.daily_energy(cleaned, date(2026, 6, 15), date(2026, 6, 15))[0].method == (
            "missing"
        )
        assert energy.spans(cleaned, NOON, NOON + STEP) == ()

    @given(
        increments=st.lists(st.integers(0, 350), min_size=9, max_size=60),
        glitches=st.dictionaries(st.integers(1, 50), st.integers(0, 2**32)),
        order=st.randoms(use_true_random=False),
    )
    def test_order_repeats_and_lone_glitches_change_nothing(
        self, increments: list[int], glitches: dict[int, int], order: Any
    ) -> None:
        truth = 5_000_000 + np.cumsum([0, *increments])
        samples = [(NOON + n * STEP, float(value)) for n, value in enumerate(truth)]
        # Far from any level that a sample has, at most every second, and not at an end.
        bad = [
            (samples[place][0] + STEP / 2, float(value))
            for place, value in glitches.items()
            if place % 2 and place < len(samples) - 2 and not 4_900_000 < value < 5_200_000
        ]
        given = [*samples, *bad, *samples[::3]]
        order.shuffle(given)
        cleaned = clean_at(given)

        assert made(cleaned) == sum(increments)
        assert len(cleaned.glitches_us) == len(bad)

    @pytest.mark.parametrize(
        ("values", "pac0", "reason"),
        [([1.0, float("nan")], 4_000, "not a number"), ([1.0], 0, "above zero")],
    )
    def test_what_cannot_be_is_refused(self, values: list[float], pac0: float, reason: str) -> None:
        with pytest.raises(EnergyError, match=reason):
            clean(values, pac0=pac0)


class TestDays:
    def test_a_gap_within_a_day_is_exact(self) -> None:
        cleaned = clean_at([(local(2026, 6, 15, 6), 0.0), (local(2026, 6, 15, 20), 21_000.0)])
        (day,) = energy.daily_energy(cleaned, date(2026, 6, 15), date(2026, 6, 15))

        assert (day.energy_kwh, day.method, day.n_rows) == (21.0, "counter", 2)
        assert day.gap_max_s == 14 * 3_600
        assert day.coverage == pytest.approx(14 / 24)

    def test_a_gap_of_days_is_shared_out_by_expected_energy(self) -> None:
        cleaned = clean_at(
            [
                *((local(2026, 6, 15, 12) + n * STEP, 200.0 * n) for n in range(144)),
                *((local(2026, 6, 18) + n * STEP, 48_600.0) for n in range(288)),
            ]
        )
        expected = daily(date(2026, 6, 15), 10, 15, 5, 10)
        days = energy.daily_energy(cleaned, date(2026, 6, 15), date(2026, 6, 18), expected=expected)

        # Known until 23:55: 28.6 kWh. The 20 kWh after it: five minutes of 10, then 15, then 5.
        share = 10 * 5 / (24 * 60)
        total = 20 + share
        assert [d.energy_kwh for d in days] == pytest.approx(
            [28.6 + 20 * share / total, 20 * 15 / total, 20 * 5 / total, 0]
        )
        assert [d.method for d in days] == ["gap", "gap", "gap", "counter"]
        assert [d.coverage for d in days] == pytest.approx([0.5, 1, 1, 23 / 24 + 55 / 1_440])

    def test_a_gap_that_expectations_do_not_cover_is_refused(self) -> None:
        cleaned = clean_at([(local(2026, 6, 15, 12), 0.0), (local(2026, 6, 18, 12), 48_000.0)])

        with pytest.raises(EnergyError, match="does not cover the gap from 2026-06-15T10:00"):
            energy.daily_energy(
                cleaned, date(2026, 6, 15), date(2026, 6, 18),
                expected=daily(date(2026, 6, 16), 1, 1, 1),
            )  # fmt: skip

    @pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25)])
    def test_days_on_which_the_clocks_change_are_whole(self, day: date, hours: int) -> None:
        begins = datetime.combine(day, datetime.min.time(), ZoneInfo(ZONE)).astimezone(UTC)
        cleaned = clean(
            [1_000.0 * n for n in range(hours + 3)],
            start=begins - timedelta(hours=1), step=timedelta(hours=1),
        )  # fmt: skip
        (found,) = energy.daily_energy(cleaned, day, day)

        assert (found.energy_kwh, found.n_rows) == (float(hours), hours)

    def test_resets_and_glitches_are_told_where_they_were(self) -> None:
        values = [5_000_000.0 + 100 * n for n in range(20)]
        values[10] = 0
        values += [100.0 * n for n in range(20)]
        (day,) = energy.daily_energy(clean(values), NOON.date(), NOON.date())

        assert (day.n_resets, day.n_glitches, day.method) == (1, 1, "counter")
        assert day.energy_kwh == pytest.approx(3.8)

    def test_a_counter_set_to_another_level_makes_its_day_doubtful(self) -> None:
        values = [*(5_000_000.0 + 100 * n for n in range(9)), *(300_000.0 + n for n in range(9))]
        (day,) = energy.daily_energy(clean(values), NOON.date(), NOON.date())

        assert (day.method, day.n_resets) == ("estimated", 1)

    def test_a_day_without_a_counter_is_missing_not_zero(self) -> None:
        cleaned = clean([0.0, 100.0])
        _, after = energy.daily_energy(cleaned, NOON.date(), NOON.date() + timedelta(days=1))

        assert (after.energy_kwh, after.method, after.coverage) == (None, "missing", 0)

    @given(st.lists(st.integers(0, 5_000), min_size=2, max_size=30), st.integers(1, 40))
    def test_days_add_up_to_what_was_made(self, steps: list[int], hours: int) -> None:
        cleaned = clean(
            [float(wh) for wh in np.cumsum(steps)], step=timedelta(hours=hours), pac0=20_000
        )
        last = (NOON + len(steps) * timedelta(hours=hours)).date()
        days = energy.daily_energy(cleaned, NOON.date(), last)

        assert sum(d.energy_kwh or 0 for d in days) == pytest.approx(made(cleaned) / 1_000)
        assert all(0 <= d.coverage <= 1 for d in days)

    def test_it_agrees_with_the_view_of_the_lake_on_clean_samples(self, tmp_path: Path) -> None:
        """Two days, a sample each five minutes, light from 06:00 to 20:00 UTC."""
        start = datetime(2026, 6, 15, 0, 0, tzinfo=UTC)
        samples, total = [], 7_000_000
        for n in range(2 * 288 + 12):
            at = start + n * STEP
            total += 100 if 6 <= at.hour < 20 else 0
            samples.append(rows.reading(ts=at, energy_total_wh=total, ac_power=1_200.0))
        readings = rows.readings(*samples)
        data = paths.DataDirectory.at(tmp_path)
        data.create()
        lake = Lake(LocalStore(data.lake), "n1")
        lake.commit(1, readings, rows.sessions(), rows.quarantine())
        moment = catalog.Moment(readings=lake.files("readings"))
        catalog.rebuild(data, moment, time_zone=ZONE)
        view = catalog.query(
            data, "SELECT day, energy_kwh, n_resets FROM daily_energy ORDER BY day"
        )

        inverter = Inverter(serial_number="SIM0001", pac0=4_000, installed_at=start)
        at_us, wh = counter.samples(readings, inverter)
        cleaned = counter.clean_counter(at_us, wh, serial_number="SIM0001", pac0=4_000)
        ours = energy.daily_energy(cleaned, date(2026, 6, 15), date(2026, 6, 17))

        theirs = view.to_pylist()
        assert [d.energy_kwh for d in ours] == pytest.approx([r["energy_kwh"] for r in theirs])
        assert [(d.day, d.n_resets) for d in ours] == [(r["day"], r["n_resets"]) for r in theirs]
        assert [d.energy_kwh for d in ours] == pytest.approx([16.8, 16.8, 0])


class TestSwap:
    OLD = Inverter(
        serial_number="A", pac0=4_000, installed_at=NOON, uninstalled_at=NOON + 10 * STEP
    )
    NEW = Inverter(serial_number="B", pac0=3_600, installed_at=NOON + 12 * STEP)

    def readings(self) -> pa.Table:
        samples = [("A", NOON + n * STEP, 5_000_000 + 100 * n) for n in range(-3, 11)]
        # After it was taken down it runs at somebody else's.
        samples += [("A", NOON + n * STEP, 5_001_000 + 300 * n) for n in range(11, 20)]
        samples += [("B", NOON + n * STEP, 100 * n) for n in range(12, 20)]
        return pa.table(
            {
                "inverter_sn": [serial for serial, _, _ in samples],
                "ts": pa.array([at for _, at, _ in samples], pa.timestamp("us", tz="UTC")),
                "energy_total_wh": pa.array([wh for _, _, wh in samples], pa.int64()),
            }
        )

    def test_each_counter_is_good_for_its_own_time(self) -> None:
        parts = []
        for inverter in (self.OLD, self.NEW):
            at_us, wh = counter.samples(self.readings(), inverter)
            cleaned = counter.clean_counter(
                at_us, wh, serial_number=inverter.serial_number, pac0=inverter.pac0
            )
            parts.append((inverter.pac0, energy.daily_energy(cleaned, NOON.date(), NOON.date())))
        (day,) = energy.site_days(parts, pac0=3_600)

        assert day.energy_kwh == pytest.approx((1_000 + 700) / 1_000)
        assert (day.method, day.n_resets, day.n_rows) == ("counter", 0, 19)

    def test_a_row_without_a_counter_is_no_zero(self) -> None:
        readings = rows.readings(
            rows.reading(ts=NOON), rows.reading(ts=NOON + STEP, energy_total_wh=100)
        )
        _, wh = counter.samples(
            readings, Inverter(serial_number="SIM0001", pac0=4_000, installed_at=NOON)
        )

        assert wh.tolist() == [100]


class TestSpans:
    def test_a_gap_over_the_border_is_split_by_expected_energy(self) -> None:
        samples = [(local(2026, 4, 28), 4_210_000.0), (local(2026, 5, 6), 4_258_000.0)]
        expected = daily(date(2026, 4, 28), 3.1, 2.2, 4.4, 6.5, 5.2, 4.1, 3.0, 5.5)
        border = local(2026, 5, 1)
        before = energy.spans(clean_at(samples), local(2025, 5, 1), border, expected=expected)
        after = energy.spans(clean_at(samples), border, local(2027, 5, 1), expected=expected)

        # 48 kWh, 9.7 and 24.3 of 34 expected: reference 3.3.
        assert [s.energy_wh for s in (*before, *after)] == pytest.approx([13_694, 34_306], abs=0.5)
        assert [s.method for s in (*before, *after)] == ["split", "split"]
        assert (before[0].register_from_wh, before[0].register_to_wh) == (4_210_000, None)

    def test_gaps_and_lost_time_stand_apart(self) -> None:
        samples = [(NOON + n * STEP, 100.0 * n) for n in range(9)]
        samples += [(NOON + timedelta(days=3) + n * STEP, 9_000.0 + 100 * n) for n in range(9)]
        samples += [(NOON + timedelta(days=9) + n * STEP, 70.0 + 100 * n) for n in range(9)]
        spans = energy.spans(clean_at(samples), NOON - STEP, NOON + timedelta(days=99))

        assert [(s.method, s.energy_wh) for s in spans] == [
            ("counter", 800), ("gap", 8_200), ("counter", 800), ("lost", 0), ("counter", 800),
        ]  # fmt: skip
        assert spans[0].from_at == NOON
        assert spans[3].to_at == NOON + timedelta(days=9)
        assert (spans[1].register_from_wh, spans[1].register_to_wh) == (800, 9_000)


class TestExpected:
    @pytest.mark.parametrize(
        ("edges", "values", "reason"),
        [
            ([0, 1], [1.0, 2.0], "one edge more"),
            ([0, 2, 1], [1.0, 2.0], "do not rise"),
            ([0, 1, 2], [1.0, -2.0], "negative"),
            ([0, 1, 2], [1.0, float("nan")], "not a number"),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, edges: list[int], values: list[float], reason: str
    ) -> None:
        with pytest.raises(EnergyError, match=reason):
            Expected(edges_us=np.array(edges), energy_wh=np.array(values))


class TestTrailingIndex:
    def days(self) -> tuple[energy.DayEnergy, ...]:
        cleaned = clean(
            [1_000.0 * n for n in range(24 * 100)],
            start=local(2026, 4, 1).astimezone(UTC), step=timedelta(hours=1),
        )  # fmt: skip
        return energy.daily_energy(cleaned, date(2026, 4, 1), date(2026, 7, 9))

    def test_it_is_a_ratio_of_sums_over_sixty_days(self) -> None:
        expected = {date(2026, 4, 1) + timedelta(days=n): 30.0 for n in range(100)}
        expected[date(2026, 6, 30)] = 90.0
        old = {date(2026, 5, 1): 9_999.0}

        found = energy.trailing_index(self.days(), expected | old, date(2026, 7, 1))

        assert found == pytest.approx(60 * 24 / (59 * 30 + 90))

    def test_without_expectation_there_is_none(self) -> None:
        assert energy.trailing_index(self.days(), {}, date(2026, 7, 1)) is None


def test_times_need_a_zone() -> None:
    with pytest.raises(EnergyError, match="has no time zone"):
        counter.instant(datetime(2026, 1, 1))
