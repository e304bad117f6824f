"""How does a release of research data get onto a disk, and which days went out before?

Reads the lake some days at a time, so that a large fleet fits, and puts Parquet files, a manifest
and a report into a directory that appears whole or not at all. The list of releases is one line of
JSON each; days of a product go out once.
"""

from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path  # noqa: TC003 - msgspec looks at it
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from autarco_ingest import durable
from autarco_portal import peers, research, research_energy, research_release
from autarco_portal.research import ResearchError, Rules, System
from autarco_portal.research_energy import MARGIN, Device
from autarco_portal.research_release import Period, Product, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from autarco_portal.research import Refusal
    from autarco_portal.site import Site

Areas: TypeAlias = Literal["10km", "pc4"]

_COLUMNS = ("inverter_sn", "ts", "ac_power", "energy_total_wh", "repeat")
_READINGS_PER_PART = 8_000_000
"""About 1 GB of memory while half hours are made of them."""
_READINGS_PER_DAY = 288
_DAYS_PER_PART_MAX = 31


class Readings(Protocol):
    """Who answers for the lake: `lake_reader.LakeReader`."""

    def readings(
        self,
        inverters: Collection[str] | None,
        begins: datetime,
        ends: datetime,
        columns: Sequence[str],
    ) -> pa.Table:
        """Returns readings of inverters between two moments."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be released."""

    product: Product
    from_on: date
    to_before: date
    out: Path
    """A directory that does not exist yet."""
    releases: Path
    """The list of releases."""
    areas: Areas = "10km"
    recipient: str = ""
    """Who gets the set per site: the contract's other side."""
    rules: Rules = Rules()

    def __post_init__(self) -> None:
        """Raises ResearchError for what may not be released like this."""
        if self.product == "sites" and not self.recipient.strip():
            raise ResearchError("the set per site goes to a named recipient, by contract")
        if self.product == "sites" and self.areas != "10km":
            raise ResearchError("the set per site knows cells of 10 km and more only")


class Release(Period, frozen=True, kw_only=True):
    """A line of the list of releases."""

    released_on: date
    recipient: str = ""
    manifest_sha256: str


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a release."""

    sha256: str
    bytes: int
    rows: int | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a release holds, for whoever gets it."""

    format: str
    product: Product
    release_id: str
    released_on: date
    from_on: date
    to_before: date
    terms: str
    columns: dict[str, dict[str, str]]
    files: dict[str, File]


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """What went out, and of whom: the last is for the ledger, never for the recipient."""

    manifest: Manifest
    manifest_sha256: str
    report: Report
    sites: tuple[str, ...]
    """Those of the set per site; none of aggregates, in which nobody can be found."""


def system_of(site: Site, *, postal_code: str = "", refusal: Refusal | None = None) -> System:
    """Returns what research needs to know of a site."""
    tilt, azimuth = peers.orientation(site)
    return System(
        site_id=site.site_id,
        latitude=site.latitude,
        longitude=site.longitude,
        pdc0_kw=site.pdc0 / 1_000,
        surface_tilt=tilt,
        surface_azimuth=azimuth,
        commissioned_on=site.commissioned_on,
        postal_code=postal_code,
        refusal=refusal,
    )


def load_releases(path: Path) -> list[Release]:
    """Reads the list of releases; raises ResearchError where it cannot be read."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ResearchError(f"cannot read {path}: {error.strerror}") from error
    try:
        return [msgspec.json.decode(line, type=Release) for line in lines]
    except msgspec.DecodeError as error:
        raise ResearchError(f"{path} is damaged: {error}") from error


def export(
    plan: Plan,
    sites: Sequence[Site],
    postal_codes: Mapping[str, str],
    refusals: Mapping[str, Refusal],
    reader: Readings,
    *,
    new_id: Callable[[], str],
    today: date,
    progress: Callable[[int, int], None],
) -> Released:
    """Writes a release and notes it in the list; `progress` is told of days done and days in all.

    `postal_codes` and `refusals` are by site_id. `new_id` draws the random ids of the release and
    of its sites. Raises ResearchError for what may not or cannot be released; nothing is left then.
    """
    research_release.check_period(
        plan.product, plan.from_on, plan.to_before, load_releases(plan.releases)
    )
    if plan.out.exists():
        raise ResearchError(f"{plan.out} exists already")
    systems = [
        system_of(
            site,
            postal_code=postal_codes.get(site.site_id, ""),
            refusal=refusals.get(site.site_id),
        )
        for site in sites
    ]
    devices = [
        Device(
            system=number,
            serial_number=inverter.serial_number,
            pac0=inverter.pac0,
            installed_at=inverter.installed_at,
            uninstalled_at=inverter.uninstalled_at,
        )
        for number, site in enumerate(sites)
        # Nothing of those who refused is even read.
        if systems[number].refusal is None
        for inverter in site.inverters
    ]
    draft = plan.out.with_name(f".{plan.out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        parts = _parts(plan, devices, reader, progress)
        write = _write_aggregates if plan.product == "aggregates" else _write_sites
        report, numbers = write(plan, systems, parts, draft, new_id)
        if not report.published:
            raise ResearchError("no group of systems is large enough to be published")
        (draft / "report.json").write_bytes(_pretty(report))
        manifest = Manifest(
            format=research_release.FORMAT,
            product=plan.product,
            release_id=new_id(),
            released_on=today,
            from_on=plan.from_on,
            to_before=plan.to_before,
            terms=research_release.TERMS[plan.product],
            columns=research_release.COLUMNS[plan.product],
            files={file.name: _file(file) for file in sorted(draft.iterdir())},
        )
        (draft / "manifest.json").write_bytes(_pretty(manifest))
        for file in draft.iterdir():
            durable.sync(file)
        digest = hashlib.sha256(_pretty(manifest)).hexdigest()
        # Before it appears: days that are in the list and went nowhere harm nobody.
        _note(plan, manifest, digest)
        draft.rename(plan.out)
    except OSError as error:
        raise ResearchError(f"cannot write {plan.out}: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Released(
        manifest=manifest,
        manifest_sha256=digest,
        report=report,
        sites=tuple(sorted(systems[number].site_id for number in numbers)),
    )


def _parts(
    plan: Plan,
    devices: Sequence[Device],
    reader: Readings,
    progress: Callable[[int, int], None],
) -> Iterator[pl.DataFrame]:
    """Yields the half hours of some whole days at a time."""
    days = (plan.to_before - plan.from_on).days
    fit = _READINGS_PER_PART // (_READINGS_PER_DAY * max(len(devices), 1))
    step = min(max(fit, 1), _DAYS_PER_PART_MAX)
    serials = sorted({device.serial_number for device in devices})
    for first in range(0, days, step):
        from_on = plan.from_on + timedelta(days=first)
        to_before = min(from_on + timedelta(days=step), plan.to_before)
        begins, ends = _midnight(from_on), _midnight(to_before)
        readings = reader.readings(serials, begins - MARGIN, ends + MARGIN, _COLUMNS)
        yield research_energy.half_hours(readings, devices, begins, ends)
        progress((to_before - plan.from_on).days, days)


def _write_aggregates(
    plan: Plan,
    systems: Sequence[System],
    parts: Iterator[pl.DataFrame],
    draft: Path,
    new_id: Callable[[], str],
) -> tuple[Report, Collection[int]]:
    if plan.areas == "10km":
        paths = [research.grid_path(found.latitude, found.longitude) for found in systems]
    else:
        paths = [
            research.postal_path(found.postal_code) if found.refusal is None else ()
            for found in systems
        ]
    days = []
    with _Parquet(draft / "aggregates.parquet") as file:
        for energy in parts:
            found = research_release.day_areas(energy, systems, paths, plan.rules)
            file.write(research_release.aggregates(energy, found, plan.rules))
            days += found
    report = research_release.aggregates_report(
        systems, days, plan.rules, from_on=plan.from_on, to_before=plan.to_before
    )
    return report, ()


def _write_sites(
    plan: Plan,
    systems: Sequence[System],
    parts: Iterator[pl.DataFrame],
    draft: Path,
    new_id: Callable[[], str],
) -> tuple[Report, Collection[int]]:
    """Two passes: who is in is known only when the last day was read."""
    kept = draft / "half-hours-by-system"
    kept.mkdir()
    reported: dict[int, tuple[date, date]] = {}
    files = []
    for number, energy in enumerate(parts):
        file = kept / f"{number:05d}.parquet"
        energy.write_parquet(file)
        files.append(file)
        ends = energy.group_by("system").agg(
            pl.col("slot").min().dt.date().alias("first"), pl.col("slot").max().dt.date()
        )
        for system, first, last in ends.iter_rows():
            reported[system] = (min(first, reported.get(system, (first, last))[0]), last)
    chosen = research_release.site_set(
        systems,
        reported,
        from_on=plan.from_on,
        to_before=plan.to_before,
        rules=plan.rules,
        new_id=new_id,
    )
    with _Parquet(draft / "sites.parquet") as sites:
        sites.write(research_release.site_rows(chosen))
    with _Parquet(draft / "half_hours.parquet") as half_hours:
        for file in files:
            energy = pl.read_parquet(file)
            half_hours.write(research_release.site_half_hours(energy, chosen, systems))
    shutil.rmtree(kept)
    report = research_release.sites_report(
        systems,
        reported,
        chosen,
        plan.rules,
        from_on=plan.from_on,
        to_before=plan.to_before,
    )
    return report, chosen.ids


class _Parquet:
    """One file, written in pieces; a file of no rows has its columns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> _Parquet:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, frame: pl.DataFrame) -> None:
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)


def _note(plan: Plan, manifest: Manifest, digest: str) -> None:
    line = Release(
        product=plan.product,
        release_id=manifest.release_id,
        from_on=plan.from_on,
        to_before=plan.to_before,
        released_on=manifest.released_on,
        recipient=plan.recipient,
        manifest_sha256=digest,
    )
    durable.make_directory(plan.releases.parent)
    with plan.releases.open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")
    durable.sync(plan.releases)


def _file(path: Path) -> File:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    rows = pq.read_metadata(path).num_rows if path.suffix == ".parquet" else None
    return File(sha256=digest, bytes=path.stat().st_size, rows=rows)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _pretty(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic")) + b"\n"
