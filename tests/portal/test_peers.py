"""Who are a site's neighbours, and what does comparing with them say?"""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from autarco_portal import peers
from autarco_portal.site import RoofPlane, Site

KM_NORTH = 1 / 111.195
"""Degrees of latitude."""


def village(distances_km: list[float], azimuths: list[float] | None = None) -> peers.Neighbours:
    """Site 0 at the origin and others north of it."""
    latitude = 52 + np.array([0.0, *distances_km]) * KM_NORTH
    sites = len(latitude)
    return peers.neighbours(
        latitude,
        np.full(sites, 5.0),
        np.full(sites, 35.0),
        np.array([180.0, *(azimuths or [180.0] * (sites - 1))]),
    )


def test_neighbours_lie_within_fifteen_kilometres() -> None:
    found = village([1, 2, 3, 4, 14.9, 15.1, 29])

    assert found.peer[0, :6].tolist() == [1, 2, 3, 4, 5, peers.NOBODY]
    assert found.distance_km[0, :5] == pytest.approx([1, 2, 3, 4, 14.9], rel=1e-3)
    assert found.count[0] == 5


def test_a_lonely_site_looks_thirty_kilometres_far() -> None:
    found = village([1, 2, 3, 4, 16, 29.9, 30.1])

    assert sorted(found.peer[0, :6].tolist()) == [1, 2, 3, 4, 5, 6]
    assert found.count[0] == 6


def test_like_roofs_come_first_and_twenty_are_enough() -> None:
    azimuths = [90.0] * 10 + [180.0] * 20
    found = village([1.0] * 10 + [2.0] * 20, azimuths)

    assert found.count[0] == 20
    assert set(found.peer[0].tolist()) == set(range(11, 31))
    assert found.azimuth_diff[0].tolist() == [0.0] * 20


def test_azimuths_differ_the_short_way_round() -> None:
    found = peers.neighbours(
        np.array([52.0, 52.0]), np.array([5.0, 5.01]), np.full(2, 35.0), np.array([350.0, 10.0])
    )

    assert found.azimuth_diff[0, 0] == pytest.approx(20)


def test_on_flat_roofs_the_azimuth_says_nothing() -> None:
    found = peers.neighbours(
        np.array([52.0, 52.0]), np.array([5.0, 5.0]), np.zeros(2), np.array([90.0, 270.0])
    )

    assert found.orientation_diff[0, 0] == pytest.approx(0, abs=1e-5)
    assert found.weight[0, 0] == pytest.approx(1)


def test_a_site_alone_has_nobody() -> None:
    found = village([])

    assert found.count.tolist() == [0]


def test_an_east_west_roof_looks_up() -> None:
    def plane(name: str, azimuth: float, pdc0: float) -> RoofPlane:
        return RoofPlane(name=name, surface_tilt=35, surface_azimuth=azimuth, modules=8, pdc0=pdc0)

    def site(*planes: RoofPlane) -> Site:
        return Site(
            site_id="a",
            latitude=52,
            longitude=5,
            commissioned_on=dt.date(2020, 1, 1),
            planes=planes,
        )

    assert peers.orientation(site(plane("s", 200, 3000))) == pytest.approx((35, 200))
    tilt, _ = peers.orientation(site(plane("e", 90, 3000), plane("w", 270, 3000)))
    assert tilt == pytest.approx(0, abs=1e-9)
    _, azimuth = peers.orientation(site(plane("e", 90, 3000), plane("w", 270, 1000)))
    assert azimuth == pytest.approx(90)


def six(energy: list[float], **others: object) -> peers.Comparison:
    """Six sites of 1 kWp beside each other, one day; the clear sky gives 5 kWh."""
    given = np.array([energy])
    return peers.compare(
        given,
        np.full(given.shape, 5.0),
        np.ones(6),
        village([1.0] * 5),
        **others,  # type: ignore[arg-type]
    )


def test_the_index_is_compared_with_the_median_peer() -> None:
    found = six([2.0, 3.0, 3.5, 4.0, 4.5, 5.0])

    assert found.index_own[0, 0] == pytest.approx(0.4)
    assert found.index_peer_median[0, 0] == pytest.approx(0.8)
    assert found.peer_yield[0, 0] == pytest.approx(4.0)
    assert found.ratio[0, 0] == pytest.approx(0.5)
    assert found.log_residual[0, 0] == pytest.approx(np.log(0.5))
    assert found.expected_kwh[0, 0] == pytest.approx(4.0)
    assert found.method[0] == "peers"


def test_an_unknown_day_of_a_peer_does_not_count_and_too_few_peers_say_nothing() -> None:
    found = six([2.0, np.nan, 3.5, 4.0, 4.5, 5.0])

    assert found.n_peers[0].tolist() == [4, 5, 4, 4, 4, 4]
    assert np.isnan(found.log_residual[0, 0])
    assert np.isnan(found.log_residual[0, 1])
    assert found.peer_yield[0, 1] == pytest.approx(4.0)


def test_a_site_with_an_open_incident_is_nobodys_peer_but_is_compared() -> None:
    excluded = np.array([[True, False, False, False, False, False]])
    found = six([0.1, 3.0, 3.5, 4.0, 4.5, 5.0], excluded=excluded)

    assert found.n_peers[0].tolist() == [5, 4, 4, 4, 4, 4]
    assert found.ratio[0, 0] == pytest.approx(0.1 / 4)


def test_in_low_light_the_difference_is_compared_not_the_quotient() -> None:
    found = six([0.1, 0.4, 0.4, 0.4, 0.4, 0.4])

    assert found.ratio[0, 0] == pytest.approx(0.25)
    assert found.log_residual[0, 0] == pytest.approx(-0.3)


def test_a_day_without_any_energy_is_a_finite_loss() -> None:
    found = six([0.0, 4.0, 4.0, 4.0, 4.0, 4.0])

    assert found.log_residual[0, 0] == pytest.approx(np.log(0.01))


def test_without_neighbours_the_weather_model_stands_in() -> None:
    near = village([1.0] * 4)
    energy, model = np.full((1, 5), 3.0), np.full((1, 5), 5.0)
    alone = peers.compare(energy, model, np.ones(5), near)
    weather = peers.compare(energy, model, np.ones(5), near, weather_kwh=np.full((1, 5), 4.0))

    assert np.isnan(alone.log_residual).all()
    assert weather.ratio[0, 0] == pytest.approx(0.75)
    assert weather.peer_yield[0, 0] == pytest.approx(4.0)
    assert weather.method[0] == "weather"


def test_the_median_is_numpys() -> None:
    random = np.random.default_rng(4)
    cube = random.normal(size=(7, 5, 20)).astype(np.float32)
    cube[random.random(cube.shape) < 0.4] = np.nan
    wanted = np.nanmedian(cube.astype(float), axis=-1)

    median, count = peers.median_of_last_axis(cube.copy())

    assert median == pytest.approx(wanted, rel=1e-6)
    assert (count == np.isfinite(cube).sum(axis=-1)).all()


def test_without_values_there_is_no_median() -> None:
    median, count = peers.median_of_last_axis(np.full((1, 20), np.nan, np.float32))

    assert np.isnan(median[0])
    assert count[0] == 0


def test_the_order_of_the_sites_changes_nothing() -> None:
    random = np.random.default_rng(5)
    sites = 60
    place = random.uniform((51.9, 4.9), (52.1, 5.1), (sites, 2))
    tilt, azimuth = random.uniform(10, 50, sites), random.uniform(90, 270, sites)
    energy = random.uniform(1, 5, (30, sites))
    model, pdc0 = np.full((30, sites), 5.0), random.uniform(2, 9, sites)

    def compared(order: peers.Ints) -> peers.Comparison:
        near = peers.neighbours(place[order, 0], place[order, 1], tilt[order], azimuth[order])
        return peers.compare(energy[:, order], model[:, order], pdc0[order], near)

    straight, shuffled = np.arange(sites), random.permutation(sites)
    assert compared(shuffled).log_residual == pytest.approx(
        compared(straight).log_residual[:, shuffled]
    )
