"""Which groups may be published, and does nothing smaller follow from what is?"""

from __future__ import annotations

from collections import Counter
from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autarco_portal import research
from autarco_portal.research import Group, Path, ResearchError, Rules, System

RULES = Rules()


def system(**changes: object) -> System:
    facts: dict[str, object] = {
        "site_id": "aaaa1111",
        "latitude": 52.0,
        "longitude": 5.0,
        "pdc0_kw": 5.0,
        "surface_tilt": 35.0,
        "surface_azimuth": 180.0,
        "commissioned_on": date(2023, 5, 17),
    }
    return System(**(facts | changes))  # type: ignore[arg-type]


def group(capacities: list[float]) -> Group:
    return sum((Group(systems=1, pdc0_kw=size, pdc0_kw_max=size) for size in capacities), Group())


# --- areas ----------------------------------------------------------------------------------


def test_the_grid_is_that_of_epsg_3035() -> None:
    # IOGP Guidance Note 7-2, example of method 9820.
    assert research.laea(50.0, 5.0) == pytest.approx((3_962_799.45, 2_999_718.85), abs=0.01)
    assert research.laea(52.0, 10.0) == pytest.approx((4_321_000, 3_210_000), abs=1e-6)


def test_cells_are_ten_kilometres_and_nest() -> None:
    assert research.grid_path(50.0, 5.0) == ("all", "100kmE39N29", "10kmE396N299")
    assert research.grid_path(50.0, 5.15)[2] == "10kmE397N299"


def test_a_place_outside_of_europe_is_refused() -> None:
    with pytest.raises(ResearchError, match="outside of Europe"):
        research.grid_path(-33.9, 151.2)


def test_a_postal_code_gives_its_four_digits_only() -> None:
    assert research.postal_path("3511 AB") == ("all", "PC2-35", "PC4-3511")
    for wrong in ("", "351", "ABCD", "٣٥١١ AB"):
        with pytest.raises(ResearchError, match="no Dutch postal code"):
            research.postal_path(wrong)


# --- open aggregates ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "laxer", [{"systems_min": 9}, {"share_max": 0.51}, {"share_max": 0.0}, {"count_step": 1}]
)
def test_laxer_rules_than_promised_are_refused(laxer: dict[str, float]) -> None:
    with pytest.raises(ResearchError, match="at least 10 systems"):
        Rules(**laxer)  # type: ignore[arg-type]


def test_ten_systems_are_enough_and_nine_are_not() -> None:
    ten: dict[Path, Group] = {("all", "a"): group([5] * 10)}
    nine: dict[Path, Group] = {("all", "a"): group([5] * 9)}

    assert research.shown_areas(ten, RULES) == {("all",), ("all", "a")}
    assert not research.shown_areas(nine, RULES)


def test_an_area_of_one_large_system_is_hidden() -> None:
    assert group([10.0] * 10 + [100.0]).is_enough(RULES)
    assert not group([10.0] * 10 + [100.1]).is_enough(RULES)


def test_what_follows_from_the_total_is_hidden_too() -> None:
    leaves: dict[Path, Group] = {
        ("all", "large"): group([5] * 40),
        ("all", "middle"): group([5] * 20),
        ("all", "small"): group([5] * 3),
    }

    shown = research.shown_areas(leaves, RULES)

    # The total minus both others would be the small one: the cheaper of them goes.
    assert shown == {("all",), ("all", "large")}


def test_two_small_areas_may_hide_behind_each_other() -> None:
    leaves: dict[Path, Group] = {
        ("all", "large"): group([5] * 40),
        ("all", "small"): group([5] * 6),
        ("all", "smaller"): group([5] * 5),
    }

    assert research.shown_areas(leaves, RULES) == {("all",), ("all", "large")}


def test_areas_that_are_all_large_enough_are_all_shown() -> None:
    leaves: dict[Path, Group] = {
        ("all", "x", "a"): group([5] * 10),
        ("all", "x", "b"): group([5] * 11),
    }

    assert len(research.shown_areas(leaves, RULES)) == 4


def knowable(members: dict[Path, set[int]], shown: frozenset[Path]) -> list[set[int]]:
    """A linear attack: Gauss elimination on who is in which published sum, in exact numbers.

    Returns for each row of the reduced form the systems that it is a sum of.
    """
    systems = sorted(set().union(*members.values()))
    rows = [[Fraction(int(n in members[path])) for n in systems] for path in sorted(shown)]
    done = 0
    for column in range(len(systems)):
        pivot = next((r for r in range(done, len(rows)) if rows[r][column]), None)
        if pivot is None:
            continue
        rows[done], rows[pivot] = rows[pivot], rows[done]
        factor = rows[done][column]
        rows[done] = [value / factor for value in rows[done]]
        for r in range(len(rows)):
            if r != done and rows[r][column]:
                times = rows[r][column]
                rows[r] = [a - times * b for a, b in zip(rows[r], rows[done], strict=True)]
        done += 1
    return [{n for n, value in zip(systems, row, strict=True) if value} for row in rows if any(row)]


def populate(
    sizes: dict[Path, list[float]],
) -> tuple[dict[Path, Group], dict[Path, set[int]], list[float]]:
    """Returns leaves, who is in each area of any width, and each system's capacity."""
    members: dict[Path, set[int]] = {}
    capacity: list[float] = []
    for path, found in sizes.items():
        numbers = set(range(len(capacity), len(capacity) + len(found)))
        capacity += found
        for depth in range(1, len(path) + 1):
            members.setdefault(path[:depth], set()).update(numbers)
    return {path: group(found) for path, found in sizes.items()}, members, capacity


CAPACITY = st.sampled_from([2.0, 4.0, 5.0, 9.0, 60.0, 400.0])
AREAS = st.dictionaries(
    st.tuples(st.just("all"), st.sampled_from("xyz"), st.sampled_from("abcde")),
    st.lists(CAPACITY, min_size=1, max_size=24),
    min_size=1,
    max_size=10,
)


@settings(max_examples=200, deadline=None)
@given(AREAS)
def test_no_sum_that_can_be_computed_is_of_too_few(sizes: dict[Path, list[float]]) -> None:
    sizes = {(top, mid, mid + leaf): found for (top, mid, leaf), found in sizes.items()}
    leaves, members, capacity = populate(sizes)

    shown = research.shown_areas(leaves, RULES)

    for path in shown:
        assert group([capacity[n] for n in members[path]]).is_enough(RULES)
    for known in knowable(members, shown):
        assert group([capacity[n] for n in known]).is_enough(RULES), known


def test_the_attack_finds_what_primary_suppression_leaves_open() -> None:
    leaves, members, _ = populate({("all", "a"): [5.0] * 20, ("all", "b"): [5.0] * 3})
    large_enough = frozenset(path for path in members if len(members[path]) >= 10)

    assert {20, 21, 22} in knowable(members, large_enough)
    assert {20, 21, 22} not in knowable(members, research.shown_areas(leaves, RULES))


# --- the set per site -----------------------------------------------------------------------


def test_capacities_orientations_and_days_are_coarse() -> None:
    assert [research.kwp_bucket(kwp) for kwp in (0.5, 2, 5.99, 12, 99, 100, 900)] == [
        "0-2", "2-4", "4-6", "10-15", "50-100", "100+", "100+",
    ]  # fmt: skip
    assert [research.azimuth_sector(a) for a in (0, 22, 23, 180, 202, 338, 359)] == [
        0, 0, 45, 180, 180, 0, 0,
    ]  # fmt: skip
    assert [research.tilt_band(t) for t in (0, 9.9, 10, 45, 90)] == [
        "0-10", "0-10", "10-20", "40-50", "80-90",
    ]  # fmt: skip
    assert research.quarter(date(2023, 12, 31)) == "2023-Q4"
    assert research.quarter(date(2023, 1, 1)) == "2023-Q1"


def test_like_sites_keep_all_facts_and_a_lonely_one_is_not_published() -> None:
    alike = [system(site_id=f"site{n:04}") for n in range(10)]

    found = research.coarsened([*alike, system(pdc0_kw=70.0)], RULES)

    assert found[:10] == [research.finest(alike[0])] * 10
    assert found[10] is None


def test_sites_of_one_area_share_facts_that_are_as_coarse_as_needed() -> None:
    by_tilt = [system(surface_tilt=float(tilt)) for tilt in range(5, 65, 6)]

    found = research.coarsened(by_tilt, RULES)

    assert len(by_tilt) == 10
    assert set(found) == {
        research.Coarse(area=research.grid_path(52.0, 5.0)[2], kwp="4-6", azimuth=180)
    }


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            system,
            latitude=st.sampled_from([51.9, 52.0, 52.4, 53.1]),
            longitude=st.sampled_from([4.6, 5.0, 6.3]),
            pdc0_kw=st.floats(0.5, 20),
            surface_tilt=st.floats(0, 90),
            surface_azimuth=st.floats(0, 359.9),
            commissioned_on=st.dates(date(2016, 1, 1), date(2025, 12, 31)),
        ),
        max_size=120,
    )
)
def test_no_combination_of_facts_is_of_fewer_than_ten(systems: list[System]) -> None:
    found = research.coarsened(systems, RULES)

    counts = Counter(coarse for coarse in found if coarse is not None)
    assert all(count >= 10 for count in counts.values())
    for known, coarse in zip(systems, found, strict=True):
        if coarse is not None:
            assert coarse.area in research.grid_path(known.latitude, known.longitude)
            assert coarse.kwp == research.kwp_bucket(known.pdc0_kw)
