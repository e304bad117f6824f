"""`autarco-portal audit`: who looked at whose data, and is the log as it was written?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from autarco_portal.cli_command import DONE, FINDINGS, UsageError
from autarco_portal.cli_store import add_verb, nothing_to_do, opened

if TYPE_CHECKING:
    import argparse

    from autarco_portal.audit import Seal
    from autarco_portal.cli_command import Add

WHO = "system:cli"
"""An operator of the machine; who he is, the machine's own log knows."""


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

    from autarco_portal import audit_reading
    from autarco_portal.audit import AuditEntry

    now = datetime.now(UTC)
    with opened(parsed) as store:
        person = store.people.by_email(parsed.whose)
        if person is not None:
            lines = audit_reading.of_person(store, person.person_id, now, parsed.language)
            thing = f"person:{person.person_id}"
        else:
            record = store.sites.record(parsed.whose)
            if record is None:
                raise UsageError("there is no such site and nobody with that e-mail address")
            lines = audit_reading.of_site(store, record, now, parsed.language)
            thing = f"site:{record.public_key}"
        store.audit.append(
            AuditEntry(
                at=now,
                actor=WHO,
                action="view_audit",
                thing=thing,
                subject=person.person_id if person is not None else None,
            )
        )
    for line in lines:
        if parsed.format == "json":
            print(msgspec.json.encode(line).decode())
        else:
            print(f"{line.at:%Y-%m-%d %H:%M} UTC  {line.sentence}")
    return DONE


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
