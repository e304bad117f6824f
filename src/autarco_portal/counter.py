"""Which samples of an inverter's lifetime counter are to be believed, and what did it make?

Counters restart, get set to another level, and show absurd values; samples come late, twice and in
any order. Pure: arrays in, values out. What a day or a period made is the business of `energy`.

Source: reference document, section 2.2 (rule 13).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from autarco_portal.site import Inverter

Instants: TypeAlias = npt.NDArray[np.int64]
"""Microseconds since 1970, UTC: what Arrow calls timestamp[us]."""
Floats: TypeAlias = npt.NDArray[np.float64]

AGREEING = 6
"""Later samples that must tell one story before a counter is believed to have been set anew."""
GAP_US = 1_800_000_000
"""More than this between two samples is a gap, as in the lake's view `comms_gaps`."""
RESET_GAP_US = 86_400_000_000
"""Over a longer gap, what a restarted counter shows says too little of what was made."""
EXCURSION_US = 2 * 86_400_000_000
"""A level that the counter leaves and comes back to within this time was never left: inverters
answer zero for a whole night."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARGIN = 1.05
"""How far above its rating an inverter may run."""


class EnergyError(ValueError):
    """The samples or expectations cannot be used; the message is one sentence."""


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """Between two samples the counter was set to another level."""

    from_us: int
    to_us: int
    counted_wh: float
    """What the new level says was made since; zero unless the counter restarted at zero."""
    is_lost: bool
    """Whether the energy between the two samples is unknown for good."""


class Counter(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The believed samples of one inverter, and what its counter made since the first of them."""

    serial_number: str
    at_us: Instants
    made_wh: Floats
    """Never falls; starts at zero."""
    register_wh: Floats
    """What the counter showed."""
    breaks: tuple[Break, ...]
    glitches_us: Instants
    """Times of the samples that were left out."""
    resolution_wh: float


def samples(readings: pa.Table, inverter: Inverter) -> tuple[Instants, Floats]:
    """Returns times and `energy_total_wh` of an inverter, while it hung there.

    `readings` has at least `inverter_sn`, `ts` and `energy_total_wh` as in
    `autarco_ingest.schema.READINGS`, in any order; rows of others and without a counter fall out.
    """
    mine = readings.filter(
        (pc.field("inverter_sn") == inverter.serial_number) & pc.field("energy_total_wh").is_valid()
    )
    at_us = mine.column("ts").cast(pa.int64()).to_numpy()
    total = mine.column("energy_total_wh").cast(pa.float64()).to_numpy()
    present = at_us >= instant(inverter.installed_at)
    if inverter.uninstalled_at is not None:
        present &= at_us <= instant(inverter.uninstalled_at)
    return at_us[present], total[present]


def instant(at: datetime) -> int:
    """Returns microseconds since 1970; raises EnergyError for a time without a zone."""
    if at.tzinfo is None:
        raise EnergyError(f"{at.isoformat()} has no time zone")
    return (at - _EPOCH) // timedelta(microseconds=1)


def moment(at_us: int) -> datetime:
    """Returns the time of microseconds since 1970, in UTC."""
    return _EPOCH + timedelta(microseconds=at_us)


def clean_counter(
    at_us: Instants,
    energy_total_wh: Floats | Instants,
    *,
    serial_number: str,
    pac0: float,
    resolution_wh: float = 1_000.0,
) -> Counter:
    """Returns the samples to believe, with the energy made since the first.

    Samples come in any order, repeated or not. A step is believed if the inverter could have made
    it: not negative, and at most 1.05 times `pac0` (W) over the time, and two steps of the counter
    (`resolution_wh`; many count whole kWh). Another value is a new level only if the next 6 samples
    follow from it and neither it nor they from the old one; else it is a glitch and left out, so a
    value at the very end waits for its successors. A first sample that the next two agree against
    is a glitch too. A counter that comes back to a level within two days had never left it.

    From a counter that restarts near zero, what it shows counts; a step to any other level counts
    nothing. Raises EnergyError for values that are no numbers and ratings that are none.
    """
    if not pac0 > 0 or not resolution_wh > 0:
        raise EnergyError(f"{serial_number}: pac0 and resolution_wh are above zero")
    if len(at_us) != len(energy_total_wh):
        raise EnergyError(
            f"{serial_number}: {len(at_us)} times for {len(energy_total_wh)} values of the counter"
        )
    values = np.asarray(energy_total_wh, dtype=np.float64)
    if not np.isfinite(values).all():
        raise EnergyError(f"{serial_number}: a value of the counter is not a number")
    order = np.lexsort((values, at_us))
    at, level = np.asarray(at_us, dtype=np.int64)[order], values[order]
    new = np.ones(len(at), dtype=np.bool_)
    new[1:] = (np.diff(at) > 0) | (np.diff(level) != 0)
    at, level = at[new], level[new]
    judge = _Judge(at, level, pac0=pac0, resolution_wh=resolution_wh)
    judge.run()
    return judge.counter(serial_number)


class _Judge:
    """Decides sample by sample where steps are doubtful, and skips where they are not."""

    def __init__(self, at: Instants, level: Floats, *, pac0: float, resolution_wh: float) -> None:
        self.at, self.level = at, level
        self.wh_per_us = _MARGIN * pac0 / 3.6e9
        self.resolution_wh = resolution_wh
        self.kept = np.ones(len(at), dtype=np.bool_)
        self.breaks: list[tuple[int, int]] = []
        self.first = 0
        step, gap = np.diff(level), np.diff(at)
        fits = (step >= 0) & (step <= self.wh_per_us * gap + 2 * resolution_wh)
        self.doubtful = np.flatnonzero(~fits)

    def possible(self, before: int, after: int) -> float:
        return self.wh_per_us * float(self.at[after] - self.at[before]) + 2 * self.resolution_wh

    def fits(self, before: int, after: int) -> bool:
        step = float(self.level[after] - self.level[before])
        return 0 <= step <= self.possible(before, after)

    def run(self) -> None:
        here = 0
        for doubtful in self.doubtful:
            if doubtful < here:
                continue
            here = self.step_over(int(doubtful))

    def step_over(self, old: int) -> int:
        """Returns the next sample to go on from; the one after `old` does not follow from it."""
        needed = 1 if old == self.first else AGREEING
        for new in range(old + 1, len(self.at)):
            if self.fits(old, new):
                return new
            if self.is_new_level(old, new, needed):
                if old == self.first:
                    self.kept[old] = False
                    self.first = new
                else:
                    self.begin_anew(old, new)
                return new
            self.kept[new] = False
        return len(self.at)

    def is_new_level(self, old: int, new: int, needed: int) -> bool:
        last = new + needed
        return last < len(self.at) and all(
            self.fits(i, i + 1) and not self.fits(old, i + 1) for i in range(new, last)
        )

    def begin_anew(self, old: int, new: int) -> None:
        if self.breaks:
            left, came = self.breaks[-1]
            away_us = int(self.at[new] - self.at[left])
            if away_us <= EXCURSION_US and self.fits(left, new):
                self.kept[came:new] = False
                self.breaks.pop()
                return
        self.breaks.append((old, new))

    def counter(self, serial_number: str) -> Counter:
        kept = np.flatnonzero(self.kept)
        place = np.cumsum(self.kept) - 1
        steps = np.diff(self.level[kept], prepend=self.level[kept[:1]])
        breaks = []
        for old, new in self.breaks:
            level, gap_us = float(self.level[new]), int(self.at[new] - self.at[old])
            restarted = level < self.level[old] and 0 <= level <= self.possible(old, new)
            is_lost = not restarted or gap_us > RESET_GAP_US
            steps[place[new]] = 0.0 if is_lost else level
            breaks.append(
                Break(
                    from_us=int(self.at[old]),
                    to_us=int(self.at[new]),
                    counted_wh=0.0 if is_lost else level,
                    is_lost=is_lost,
                )
            )
        return Counter(
            serial_number=serial_number,
            at_us=self.at[kept],
            made_wh=np.cumsum(steps),
            register_wh=self.level[kept],
            breaks=tuple(breaks),
            glitches_us=self.at[~self.kept],
            resolution_wh=self.resolution_wh,
        )
