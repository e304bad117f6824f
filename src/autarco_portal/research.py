"""Which groups of systems are large enough that what they made may be published?

Two sets go out, with the rules of both here. Open aggregates: areas that hold `systems_min` systems
and none with more than `share_max` of the capacity, and from which nothing smaller follows by
subtraction (`shown_areas`). The set per site: coarse facts only, and each combination of them is
shared by `systems_min` sites (`coarsened`).

Areas are the cells of the European grid (INSPIRE, ETRS89-LAEA, EPSG:3035), because statistics of
other offices come in the same cells. Pure: values in, values out. `research_release` makes tables
of it.

Source: reference document on privacy, section 1.4. docs/privacy.md says what stays risky.
"""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import date  # noqa: TC003 - msgspec looks at it when it decodes
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RULES_VERSION = "research-1"

Path: TypeAlias = tuple[str, ...]
"""An area with those that hold it, widest first."""
Refusal: TypeAlias = Literal["objection", "restriction", "erasure", "no_consent"]
EVERYWHERE = "all"

KWP_EDGES = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 15.0, 25.0, 50.0, 100.0)
"""kWp at which a bucket begins; the last one has no end."""
AZIMUTH_STEP, TILT_STEP = 45, 10
"""Degrees."""
QUARTER_MONTHS = 3

# ETRS89-LAEA on the ellipsoid GRS80.
_RADIUS_M, _ECCENTRICITY = 6_378_137.0, math.sqrt(0.006_694_380_022_90)
_LATITUDE_0, _LONGITUDE_0 = math.radians(52), math.radians(10)
_EASTING_0, _NORTHING_0 = 4_321_000.0, 3_210_000.0
_IN_EUROPE = ((24.0, 85.0), (-45.0, 60.0))
"""Latitudes and longitudes; elsewhere the cells of this grid are no squares."""


class ResearchError(ValueError):
    """A release cannot be made like this; the message is one sentence."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """When a group may be seen. Stricter is allowed, laxer is refused."""

    systems_min: int = 10
    share_max: float = 0.5
    """Of a group's capacity that one system may have."""
    count_step: int = 5
    """Counts of systems are published as the nearest multiple."""

    def __post_init__(self) -> None:
        """Raises ResearchError for rules laxer than the privacy policy promises."""
        if self.systems_min < 10 or not 0 < self.share_max <= 0.5 or self.count_step < 5:
            raise ResearchError(
                "a published group has at least 10 systems, none with more than half of the "
                "capacity, and counts are rounded to 5 at least"
            )

    def rounded(self, count: int) -> int:
        """Returns a count as it is published."""
        return self.count_step * round(count / self.count_step)


class System(msgspec.Struct, frozen=True, kw_only=True):
    """What research needs to know of a site, exactly; `coarsened` is what others get to know."""

    site_id: str
    latitude: float
    longitude: float
    pdc0_kw: float
    surface_tilt: float
    """Of all planes together, as `surface_azimuth`: see `peers.orientation`."""
    surface_azimuth: float
    commissioned_on: date
    postal_code: str = ""
    refusal: Refusal | None = None
    """Why the site is in no research data at all."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Systems taken together: enough to know whether they may be seen."""

    systems: int = 0
    pdc0_kw: float = 0.0
    pdc0_kw_max: float = 0.0
    """Of the largest one."""

    def __add__(self, other: Group) -> Group:
        return Group(
            systems=self.systems + other.systems,
            pdc0_kw=self.pdc0_kw + other.pdc0_kw,
            pdc0_kw_max=max(self.pdc0_kw_max, other.pdc0_kw_max),
        )

    def is_enough(self, rules: Rules) -> bool:
        """Whether nobody in it stands out."""
        dominated = self.pdc0_kw_max > rules.share_max * self.pdc0_kw
        return self.systems >= rules.systems_min and not dominated


class Coarse(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What a site of the research set is known by; empty or None where even that was too much."""

    area: str
    kwp: str
    azimuth: int | None = None
    """Degrees, the middle of a sector of 45."""
    tilt: str = ""
    """Degrees, a band of 10."""
    installed: str = ""
    """A quarter, as 2024-Q3, or a year."""


# --- areas ----------------------------------------------------------------------------------


def grid_path(latitude: float, longitude: float) -> Path:
    """Returns the cells that hold a place: everywhere, 100 km, 10 km.

    Raises ResearchError for a place outside of Europe.
    """
    (south, north), (west, east) = _IN_EUROPE
    if not (south <= latitude <= north and west <= longitude <= east):
        raise ResearchError("a site is outside of Europe, where this grid has no cells")
    easting, northing = laea(latitude, longitude)
    return (
        EVERYWHERE,
        f"100kmE{int(easting // 100_000)}N{int(northing // 100_000)}",
        f"10kmE{int(easting // 10_000)}N{int(northing // 10_000)}",
    )


def postal_path(postal_code: str) -> Path:
    """Returns everywhere, the first two and the four digits of a Dutch postal code.

    Raises ResearchError for anything else.
    """
    digits = postal_code.strip()[:4]
    if len(digits) < 4 or not (digits.isascii() and digits.isdigit()):
        raise ResearchError("a site has no Dutch postal code")
    return (EVERYWHERE, f"PC2-{digits[:2]}", f"PC4-{digits}")


def laea(latitude: float, longitude: float) -> tuple[float, float]:
    """Returns easting and northing in m of EPSG:3035, from degrees.

    Lambert azimuthal equal-area on the ellipsoid: IOGP Guidance Note 7-2, method 9820.
    """
    pole = _authalic(math.pi / 2)
    beta_0 = math.asin(_authalic(_LATITUDE_0) / pole)
    beta = math.asin(_authalic(math.radians(latitude)) / pole)
    east = math.radians(longitude) - _LONGITUDE_0
    radius = _RADIUS_M * math.sqrt(pole / 2)
    sine_0 = _ECCENTRICITY * math.sin(_LATITUDE_0)
    d = _RADIUS_M * math.cos(_LATITUDE_0) / math.sqrt(1 - sine_0**2) / (radius * math.cos(beta_0))
    cosine = math.sin(beta_0) * math.sin(beta) + math.cos(beta_0) * math.cos(beta) * math.cos(east)
    b = radius * math.sqrt(2 / (1 + cosine))
    north = math.cos(beta_0) * math.sin(beta) - math.sin(beta_0) * math.cos(beta) * math.cos(east)
    return _EASTING_0 + b * d * math.cos(beta) * math.sin(east), _NORTHING_0 + b / d * north


def _authalic(latitude: float) -> float:
    e, sine = _ECCENTRICITY, math.sin(latitude)
    logarithm = math.log((1 - e * sine) / (1 + e * sine))
    return (1 - e**2) * (sine / (1 - (e * sine) ** 2) - logarithm / (2 * e))


# --- open aggregates ------------------------------------------------------------------------


def shown_areas(leaves: Mapping[Path, Group], rules: Rules) -> frozenset[Path]:
    """Returns the areas, of every width, that may be published side by side.

    `leaves` are the smallest areas with who is in them. An area that is large enough may still have
    to go: what an area made minus what its published parts made is known to everybody, and so must
    be large enough as well, or nothing at all. Areas nest, so these remainders do not overlap and
    every sum that can be computed is a sum of whole remainders: looking at each of them suffices.
    We assume that everybody knows each system's capacity and the systems of each area, and publish
    neither.
    """
    return _Suppression(leaves, rules).run()


class _Suppression:
    """Starts from all areas that are large enough and hides until no remainder is too small."""

    def __init__(self, leaves: Mapping[Path, Group], rules: Rules) -> None:
        self.rules = rules
        self.groups: dict[Path, Group] = defaultdict(Group)
        self.parts: dict[Path, set[Path]] = defaultdict(set)
        for path, group in leaves.items():
            for depth in range(1, len(path) + 1):
                self.groups[path[:depth]] += group
                if depth > 1:
                    self.parts[path[: depth - 1]].add(path[:depth])
        self.shown = {path for path, group in self.groups.items() if group.is_enough(rules)}

    def run(self) -> frozenset[Path]:
        for path in sorted(self.parts, key=lambda path: (-len(path), path)):
            if path in self.shown:
                self.cover(path)
        return frozenset(self.shown)

    def cover(self, path: Path) -> None:
        """Hides published parts of an area until its remainder may be known."""
        while True:
            rest = self.rest(path)
            if not rest.systems or rest.is_enough(self.rules):
                return
            exposed = sorted(self.exposed(path), key=lambda part: (self.groups[part].pdc0_kw, part))
            enough = (p for p in exposed if (rest + self.rest(p)).is_enough(self.rules))
            # One that suffices alone and costs least; if none does, the largest is hidden first.
            self.shown.discard(next(enough, exposed[-1]))

    def rest(self, path: Path) -> Group:
        """The remainder of an area: who is in none of its published parts."""
        if path not in self.parts:
            return self.groups[path]
        rests = (self.rest(part) for part in self.parts[path] if part not in self.shown)
        return sum(rests, Group())

    def exposed(self, path: Path) -> Iterable[Path]:
        """The widest published areas within an area."""
        for part in self.parts.get(path, ()):
            if part in self.shown:
                yield part
            else:
                yield from self.exposed(part)


# --- the set per site -----------------------------------------------------------------------


def coarsened(systems: Sequence[System], rules: Rules) -> list[Coarse | None]:
    """Returns what each system is known by: as much as `systems_min` of them have in common.

    A system that shares its finest facts with enough others keeps them; those left over are
    compared by ever coarser facts, and who is alone even then is None: not published.
    """
    result: list[Coarse | None] = [None] * len(systems)
    left = list(range(len(systems)))
    for facts in _LADDER:
        groups: dict[Coarse, list[int]] = defaultdict(list)
        for n in left:
            groups[facts.of(systems[n])].append(n)
        left = []
        for coarse, members in groups.items():
            if len(members) < rules.systems_min:
                left += members
                continue
            for n in members:
                result[n] = coarse
    return result


def finest(system: System) -> Coarse:
    """Returns the finest facts that anybody is told of a system."""
    return _LADDER[0].of(system)


def kwp_bucket(pdc0_kw: float) -> str:
    """Returns the bucket of a capacity, as `4-6`; the lower edge belongs to it."""
    if pdc0_kw >= KWP_EDGES[-1]:
        return f"{KWP_EDGES[-1]:g}+"
    low, high = next((low, high) for low, high in pairwise(KWP_EDGES) if pdc0_kw < high)
    return f"{low:g}-{high:g}"


def azimuth_sector(surface_azimuth: float) -> int:
    """Returns the middle of the sector of 45 degrees that an azimuth is in: 0, 45 to 315."""
    return round(surface_azimuth / AZIMUTH_STEP) * AZIMUTH_STEP % 360


def tilt_band(surface_tilt: float) -> str:
    """Returns the band of 10 degrees that a tilt is in, as `30-40`; 90 is in `80-90`."""
    low = min(int(surface_tilt // TILT_STEP) * TILT_STEP, 90 - TILT_STEP)
    return f"{low}-{low + TILT_STEP}"


def quarter(day: date) -> str:
    """Returns the quarter of a day, as `2024-Q3`."""
    return f"{day.year}-Q{(day.month - 1) // QUARTER_MONTHS + 1}"


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    """How much is told of a system."""

    depth: int
    """Of the path of areas: 3 is 10 km, 2 is 100 km, 1 is everywhere."""
    azimuth: bool = True
    tilt: bool = True
    installed: Literal["quarter", "year", ""] = ""

    def of(self, system: System) -> Coarse:
        installed = {
            "quarter": quarter(system.commissioned_on),
            "year": str(system.commissioned_on.year),
            "": "",
        }[self.installed]
        return Coarse(
            area=grid_path(system.latitude, system.longitude)[self.depth - 1],
            kwp=kwp_bucket(system.pdc0_kw),
            azimuth=azimuth_sector(system.surface_azimuth) if self.azimuth else None,
            tilt=tilt_band(system.surface_tilt) if self.tilt else "",
            installed=installed,
        )


_LADDER = (
    _Facts(depth=3, installed="quarter"),
    _Facts(depth=3, installed="year"),
    _Facts(depth=3),
    _Facts(depth=3, tilt=False),
    _Facts(depth=2, installed="year"),
    _Facts(depth=2),
    _Facts(depth=2, tilt=False),
    _Facts(depth=2, tilt=False, azimuth=False),
    _Facts(depth=1),
    _Facts(depth=1, tilt=False),
    _Facts(depth=1, tilt=False, azimuth=False),
)
"""Finest first. Research misses the place less than how a roof looks, but weather needs a place."""
