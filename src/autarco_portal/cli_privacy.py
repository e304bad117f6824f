"""`autarco-portal restrict | duties`: data that is kept but not used; what the calendar asks for.

Requests, erasures and registers have files of their own; `register` adds them all.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from autarco_portal import cli_erase, cli_registers, cli_requests
from autarco_portal.cli_command import DONE, FINDINGS
from autarco_portal.cli_officer import by, eraser, officer, ruled
from autarco_portal.cli_store import add_database, add_verb, nothing_to_do, show, somebody

if TYPE_CHECKING:
    import argparse

    from autarco_portal.cli_command import Add

_GROUNDS = ("accuracy", "unlawful", "claim", "objection")
"""Of `suspension`, spelt again so that `--help` need not import it; a test compares them."""


def register(add: Add) -> None:
    """Adds the commands."""
    cli_requests.register(add)
    cli_erase.register(add)
    restrict = add("restrict", nothing_to_do, "Keep data but do not use it.")
    verbs = restrict.add_subparsers(dest="verb", metavar="VERB", required=True)
    begin = add_verb(verbs, "begin", _restrict, "Restrict a person, or a site by its key.")
    begin.add_argument("subject", metavar="EMAIL|SITE")
    begin.add_argument("--ground", choices=_GROUNDS, required=True)
    by(begin)
    announce = add_verb(verbs, "announce", _announce, "Announce that a restriction ends.")
    announce.add_argument("restriction", metavar="ID")
    by(announce)
    add_verb(verbs, "list", _list_restrictions, "List restrictions in force.")

    add_database(add("duties", _duties, "Do what the calendar asks for; run it once a day."))
    cli_registers.register(add)


def _restrict(parsed: argparse.Namespace) -> int:
    import secrets

    from autarco_portal.audit import AuditEntry
    from autarco_portal.privacy import suspension
    from autarco_portal.privacy_guarantees import follow

    now = datetime.now(UTC)
    with ruled(parsed) as (store, settings):
        is_site = store.sites.record(parsed.subject) is not None
        subject = parsed.subject if is_site else somebody(store, parsed.subject).person_id
        who = officer(store, parsed)
        restriction = suspension.begin(
            restriction_id=secrets.token_hex(6), subject=subject, ground=parsed.ground, at=now,
            by=who,
        )  # fmt: skip
        entry = AuditEntry(
            at=now, actor=who, action="restrict",
            thing=f"restriction:{restriction.restriction_id}", subject=subject,
        )  # fmt: skip
        store.privacy.restrict(restriction, entry)
        done = follow(store, settings.suspension, now)
    print(restriction.restriction_id)
    print(f"guarantees suspended: {done.suspended}")
    return DONE


def _announce(parsed: argparse.Namespace) -> int:
    from autarco_portal.audit import AuditEntry
    from autarco_portal.privacy import letter, suspension

    now = datetime.now(UTC)
    with ruled(parsed) as (store, settings):
        entry = AuditEntry(
            at=now, actor=officer(store, parsed), action="announce_lifting",
            thing=f"restriction:{parsed.restriction}",
        )  # fmt: skip
        changed = store.privacy.change_restriction(
            parsed.restriction,
            partial(suspension.announce_lifting, at=now, rules=settings.suspension),
            now,
            entry,
        )
        lifts_at = changed.lifts_at or now
        record = store.sites.record(changed.subject)
        owners = [one.person_id for one in record.owners] if record else [changed.subject]
        for owner in owners:
            person = store.people.get(owner)
            if person is not None:
                told = letter.restriction_ends(lifts_at, person.language)
                store.mails.queue(told, now=now, person_id=owner, language=person.language)
    print(f"it ends on {lifts_at:%Y-%m-%d %H:%M} UTC")
    return DONE


def _list_restrictions(parsed: argparse.Namespace) -> int:
    with ruled(parsed) as (store, _):
        found = store.privacy.restrictions.all(lifted_at=None)
    show(
        ("restriction", "subject", "ground", "since"),
        ((o.restriction_id, o.subject, o.ground, f"{o.begun_at:%Y-%m-%d}") for o in found),
    )
    return DONE


def _duties(parsed: argparse.Namespace) -> int:
    import msgspec

    from autarco_portal import privacy_duties

    with ruled(parsed) as (store, settings):
        report = privacy_duties.run(
            store, eraser(parsed, store, settings), settings, datetime.now(UTC)
        )
    print(msgspec.json.format(msgspec.json.encode(report)).decode())
    return FINDINGS if report.failures else DONE
