"""How is the table of retention enforced, and what does the job report?

Rows by the store, photos as files, telemetry by `autarco-ingest retain` with the periods of the
table, after it was told whose readings stay whole (`telemetry_kept`). Backups are the operator's:
the rule is printed, nobody can enforce it from here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from autarco_portal import privacy_files, telemetry_kept
from autarco_portal.audit import AuditEntry
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.privacy.retention import Enforcer, Removed, Rule, cutoff

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from autarco_ingest.paths import DataDirectory
    from autarco_portal.store import Store

TIMEOUT_S = 3_600.0
SYSTEM = "system:retention"


class RetentionError(Exception):
    """Telemetry could not be pruned; the rest was. One sentence."""


def run(
    store: Store,
    data: DataDirectory,
    rules: Iterable[Rule],
    now: datetime,
    *,
    is_dry: bool = False,
) -> list[Removed]:
    """Removes what is due by the portal's own rules, or only counts it; one line per rule."""
    found = []
    for rule in rules:
        if rule.enforcer is not Enforcer.PORTAL:
            continue
        if rule.name == "photos":
            found.append(_photos(store, PortalDirectory.of(data), rule, now, is_dry=is_dry))
        elif is_dry:
            found.append(store.retention.due(rule, now))
        else:
            entry = AuditEntry(at=now, actor=SYSTEM, action="retain", thing=f"table:{rule.store}")
            found.append(store.retention.run(rule, now, entry))
    return found


def run_ingest(store: Store, data: DataDirectory, rules: Iterable[Rule], now: datetime) -> str:
    """Prunes the lake by the same table; returns what the command said, raises RetentionError.

    A server that is set to keep less goes on doing so: this only adds to it. What is held stays in
    either case.
    """
    telemetry_kept.write(data.held, telemetry_kept.entries(store, now))
    environment = dict(os.environ)
    for rule in rules:
        if rule.enforcer is Enforcer.INGEST:
            environment[f"AUTARCO_RETENTION__{rule.name.upper()}_DAYS"] = str(rule.days)
    command = [sys.executable, "-m", "autarco_ingest", "retain", "--data", str(data.root)]
    try:
        # S603: our own program, with our own arguments.
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
            env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise RetentionError(f"autarco-ingest retain took longer than {TIMEOUT_S:.0f} s") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RetentionError(f"autarco-ingest retain: {said[-1] if said else 'it said nothing'}")
    return done.stdout


def _photos(
    store: Store, portal: PortalDirectory, rule: Rule, now: datetime, *, is_dry: bool
) -> Removed:
    before = cutoff(rule, now)
    count = 0
    for site in store.retention.sites_with_photos_due(before):
        for photo in store.photos.of_site(site):
            count += 1
            # The row first: a row without a file would be a photo that cannot be shown.
            if not is_dry and store.photos.remove(site, photo.sha256):
                privacy_files.delete_photos(portal, [photo])
    return Removed(rule=rule.name, before=before, count=count)
