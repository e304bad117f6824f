"""`autarco-portal notify`: who hears of which alarms now?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from autarco_portal.cli_command import DONE, FINDINGS, UsageError
from autarco_portal.cli_officer import ruled
from autarco_portal.cli_store import add_database, portal_directory, show

if TYPE_CHECKING:
    import argparse

    from autarco_portal.cli_command import Add
    from autarco_portal.notify import Plan


def register(add: Add) -> None:
    """Adds the command."""
    command = add(
        "notify",
        _notify,
        "Mail whoever must hear of an alarm now; run it after analyse. Exit code 1: look at it.",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="say who would be told what; tell nobody"
    )
    add_database(command)


def _notify(parsed: argparse.Namespace) -> int:
    import msgspec

    from autarco_portal import notify

    now = datetime.now(UTC)
    with ruled(parsed) as (store, settings):
        if parsed.dry_run:
            _show(notify.plan(store, now))
            return DONE
        if settings.mail is None:
            raise UsageError("privacy.toml names no mail server, so nobody can be told")
        try:
            report = notify.run(
                store, portal_directory(parsed), settings.mail, url=settings.url, now=now
            )
        except OSError as error:
            raise UsageError(f"cannot use {error.filename}: {error.strerror}") from error
    print(msgspec.json.format(msgspec.json.encode(report)).decode())
    return FINDINGS if report.failures or report.of_nobody else DONE


def _show(plan: Plan) -> None:
    show(
        ("to", "as", "step", "why", "site", "alarm", "since"),
        (
            (
                message.name, item.due.party, item.due.step, item.due.why, item.site_id,
                item.cause, f"{item.opened_at:%Y-%m-%d %H:%M}",
            )
            for message in plan.messages
            for item in message.items
        ),
    )  # fmt: skip
    for key in plan.of_nobody:
        print(f"of site {key} there is nobody to tell")
