"""Which sites must be analysed again, because a fact they are computed with was corrected?

A mark per site, with the first day it is wrong from, in a file; `analyse` takes the marks up with
its next run and removes those that it has done. A corrected fact that nobody computes with anew
would leave expectation and alarms as wrong as before.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import msgspec

from autarco_ingest import file_lock, paths

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from autarco_portal.portal_paths import PortalDirectory

Marks = dict[str, date]


def mark(portal: PortalDirectory, site: str, since: date) -> None:
    """Notes that a site is to be analysed again from a day on; the earliest day stays."""
    with file_lock.held(_lock(portal)):
        known = marks(portal)
        _write(portal, known | {site: min(since, known.get(site, since))})


def marks(portal: PortalDirectory) -> Marks:
    """Returns since when which site is to be analysed again."""
    if not portal.reanalyse.exists():
        return {}
    return msgspec.json.decode(portal.reanalyse.read_bytes(), type=Marks)


def done(portal: PortalDirectory, what: Marks) -> None:
    """Removes marks that were taken up; one that was set anew meanwhile stays."""
    with file_lock.held(_lock(portal)):
        known = marks(portal)
        _write(portal, {site: since for site, since in known.items() if what.get(site) != since})


def forget(portal: PortalDirectory, sites: Collection[str]) -> None:
    """Removes the marks of sites that are erased."""
    if portal.reanalyse.exists():
        with file_lock.held(_lock(portal)):
            known = marks(portal)
            _write(portal, {site: since for site, since in known.items() if site not in sites})


def _lock(portal: PortalDirectory) -> Path:
    return portal.reanalyse.with_suffix(".lock")


def _write(portal: PortalDirectory, found: Marks) -> None:
    paths.write(portal.reanalyse, msgspec.json.encode(found, order="sorted"))
