"""Which totals were shown already, so that none falls, not after a restart either?

A late correction may lower what a counter is believed to have made. To a program that keeps
statistics a falling total is a new meter, and the next rise is counted twice: so what was shown
once is shown until the counter has passed it. The totals are kept in one file, which is written
once a minute at most and at the end. They are forgotten with what they were made of: of an inverter
that the lake has forgotten, and of a site that has left the store, nothing stays. Nor does what was
shown while another inverter hung there: a wrong one that somebody took down may be a neighbour's.
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec
import structlog

from autarco_ingest import durable, paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Set
    from datetime import datetime
    from pathlib import Path

    from autarco_portal.site import Inverter
    from autarco_portal.site_view import SiteView

log = structlog.get_logger(__name__)

MODE = 0o600
"""Of the file: totals are personal."""

SUMS = (
    "pv", "consumption", "grid_import", "grid_export", "battery_charged", "battery_discharged",
)  # fmt: skip
"""The fields of a `SiteView` whose `to_date` must not fall."""


Kwh: TypeAlias = Annotated[int, msgspec.Meta(le=10**12)]
"""A register has ten digits at most; more is no total that anybody was shown."""


class SiteTotals(msgspec.Struct, frozen=True, array_like=True):
    """The highest that was shown of a site, in kWh."""

    sums: dict[str, Kwh]
    inverters: dict[str, Kwh]
    """By serial number; one that has made nothing is not there."""
    hung: str = ""
    """`hanging` when they were shown; empty where that is not known."""


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
        self, public_key: str, view: SiteView, *, hung: str = "", seen_from: datetime | None = None
    ) -> SiteView:
        """Returns a site's view with no total lower than it was shown before, and notes it.

        `hung` is `hanging` of its inverters: what was shown with others does not count. Those who
        may see a site since different moments (`seen_from`) see totals of their own.
        """
        key = public_key if seen_from is None else f"{public_key} {seen_from.isoformat()}"
        with self._turn:
            before = self._of.get(key)
            if before is not None and before.hung in ("", hung):
                view = _raised(view, before)
            now = _totals(view, hung)
            if now != before and (before is not None or any(now.sums.values()) or now.inverters):
                # As many as the store has sites; `forget_gone` takes out what is no more.
                self._of[key] = now
                self._is_kept = False
        return view

    def forget_gone(self, known: Set[str], sites: Set[str]) -> None:
        """Forgets all but `sites`, and of these who has an inverter that is not a `known` one."""
        with self._turn:
            gone = [
                key
                for key, one in self._of.items()
                if _site(key) not in sites or not one.inverters.keys() <= known
            ]
            for key in gone:
                del self._of[key]
                self._is_kept = False

    def keep(self) -> bool:
        """Writes the file if anything is new; returns whether. Raises OSError."""
        with self._turn:
            if self._is_kept:
                return False
            content = msgspec.json.encode(self._of)
            self._is_kept = True
        try:
            paths.write(self._file, content, mode=MODE)
        except OSError:
            self._is_kept = False
            raise
        return True


def forget(file: Path, sites: Iterable[str]) -> bool:
    """Takes sites out of what a process kept in `file`; returns whether anything changed.

    What nobody can read may hold them too, so it goes whole. Raises OSError where it cannot be told
    whether they are in it, or cannot be taken out: an erasure must not pass over that.
    """
    try:
        kept = _decoded(file.read_bytes())
    except FileNotFoundError:
        return False
    except msgspec.DecodeError:
        file.unlink()
        durable.sync(file.parent)
        return True
    gone = set(sites)
    left = {key: one for key, one in kept.items() if _site(key) not in gone}
    if len(left) == len(kept):
        return False
    paths.write(file, msgspec.json.encode(left), mode=MODE)
    return True


def _site(key: str) -> str:
    """Whose totals those are that are kept under a name (`raised`)."""
    return key.partition(" ")[0]


def _read(file: Path) -> dict[str, SiteTotals]:
    try:
        return _decoded(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        # Worth a warning, not a portal that does not start: the counters are in the lake.
        log.warning("what was shown before the start is not known", error=str(error))
        return {}


def _decoded(content: bytes) -> dict[str, SiteTotals]:
    try:
        return _DECODER.decode(content)
    except UnicodeDecodeError as error:
        # Of bytes within a text, the decoder says it in another way than of all others.
        raise msgspec.DecodeError(f"{error.reason} at byte {error.start} of a text") from None


def hanging(inverters: Iterable[Inverter]) -> str:
    """Returns a short name of which inverters hang or hung at a site, and when."""
    said = sorted(
        f"{one.serial_number} {one.installed_at} {one.uninstalled_at}" for one in inverters
    )
    return hashlib.blake2b("\n".join(said).encode(), digest_size=8).hexdigest()


def _totals(view: SiteView, hung: str) -> SiteTotals:
    return SiteTotals(
        hung=hung,
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
