"""`autarco-portal demo`: which planted faults are found, and how does the portal show them?"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from autarco_portal.cli_command import DONE, FINDINGS, UsageError, console

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from autarco_portal.cli_command import Add
    from autarco_portal.demo import Planted
    from autarco_portal.demo_people import DemoAccount

ROOFS_MIN, ROOFS_MAX, DAYS_MIN, DAYS_MAX = 9, 200, 3, 60


def register(add: Add) -> None:
    """Adds the command."""
    demo = add(
        "demo",
        _demo,
        "Let a made town with planted faults live some days, say which were found, and show it.",
    )
    demo.set_defaults(data="demo-portal-data")
    demo.add_argument("--sticks", type=_count(ROOFS_MIN, ROOFS_MAX), default=12, metavar="N")
    demo.add_argument("--days", type=_count(DAYS_MIN, DAYS_MAX), default=7, metavar="D")


def _demo(parsed: argparse.Namespace) -> int:
    from autarco_portal import cli_analyse, demo
    from autarco_portal.derived_store import DerivedError
    from autarco_portal.lake_reader import CatalogError
    from autarco_portal.store import StoreError

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
    print(f'look further:\n  autarco-ingest sql --data {data} "FROM analytics.alarms"\n')
    try:
        _show_portal(data)
    except (demo.DemoError, StoreError) as error:
        raise UsageError(str(error)) from error
    return DONE if right == len(planted) else FINDINGS


def _show_portal(data: Path) -> None:
    """Serves until Ctrl-C where a person looks; else looks itself, and ends."""
    from autarco_portal import demo

    with demo.shown(data) as (address, accounts):
        by_role = {one.role: one for one in accounts}
        count = demo.answers(address, by_role["owner"])
        print(f"the portal is at {address}, with {count} sites of the owner; who can sign in:")
        _show_accounts(accounts)
        print(f"who would hear of the alarms:\n  autarco-portal notify --dry-run --data {data}")
        if not sys.stdin.isatty():
            return
        print("the town lived in June 2025: choose a day there; Enter: codes of now, Ctrl-C: end")
        try:
            while sys.stdin.readline():
                for one in accounts:
                    if one.totp is not None:
                        print(f"  {one.email}: {one.code(datetime.now(UTC))}")
        except KeyboardInterrupt:
            print()


def _show_accounts(accounts: Sequence[DemoAccount]) -> None:
    from rich.table import Table

    table = Table("role", "e-mail", "password", "code now", "secret for an authenticator", box=None)
    now = datetime.now(UTC)
    for one in accounts:
        secret = "" if one.totp is None else one.totp.reveal()
        table.add_row(one.role, one.email, one.password.reveal(), one.code(now), secret)
    console().print(table)


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
