"""Does a release hold groups only, and nothing by which anybody finds somebody?"""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from autarco_portal import research_export, research_release
from autarco_portal.research import ResearchError
from autarco_portal.research_export import Plan
from autarco_portal.research_release import COLUMNS
from autarco_portal.site import Inverter, RoofPlane, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from autarco_portal.research_export import Released
    from autarco_portal.research_release import Product, Report

FROM, TO = date(2025, 6, 2), date(2025, 6, 10)
BEGIN = datetime(2025, 6, 1, tzinfo=UTC)
DAYS = 10
LARGE, SMALL, FAR = (52.05, 5.05), (52.25, 5.05), (52.06, 6.9)
"""Cells of 10 km; the first two are in one of 100 km."""
SIZES = {LARGE: 26, SMALL: 4, FAR: 12}
TILTS = (33.7, 12.3)


def fleet() -> list[Site]:
    sites: list[Site] = []
    for cell, size in SIZES.items():
        for n in range(size):
            number = len(sites)
            plane = RoofPlane(
                name=f"Dakkapel van Jansen {number}",
                surface_tilt=TILTS[n % 2],
                surface_azimuth=181.3,
                modules=12,
                pdc0=4_123.714_5 + number,
            )
            inverter = Inverter(
                serial_number=f"SNKEY{number:05d}",
                pac0=4_000.0,
                installed_at=datetime(2024, 2, 3, 9, 41, tzinfo=UTC),
            )
            sites.append(
                Site(
                    site_id=f"pk{number:06d}",
                    latitude=cell[0] + n / 1_000 + 0.000_123,
                    longitude=cell[1] + n / 1_000 + 0.000_457,
                    commissioned_on=date(2024, 2, 3),
                    planes=(plane,),
                    inverters=(inverter,),
                )
            )
    return sites


class Lake:
    """Readings of every inverter: 05:00 to 20:00 UTC, a curve of its own; asked as the real one."""

    def __init__(self, sites: Sequence[Site]) -> None:
        random = np.random.default_rng(8)
        tables = []
        minutes = np.arange(5 * 60, 20 * 60, 5)
        at = np.concatenate([minutes + day * 1_440 for day in range(DAYS)])
        shape = np.sin((at % 1_440 - 300) / 900 * np.pi)
        for site in sites:
            power = (shape * random.uniform(1_500, 3_500)).astype(np.float32)
            total = 1_000_000 + np.cumsum(power / 12)
            size = len(at)
            tables.append(
                pa.table(
                    {
                        "inverter_sn": [site.inverters[0].serial_number] * size,
                        "ts": pa.array(
                            int(BEGIN.timestamp()) * 1_000_000 + at * 60_000_000,
                            pa.timestamp("us", "UTC"),
                        ),
                        "ac_power": power,
                        "energy_total_wh": total.astype(np.int64),
                        "repeat": pa.nulls(size, pa.bool_()),
                    }
                )
            )
        self.table = pa.concat_tables(tables)
        self.asked: set[str] = set()

    def readings(
        self,
        inverters: Collection[str] | None,
        begins: datetime,
        ends: datetime,
        columns: Sequence[str],
    ) -> pa.Table:
        assert inverters is not None
        self.asked.update(inverters)
        mine = pc.field("inverter_sn").isin(list(inverters))
        return self.table.filter(
            mine & (pc.field("ts") >= begins) & (pc.field("ts") < ends)
        ).select(list(columns))


SITES = fleet()


@pytest.fixture(scope="module")
def lake() -> Lake:
    return Lake(SITES)


def ids() -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: hashlib.sha256(next(numbers).to_bytes(4)).hexdigest()[:16]


def release(
    tmp_path: Path, lake: Lake, product: Product, **changes: object
) -> tuple[Released, Report, Path]:
    plan = Plan(
        product=product,
        from_on=FROM,
        to_before=TO,
        out=tmp_path / product,
        releases=tmp_path / "portal" / "releases.jsonl",
        recipient="Universiteit" if product == "sites" else "",
    )
    refusals = changes.pop("refusals", {})
    released = research_export.export(
        msgspec.structs.replace(plan, **changes),
        SITES,
        {},
        refusals,  # type: ignore[arg-type]
        lake,
        new_id=ids(),
        today=date(2025, 7, 1),
        progress=lambda done, days: None,
    )
    return released, released.report, plan.out


def test_aggregates_are_of_large_areas_and_say_what_these_made(tmp_path: Path, lake: Lake) -> None:
    _, report, out = release(tmp_path, lake, "aggregates")

    rows = pl.read_parquet(out / "aggregates.parquet")
    areas = {(width, count) for width, count in rows.select("resolution", "systems").iter_rows()}
    # 26 + 4 in one cell of 100 km, 12 in the other. The 4 would follow from 30 - 26: both of
    # 10 km stay hidden, and no subtraction of what is left gives fewer than 10.
    assert areas == {("all", 40), ("100km", 30), ("100km", 10), ("10km", 10)}
    assert len(rows) == 4 * 48 * (TO - FROM).days
    assert report.suppressed_share == {"100km": 0.0, "10km": round(30 / 42, 3), "all": 0.0}
    assert report.group_sizes == {"10-14": 16, "30-34": 8, "40-44": 8}
    assert report.published == 40

    noon = datetime(2025, 6, 5, 12, tzinfo=UTC)
    shown = rows.filter((pl.col("ts") == noon) & (pl.col("resolution") == "all"))
    window = lake.table.filter(
        (pc.field("ts") >= noon) & (pc.field("ts") < noon + timedelta(minutes=30))
    )
    kwh = pc.sum(window["ac_power"]).as_py() / 6 * 0.5 / 1_000
    kwp = sum(site.pdc0 for site in SITES) / 1_000
    assert shown["specific_yield"].item() == pytest.approx(kwh / kwp, abs=0.001)


def test_who_refused_is_in_neither_set_and_is_not_even_read(tmp_path: Path) -> None:
    lake = Lake(SITES)
    refusals = {SITES[30].site_id: "objection", SITES[31].site_id: "restriction"}

    _, aggregates, out = release(tmp_path, lake, "aggregates", refusals=refusals)
    _, sites, _ = release(tmp_path, lake, "sites", refusals=refusals)

    assert {SITES[30].inverters[0].serial_number, SITES[31].inverters[0].serial_number}.isdisjoint(
        lake.asked
    )
    rows = pl.read_parquet(out / "aggregates.parquet")
    assert set(rows["resolution"]) == {"all", "100km", "10km"}
    assert aggregates.refused == sites.refused == {"objection": 0, "restriction": 0}
    assert sites.published == 35


def test_an_incomplete_day_is_in_no_sum(tmp_path: Path, lake: Lake) -> None:
    cut = Lake(SITES)
    noon = datetime(2025, 6, 5, 12, tzinfo=UTC)
    serials = [site.inverters[0].serial_number for site in SITES[30:33]]
    cut.table = lake.table.filter(
        ~(
            pc.field("inverter_sn").isin(serials)
            & (pc.field("ts") >= noon)
            & (pc.field("ts") < noon + timedelta(hours=1))
        )
    )

    _, _, out = release(tmp_path, cut, "aggregates")

    rows = pl.read_parquet(out / "aggregates.parquet")
    on_day = rows.filter(pl.col("ts").dt.date() == noon.date())
    # 9 of 12 are left in the far cell: it goes, and with it whatever it follows from.
    assert set(on_day["resolution"]) == {"all"}
    assert "10km" in set(rows["resolution"])


def test_each_site_is_one_of_ten_by_all_that_is_told_of_it(tmp_path: Path, lake: Lake) -> None:
    released, report, out = release(tmp_path, lake, "sites")

    assert len(released.sites) == 38
    assert set(released.sites) < {site.site_id for site in SITES}
    sites = pl.read_parquet(out / "sites.parquet")
    told = Counter(sites.drop("id").rows())
    assert min(told.values()) >= 10
    assert report.unique_after == 0
    assert len(sites) == len(set(sites["id"])) == 38
    assert report.suppressed_share == {"sites": round(1 - 38 / 42, 3)}
    assert set(sites["installed"]) <= {"2024-Q1", "2024", ""}
    curves = pl.read_parquet(out / "half_hours.parquet")
    assert set(curves["id"]) == set(sites["id"])
    assert len(curves) == 38 * 48 * (TO - FROM).days
    assert curves.filter(pl.col("specific_yield") >= 0.5).is_empty()
    assert all(at.minute % 30 == 0 for at in curves["ts"].unique())


def test_a_curve_that_begins_or_ends_within_the_period_is_left_out(
    tmp_path: Path, lake: Lake
) -> None:
    late = Lake(SITES)
    late.table = lake.table.filter(
        ~(
            (pc.field("inverter_sn") == SITES[0].inverters[0].serial_number)
            & (pc.field("ts") < datetime(2025, 6, 6, tzinfo=UTC))
        )
    )

    _, _, out = release(tmp_path, late, "sites")

    assert len(pl.read_parquet(out / "sites.parquet")) == 37


def test_nothing_internal_is_in_any_byte(tmp_path: Path, lake: Lake) -> None:
    outs = [release(tmp_path, lake, product)[2] for product in ("aggregates", "sites")]

    secrets = [
        word
        for site in SITES
        for word in (
            site.site_id, site.inverters[0].serial_number, site.planes[0].name,
            f"{site.latitude:.3f}", f"{site.longitude:.3f}", f"{site.pdc0:.2f}",
            "2024-02", "Universiteit",
        )
    ]  # fmt: skip
    doubles = [
        struct.pack(kind, value)
        for site in SITES
        for value in (site.latitude, site.longitude, site.pdc0)
        for kind in ("<d", "<f")
    ]
    files = [file for out in outs for file in sorted(out.iterdir())]
    assert [file.name for file in files] == [
        "aggregates.parquet", "manifest.json", "report.json",
        "half_hours.parquet", "manifest.json", "report.json", "sites.parquet",
    ]  # fmt: skip
    for file in files:
        raw = file.read_bytes()
        assert not [double for double in doubles if double in raw]
        texts = [raw.decode("latin-1")]
        if file.suffix == ".parquet":
            frame = pl.read_parquet(file)
            columns = {name: told for sets in COLUMNS.values() for name, told in sets.items()}
            assert frame.columns == list(columns[file.stem])
            # What compression hides from a search of bytes.
            texts += [
                "\n".join(frame[name].cast(pl.String).drop_nulls().unique().to_list())
                for name in frame.columns
                if name not in ("ts", "specific_yield")
            ]
        for text in texts:
            assert not [word for word in secrets if word in text], file.name


def test_random_ids_differ_between_releases_and_order_tells_nothing(
    tmp_path: Path, lake: Lake
) -> None:
    _, _, out = release(tmp_path, lake, "sites")

    found = pl.read_parquet(out / "sites.parquet")["id"].to_list()
    assert found == sorted(found)
    drawn = ids()
    in_order = [drawn() for _ in found]
    assert sorted(in_order) == found
    assert in_order != found


def test_an_id_that_is_one_of_ours_is_drawn_again(tmp_path: Path, lake: Lake) -> None:
    from autarco_portal import research

    systems = [research_export.system_of(site) for site in SITES[:10]]
    reported = {number: (FROM, TO - timedelta(days=1)) for number in range(10)}
    drawn = iter([SITES[3].site_id, "same", "same", *(f"new{n}" for n in range(9))])

    found = research_release.site_set(
        systems,
        reported,
        from_on=FROM,
        to_before=TO,
        rules=research.Rules(),
        new_id=lambda: next(drawn),
    )

    assert set(found.ids.values()) == {"same", *(f"new{n}" for n in range(9))}


def test_days_go_out_once(tmp_path: Path, lake: Lake) -> None:
    release(tmp_path, lake, "aggregates")

    with pytest.raises(ResearchError, match="went out as release"):
        release(tmp_path, lake, "aggregates", out=tmp_path / "again", from_on=date(2025, 6, 9))
    assert not (tmp_path / "again").exists()
    release(tmp_path, lake, "sites")
    lines = (tmp_path / "portal" / "releases.jsonl").read_text().splitlines()
    assert [json.loads(line)["product"] for line in lines] == ["aggregates", "sites"]
    assert json.loads(lines[1])["recipient"] == "Universiteit"


def test_what_cannot_be_released_is_refused_and_leaves_nothing(tmp_path: Path, lake: Lake) -> None:
    (tmp_path / "sites").mkdir()
    with pytest.raises(ResearchError, match="exists already"):
        release(tmp_path, lake, "sites")
    with pytest.raises(ResearchError, match="named recipient"):
        release(tmp_path, lake, "sites", recipient=" ")
    with pytest.raises(ResearchError, match="no Dutch postal code"):
        release(tmp_path, lake, "aggregates", areas="pc4")
    everybody = dict.fromkeys((site.site_id for site in SITES[:33]), "objection")
    with pytest.raises(ResearchError, match="large enough"):
        release(tmp_path, lake, "aggregates", refusals=everybody)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sites"]
    (tmp_path / "portal").mkdir()
    (tmp_path / "portal" / "releases.jsonl").write_text("{")
    with pytest.raises(ResearchError, match="damaged"):
        release(tmp_path, lake, "aggregates")
