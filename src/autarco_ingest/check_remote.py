"""Is every file of a table on object storage there, by the log's own word?

Each log is opened as every reader does it, and each file it names must be there with the right
size. The values inside are not read: a lake of years would cross the network for it, and the
service keeps checksums of what it stores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake.exceptions import DeltaError

from autarco_ingest.check_tables import ORPHAN_S, TableReport, version_finding
from autarco_ingest.finding import Finding, attention
from autarco_ingest.lake import one_line, open_delta, other_version

if TYPE_CHECKING:
    from autarco_ingest.table_store import Stored, TableStore


def check(store: TableStore, table: str, node: str, *, now_s: float) -> tuple[TableReport, int]:
    """Looks at one table; returns the findings, and of how many files. Raises OSError."""
    report = TableReport()
    # Before the log: what is written from here on is too young to be left behind.
    there = {stored.name: stored for stored in store.names(table)}
    try:
        delta = open_delta(store, table)
        added = pa.table(delta.get_add_actions(flatten=True))
        if other := other_version(table, delta):
            report.findings.append(version_finding(store.uri(table), other))
        report.committed = delta.transaction_version(node) or 0
    except DeltaError as error:
        report.findings.append(
            Finding(
                severity="damage",
                place=store.uri(table),
                seen=f"the table cannot be opened: {one_line(error)}",
                do="bring its log back with the tools of the service before a server starts",
            )
        )
        return report, 0
    named: dict[str, int] = {file["path"]: file["size_bytes"] for file in added.to_pylist()}
    for name, size in sorted(named.items()):
        found = there.get(name) or _look_again(store, table, name)
        if found is None or found.bytes != size:
            seen = "missing" if found is None else f"{found.bytes} bytes, {size} in the log"
            todo = "bring the object back with the tools of the service"
            place = store.full_name(table, name)
            report.findings.append(Finding(severity="damage", place=place, seen=seen, do=todo))
    removed = {name for name in there if name not in named}
    old = [name for name in removed if now_s - there[name].modified_ms / 1000 > ORPHAN_S]
    if old:
        report.findings.append(
            attention(
                store.uri(table),
                f"{len(old)} files that its newest version does not name, as {min(old)}",
                "they take space only; the sweep after compaction removes what it replaced",
            )
        )
    return report, len(named)


def _look_again(store: TableStore, table: str, name: str) -> Stored | None:
    """The listing may be older than the log."""
    return next((stored for stored in store.names(table) if stored.name == name), None)
