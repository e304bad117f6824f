"""`/api/v1/sites/…/performance`: what does analysis say of a site's days?

The rows of the derived tables (docs/analytics.md), as `autarco-portal analyse` left them.
"""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import polars as pl
from litestar import Response, get
from litestar.params import PathParameter

from autarco_ingest.paths import DataDirectory
from autarco_portal import derived
from autarco_portal.api import tables
from autarco_portal.api.access import Key, seen
from autarco_portal.derived_store import DerivedError, DerivedStore
from autarco_portal.portal import Here
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.web_identity import Asking
from autarco_portal.web_problems import Unavailable

TABLES = {
    "daily-energy": derived.DAILY_ENERGY,
    "site-day": derived.SITE_DAY,
    "expected": derived.EXPECTED,
    "performance-ratio": derived.PERFORMANCE_RATIO,
    "peer-ratio": derived.PEER_RATIO,
    "availability": derived.AVAILABILITY,
}
Table = Annotated[
    Literal[
        "daily-energy", "site-day", "expected", "performance-ratio", "peer-ratio", "availability"
    ],
    PathParameter(description="Which table of docs/analytics.md."),
]


@get("/sites/{key:str}/performance/{table:str}", sync_to_thread=True,
     summary="Days of a site, analysed", tags=["performance"],
     responses=tables.RESPONSES)  # fmt: skip
def site_performance(
    portal: Here,
    actor: Asking,
    key: Key,
    table: Table,
    accept: tables.AcceptHeader = "",
    first: tables.First = None,
    last: tables.Last = None,
) -> Response[bytes]:
    """One row per local day, or per inverter and day."""
    who, record = seen(portal, actor, key)
    media_type = tables.chosen(accept)
    today = tables.today_in(ZoneInfo(record.time_zone), who.at)
    begin, until = tables.span(first, last, today, media_type)
    store = DerivedStore(PortalDirectory.of(DataDirectory.at(portal.settings.data)))
    with tables.one_of_few():
        try:
            rows = store.read(TABLES[table], begin, until, site_id=record.public_key)
            if record.seen_from_day is not None:
                rows = rows.filter(pl.col("date") >= record.seen_from_day)
        except DerivedError as error:
            raise Unavailable("the derived tables cannot be read now") from error
        mine = rows.sort(*TABLES[table].keys)
        return tables.answer(mine.to_arrow(), media_type, name=f"{table}-{key}-{begin}-{until}")


ROUTES = (site_performance,)
