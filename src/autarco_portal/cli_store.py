"""Which store does a command mean, and how do its lists look?

What `cli_accounts` and `cli_sites` share.
"""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from typing import TYPE_CHECKING

from autarco_portal.cli_command import UsageError, data_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from autarco_portal.people import Person
    from autarco_portal.portal_paths import PortalDirectory
    from autarco_portal.store import Store


def add_database(command: argparse.ArgumentParser) -> None:
    """Adds the option that names the store."""
    command.add_argument(
        "--database", default="", metavar="URL", help="the store (default: DATA/portal/…)"
    )


def add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    """Adds what can be done by a command, such as `list`."""
    verb = verbs.add_parser(name, help=text, description=text)
    verb.set_defaults(run=run)
    # Before the verb it is the command's; without a default that one is not overwritten.
    verb.add_argument(
        "--data", metavar="DIR", default=argparse.SUPPRESS, help="data directory (default: ./data)"
    )
    add_database(verb)
    return verb


def nothing_to_do(parsed: argparse.Namespace) -> int:
    """A command that has verbs was given none; argparse says so before this is called."""
    raise UsageError(f"say what: autarco-portal {parsed.command} --help")


def portal_directory(parsed: argparse.Namespace) -> PortalDirectory:
    """Returns the names below `DATA/portal`, which is made if need be; raises UsageError."""
    from autarco_portal.portal_paths import PortalDirectory

    directory = PortalDirectory.of(data_directory(parsed))
    try:
        directory.root.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {directory.root}: {error.strerror}") from error
    return directory


def address(parsed: argparse.Namespace) -> str:
    """Returns the URL of the store, or the path of its file."""
    return parsed.database or str(portal_directory(parsed).database)


@contextmanager
def opened(parsed: argparse.Namespace) -> Iterator[Store]:
    """Opens the store; whatever is refused in it becomes a UsageError."""
    from autarco_portal.audit import AuditError
    from autarco_portal.people import PeopleError
    from autarco_portal.site import SiteError
    from autarco_portal.store import StoreError, open_store

    if not parsed.database and not (file := portal_directory(parsed).database).exists():
        raise UsageError(f"there is no store {file}: `autarco-portal migrate` makes it")
    try:
        with open_store(address(parsed)) as store:
            yield store
    except (StoreError, PeopleError, SiteError, AuditError) as error:
        raise UsageError(str(error)) from error


def somebody(store: Store, email: str) -> Person:
    """Returns who has an address; raises UsageError if nobody has."""
    person = store.people.by_email(email)
    if person is None:
        raise UsageError(f"nobody has the address {email}")
    return person


def show(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Prints a table: for people in columns, for programs with tabs."""
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not sys.stdout.isatty():
        for row in (titles, *rows):
            print("\t".join(row))
        return
    table = Table(*titles, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
