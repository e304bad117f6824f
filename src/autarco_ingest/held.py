"""Whose rows must neither age nor go, however old they are?

Those of a legal hold, and those that a guarantee year which is not settled yet is computed from.
The portal knows, and writes the list `held.json` as a whole (docs/operations.md, "Retention"); this
only reads it. A serial number that is forgotten is taken off it.

A list that cannot be read is never taken for an empty one: what it named would be gone.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from autarco_ingest import paths
from autarco_ingest.ageing import Age

if TYPE_CHECKING:
    from pathlib import Path

    from autarco_ingest.forgotten import Kind
    from autarco_ingest.schema import Table

BYTES_MAX = 64 * 1024 * 1024
"""Some 600,000 entries; a larger file is not a list of ours."""


class HeldError(ValueError):
    """The list cannot be used; the message is one sentence."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows that stay as they are: of one inverter in `readings`, of one logger elsewhere."""

    table: Literal["readings", "sessions", "quarantine"]
    serial: str
    since: date | None = None
    """The first UTC date of them; None for all."""
    age: Age = Age.WHOLE
    """How far they may age all the same."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The list of one moment; without arguments nothing is held."""

    entries: tuple[Entry, ...] = ()

    def ages(self, table: Table, day: str) -> dict[str, Age]:
        """Returns whose rows of that day stay, and how far they may age."""
        on = date.fromisoformat(day)
        found: dict[str, Age] = {}
        for entry in self.entries:
            if entry.table == table.name and (entry.since is None or entry.since <= on):
                found[entry.serial] = min(entry.age, found.get(entry.serial, entry.age))
        return found

    def mask(
        self, table: Table, day: str, rows: pa.Table, age: Age | None = None
    ) -> pa.ChunkedArray[Any]:
        """Returns which of the day's rows are held: those that may just age so far, or all."""
        column = rows.column("inverter_sn" if table.name == "readings" else "logger_sn")
        serials = [
            serial for serial, limit in self.ages(table, day).items() if age is None or limit == age
        ]
        # The list names loggers by their digits.
        known = pa.array(serials, pa.string())
        return cast("pa.ChunkedArray[Any]", pc.is_in(column.cast(pa.string()), value_set=known))


def load(path: Path) -> Held:
    """Reads the list; without a file nothing is held. Raises HeldError, OSError."""
    try:
        if path.stat().st_size > BYTES_MAX:
            raise HeldError(f"{path}: larger than {BYTES_MAX} bytes")
        return msgspec.json.decode(path.read_bytes(), type=Held)
    except FileNotFoundError:
        return Held()
    except msgspec.DecodeError as error:
        raise HeldError(f"{path}: no list of held readings: {error}") from error


def remove(path: Path, kind: Kind, serial: str) -> bool:
    """Takes a forgotten serial number off the list; whether it was there.

    Raises HeldError or OSError; then nothing is changed.
    """
    known = load(path)
    kept = tuple(
        entry
        for entry in known.entries
        if entry.serial != serial or (entry.table == "readings") != (kind == "inverter")
    )
    if len(kept) == len(known.entries):
        return False
    content = msgspec.json.encode(Held(entries=kept))
    paths.write(path, content, mode=path.stat().st_mode & 0o7777)
    return True
