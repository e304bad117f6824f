"""In which format does a client want rows: JSON, CSV, Parquet or Arrow?

By the Accept header; JSON where anything will do. Spans of days are bounded, so that no answer
outgrows memory: wider for the formats of analysts, who take them in one piece.
"""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from litestar import Response
from litestar.datastructures.headers import Accept
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, QueryParameter

from autarco_portal.api.access import PROBLEMS
from autarco_portal.web_problems import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

JSON, CSV = "application/json", "text/csv"
PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"
TYPES = (JSON, CSV, PARQUET, ARROW)
DAYS_MAX = {JSON: 31, CSV: 92, PARQUET: 400, ARROW: 400}
"""31 days of one inverter are some 9,000 rows, 5 MB of JSON; 400 days 115,000, 10 MB of Parquet."""

AT_ONCE = 2
WAIT_S = 5.0
"""Who waits holds a thread of the server; most answers take a tenth of a second."""
_TURN = threading.BoundedSemaphore(AT_ONCE)

AcceptHeader = Annotated[
    str, HeaderParameter(name="accept", description=f"One of {', '.join(TYPES)}.", max_length=500)
]
First = Annotated[
    date | None, QueryParameter(name="from", description="First local day; default: a week ago.")
]
Last = Annotated[
    date | None, QueryParameter(name="to", description="Last local day; default: today.")
]
RESPONSES = PROBLEMS | {
    200: ResponseSpec(
        data_container=list[dict[str, Any]],
        description="Rows; as CSV, Parquet or Arrow if Accept says so.",
        media_type=JSON,
        generate_examples=False,
    ),
    406: ResponseSpec(
        data_container=dict[str, Any],
        description="None of the formats is accepted.",
        media_type="application/problem+json",
        generate_examples=False,
    ),
}


@contextmanager
def one_of_few() -> Iterator[None]:
    """Makes one of a few answers at a time; raises Unavailable where others take too long.

    Each may take half a gigabyte while it is made: a dozen at once would end the process.
    """
    if not _TURN.acquire(timeout=WAIT_S):
        raise Unavailable("several large answers are being made: ask again in a minute")
    try:
        yield
    finally:
        _TURN.release()


def chosen(accept: str) -> str:
    """Returns the format to answer in; raises HTTPException (406) where none is accepted."""
    best = Accept(accept or "*/*").best_match(list(TYPES))
    if best is None:
        raise HTTPException(f"Accept names one of {', '.join(TYPES)}", status_code=406)
    return best


def span(first: date | None, last: date | None, today: date, media_type: str) -> tuple[date, date]:
    """Returns the days asked for; raises ValidationException for too many or none."""
    until = last if last is not None else today
    begin = first if first is not None else until - timedelta(days=6)
    most = DAYS_MAX[media_type]
    if begin > until:
        raise ValidationException(f"from {begin} is after to {until}")
    if (until - begin).days >= most:
        raise ValidationException(f"at most {most} days at once as {media_type}")
    if not 2000 <= begin.year <= until.year <= 2100:
        raise ValidationException("days are from 2000 to 2100")
    return begin, until


def answer(rows: pa.Table, media_type: str, *, name: str) -> Response[bytes]:
    """Returns rows in a format; `name` is what a browser saves them as."""
    if media_type == JSON:
        body = msgspec.json.encode(rows.to_pylist())
    elif media_type == CSV:
        body = (
            pl.DataFrame(pl.from_arrow(rows))
            .write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.3fZ")
            .encode()
        )
    else:
        buffer = io.BytesIO()
        if media_type == PARQUET:
            pq.write_table(rows, buffer, compression="zstd")
        else:
            with pa.ipc.new_stream(buffer, rows.schema) as stream:
                stream.write_table(rows)
        body = buffer.getvalue()
    headers = {"Vary": "Accept"}
    if media_type != JSON:
        ending = {CSV: "csv", PARQUET: "parquet", ARROW: "arrows"}[media_type]
        headers["Content-Disposition"] = f'attachment; filename="{name}.{ending}"'
    return Response(body, media_type=media_type, headers=headers)


def today_in(zone: ZoneInfo, now: Any) -> date:
    """Returns the local day."""
    day: date = now.astimezone(zone).date()
    return day
