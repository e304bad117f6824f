"""Where is each personal attribute from, and what was it before?

Used by `people` and `sites` inside their own transactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autarco_portal.people import AttributeRecord, Source, SourceKind
from autarco_portal.store.tables import AttributeRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime


def source_of(row: AttributeRow) -> Source:
    """Returns where a value is from."""
    return Source(kind=SourceKind(row.source_kind), organisation_id=row.source_organisation_id)


def current_sources(rows: Iterable[AttributeRow]) -> dict[str, Source]:
    """Returns the source of each attribute as it holds now."""
    return {row.attribute: source_of(row) for row in rows if row.until is None}


def history(rows: Iterable[AttributeRow]) -> list[AttributeRecord]:
    """Returns what attributes were when, oldest first."""
    return [
        AttributeRecord(
            attribute=row.attribute,
            value=row.value,
            source=source_of(row),
            from_at=row.from_at,
            until=row.until,
        )
        for row in rows
    ]


def record(
    rows: list[AttributeRow], values: Mapping[str, Any], source: Source, now: datetime
) -> None:
    """Ends what held and begins what holds now, for each of `values`."""
    for attribute, value in values.items():
        for row in rows:
            if row.attribute == attribute and row.until is None:
                row.until = now
        rows.append(
            AttributeRow(
                attribute=attribute,
                value=value,
                source_kind=source.kind.value,
                source_organisation_id=source.organisation_id,
                from_at=now,
            )
        )
