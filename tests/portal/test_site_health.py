"""A site is called what somebody should do something about; history divides sums, not ratios."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from autarco_portal.incidents import Cause, Severity
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.site_health import ORDER, SHOWS, Health, Heard, health
from autarco_portal.site_history import COLUMNS, History, HistoryError, comparison

if TYPE_CHECKING:
    from pathlib import Path

NOW = Heard(ago=timedelta(minutes=4))
LONG = Heard(ago=timedelta(hours=25))
NEVER = Heard(ago=None)
GONE = Heard(ago=timedelta(days=90), is_installed=False)
FAULTY = Heard(ago=timedelta(minutes=4), reports_fault=True)
OFF = Heard(ago=timedelta(minutes=4), grid_is_off=True)
LOW = (Cause.UNDERPERFORMANCE, Severity.WARNING)


@pytest.mark.parametrize(
    ("inverters", "incidents", "called"),
    [
        ([NOW, NOW], [], Health.OK),
        ([NOW, LONG], [], Health.NO_COMMS),
        ([NEVER], [], Health.UNMONITORED),
        ([], [], Health.UNMONITORED),
        # One of two was never heard: the other one shows how the site is.
        ([NOW, NEVER], [], Health.OK),
        ([GONE], [], Health.RETIRED),
        ([NOW, GONE], [], Health.OK),
        ([FAULTY, LONG], [], Health.FAULT),
        ([OFF], [LOW], Health.GRID_OFF),
        ([NOW], [LOW], Health.UNDERPERFORMING),
        ([NOW], [(Cause.CLIPPING, Severity.INFO)], Health.OK),
        ([NOW], [(Cause.OUTAGE, Severity.INFO)], Health.OK),
        ([LONG], [(Cause.OUTAGE, Severity.ALARM)], Health.FAULT),
        ([GONE], [LOW], Health.RETIRED),
        # A fault that was read two days ago is not what is known of today.
        ([Heard(ago=timedelta(days=2), reports_fault=True)], [], Health.NO_COMMS),
    ],
)
def test_the_worst_word_wins(inverters: Any, incidents: Any, called: Health) -> None:
    assert health(inverters, incidents) is called


def test_every_cause_shows_and_every_health_has_its_place() -> None:
    assert set(SHOWS) == set(Cause)
    assert set(ORDER) == set(Health)


def days(**columns: list[Any]) -> pl.DataFrame:
    names = [name for of in COLUMNS.values() for name in of]
    count = len(next(iter(columns.values())))
    rows = {name: columns.get(name, [None] * count) for name in names}
    kinds: dict[str, Any] = dict.fromkeys(names, pl.Float64)
    return pl.DataFrame(rows, schema=kinds | {"n_peers": pl.Int64, "usable": pl.Boolean})


def test_a_month_is_compared_by_sums_of_what_is_known() -> None:
    found = comparison(
        days(
            energy_kwh=[10.0, 30.0, None, 5.0],
            energy_expected_kwh=[20.0, 20.0, 50.0, None],
            yr=[4.0, 6.0, 5.0, 1.0],
            yf=[2.0, 6.0, None, 1.0],
            ratio=[0.5, 1.5, None, 0.1],
            n_peers=[9, 12, 40, 3],
            usable=[True, True, True, False],
            producing_minutes=[300.0, 600.0, 0.0, 100.0],
            outage_minutes=[0.0, 100.0, None, 0.0],
        )
    )
    assert found.energy_kwh == 45
    assert found.expected_kwh == 40
    assert found.performance_index == 1.0
    assert found.performance_ratio == pytest.approx(9 / 11)
    # 40 kWh made where neighbours lead to expect 20 and 20.
    assert found.peer_ratio == pytest.approx(1.0)
    assert found.peers == 12
    assert found.availability == pytest.approx(1000 / 1100)


def test_nothing_known_is_nothing_said() -> None:
    found = comparison(days(energy_kwh=[None, None]))
    assert found.energy_kwh is None
    assert found.performance_index is None
    assert found.peer_ratio is None
    assert found.availability is None


def test_history_reads_one_site_of_some_months(tmp_path: Path) -> None:
    portal = PortalDirectory(tmp_path)
    first = date(2026, 5, 30)
    for month in (5, 6, 7):
        file = portal.month("site_day", date(2026, month, 1))
        file.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(
            {
                "site_id": ["a", "a", "b"],
                "date": [date(2026, month, 1), date(2026, month, 30), date(2026, month, 1)],
                "energy_kwh": [float(month), float(month) + 0.5, 99.0],
            }
        ).write_parquet(file)
    found = History(portal).days("a", first, date(2026, 6, 2))
    assert found["date"].to_list() == [first + timedelta(days=n) for n in range(4)]
    assert found["energy_kwh"].to_list() == [5.5, None, 6.0, None]
    assert found["ratio"].to_list() == [None] * 4


def test_a_damaged_table_says_so(tmp_path: Path) -> None:
    portal = PortalDirectory(tmp_path)
    file = portal.month("expected", date(2026, 6, 1))
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not parquet")
    with pytest.raises(HistoryError, match="expected"):
        History(portal).days("a", date(2026, 6, 1), date(2026, 6, 2))
