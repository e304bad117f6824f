"""`autarco-portal site import | list`: sites from a file, and which there are."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from autarco_portal.cli_command import DONE, UsageError
from autarco_portal.cli_store import add_verb, nothing_to_do, opened, show, somebody

if TYPE_CHECKING:
    import argparse

    from autarco_portal.cli_command import Add
    from autarco_portal.people import SiteRole
    from autarco_portal.site_record import NewSite

FILE_BYTES_MAX = 256 * 1024 * 1024
"""A site with its shading takes 10 kB; larger files are no list of sites."""


def register(add: Add) -> None:
    """Adds the command."""
    site = add("site", nothing_to_do, "Bring sites in from a file, and list them.")
    verbs = site.add_subparsers(dest="verb", metavar="VERB", required=True)
    bring = add_verb(verbs, "import", _import, "Add the sites of a JSON file, all or none.")
    bring.add_argument("file", type=Path, metavar="FILE", help="one site, or a list of them")
    bring.add_argument(
        "--owner", action="append", default=[], metavar="EMAIL", help="owns all of them"
    )
    bring.add_argument(
        "--partner",
        action="append",
        default=[],
        metavar="ID:KIND",
        help="does that for all of them, as xyz:installer; `organisation list` has the IDs",
    )
    listing = add_verb(verbs, "list", _list, "List sites.")
    listing.add_argument("text", nargs="?", default="", metavar="TEXT", help="only with this")


def _import(parsed: argparse.Namespace) -> int:
    import msgspec

    from autarco_portal.audit import AuditEntry
    from autarco_portal.people import SiteOwner

    news = _read(parsed.file)
    now = datetime.now(UTC)
    roles = tuple(_role(text, now) for text in parsed.partner)
    with opened(parsed) as store:
        owners = tuple(
            SiteOwner(person_id=somebody(store, email).person_id, from_at=now)
            for email in parsed.owner
        )
        records = store.sites.add_all(
            [
                msgspec.structs.replace(
                    one, owners=(*one.owners, *owners), roles=(*one.roles, *roles)
                )
                for one in news
            ],
            now,
        )
        store.audit.append(
            *(
                AuditEntry(
                    at=now, actor="system:cli", action="create_site", thing=f"site:{one.public_key}"
                )
                for one in records
            )
        )
    show(
        ("number", "key", "name"),
        ((str(one.number), one.public_key, one.name) for one in records),
    )
    return DONE


def _list(parsed: argparse.Namespace) -> int:
    with opened(parsed) as store:
        records = store.sites.find(parsed.text, limit=None)
    show(
        ("number", "key", "name", "city", "inverters", "state"),
        (
            (
                str(one.number),
                one.public_key,
                one.name,
                one.address.city,
                ", ".join(
                    inverter.serial_number
                    for inverter in one.inverters
                    if inverter.uninstalled_at is None
                ),
                "restricted"
                if one.restricted_at is not None
                else "complete"
                if one.is_complete
                else "being set up",
            )
            for one in records
        ),
    )
    return DONE


def _read(path: Path) -> list[NewSite]:
    import msgspec

    from autarco_portal.site_record import NewSite

    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise UsageError(f"{path} has more than {FILE_BYTES_MAX} bytes")
        found = msgspec.json.decode(path.read_bytes(), type=list[NewSite] | NewSite)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    news = found if isinstance(found, list) else [found]
    if not news:
        raise UsageError(f"{path}: there are no sites in it")
    return news


def _role(text: str, now: datetime) -> SiteRole:
    from autarco_portal.people import OrganisationKind, SiteRole

    identifier, _, kind = text.partition(":")
    if kind not in set(OrganisationKind):
        kinds = ", ".join(OrganisationKind)
        raise UsageError(f"--partner is ID:KIND with a kind of {kinds}, not {text!r}")
    return SiteRole(organisation_id=identifier, kind=OrganisationKind(kind), from_at=now)
