"""`autarco-portal demo`: which planted faults does the analysis find, and when?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from autarco_portal.cli_command import DONE, FINDINGS, UsageError, console

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from autarco_portal.cli_command import Add
    from autarco_portal.demo import Planted

ROOFS_MIN, ROOFS_MAX, DAYS_MIN, DAYS_MAX = 9, 200, 3, 60


def register(add: Add) -> None:
    """Adds the command."""
    demo = add(
        "demo",
        _demo,
        "Let a made town with planted faults live some days, and say which were found.",
    )
    demo.set_defaults(data="demo-portal-data")
    demo.add_argument("--sticks", type=_count(ROOFS_MIN, ROOFS_MAX), default=12, metavar="N")
    demo.add_argument("--days", type=_count(DAYS_MIN, DAYS_MAX), default=7, metavar="D")


def _demo(parsed: argparse.Namespace) -> int:
    from autarco_portal import cli_analyse, demo
    from autarco_portal.derived_store import DerivedError
    from autarco_portal.lake_reader import CatalogError

    data = Path(parsed.data)
    try:
        planted, reports = demo.run(data, sticks=parsed.sticks, days=parsed.days)
    except (demo.DemoError, CatalogError, DerivedError) as error:
        raise UsageError(str(error)) from error
    print()
    cli_analyse.show_days(reports)
    print()
    _show(planted)
    right = sum(one.is_right for one in planted)
    print(f"\n{right} of {len(planted)} roofs were judged right")
    print(f'look further:\n  autarco-ingest sql --data {data} "FROM analytics.alarms"')
    return DONE if right == len(planted) else FINDINGS


def _show(planted: Sequence[Planted]) -> None:
    from rich.table import Table

    table = Table("inverter", "planted", "since", "found", "day", box=None, pad_edge=False)
    table.add_column("kWh lost", justify="right")
    table.add_column("")
    for one in planted:
        table.add_row(
            one.inverter_sn,
            "" if one.fault == "none" else one.fault,
            "" if one.since is None else f"{one.since:%d %b %H:%M}",
            ", ".join(str(cause) for cause, _ in one.found) or "nothing",
            "" if one.days is None else str(one.days),
            f"{one.lost_kwh:.1f}" if one.lost_kwh else "",
            "" if one.is_right else "<- wrong",
        )
    console().print(table)


def _count(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, {low} to {high}")
        return int(text)

    return parse
