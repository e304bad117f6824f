"""`autarco-portal erase`: preview, confirmation, execution and repetition of erasures."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from autarco_portal.cli_command import DONE, UsageError
from autarco_portal.cli_officer import by, eraser, officer, ruled
from autarco_portal.cli_store import add_verb, nothing_to_do, somebody

if TYPE_CHECKING:
    import argparse

    from autarco_portal.cli_command import Add
    from autarco_portal.privacy.erasure import Case, Impact
    from autarco_portal.store import Store


def register(add: Add) -> None:
    """Adds the command."""
    erase = add("erase", nothing_to_do, "Preview, confirm and carry out erasures.")
    verbs = erase.add_subparsers(dest="verb", metavar="VERB", required=True)
    preview = add_verb(verbs, "preview", _preview, "Say what erasing somebody would do.")
    preview.add_argument("person", metavar="EMAIL")
    opening = add_verb(verbs, "open", _open_case, "Make the preview that the person confirms.")
    opening.add_argument("request", metavar="REQUEST")
    by(opening)
    for name, run, text in (
        ("confirm", _confirm, "Enter the person's written yes to the preview."),
        ("call-off", _call_off, "Enter that the person no longer wants it."),
        ("execute", _execute, "Carry it out now that the cooling-off is over."),
    ):
        verb = add_verb(verbs, name, run, text)
        verb.add_argument("case", metavar="CASE")
        if name == "confirm":
            verb.add_argument("--sha256", required=True, help="of the preview, as he was told it")
        by(verb)
    by(add_verb(verbs, "reapply", _reapply, "After a restore: erase again whom it brought back."))


def _preview(parsed: argparse.Namespace) -> int:
    with ruled(parsed) as (store, settings):
        person = somebody(store, parsed.person).person_id
        _print_impact(eraser(parsed, store, settings).preview(person, datetime.now(UTC)))
    return DONE


def _open_case(parsed: argparse.Namespace) -> int:
    from autarco_portal.audit import AuditEntry
    from autarco_portal.privacy.erasure import Case

    now = datetime.now(UTC)
    with ruled(parsed) as (store, settings):
        asked = store.privacy.requests.get(parsed.request)
        if asked is None:
            raise UsageError("there is no such request")
        if asked.person is None or not asked.is_verified or asked.right != "erasure":
            raise UsageError("that is no request for erasure of somebody who proved who he is")
        case = Case(
            case_id=f"e-{asked.request_id}", request_id=asked.request_id, previewed_at=now,
            impact=eraser(parsed, store, settings).preview(asked.person, now),
            cooling_off_days=settings.cooling_off_days,
        )  # fmt: skip
        entry = AuditEntry(
            at=now, actor=officer(store, parsed), action="preview_erasure",
            thing=f"erasure:{case.case_id}", subject=asked.person,
        )  # fmt: skip
        store.privacy.cases.add(case, entry)
    print(case.case_id)
    _print_impact(case.impact)
    return DONE


def _confirm(parsed: argparse.Namespace) -> int:
    from autarco_portal.audit import AuditEntry
    from autarco_portal.privacy import erasure, letter

    now = datetime.now(UTC)
    with ruled(parsed) as (store, _):
        person = _case(store, parsed.case).impact.person
        entry = AuditEntry(
            at=now, actor=officer(store, parsed), action="confirm_erasure",
            thing=f"erasure:{parsed.case}", subject=person, why="in_writing",
        )  # fmt: skip
        case = store.privacy.cases.change(
            parsed.case,
            partial(erasure.confirm, at=now, by=person, impact_sha256=parsed.sha256),
            entry,
        )
        found, effective_at = store.people.get(person), case.effective_at
        if found is not None and effective_at is not None:
            told = letter.confirm_erasure(case.impact, effective_at, found.language)
            store.mails.queue(told, now=now, person_id=person, language=found.language)
    print(f"to be carried out from {case.effective_at:%Y-%m-%d %H:%M} UTC on")
    return DONE


def _call_off(parsed: argparse.Namespace) -> int:
    from autarco_portal.audit import AuditEntry
    from autarco_portal.privacy import erasure

    now = datetime.now(UTC)
    with ruled(parsed) as (store, _):
        person = _case(store, parsed.case).impact.person
        entry = AuditEntry(
            at=now, actor=officer(store, parsed), action="call_off_erasure",
            thing=f"erasure:{parsed.case}", subject=person,
        )  # fmt: skip
        store.privacy.cases.change(parsed.case, partial(erasure.call_off, at=now, by=person), entry)
    return DONE


def _execute(parsed: argparse.Namespace) -> int:
    import msgspec

    with ruled(parsed) as (store, settings):
        proof = eraser(parsed, store, settings).execute(
            parsed.case, datetime.now(UTC), by=officer(store, parsed)
        )
    print(msgspec.json.format(msgspec.json.encode(proof)).decode())
    return DONE


def _reapply(parsed: argparse.Namespace) -> int:
    with ruled(parsed) as (store, settings):
        proofs = eraser(parsed, store, settings).reapply(
            datetime.now(UTC), by=officer(store, parsed)
        )
    print(f"{len(proofs)} people erased again")
    return DONE


def _case(store: Store, case_id: str) -> Case:
    found = store.privacy.cases.get(case_id)
    if found is None:
        raise UsageError("there is no such erasure")
    return found


def _print_impact(impact: Impact) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(impact)).decode())
    print(f"sha256 {impact.sha256()}")
