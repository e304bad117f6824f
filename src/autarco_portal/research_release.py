"""What is in a release of research data, and what does its report say of how safe it is?

Makes the tables of the two sets from what systems made per half hour (`research_energy`) and the
rules of `research`. A system is in the aggregates of a day if each half hour of it is known, so
that who is in a sum does not change while people look; it is in the set per site if it was there
before the period and reported at both its ends, because a curve that begins on a Tuesday in March
tells when it was installed.

Heads in reports are rounded as in the data: a report may travel with its release. Pure: tables in,
tables out; who draws the random ids is an argument.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
import polars as pl

from autarco_portal import research
from autarco_portal.research import Group, Path, ResearchError, Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from autarco_portal.research import Coarse, System

FORMAT = "autarco-research-1"
SLOTS_PER_DAY = 48
END_DAYS = 3
"""At both ends of a period, in which a site of the set per site has to have reported."""
DECIMALS = 3
"""Of kWh/kWp: 1 Wh per kWp."""

Product: TypeAlias = Literal["aggregates", "sites"]

COLUMNS: dict[Product, dict[str, dict[str, str]]] = {
    "aggregates": {
        "aggregates": {
            "ts": "begin of the half hour, UTC",
            "resolution": "width of the area: all, 100km, 10km; or all, PC2, PC4",
            "area": "cell of the INSPIRE grid (EPSG:3035), or digits of postal codes",
            "specific_yield": "kWh/kWp: energy of all systems over their capacity",
            "systems": "how many, rounded",
        }
    },
    "sites": {
        "sites": {
            "id": "random, of this release only",
            "area": "cell of the INSPIRE grid (EPSG:3035) of 10 or 100 km, or all",
            "kwp": "kWp, bucket",
            "azimuth": "degrees clockwise from north, middle of a sector of 45; null: not told",
            "tilt": "degrees, band of 10; empty: not told",
            "installed": "quarter or year; empty: not told",
        },
        "half_hours": {
            "id": "as in sites",
            "ts": "begin of the half hour, UTC",
            "specific_yield": "kWh/kWp",
        },
    },
}
"""What each file's columns hold; the manifest repeats it."""

TERMS: dict[Product, str] = {
    "aggregates": "Open data.",
    "sites": "Pseudonymous personal data: for the recipient named in the contract only, which "
    "forbids to look for the people behind it, to link it with other data, and to pass it on.",
}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How safe a release is, in numbers; heads are rounded."""

    product: Product
    rules: Rules
    from_on: date
    to_before: date
    """UTC dates."""
    systems: int
    """Known in the period, before anything was left out."""
    refused: dict[str, int]
    """By reason: objection, restriction, erasure, no_consent, silent."""
    published: int
    """Systems in at least one published group."""
    group_sizes: dict[str, int]
    """How many published groups have how many systems, the k distribution: `10-14`, `15-19` and so
    on. Of aggregates a group is an area on a day."""
    unique_before: int
    """Systems that nobody shares all finest facts with; of aggregates, alone in their area."""
    unique_after: int
    """The same among what is published: none."""
    suppressed_share: dict[str, float]
    """Of systems that could have been in: by width of area, on an average day; or `sites`."""
    detail: dict[str, int] = {}
    """Of the set per site: how many sites are told of to which width of area."""
    rules_version: str = research.RULES_VERSION


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """Of a release that went out."""

    product: Product
    release_id: str
    from_on: date
    to_before: date


def check_period(
    product: Product, from_on: date, to_before: date, released: Iterable[Period]
) -> None:
    """Raises ResearchError for a period that is none, or of which this product went out before.

    Two releases of the same days differ by whoever joined or objected in between: their difference
    is what that person made.
    """
    if not from_on < to_before:
        raise ResearchError(f"the period ends on {to_before}, before it begins on {from_on}")
    if product == "sites" and (to_before - from_on).days < 2 * END_DAYS:
        raise ResearchError(f"the set per site needs {2 * END_DAYS} days at least")
    for period in released:
        overlaps = period.from_on < to_before and from_on < period.to_before
        if period.product == product and overlaps:
            raise ResearchError(
                f"{period.from_on} to before {period.to_before} went out as release "
                f"{period.release_id}; the difference of two releases of one day is somebody's"
            )


# --- open aggregates ------------------------------------------------------------------------


class DayAreas(msgspec.Struct, frozen=True, kw_only=True):
    """Which areas there were on a day, and which of them are shown."""

    day: date
    groups: dict[Path, Group]
    """Of every width."""
    shown: frozenset[Path]
    members: dict[Path, tuple[int, ...]]
    """Systems of each smallest area."""


def day_areas(
    energy: pl.DataFrame, systems: Sequence[System], paths: Sequence[Path], rules: Rules
) -> list[DayAreas]:
    """Returns the areas of each day in `energy` (as of `research_energy.half_hours`).

    `paths` are the areas of each system; a system that refused is in none.
    """
    whole = (
        energy.group_by("system", pl.col("slot").dt.date().alias("day"))
        .agg(pl.len().alias("slots"))
        .filter(pl.col("slots") == SLOTS_PER_DAY)
        .sort("day", "system")
    )
    by_day: dict[date, list[int]] = defaultdict(list)
    for day, number in whole.select("day", "system").iter_rows():
        if systems[number].refusal is None:
            by_day[day].append(number)
    return [_areas(day, numbers, systems, paths, rules) for day, numbers in by_day.items()]


def _areas(
    day: date,
    numbers: Sequence[int],
    systems: Sequence[System],
    paths: Sequence[Path],
    rules: Rules,
) -> DayAreas:
    members: dict[Path, list[int]] = defaultdict(list)
    leaves: dict[Path, Group] = defaultdict(Group)
    for number in numbers:
        size = systems[number].pdc0_kw
        members[paths[number]].append(number)
        leaves[paths[number]] += Group(systems=1, pdc0_kw=size, pdc0_kw_max=size)
    groups: dict[Path, Group] = defaultdict(Group)
    for path, group in leaves.items():
        for depth in range(1, len(path) + 1):
            groups[path[:depth]] += group
    return DayAreas(
        day=day,
        groups=dict(groups),
        shown=research.shown_areas(leaves, rules),
        members={path: tuple(found) for path, found in members.items()},
    )


def aggregates(energy: pl.DataFrame, days: Sequence[DayAreas], rules: Rules) -> pl.DataFrame:
    """Returns the published rows of some days: columns as in `COLUMNS`."""
    rows = [
        (
            found.day,
            number,
            path[-1],
            _width(path),
            found.groups[path].pdc0_kw,
            rules.rounded(found.groups[path].systems),
        )
        for found in days
        for leaf, numbers in found.members.items()
        for path in (leaf[:depth] for depth in range(1, len(leaf) + 1))
        if path in found.shown
        for number in numbers
    ]
    names = ("day", "system", "area", "resolution", "pdc0_kw", "systems")
    types = (pl.Date, pl.UInt32, pl.String, pl.String, pl.Float64, pl.Int64)
    told = pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")
    return (
        energy.with_columns(pl.col("slot").dt.date().alias("day"))
        .join(told, on=["day", "system"])
        .group_by("slot", "resolution", "area", "pdc0_kw", "systems")
        .agg(pl.col("energy_kwh").sum())
        .select(
            pl.col("slot").alias("ts"),
            "resolution",
            "area",
            (pl.col("energy_kwh") / pl.col("pdc0_kw")).round(DECIMALS).alias("specific_yield"),
            "systems",
        )
        .sort("ts", "resolution", "area")
    )


def aggregates_report(
    systems: Sequence[System],
    days: Sequence[DayAreas],
    rules: Rules,
    *,
    from_on: date,
    to_before: date,
) -> Report:
    """Returns the report of a release of aggregates, from the areas of all its days."""
    sizes: Counter[str] = Counter()
    there: Counter[str] = Counter()
    hidden: Counter[str] = Counter()
    alone: set[int] = set()
    published: set[int] = set()
    seen: set[int] = set()
    for found in days:
        for path, group in found.groups.items():
            there[_width(path)] += group.systems
            if path in found.shown:
                sizes[_size(group.systems, rules)] += 1
            else:
                hidden[_width(path)] += group.systems
        for leaf, numbers in found.members.items():
            seen.update(numbers)
            if len(numbers) == 1:
                alone.update(numbers)
            if any(leaf[:depth] in found.shown for depth in range(1, len(leaf) + 1)):
                published.update(numbers)
    return Report(
        product="aggregates",
        rules=rules,
        from_on=from_on,
        to_before=to_before,
        systems=rules.rounded(len(systems)),
        refused=_refused(systems, seen, rules),
        published=rules.rounded(len(published)),
        group_sizes=_by_size(sizes),
        unique_before=rules.rounded(len(alone)),
        unique_after=0,
        suppressed_share={width: round(hidden[width] / there[width], 3) for width in sorted(there)},
    )


# --- the set per site -----------------------------------------------------------------------


class SiteSet(msgspec.Struct, frozen=True, kw_only=True):
    """Who is in a release of the set per site, and known by what."""

    ids: dict[int, str]
    """By the number of the system."""
    facts: dict[int, Coarse]


def site_set(
    systems: Sequence[System],
    reported: Mapping[int, tuple[date, date]],
    *,
    from_on: date,
    to_before: date,
    rules: Rules,
    new_id: Callable[[], str],
) -> SiteSet:
    """Decides who is in: `reported` is the first and last day that each system tells of.

    `new_id` draws a random id; one that is an id of ours by accident is drawn again.
    """
    numbers = [
        number
        for number, found in enumerate(systems)
        if found.refusal is None
        and number in reported
        and found.commissioned_on < from_on
        and reported[number][0] < from_on + timedelta(days=END_DAYS)
        and reported[number][1] >= to_before - timedelta(days=END_DAYS)
    ]
    coarse = research.coarsened([systems[number] for number in numbers], rules)
    taken = {found.site_id for found in systems}
    ids: dict[int, str] = {}
    facts: dict[int, Coarse] = {}
    for number, told in zip(numbers, coarse, strict=True):
        if told is None:
            continue
        while (drawn := new_id()) in taken:
            continue
        taken.add(drawn)
        ids[number], facts[number] = drawn, told
    return SiteSet(ids=ids, facts=facts)


def site_rows(chosen: SiteSet) -> pl.DataFrame:
    """Returns the table of sites, in the order of their random ids."""
    rows = sorted(
        (drawn, *msgspec.structs.astuple(chosen.facts[number]))
        for number, drawn in chosen.ids.items()
    )
    names = ("id", "area", "kwp", "azimuth", "tilt", "installed")
    types = (pl.String, pl.String, pl.String, pl.Int64, pl.String, pl.String)
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def site_half_hours(
    energy: pl.DataFrame, chosen: SiteSet, systems: Sequence[System]
) -> pl.DataFrame:
    """Returns the curves of those who are in, over their capacity, in the order of random ids."""
    numbers = sorted(chosen.ids)
    told = pl.DataFrame(
        {
            "system": numbers,
            "id": [chosen.ids[number] for number in numbers],
            "pdc0_kw": [systems[number].pdc0_kw for number in numbers],
        },
        schema={"system": pl.UInt32, "id": pl.String, "pdc0_kw": pl.Float64},
    )
    return (
        energy.join(told, on="system")
        .select(
            "id",
            pl.col("slot").alias("ts"),
            (pl.col("energy_kwh") / pl.col("pdc0_kw")).round(DECIMALS).alias("specific_yield"),
        )
        .sort("id", "ts")
    )


def sites_report(
    systems: Sequence[System],
    reported: Mapping[int, tuple[date, date]],
    chosen: SiteSet,
    rules: Rules,
    *,
    from_on: date,
    to_before: date,
) -> Report:
    """Returns the report of a release of the set per site."""
    able = [n for n, found in enumerate(systems) if found.refusal is None and n in reported]
    before = Counter(research.finest(systems[number]) for number in able)
    after = Counter(chosen.facts.values())
    sizes: Counter[str] = Counter(_size(count, rules) for count in after.values())
    detail = Counter(_width((coarse.area,)) for coarse in chosen.facts.values())
    return Report(
        product="sites",
        rules=rules,
        from_on=from_on,
        to_before=to_before,
        systems=rules.rounded(len(systems)),
        refused=_refused(systems, set(reported), rules),
        published=rules.rounded(len(chosen.ids)),
        group_sizes=_by_size(sizes),
        unique_before=rules.rounded(sum(count == 1 for count in before.values())),
        unique_after=sum(count == 1 for count in after.values()),
        suppressed_share={"sites": round(1 - len(chosen.ids) / len(able), 3) if able else 0.0},
        detail={width: rules.rounded(count) for width, count in sorted(detail.items())},
    )


def _refused(systems: Sequence[System], reporting: set[int], rules: Rules) -> dict[str, int]:
    reasons = Counter(
        found.refusal or "silent"
        for number, found in enumerate(systems)
        if found.refusal is not None or number not in reporting
    )
    return {reason: rules.rounded(count) for reason, count in sorted(reasons.items())}


def _width(path: Path) -> str:
    """`10km` of `10kmE396N299`, `PC4` of `PC4-3511`."""
    area = path[-1]
    return area.split("-")[0] if area.startswith("PC") else area.split("E")[0]


def _size(systems: int, rules: Rules) -> str:
    low = systems // rules.count_step * rules.count_step
    return f"{low}-{low + rules.count_step - 1}"


def _by_size(sizes: Counter[str]) -> dict[str, int]:
    return dict(sorted(sizes.items(), key=lambda item: int(item[0].split("-")[0])))
