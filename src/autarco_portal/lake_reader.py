"""What did inverters report? The portal's only door to the readings, through the catalog.

Each question opens the catalog anew and sees one moment of it, also while the ingest server
replaces it. A whole fleet's day is one question: ask for all inverters at once, not one by one.

Every method raises `CatalogError` when the catalog cannot answer; before the first start of the
server that is `NoCatalogError`.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from autarco_ingest import catalog, schema
from autarco_ingest.catalog import CatalogError, NoCatalogError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pyarrow as pa
    from pyarrow.fs import FileSystem

    from autarco_ingest.paths import DataDirectory

__all__ = ["CatalogError", "LakeReader", "NoCatalogError"]

_PARTITION = re.compile(r"/readings/date=(\d{4}-\d\d-\d\d)/[^/]*$")
_KNOWN = frozenset(column.name for column in schema.READINGS.columns)


class LakeReader:
    """Reads the lake of one data directory; `remote` reads tables that are on object storage."""

    def __init__(self, data: DataDirectory, remote: FileSystem | None = None) -> None:
        self._data = data
        self._remote = remote

    def readings(
        self,
        inverters: Collection[str] | None,
        begins: datetime,
        ends: datetime,
        columns: Sequence[str],
        *,
        in_order: bool = True,
        rows_max: int | None = None,
    ) -> pa.Table:
        """Returns the readings from `begins` on and before `ends`, by inverter and time.

        Only `columns` of `autarco_ingest.schema.READINGS`, in that order. `inverters` are serial
        numbers, None asks for all. Both moments have a time zone; times come in UTC. A whole
        fleet's day comes quicker when it need not be `in_order`; at most `rows_max` rows.
        """
        _check_columns(columns)
        where = [_between(begins, ends), *_of(inverters)]
        return self._ask(
            f"SELECT {', '.join(columns)} FROM readings WHERE {' AND '.join(where)}"  # noqa: S608
            + (" ORDER BY inverter_sn, ts, received_at" if in_order else "")
            + (f" LIMIT {rows_max:d}" if rows_max is not None else "")
        )

    def of_sticks(
        self,
        table: Literal["sessions", "quarantine"],
        loggers: Collection[int],
        begins: datetime,
        ends: datetime,
        columns: Sequence[str],
    ) -> pa.Table:
        """Returns what sticks said of themselves, or sent that nobody understood, by time."""
        found = schema.SESSIONS if table == "sessions" else schema.QUARANTINE
        unknown = sorted(set(columns) - {column.name for column in found.columns})
        if unknown or not columns:
            raise ValueError(f"{table} has no columns {unknown}" if unknown else "no columns asked")
        numbers = ", ".join(str(int(number)) for number in sorted(loggers))
        whose = f"logger_sn IN ({numbers})" if numbers else "false"
        # `at` is a word of SQL.
        where = _between(begins, ends, _name(found.time_column))
        return self._ask(
            f"SELECT {', '.join(map(_name, columns))} FROM {table} "  # noqa: S608
            f"WHERE {where} AND {whose} ORDER BY {_name(found.time_column)}"
        )

    def latest(
        self, inverters: Collection[str] | None = None, columns: Sequence[str] = ("*",)
    ) -> pa.Table:
        """Returns the newest reading of each inverter, seconds old, by serial number."""
        if tuple(columns) != ("*",):
            _check_columns(columns)
        where = " AND ".join(_of(inverters)) or "true"
        return self._ask(
            f"SELECT {', '.join(columns)} FROM latest WHERE {where} ORDER BY inverter_sn"  # noqa: S608
        )

    def daily_energy(self, inverters: Collection[str] | None, first: date, last: date) -> pa.Table:
        """Returns the lake's `daily_energy` of the days from `first` to `last`, both included.

        By inverter and day, with `coverage`, `gap_max_s` and `energy_integral_kwh` of
        `daily_quality` beside it (docs/data.md).
        """
        where = " AND ".join(_of(inverters)) or "true"
        days = f"DATE '{first.isoformat()}', DATE '{last.isoformat()}'"
        return self._ask(
            f"SELECT * FROM daily_energy_between({days}) "  # noqa: S608
            f"LEFT JOIN daily_quality_between({days}) USING (inverter_sn, day) "
            f"WHERE {where} ORDER BY inverter_sn, day"
        )

    def received(self, inverters: Collection[str] | None, first: date, last: date) -> pa.Table:
        """Returns what came for each hour of the UTC dates from `first` to `last`.

        `hour` counts from 1970, `readings` are how many, `received_at` is when the newest came:
        data that come late show there.
        """
        where = [
            f"date BETWEEN DATE '{first.isoformat()}' AND DATE '{last.isoformat()}'",
            *_of(inverters),
        ]
        return self._ask(
            "SELECT epoch_us(ts) // 3600000000 AS hour, count(*) AS readings, "  # noqa: S608
            "max(received_at) AS received_at FROM readings "
            f"WHERE {' AND '.join(where)} GROUP BY hour ORDER BY hour"
        )

    def around(
        self, inverters: Collection[str], begins: datetime, ends: datetime, within: timedelta
    ) -> pa.Table:
        """Returns the readings next to a span: the last before it and the first after it.

        One row per inverter heard within that time: `inverter_sn`, `before_at`, `before_wh`,
        `after_at`, `after_wh`, the counter `energy_total_wh` at those times; null where there is
        none. Rows that only repeat a measurement do not count.
        """
        spans = {
            "before": (begins - within, begins, "max"),
            "after": (ends, ends + within, "min"),
        }
        sides = [
            f"SELECT inverter_sn, arg_{best}(ts, ts) AS {side}_at, "  # noqa: S608
            f"arg_{best}(energy_total_wh, ts) AS {side}_wh FROM readings "
            f"WHERE {_between(first, last)} AND {' AND '.join(_of(inverters))} "
            "AND repeat IS DISTINCT FROM true AND energy_total_wh IS NOT NULL GROUP BY inverter_sn"
            for side, (first, last, best) in spans.items()
        ]
        return self._ask(
            f"SELECT * FROM ({sides[0]}) FULL JOIN ({sides[1]}) USING (inverter_sn) "  # noqa: S608
            "ORDER BY inverter_sn"
        )

    def moment(self) -> tuple[int, int] | None:
        """Returns what differs when the catalog was replaced since; None without a catalog."""
        try:
            status = self._data.catalog.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    def dates(self) -> dict[date, frozenset[str]]:
        """Returns which files of the table hold the readings of each UTC date."""
        found: dict[date, set[str]] = {}
        for name in catalog.files(self._data):
            partition = _PARTITION.search(name)
            if partition is not None:
                found.setdefault(date.fromisoformat(partition[1]), set()).add(name)
        return {day: frozenset(names) for day, names in sorted(found.items())}

    def publish(self) -> None:
        """Shows derived tables that are new in the catalog that people open."""
        catalog.publish(self._data)

    def _ask(self, sql: str) -> pa.Table:
        return catalog.query(self._data, sql, self._remote)


def _between(begins: datetime, ends: datetime, column: str = "ts") -> str:
    """Names the dates too: they say which files need not be opened."""
    if begins.tzinfo is None or ends.tzinfo is None:
        raise ValueError("readings are asked for between moments that have a time zone")
    first = begins.astimezone(UTC)
    last = max(first, ends.astimezone(UTC) - timedelta(microseconds=1))
    return (
        f"date BETWEEN DATE '{first:%Y-%m-%d}' AND DATE '{last:%Y-%m-%d}' "
        f"AND {column} >= {_instant(begins)} AND {column} < {_instant(ends)}"
    )


def _instant(at: datetime) -> str:
    return f"TIMESTAMPTZ '{at.astimezone(UTC).isoformat()}'"


def _of(inverters: Collection[str] | None) -> list[str]:
    if inverters is None:
        return []
    if not inverters:
        return ["false"]
    return [f"inverter_sn IN ({', '.join(map(_text, sorted(inverters)))})"]


def _check_columns(columns: Sequence[str]) -> None:
    unknown = sorted(set(columns) - _KNOWN)
    if unknown or not columns:
        raise ValueError(f"readings have no columns {unknown}" if unknown else "no columns asked")


def _name(column: str) -> str:
    return f'"{column}"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
