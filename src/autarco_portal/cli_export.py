"""`autarco-portal export` and `import-bundle`: somebody's data, and data for research."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from autarco_portal.cli_command import DONE, UsageError, data_directory, day
from autarco_portal.cli_store import (
    add_database,
    add_verb,
    nothing_to_do,
    opened,
    portal_directory,
    somebody,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from datetime import date

    from autarco_ingest.progress import Meter
    from autarco_portal.cli_command import Add
    from autarco_portal.research import Refusal
    from autarco_portal.research_export import Areas, Plan, Released
    from autarco_portal.research_release import Product, Report
    from autarco_portal.store import Store

ID_BYTES = 8
"""Of a random id: 16 hexadecimal digits, longer than any key of ours."""


def register(add: Add) -> None:
    """Adds the commands."""
    command = add("export", nothing_to_do, "Hand out somebody's data, or data for research.")
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    person = add_verb(verbs, "person", _person, "Write everything about a person into a zip.")
    person.add_argument("email", metavar="EMAIL")
    person.add_argument("--out", type=Path, required=True, metavar="FILE.zip")
    person.add_argument(
        "--portable",
        action="store_true",
        help="only what the person provided and what was observed, to take elsewhere",
    )
    person.add_argument(
        "--generated-at", type=_moment, metavar="ISO", help="to compare with another bundle"
    )
    aggregates = add_verb(
        verbs, "research-aggregates", _aggregates, "Write open totals of at least ten systems."
    )
    aggregates.add_argument("--areas", choices=("10km", "pc4"), default="10km")
    sites = add_verb(
        verbs, "research-sites", _sites, "Write coarse curves per site, for a named recipient."
    )
    sites.add_argument("--recipient", required=True, metavar="NAME", help="as in the contract")
    for release in (aggregates, sites):
        release.add_argument("--from", dest="from_on", type=day, required=True, metavar="DAY")
        release.add_argument(
            "--to", dest="to_before", type=day, required=True, metavar="DAY", help="not included"
        )
        release.add_argument("--out", type=Path, required=True, metavar="DIR")

    bring = add("import-bundle", _import, "Take a person in from the zip of another instance.")
    bring.add_argument("file", type=Path, metavar="FILE.zip")
    add_database(bring)


# --- a person -------------------------------------------------------------------------------


def _person(parsed: argparse.Namespace) -> int:
    from autarco_ingest.progress import Meter
    from autarco_portal import bundle_export
    from autarco_portal.audit import AuditEntry
    from autarco_portal.bundle import BundleError
    from autarco_portal.lake_reader import CatalogError, LakeReader

    now = datetime.now(UTC)
    with opened(parsed) as store:
        person_id = somebody(store, parsed.email).person_id
        records = store.person_data.collect(person_id, now, is_portable=parsed.portable)
        try:
            with Meter("telemetry", 100) as meter:
                manifest = bundle_export.export(
                    records,
                    LakeReader(data_directory(parsed)),
                    portal_directory(parsed),
                    parsed.out,
                    profile="portability" if parsed.portable else "access",
                    now=now,
                    generated_at=parsed.generated_at,
                    progress=_shown(meter),
                )
        except (BundleError, CatalogError) as error:
            raise UsageError(str(error)) from error
        store.audit.append(
            AuditEntry(
                at=now,
                actor="system:cli",
                action="export_person",
                thing=f"person:{person_id}",
                subject=person_id,
                detail={"profile": manifest.profile},
            )
        )
    rows = sum(found.rows or 0 for name, found in manifest.members.items() if _is_telemetry(name))
    size = parsed.out.stat().st_size
    print(f"{parsed.out}: {len(manifest.members)} files, {rows} rows of telemetry, {size} bytes")
    return DONE


def _is_telemetry(name: str) -> bool:
    return name.startswith("telemetry/") and name.endswith(".parquet")


def _import(parsed: argparse.Namespace) -> int:
    import sys

    from autarco_portal import bundle_import
    from autarco_portal.audit import AuditEntry
    from autarco_portal.bundle import BundleError

    now = datetime.now(UTC)
    with opened(parsed) as store:
        try:
            manifest = bundle_import.take_in(
                parsed.file,
                store,
                data_directory(parsed).root,
                portal_directory(parsed),
                now,
                lambda step: print(step, file=sys.stderr),
            )
        except BundleError as error:
            raise UsageError(str(error)) from error
        store.audit.append(
            AuditEntry(
                at=now,
                actor="system:cli",
                action="import_person",
                thing=f"person:{manifest.person_id}",
                subject=manifest.person_id,
            )
        )
    print(f"{parsed.file}: {len(manifest.members)} files taken in")
    print("he has no password here: invite him")
    return DONE


# --- research -------------------------------------------------------------------------------


def _aggregates(parsed: argparse.Namespace) -> int:
    return _release(parsed, "aggregates", parsed.areas, "")


def _sites(parsed: argparse.Namespace) -> int:
    return _release(parsed, "sites", "10km", parsed.recipient)


def _release(parsed: argparse.Namespace, product: Product, areas: Areas, recipient: str) -> int:
    import secrets

    from autarco_ingest.progress import Meter
    from autarco_portal import research_export
    from autarco_portal.lake_reader import CatalogError, LakeReader
    from autarco_portal.research import ResearchError

    now = datetime.now(UTC)
    with opened(parsed) as store:
        records = [record for record in store.sites.records() if record.is_complete]
        try:
            plan = research_export.Plan(
                product=product,
                from_on=parsed.from_on,
                to_before=parsed.to_before,
                out=parsed.out,
                releases=portal_directory(parsed).releases,
                areas=areas,
                recipient=recipient,
            )
            with Meter(product, 100) as meter:
                released = research_export.export(
                    plan,
                    [record.site for record in records],
                    {record.public_key: record.address.postcode for record in records},
                    _refusals(store, plan.from_on, now),
                    LakeReader(data_directory(parsed)),
                    new_id=lambda: secrets.token_hex(ID_BYTES),
                    today=now.date(),
                    progress=_shown(meter),
                )
        except (ResearchError, CatalogError) as error:
            raise UsageError(str(error)) from error
        _note(store, plan, released, now)
    print(f"{parsed.out}: release {released.manifest.release_id}")
    _tell(released.report)
    return DONE


def _note(store: Store, plan: Plan, released: Released, now: datetime) -> None:
    """Enters the release into the ledger of disclosures: people may ask to whom their data went."""
    from autarco_portal.audit import AuditEntry
    from autarco_portal.privacy.sharing import Basis, Disclosure, RecipientKind

    name = released.manifest.release_id
    store.privacy.share(
        Disclosure(
            disclosure_id=name,
            recipient=plan.recipient or "everybody",
            kind=RecipientKind.RESEARCHER,
            basis=Basis.LEGITIMATE_INTEREST,
            why=f"release {name} of research data",
            fields=("research_set" if plan.product == "sites" else "aggregates",),
            sites=released.sites,
            period=(plan.from_on, plan.to_before - timedelta(days=1)),
            asked_at=now,
            asked_by="system:cli",
            disclosed_at=now,
            sha256=released.manifest_sha256,
        ),
        AuditEntry(at=now, actor="system:cli", action="share", thing=f"disclosure:{name}"),
    )


def _refusals(store: Store, from_on: date, now: datetime) -> dict[str, Refusal]:
    """Whom the rules of privacy keep out of research, and whose site is restricted.

    Also whoever owned a site on one of the days that are released, and sold it since.
    """
    from autarco_portal.privacy.processing import Purpose

    refusals: dict[str, Refusal] = dict.fromkeys(
        store.privacy.blocked_sites(
            # Days are local: wherever the site is, they begin less than a day before.
            Purpose.RESEARCH,
            now,
            since=datetime.combine(from_on, time(), UTC) - timedelta(days=1),
        ),
        "objection",
    )
    for record in store.sites.records():
        if record.restricted_at is not None:
            refusals[record.public_key] = "restriction"
    return refusals


def _tell(report: Report) -> None:
    print(f"systems {report.systems}, published {report.published} (rounded)")
    for name, found in (
        ("left out", report.refused),
        ("groups by size", report.group_sizes),
        ("suppressed share", report.suppressed_share),
    ):
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in found.items()) or 'none'}")
    print(f"unique before {report.unique_before}, after {report.unique_after}")


# --- values ---------------------------------------------------------------------------------


def _shown(meter: Meter) -> Callable[[int, int], None]:
    """Turns steps done of all into what a meter of 100 wants."""
    shown = 0

    def progress(done: int, total: int) -> None:
        nonlocal shown
        percent = 100 * done // max(total, 1)
        meter.advance(percent - shown)
        shown = percent

    return progress


def _moment(text: str) -> datetime:
    import argparse

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a moment as 2026-06-21T22:00:00Z")
    return moment
