"""`autarco-portal audit`: who looked at whose data, and is the log as it was written?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autarco_portal.cli_command import DONE, FINDINGS, UsageError
from autarco_portal.cli_store import add_verb, nothing_to_do, opened

if TYPE_CHECKING:
    import argparse

    from autarco_portal.audit import Seal, SealedEntry
    from autarco_portal.audit_page import Standing
    from autarco_portal.cli_command import Add
    from autarco_portal.people import Person
    from autarco_portal.store import Store

ENTRIES_MAX = 1_000
"""The newest; a page has no use for more, a bundle has all."""


def register(add: Add) -> None:
    """Adds the commands."""
    command = add(
        "audit", nothing_to_do, "Say who looked at whose data, and whether the log is whole."
    )
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    show = add_verb(verbs, "show", _show, "Show who did what about a site or a person.")
    show.add_argument("whose", metavar="SITE|EMAIL")
    show.add_argument("--language", choices=("nl", "en"), default="en")
    show.add_argument("--format", choices=("text", "json"), default="text")
    verify = add_verb(
        verbs, "verify", _verify, "Verify the chain of entries; exit code 1 if it was changed."
    )
    verify.add_argument(
        "--seal", metavar="N:HASH", help="what this command said before: the log must still have it"
    )


def _show(parsed: argparse.Namespace) -> int:
    import msgspec

    from autarco_portal import audit_page

    with opened(parsed) as store:
        person, sites = _whose(parsed.whose, store)
        entries: list[SealedEntry] = []
        if person is not None:
            entries += store.audit.of(subject=person.person_id, limit=ENTRIES_MAX)
        for key in sites:
            entries += store.audit.of(thing=f"site:{key}", limit=ENTRIES_MAX)
        lines = audit_page.lines(
            entries,
            person_id=person.person_id if person else "",
            standings=_standings({sealed.entry.actor for sealed in entries}, store),
            site_names=sites,
            language=parsed.language,
        )
    for line in lines:
        if parsed.format == "json":
            print(msgspec.json.encode(line).decode())
        else:
            print(f"{line.at:%Y-%m-%d %H:%M} UTC  {line.sentence}")
    return DONE


def _whose(text: str, store: Store) -> tuple[Person | None, dict[str, str]]:
    """Returns a person with the names of his sites, or one site; raises UsageError."""
    person = store.people.by_email(text)
    if person is not None:
        mine = {
            record.public_key: record.name
            for record in store.sites.records()
            if any(
                owner.person_id == person.person_id and owner.until is None
                for owner in record.owners
            )
        }
        return person, mine
    record = store.sites.record(text)
    if record is None:
        raise UsageError("there is no such site and nobody with that e-mail address")
    return None, {record.public_key: record.name}


def _standings(actors: set[str], store: Store) -> dict[str, Standing]:
    from datetime import UTC, datetime

    from autarco_portal.audit_page import Standing

    now = datetime.now(UTC)
    names = {one.organisation_id: one.name for one in store.organisations.all()}
    found = {}
    for person_id in actors:
        actor = store.people.actor(person_id, now)
        if actor is not None:
            found[person_id] = Standing(
                organisations=tuple(sorted(names[one] for one in actor.roles)),
                portal_roles=tuple(sorted(actor.portal_roles)),
            )
    return found


def _verify(parsed: argparse.Namespace) -> int:
    known = None if parsed.seal is None else _seal(parsed.seal)
    with opened(parsed) as store:
        faults = store.audit.verify(known)
        head = store.audit.head()
    for fault in faults:
        print(fault)
    if faults:
        return FINDINGS
    print(f"the log is whole; its seal is {head.sequence}:{head.hash}")
    return DONE


def _seal(text: str) -> Seal:
    from autarco_portal.audit import Seal

    number, _, digest = text.partition(":")
    is_hash = len(digest) == 64 and not set(digest) - set("0123456789abcdef")
    if not (number.isascii() and number.isdigit() and is_hash):
        raise UsageError(f"{text!r} is no seal as `audit verify` prints them")
    return Seal(sequence=int(number), hash=digest)
