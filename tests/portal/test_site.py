"""A site is refused where it cannot be, and knows its size."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

from autarco_portal.site import Inverter, RoofPlane, Site, SiteError

SOUTH = RoofPlane(name="south", surface_tilt=35, surface_azimuth=180, modules=8, pdc0=3_200)
EAST = RoofPlane(name="east", surface_tilt=35, surface_azimuth=90, modules=4, pdc0=1_600)
FIRST = Inverter(
    serial_number="A", pac0=4_000, installed_at=datetime(2020, 5, 1, tzinfo=UTC),
    uninstalled_at=datetime(2023, 9, 3, tzinfo=UTC), mppt_planes=("south", "east"),
)  # fmt: skip
SECOND = Inverter(
    serial_number="B", pac0=3_600, installed_at=datetime(2023, 9, 21, tzinfo=UTC),
    mppt_planes=("south", None),
)  # fmt: skip


def site(**changes: Any) -> Site:
    values: dict[str, Any] = {
        "site_id": "1", "latitude": 52.1, "longitude": 5.2, "commissioned_on": date(2020, 5, 1),
        "planes": (SOUTH, EAST), "inverters": (FIRST, SECOND),
    }  # fmt: skip
    return Site(**(values | changes))


def test_its_size_is_that_of_all_planes_and_of_the_inverters_of_today() -> None:
    assert (site().pdc0, site().pac0) == (4_800, 3_600)
    assert site(inverters=()).pac0 == 4_800


def test_it_survives_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(site()), type=Site) == site()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"latitude": 152.0}, "not a place on earth"),
        ({"planes": ()}, "no roof plane"),
        ({"planes": (SOUTH, SOUTH)}, "two planes of one name"),
        ({"planes": (SOUTH,)}, r"no plane named \['east'\]"),
        ({"time_zone": "Europe/Utrecht"}, "no time zone"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SiteError, match=reason):
        site(**changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"surface_tilt": 95.0}, "surface_tilt"),
        ({"surface_azimuth": -42.0}, "180 is south"),
        ({"modules": 0}, "no modules"),
        ({"horizon": ((10.0, 5.0), (5.0, 5.0))}, "do not rise"),
        ({"shading": ((0.5,) * 24,)}, "12 rows"),
    ],
)
def test_a_plane_that_cannot_be_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SiteError, match=reason):
        msgspec.structs.replace(SOUTH, **changes)
