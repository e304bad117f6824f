"""`autarco-portal analyse`: what do the readings of some days mean, and what changed?"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from autarco_portal.cli_command import DONE, UsageError, console, data_directory, day
from autarco_portal.cli_store import add_database, opened

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from autarco_portal.analysis import DayReport, Plan
    from autarco_portal.cli_command import Add
    from autarco_portal.derived_store import DerivedStore
    from autarco_portal.incidents import Incident
    from autarco_portal.site import Site

SHOWN_MAX = 40
"""Days, and incidents, that a person reads; the tables have all."""


def register(add: Add) -> None:
    """Adds the command."""
    analyse = add(
        "analyse",
        _analyse,
        "Make the derived tables of some local days: energy, expectation, comparison, incidents.",
    )
    analyse.add_argument(
        "--from", dest="first", type=day, metavar="DAY", help="default: after the last one done"
    )
    analyse.add_argument("--to", dest="last", type=day, metavar="DAY", help="default: yesterday")
    analyse.add_argument(
        "--site", action="append", metavar="KEY", help="only this site; may be given several times"
    )
    analyse.add_argument(
        "--again", action="store_true", help="do the days even if nothing came since"
    )
    add_database(analyse)


def _analyse(parsed: argparse.Namespace) -> int:
    """Of the store's sites, whose incidents it then has; of `sites.json` where there is none."""
    from autarco_portal import permitted, sites_file
    from autarco_portal.portal_paths import PortalDirectory
    from autarco_portal.privacy.processing import Purpose
    from autarco_portal.site import SiteError

    portal = PortalDirectory.of(data_directory(parsed))
    if not parsed.database and not portal.database.exists():
        try:
            sites = sites_file.load(portal.sites)
        except SiteError as error:
            raise UsageError(str(error)) from error
        _analyse_sites(parsed, sites)
        return DONE
    with opened(parsed) as store:
        sites = list(permitted.sites(store, Purpose.ANALYTICS, datetime.now(UTC)))
        if not sites:
            raise UsageError("the store has no site that may be analysed; see `site import`")
        found = _analyse_sites(parsed, sites)
        if parsed.first is None and not parsed.site:
            found = _again(parsed, sites) or found
        store.alarms.take_over(found, [site.site_id for site in sites])
    return DONE


def _again(parsed: argparse.Namespace, sites: Sequence[Site]) -> list[Incident]:
    """Does those sites again whose facts were corrected; returns the incidents afterwards.

    From the first day they were wrong, as far as days were analysed and readings are whole.
    """
    import copy

    from autarco_portal import derived, reanalysis
    from autarco_portal.derived_store import DerivedStore
    from autarco_portal.portal_paths import PortalDirectory
    from autarco_portal.privacy.retention import SAMPLES_DAYS

    portal = PortalDirectory.of(data_directory(parsed))
    marks = reanalysis.marks(portal)
    if not marks:
        return []
    known = DerivedStore(portal).everything(derived.ANALYSED_DAYS)["date"]
    oldest, newest = known.min(), known.max()
    found: list[Incident] = []
    for site, since in marks.items():
        if any(one.site_id == site for one in sites) and isinstance(oldest, date):
            again = copy.copy(parsed)
            whole = datetime.now(UTC).date() - timedelta(days=SAMPLES_DAYS)
            again.first, again.last = max(since, oldest, whole), newest
            again.site, again.again = [site], True
            found = _analyse_sites(again, sites)
    # Also those that may not be analysed: when they may, the days are done as any new ones.
    reanalysis.done(portal, marks)
    return found


def _analyse_sites(parsed: argparse.Namespace, sites: Sequence[Site]) -> list[Incident]:
    """Returns the incidents that there are afterwards."""
    from autarco_ingest.progress import Meter
    from autarco_portal import analysis, derived, derived_rows
    from autarco_portal.counter import EnergyError
    from autarco_portal.derived_store import DerivedError, DerivedStore
    from autarco_portal.lake_reader import CatalogError, LakeReader
    from autarco_portal.portal_paths import PortalDirectory
    from autarco_portal.site import SiteError
    from autarco_portal.weather import WeatherError
    from autarco_portal.weather_store import WeatherStore

    data = data_directory(parsed)
    portal = PortalDirectory.of(data)
    store = DerivedStore(portal)
    lake = LakeReader(data)
    meters = ExitStack()
    meter: Meter | None = None
    years: Meter | None = None

    def begun(days: int) -> None:
        nonlocal meter
        meter = meters.enter_context(Meter("days", days))

    def done(report: DayReport) -> None:
        if meter is not None:
            meter.advance(1, f"{report.day}, {report.still_open} incidents open")

    def modelled(now: int, total: int) -> None:
        nonlocal years
        if years is None:
            years = meters.enter_context(Meter("sites whose typical year is modelled", total))
        years.advance(now)

    try:
        with store.locked(), meters:
            plan = _plan(parsed, sites, store)
            reports = analysis.analyse(
                sites,
                lake,
                WeatherStore(portal),
                store,
                plan,
                clock=lambda day: datetime.now(UTC),
                begun=begun,
                done=done,
                modelled=modelled,
            )
        lake.publish()
        found = derived_rows.incidents_of(store.everything(derived.ALARMS))
    except (SiteError, CatalogError, DerivedError, WeatherError, EnergyError) as error:
        raise UsageError(str(error)) from error
    show(reports, plan)
    return found


def _plan(parsed: argparse.Namespace, sites: Sequence[Site], store: DerivedStore) -> Plan:
    from autarco_portal import analysis, derived

    zone = ZoneInfo(sites[0].time_zone) if sites else UTC
    last = parsed.last or datetime.now(zone).date() - timedelta(days=1)
    first = parsed.first
    if first is None:
        known = store.everything(derived.ANALYSED_DAYS)["date"].max()
        if not isinstance(known, date):
            raise UsageError("no day was analysed yet; say --from")
        first = min(known + timedelta(days=1), last)
    if first > last:
        raise UsageError(f"--from {first} is after --to {last}")
    return analysis.Plan(
        first=first,
        last=last,
        site_ids=frozenset(parsed.site) if parsed.site else None,
        again=parsed.again,
    )


def show(reports: Sequence[DayReport], plan: Plan) -> None:
    """Prints what the days brought."""
    if not reports:
        print(f"{plan.first} to {plan.last}: done before, and nothing came since")
        return
    show_days(reports)
    found = [one for report in reports for one in report.found]
    closed = {one.incident_id for report in reports for one in report.closed}
    print(
        f"{len(reports)} days, {len(found)} incidents found, {len(closed)} ended, "
        f"{reports[-1].still_open} open"
    )
    _show_incidents(found)


def show_days(reports: Sequence[DayReport]) -> None:
    """Prints a line per day."""
    from rich.table import Table

    table = Table("day", box=None, pad_edge=False)
    for name in ("sites", "with energy", "kWh", "of clear sky", "index", "found", "ended", "open"):
        table.add_column(name, justify="right")
    for one in reports[-SHOWN_MAX:]:
        clear = one.energy_kwh / one.clearsky_kwh if one.clearsky_kwh > 0 else None
        table.add_row(
            one.day.isoformat(),
            str(one.sites),
            str(one.with_energy),
            f"{one.energy_kwh:,.0f}",
            "" if clear is None else f"{clear:.0%}",
            "" if one.performance_index is None else f"{one.performance_index:.3f}",
            str(len(one.found)),
            str(len(one.closed)),
            str(one.still_open),
        )
    if len(reports) > SHOWN_MAX:
        print(f"the last {SHOWN_MAX} of {len(reports)} days:")
    console().print(table)


def _show_incidents(incidents: Iterable[Incident]) -> None:
    from rich.table import Table

    from autarco_portal.derived_rows import found_on

    found = sorted(incidents, key=lambda one: -one.lost_kwh)
    if not found:
        return
    table = Table("site", "inverter", "cause", "since (UTC)", "found on", box=None, pad_edge=False)
    table.add_column("kWh that day", justify="right")
    for one in found[:SHOWN_MAX]:
        table.add_row(
            one.site_id,
            one.inverter_sn or "",
            str(one.cause),
            f"{one.opened_at:%Y-%m-%d %H:%M}",
            str(found_on(one)),
            f"{one.lost_kwh:.1f}",
        )
    console().print(table)
    if len(found) > SHOWN_MAX:
        print(f"and {len(found) - SHOWN_MAX} more, see the table alarms")
