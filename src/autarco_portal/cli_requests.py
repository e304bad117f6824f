"""`autarco-portal request`: data-subject requests that came by mail, letter or phone."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from autarco_portal.cli_command import DONE, FINDINGS, UsageError
from autarco_portal.cli_officer import by, moment, officer, ruled
from autarco_portal.cli_store import add_verb, nothing_to_do, show, somebody

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from autarco_portal.cli_command import Add
    from autarco_portal.privacy_desk import Desk
    from autarco_portal.store import Store

_RIGHTS = (
    "access", "rectification", "erasure", "restriction", "portability", "objection",
    "human_decision",
)  # fmt: skip
"""Of `privacy.request`, spelt again so that `--help` need not import it; a test compares them."""


def register(add: Add) -> None:
    """Adds the command."""
    request = add("request", nothing_to_do, "Enter and answer data-subject requests.")
    verbs = request.add_subparsers(dest="verb", metavar="VERB", required=True)
    new = add_verb(verbs, "add", _add_request, "Enter a request that came by mail or otherwise.")
    new.add_argument("right", choices=_RIGHTS)
    new.add_argument("contact", metavar="CONTACT", help="where the answer goes")
    new.add_argument("--channel", choices=("mail", "letter", "phone"), default="mail")
    new.add_argument("--received", type=moment, metavar="TIME", help="default: now")
    new.add_argument("--language", choices=("nl", "en"), default="nl")
    by(new)
    add_verb(verbs, "list", _list_requests, "List open requests by deadline.").add_argument(
        "--all", action="store_true", help="those that ended too"
    )
    one = add_verb(verbs, "show", _show_request, "Show a request with its steps.")
    one.add_argument("request", metavar="ID")
    proof = _step(verbs, "ask-proof", _ask_proof, "Ask who it is; the clock stands still.")
    proof.add_argument("--reason", required=True)
    verify = _step(verbs, "verify", _verify, "Note how it was made sure who asks.")
    verify.add_argument("--person", required=True, metavar="EMAIL")
    verify.add_argument("--method", choices=("known_fact", "masked_copy"), required=True)
    extend = _step(verbs, "extend", _extend, "Take two months more, with a reason.")
    extend.add_argument("--reason", required=True)
    decide = _step(verbs, "decide", _decide, "Grant or refuse.")
    decide.add_argument("outcome", choices=("granted", "partly", "refused"))
    decide.add_argument("--reason", default="")
    close = _step(verbs, "close", _close, "Write the closing letter.")
    close.add_argument("--evidence", metavar="SHA256", help="of what proves that it was done")


def _step(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    verb = add_verb(verbs, name, run, text)
    verb.add_argument("request", metavar="ID")
    by(verb)
    return verb


@contextmanager
def _desk(parsed: argparse.Namespace) -> Iterator[tuple[Store, Desk]]:
    from autarco_portal.privacy_desk import Desk

    with ruled(parsed) as (store, settings):
        yield store, Desk(store, settings)


def _add_request(parsed: argparse.Namespace) -> int:
    from autarco_portal.privacy.request import Channel, Right

    now = datetime.now(UTC)
    with _desk(parsed) as (store, desk):
        asked = desk.receive_by_staff(
            Right(parsed.right), Channel(parsed.channel), parsed.contact,
            received_at=parsed.received or now, now=now, by=officer(store, parsed),
            language=parsed.language,
        )  # fmt: skip
    print(asked.request_id)
    return DONE


def _list_requests(parsed: argparse.Namespace) -> int:
    from autarco_portal.privacy.deadline import last_day

    now = datetime.now(UTC)
    with ruled(parsed) as (store, _):
        found = store.privacy.requests.all(**({} if parsed.all else {"is_open": True}))
    found.sort(key=lambda asked: asked.deadline_at(now))
    show(
        ("request", "right", "state", "received", "answer by"),
        (
            (
                asked.request_id, asked.right, asked.state, f"{asked.received_at:%Y-%m-%d}",
                last_day(asked.deadline_at(now)).isoformat(),
            )
            for asked in found
        ),
    )  # fmt: skip
    # A deadline that was missed is a finding, for whoever runs this in a script.
    return FINDINGS if any(one.is_open and one.deadline_at(now) < now for one in found) else DONE


def _show_request(parsed: argparse.Namespace) -> int:
    import msgspec

    with ruled(parsed) as (store, _):
        asked = store.privacy.requests.get(parsed.request)
    if asked is None:
        raise UsageError("there is no such request")
    print(msgspec.json.format(msgspec.json.encode(asked)).decode())
    return DONE


def _ask_proof(parsed: argparse.Namespace) -> int:
    with _desk(parsed) as (store, desk):
        desk.ask_proof(
            parsed.request, now=datetime.now(UTC), by=officer(store, parsed), reason=parsed.reason
        )
    return DONE


def _verify(parsed: argparse.Namespace) -> int:
    from autarco_portal.privacy.request import Method

    with _desk(parsed) as (store, desk):
        desk.verify(
            parsed.request, now=datetime.now(UTC), by=officer(store, parsed),
            method=Method(parsed.method), person_id=somebody(store, parsed.person).person_id,
        )  # fmt: skip
    return DONE


def _extend(parsed: argparse.Namespace) -> int:
    with _desk(parsed) as (store, desk):
        desk.extend(
            parsed.request, now=datetime.now(UTC), by=officer(store, parsed), reason=parsed.reason
        )
    return DONE


def _decide(parsed: argparse.Namespace) -> int:
    from autarco_portal.privacy.request import Outcome

    with _desk(parsed) as (store, desk):
        desk.decide(
            parsed.request, now=datetime.now(UTC), by=officer(store, parsed),
            outcome=Outcome(parsed.outcome), reason=parsed.reason,
        )  # fmt: skip
    return DONE


def _close(parsed: argparse.Namespace) -> int:
    with _desk(parsed) as (store, desk):
        answer = desk.close(
            parsed.request, now=datetime.now(UTC), by=officer(store, parsed),
            evidence_sha256=parsed.evidence,
        )  # fmt: skip
    print(f"{answer.subject}\n\n{answer.text}", end="")
    return DONE
