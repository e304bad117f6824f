"""`autarco-portal settle`: what is owed for a year of a site, and where is the proof?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from autarco_portal.cli_command import DONE, FINDINGS, UsageError, data_directory
from autarco_portal.cli_store import add_database, opened

if TYPE_CHECKING:
    import argparse

    from autarco_portal.cli_command import Add
    from autarco_portal.guarantee import Assessment
    from autarco_portal.settle_records import Records
    from autarco_portal.settlement_store import Kept


def register(add: Add) -> None:
    """Adds the command."""
    command = add(
        "settle",
        _settle,
        "Settle a guarantee year of a site, and write what proves it; exit code 1: look at it.",
    )
    command.add_argument("site", metavar="SITE", help="the site's identifier")
    command.add_argument(
        "year", type=int, metavar="YEAR", help="the contract's year: 3, or 2026 in which it begins"
    )
    add_database(command)
    command.add_argument("--contract", metavar="ID", help="which, where a site has several")


def _settle(parsed: argparse.Namespace) -> int:
    from autarco_portal.portal_paths import PortalDirectory
    from autarco_portal.settle_records import FileRecords, StoreRecords

    portal = PortalDirectory.of(data_directory(parsed))
    if not parsed.database and not portal.database.exists():
        kept = _settled(parsed, FileRecords(portal))
    else:
        with opened(parsed) as store:
            kept = _settled(parsed, StoreRecords(store, datetime.now(UTC)))
    _show(kept)
    return FINDINGS if kept.settlement.status == "review" else DONE


def _settled(parsed: argparse.Namespace, records: Records) -> Kept:
    from autarco_ingest.progress import Meter
    from autarco_portal.settle_load import LOAD_ERRORS, Loader

    try:
        with Meter("settlement", 4) as meter:
            return Loader(data_directory(parsed), records).settle_period(
                parsed.site,
                parsed.year,
                contract_id=parsed.contract,
                progress=lambda step: meter.advance(1, step),
            )
    except LOAD_ERRORS as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"cannot use {error.filename}: {error.strerror}") from error


def _show(kept: Kept) -> None:
    from rich.console import Console
    from rich.table import Table

    settled = kept.settlement
    # Paths are for copying: no line breaks in them.
    console = Console(soft_wrap=True)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    contract = settled.contract
    say(
        f"Contract {contract.contract_id} of site {contract.site_id}, "
        f"{settled.years[0].starts_on} to before {settled.years[-1].ends_before}, "
        f"{settled.method}, terms {contract.terms_version}"
    )
    for year in settled.years:
        table = Table(f"year {year.evidence.year}", box=None, pad_edge=False)
        table.add_column("kWh", justify="right")
        table.add_column("how", overflow="fold")
        for row in _rows(year, str(contract.fraction)):
            table.add_row(*row)
        console.print(table)
    table = Table("owed", box=None, pad_edge=False)
    table.add_column("", justify="right")
    table.add_row("shortfall, kWh", f"{settled.shortfall_kwh:,}")
    if contract.settlement == "carry_over":
        table.add_row("buffer before, kWh", f"{settled.buffer_before_kwh:,.2f}")
        table.add_row("buffer after, kWh", f"{settled.buffer_after_kwh:,.2f}")
    table.add_row("compensated, kWh", f"{settled.compensated_kwh:,}")
    table.add_row(f"at {contract.price_eur_per_kwh} EUR/kWh, EUR", f"{settled.compensation_eur:,}")
    console.print(table)
    if settled.status == "review":
        say(f"A person must look: {', '.join(settled.reasons)}.")
    told = "new" if kept.is_new else "as it was settled before"
    say(f"Version {kept.version}, {told}:")
    say(f"  {kept.document}")
    say(f"  {kept.claim}")


def _rows(year: Assessment, fraction: str) -> list[tuple[str, str, str]]:
    evidence = year.evidence
    guaranteed = [f"expected x {fraction}"]
    if year.weather_index != 1:
        guaranteed.append(f"weather index {year.weather_index:.4f}")
    if year.treatment == "prorate":
        guaranteed.append(f"coverage {year.coverage:.4f}")
    gaps = sum(part.method != "counter" for part in evidence.measured)
    serials = sorted({part.serial_number for part in evidence.measured})
    return [
        ("expected", f"{year.expected_kwh:,.2f}", "P50 after degradation"),
        ("guaranteed", f"{year.guaranteed_kwh:,.2f}", " x ".join(guaranteed)),
        (
            "measured",
            f"{year.measured_kwh:,.2f}",
            f"counters of {', '.join(serials)}; {len(evidence.measured)} spans, {gaps} over gaps",
        ),
        (
            "estimated",
            f"{year.estimated_kwh:,.2f}",
            f"{len(evidence.uncovered)} times no counter tells of, "
            f"{100 * (1 - year.coverage):.2f} % of the year's energy",
        ),
        ("excluded", f"{year.excluded_kwh:,.2f}", f"{len(year.credits)} credits"),
        ("assessed", f"{year.assessed_kwh:,.2f}", "measured + estimated + excluded"),
    ]
