"""Who is at the command line, and what may he ask of the store? Shared by the commands of rights.

Steps that the law wants a person for name him: `--by` is the e-mail address of a privacy officer.
"""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from autarco_portal.cli_command import UsageError, data_directory
from autarco_portal.cli_store import opened, portal_directory, somebody

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autarco_portal.privacy_erasure import Eraser
    from autarco_portal.privacy_settings import PrivacySettings
    from autarco_portal.store import Store


def by(command: argparse.ArgumentParser) -> None:
    """Adds the option that names who does it."""
    command.add_argument("--by", required=True, metavar="EMAIL", help="a privacy officer")


def officer(store: Store, parsed: argparse.Namespace) -> str:
    """Returns the identifier of who does it; raises UsageError unless he is privacy officer."""
    from autarco_portal.people import PortalRole

    person = somebody(store, parsed.by)
    access = store.people.access(person.person_id, datetime.now(UTC))
    if access is None or PortalRole.PRIVACY_OFFICER not in access.portal_roles:
        raise UsageError(f"{parsed.by} is no privacy officer")
    return person.person_id


def moment(text: str) -> datetime:
    """Reads a moment with a zone as an argument."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time as 2026-06-21T12:00Z") from None
    if found.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} does not say its zone, as 2026-06-21T12:00Z")
    return found


@contextmanager
def ruled(parsed: argparse.Namespace) -> Iterator[tuple[Store, PrivacySettings]]:
    """Opens store and settings; whatever a rule refuses becomes a UsageError."""
    from autarco_portal.privacy.error import PrivacyError
    from autarco_portal.privacy_settings import load
    from autarco_portal.telemetry_erasure import TelemetryError

    try:
        settings = load(portal_directory(parsed).root / "privacy.toml")
        with opened(parsed) as store:
            yield store, settings
    except (PrivacyError, TelemetryError) as error:
        raise UsageError(str(error)) from error


def eraser(parsed: argparse.Namespace, store: Store, settings: PrivacySettings) -> Eraser:
    """Returns what carries erasures out in this data directory."""
    from autarco_portal.privacy_erasure import Eraser
    from autarco_portal.telemetry_erasure import IngestForget

    data = data_directory(parsed)
    return Eraser(store, data, IngestForget(data.root), insurer=settings.insurer or None)
