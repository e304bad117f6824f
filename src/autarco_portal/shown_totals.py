"""Which totals were shown already, so that none falls, not after a restart either?

A late correction may lower what a counter is believed to have made. To a program that keeps
statistics a falling total is a new meter, and the next rise is counted twice: so what was shown
once is shown until the counter has passed it. The totals are kept in one file, which is written
once a minute at most and at the end. They are forgotten with what they were made of: of an inverter
that the lake has forgotten, nothing stays.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec
import structlog

from autarco_ingest import durable, paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Set
    from datetime import datetime
    from pathlib import Path

    from autarco_portal.site_view import SiteView

log = structlog.get_logger(__name__)

SUMS = (
    "pv", "consumption", "grid_import", "grid_export", "battery_charged", "battery_discharged",
)  # fmt: skip
"""The fields of a `SiteView` whose `to_date` must not fall."""


class SiteTotals(msgspec.Struct, frozen=True, array_like=True):
    """The highest that was shown of a site, in kWh."""

    sums: dict[str, int]
    inverters: dict[str, int]
    """By serial number; one that has made nothing is not there."""


_DECODER = msgspec.json.Decoder(dict[str, SiteTotals])


class ShownTotals:
    """The totals of all sites that were looked at; any thread may ask."""

    def __init__(self, file: Path) -> None:
        """Reads what an earlier process kept in `file`, if it did."""
        self._file = file
        self._turn = threading.Lock()
        self._of = _read(file)
        self._is_kept = True

    def raised(
        self, public_key: str, view: SiteView, *, seen_from: datetime | None = None
    ) -> SiteView:
        """Returns a site's view with no total lower than it was shown before, and notes it.

        Those who may see a site since different moments (`seen_from`) see totals of their own.
        """
        key = public_key if seen_from is None else f"{public_key} {seen_from.isoformat()}"
        with self._turn:
            before = self._of.get(key)
            if before is not None:
                view = _raised(view, before)
            now = _totals(view)
            if now != before:
                # As many as the store has sites; `forget_gone` takes out what is no more.
                self._of[key] = now
                self._is_kept = False
        return view

    def forget_gone(self, known: Set[str]) -> None:
        """Forgets the sites that have an inverter which is not among the `known` ones."""
        with self._turn:
            gone = [key for key, one in self._of.items() if not one.inverters.keys() <= known]
            self._drop(gone)

    def forget(self, sites: Iterable[str]) -> None:
        """Forgets sites."""
        with self._turn:
            known = set(sites)
            self._drop([key for key in self._of if key.partition(" ")[0] in known])

    def keep(self) -> bool:
        """Writes the file if anything is new; returns whether. Raises OSError."""
        with self._turn:
            if self._is_kept:
                return False
            content = msgspec.json.encode(self._of)
            self._is_kept = True
        try:
            draft = paths.draft(self._file)
            draft.touch(mode=0o600)
            draft.write_bytes(content)
            durable.replace(draft, self._file)
        except OSError:
            self._is_kept = False
            raise
        return True

    def _drop(self, keys: list[str]) -> None:
        for key in keys:
            del self._of[key]
            self._is_kept = False


def _read(file: Path) -> dict[str, SiteTotals]:
    try:
        return _DECODER.decode(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        # Worth a warning, not a portal that does not start: the counters are in the lake.
        log.warning("what was shown before the start is not known", error=str(error))
        return {}


def _totals(view: SiteView) -> SiteTotals:
    return SiteTotals(
        sums={name: getattr(view, name).to_date for name in SUMS},
        inverters={
            one.serial_number: one.energy_total for one in view.inverters if one.energy_total
        },
    )


def _raised(view: SiteView, before: SiteTotals) -> SiteView:
    sums = {}
    for name in SUMS:
        now = getattr(view, name)
        highest = max(now.to_date, before.sums.get(name, 0))
        sums[name] = msgspec.structs.replace(now, to_date=highest)
    inverters = tuple(
        msgspec.structs.replace(
            one, energy_total=max(one.energy_total, before.inverters.get(one.serial_number, 0))
        )
        for one in view.inverters
    )
    return msgspec.structs.replace(view, inverters=inverters, **sums)
