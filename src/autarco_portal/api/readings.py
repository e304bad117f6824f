"""`/api/v1/sites/…/readings`: what did a site's inverters report, sample by sample?

Columns are those of the open table (docs/data.md), without what concerns network addresses. Only
readings of the time in which an inverter hung at the site and the site was who asks's to see:
before and after, they are others'.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
from litestar import Response, get
from litestar.exceptions import NotFoundException, ValidationException
from litestar.params import QueryParameter

from autarco_ingest import schema
from autarco_portal.api import tables
from autarco_portal.api.access import Key, seen
from autarco_portal.energy import midnights
from autarco_portal.portal import Here, answering
from autarco_portal.web_identity import Asking

if TYPE_CHECKING:
    from autarco_portal.site import Inverter
    from autarco_portal.site_record import SiteRecord

HIDDEN = frozenset({"source", "date", "protocol", "record_no"})
COLUMNS = tuple(one.name for one in schema.READINGS.columns if one.name not in HIDDEN)
USUAL = (
    "ts,inverter_sn,ac_power,energy_total_wh,status,battery_power,battery_soc_pct,grid_power,"
    "load_power"
)
CELLS_MAX = {
    tables.JSON: 3_000_000,
    tables.CSV: 20_000_000,
    tables.PARQUET: 40_000_000,
    tables.ARROW: 40_000_000,
}
"""Rows times columns of one answer. JSON of that many is half a gigabyte of objects while it is
made, a table as Parquet the same: ten inverters that report every minute for four months."""

Columns = Annotated[
    str,
    QueryParameter(description="Names of docs/data.md, by comma, or `all`.", max_length=2_000),
]
Serial = Annotated[
    str | None, QueryParameter(description="Serial number; default: all.", max_length=64)
]


@get("/sites/{key:str}/readings", sync_to_thread=True, summary="Readings of a site",
     tags=["readings"], responses=tables.RESPONSES)  # fmt: skip
def site_readings(
    portal: Here,
    actor: Asking,
    key: Key,
    accept: tables.AcceptHeader = "",
    first: tables.First = None,
    last: tables.Last = None,
    columns: Columns = USUAL,
    inverter: Serial = None,
) -> Response[bytes]:
    """Rows by inverter and time; times are UTC."""
    who, record = seen(portal, actor, key)
    media_type = tables.chosen(accept)
    today = tables.today_in(ZoneInfo(record.time_zone), who.at)
    begin, until = tables.span(first, last, today, media_type)
    names = _names(columns)
    hung = [one for one in record.inverters if inverter in (None, one.serial_number)]
    if inverter is not None and not hung:
        raise NotFoundException("no such inverter")
    edges = midnights(begin, until, record.time_zone)
    begins, ends = (datetime.fromtimestamp(int(edges[n]) / 1e6, UTC) for n in (0, -1))
    needed = list(dict.fromkeys((*names, "inverter_sn", "ts")))
    rows_max = CELLS_MAX[media_type] // len(needed)
    with tables.one_of_few(), answering():
        rows = portal.sites.fleet.lake.readings(
            [one.serial_number for one in hung], begins, ends, needed, rows_max=rows_max + 1
        )
        if rows.num_rows > rows_max:
            raise ValidationException(
                f"more than {rows_max:,} rows of {len(names)} columns as {media_type}: ask for "
                "fewer days or columns"
            )
        here = pa.concat_tables(
            [rows.slice(0, 0), *(_while_there(rows, record, one) for one in hung)]
        )
        return tables.answer(here.select(names), media_type, name=f"readings-{key}-{begin}-{until}")


def _names(text: str) -> list[str]:
    if text == "all":
        return list(COLUMNS)
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = sorted(set(names) - set(COLUMNS))
    if unknown or not names:
        raise ValidationException(f"no such columns: {', '.join(unknown)[:200] or 'none named'}")
    return list(dict.fromkeys(names))


def _while_there(rows: pa.Table, site: SiteRecord, one: Inverter) -> pa.Table:
    begin, end = site.span(one)
    present = (pc.field("inverter_sn") == one.serial_number) & (
        pc.field("ts") >= pa.scalar(begin, schema.INSTANT)
    )
    if end is not None:
        present &= pc.field("ts") < pa.scalar(end, schema.INSTANT)
    return rows.filter(present)


ROUTES = (site_readings,)
