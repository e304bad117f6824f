"""Rows of the tables, as tests need them: every column there, the interesting ones chosen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from autarco_ingest import schema

NOON = datetime(2026, 6, 15, 12, 0, 0, tzinfo=UTC)


def reading(**chosen: Any) -> dict[str, Any]:
    """Returns one reading; what is not chosen is null or ordinary."""
    ordinary = {
        "ts": NOON,
        "received_at": chosen.get("ts", NOON) + timedelta(seconds=2),
        "time_source": "stick",
        "inverter_sn": "SIM0001",
        "logger_sn": 4_100_000_001,
        "protocol": "v5",
        "sensor_type": 0x0507,
        "historic": False,
    }
    return dict.fromkeys(_names(schema.READINGS)) | ordinary | chosen


def readings(*rows: dict[str, Any]) -> pa.Table:
    """Returns readings as one table."""
    return _table(schema.READINGS, rows)


def samples(count: int, *, start: datetime = NOON, inverter_sn: str = "SIM0001") -> pa.Table:
    """Returns samples of one inverter, one per second."""
    return readings(
        *(
            reading(ts=start + timedelta(seconds=second), inverter_sn=inverter_sn)
            for second in range(count)
        )
    )


def sessions(*rows: dict[str, Any]) -> pa.Table:
    """Returns session events; what is not chosen is null or ordinary."""
    ordinary = {"at": NOON, "event": "handshake", "logger_sn": 4_100_000_001, "protocol": "v5"}
    return _table(
        schema.SESSIONS,
        [dict.fromkeys(_names(schema.SESSIONS)) | ordinary | row for row in rows],
    )


def quarantine(*rows: dict[str, Any]) -> pa.Table:
    """Returns quarantined frames; what is not chosen is null or ordinary."""
    ordinary = {
        "received_at": NOON,
        "reason": "unknown_sensor",
        "logger_sn": 4_100_000_001,
        "protocol": "v5",
        "frame": b"\xa5\x15",
    }
    return _table(
        schema.QUARANTINE,
        [dict.fromkeys(_names(schema.QUARANTINE)) | ordinary | row for row in rows],
    )


def _names(table: schema.Table) -> list[str]:
    return [column.name for column in table.columns if column.name != "date"]


def _table(table: schema.Table, rows: Any) -> pa.Table:
    # Nulls where none are allowed must be possible, so the fields are all nullable here.
    fields = [(c.name, c.type) for c in table.columns if c.name != "date"]
    return pa.Table.from_pylist(list(rows), schema=pa.schema(fields))
