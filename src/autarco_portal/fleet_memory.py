"""What do rules over several days remember of the days before?

Rolling arrays of the sites' comparison with their peers, and per inverter what its last weeks
looked like. All of it is columns of the derived tables: whoever starts again reads it from there.

Pure: rows in, arrays out.
"""

from __future__ import annotations

from collections import defaultdict, deque
from datetime import date, timedelta
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from autarco_portal.detection import YEAR_DAYS, DetectionRules, DetectorState
from autarco_portal.detection_intraday import AZIMUTH_BINS, IntradayRules
from autarco_portal.inverter_day import TRACKERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import polars as pl

    from autarco_portal.peers import Bools, Floats

DAY = timedelta(days=1)


def days_remembered(rules: DetectionRules) -> int:
    """Returns how many days back rule 4 looks: a year and its season, and the baseline."""
    return YEAR_DAYS + rules.season_days + 1


class SiteMemory:
    """The comparison with peers of the days since `first`; arrays days x sites."""

    def __init__(self, first: date, last: date, site_ids: Sequence[str]) -> None:
        """Makes room for the days up to `last`, of which nothing is known yet."""
        self._first = first
        self._column = {site_id: number for number, site_id in enumerate(site_ids)}
        shape = (last - first).days + 1, len(site_ids)
        self._residual, self._yield, self._index = np.full((3, *shape), np.nan)
        self._usable, self._held = np.zeros((2, *shape), bool)

    def load(self, rows: pl.DataFrame) -> None:
        """Takes rows of `peer_ratio` up; those of other sites and days do not count."""
        first, days = self._first, len(self._residual)
        named = ("date", "site_id", "log_residual", "peer_yield", "index_peer_median", "usable",
                 "held")  # fmt: skip
        for day, site_id, residual, peer_yield, index, usable, held in rows.select(named).rows():
            row, column = (day - first).days, self._column.get(site_id)
            if column is None or not 0 <= row < days:
                continue
            self._residual[row, column] = np.nan if residual is None else residual
            self._yield[row, column] = np.nan if peer_yield is None else peer_yield
            self._index[row, column] = np.nan if index is None else index
            self._usable[row, column], self._held[row, column] = bool(usable), bool(held)

    def put(
        self,
        day: date,
        *,
        log_residual: Floats,
        peer_yield: Floats,
        index_peer_median: Floats,
        usable: Bools,
        held: Bools,
    ) -> None:
        """Remembers a day; one value per site."""
        row = (day - self._first).days
        self._residual[row], self._yield[row] = log_residual, peer_yield
        self._index[row], self._usable[row], self._held[row] = index_peer_median, usable, held

    def baseline_days(self, day: date, days: int) -> tuple[Floats, Floats, Bools]:
        """Returns log_residual, peer_yield and usable of so many days before a day."""
        span = self._before(day, days)
        return self._residual[span], self._yield[span], self._usable[span]

    def season_days(self, day: date) -> tuple[Floats, Bools] | None:
        """Returns log_residual and usable of all days up to this one; None within the first year.

        Days of an incident are not usable: last year's fault is not this year's season.
        """
        if (day - self._first).days < YEAR_DAYS:
            return None
        span = slice(0, (day - self._first).days + 1)
        return self._residual[span], self._usable[span] & ~self._held[span]

    def best_index(self, day: date, days: int) -> Floats:
        """Returns the highest index that each site's peers had in so many days before a day."""
        span = self._index[self._before(day, days)]
        best: Floats = np.fmax.reduce(span, axis=0, initial=np.nan)
        return best

    def _before(self, day: date, days: int) -> slice:
        row = (day - self._first).days
        return slice(max(0, row - days), row)


class InverterMemory(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One inverter's day, as later days look back at it."""

    date: date
    is_clear: bool
    limit_plateau: float
    energy_centroid: float
    peer_centroid: float
    dark_energy_share: float
    night_offset: float
    tracker_energy: Floats
    """Trackers x AZIMUTH_BINS; NaN for a tracker without modules."""


class Memories:
    """The last weeks of every inverter, by day."""

    def __init__(self, rules: IntradayRules) -> None:
        self.days = rules.mppt_baseline_days + rules.mppt_days
        self._of: dict[str, deque[InverterMemory]] = defaultdict(
            lambda: deque(maxlen=self.days + 1)
        )

    def load(self, rows: pl.DataFrame) -> None:
        """Takes rows of `inverter_day` up."""
        for row in rows.sort("date").iter_rows(named=True):
            energy = row.pop("tracker_energy")
            trackers = np.full(TRACKERS * AZIMUTH_BINS, np.nan)
            if energy is not None:
                trackers[:] = [np.nan if value is None else value for value in energy]
            numbers = {
                name: np.nan if row[name] is None else row[name]
                for name in ("limit_plateau", "energy_centroid", "peer_centroid",
                             "dark_energy_share", "night_offset")
            }  # fmt: skip
            self.put(
                row["inverter_sn"],
                InverterMemory(
                    date=row["date"],
                    is_clear=bool(row["is_clear"]),
                    tracker_energy=trackers.reshape(TRACKERS, AZIMUTH_BINS),
                    **numbers,
                ),
            )

    def put(self, inverter_sn: str, memory: InverterMemory) -> None:
        """Remembers the newest day of an inverter."""
        self._of[inverter_sn].append(memory)

    def before(self, inverter_sn: str, day: date) -> list[InverterMemory]:
        """Returns what is remembered of the days before a day, oldest first."""
        oldest = day - self.days * DAY
        return [one for one in self._of[inverter_sn] if oldest <= one.date < day]


def states(rows: pl.DataFrame, site_ids: Iterable[str], rules: DetectionRules) -> DetectorState:
    """Returns the detector's state from rows of `detector_state` of one day.

    Sites without a row start afresh.
    """
    named = {row["site_id"]: row for row in rows.iter_rows(named=True)}
    ordered = [named.get(site_id) for site_id in site_ids]
    state = DetectorState.new(len(ordered), rules)
    for column, row in enumerate(ordered):
        if row is None:
            continue
        for name in ("cusum", "baseline", "spread", "loss"):
            getattr(state, name)[column] = np.nan if row[name] is None else row[name]
        state.run_days[column], state.blank_days[column] = row["run_days"], row["blank_days"]
        state.recent[:, column] = [np.nan if value is None else value for value in row["recent"]]
    return state
