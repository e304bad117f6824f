"""How does somebody get the bundle of his data from a page: begun, waited for, fetched, gone?

Years of telemetry take seconds to minutes, so a bundle is written beside the requests, one at a
time. State and result are files below `DATA/portal/bundles`, so every process knows of them; a lock
that the kernel gives back tells who still writes. What was made is there for a day.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec
import structlog

from autarco_ingest import paths
from autarco_portal import bundle_export
from autarco_portal.audit import AuditEntry
from autarco_portal.bundle import BundleError
from autarco_portal.lake_reader import CatalogError, LakeReader
from autarco_portal.portal_paths import PortalDirectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from autarco_ingest.paths import DataDirectory
    from autarco_portal.bundle import Profile
    from autarco_portal.store import Store

log = structlog.get_logger(__name__)

KEPT = timedelta(days=1)
"""How long a bundle waits for its owner."""
CANNOT_READ = "the readings cannot be read now: try again in a minute"
CUT_SHORT = "it was cut short: begin again"


class BundleState(msgspec.Struct, frozen=True, kw_only=True):
    """Where one bundle stands."""

    state: Literal["building", "ready", "failed"]
    begun_at: datetime
    done: int = 0
    """Parts of the telemetry, of `total`."""
    total: int = 0
    ready_at: datetime | None = None
    bytes: int = 0
    sha256: str = ""
    """Of the whole file."""
    message: str = ""
    """Why it failed; one sentence."""


_STATE = msgspec.json.Decoder(BundleState)


class BundleJobs:
    """Bundles of one portal; safe to share between threads."""

    def __init__(self, store: Store, data: DataDirectory, now: Callable[[], datetime]) -> None:
        self._store = store
        self._data = data
        self._directory = PortalDirectory.of(data)
        self._now = now
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bundle")

    def begin(self, person_id: str, profile: Profile) -> None:
        """Begins to write one, unless that is going on; the one before is replaced."""
        place = self._directory.bundles
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        sweep(self._directory, self._now())
        lock = os.open(self._file(person_id, profile, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return
        begun = BundleState(state="building", begun_at=self._now())
        try:
            self._file(person_id, profile, "zip").unlink(missing_ok=True)
            self._write(person_id, profile, begun)
            self._worker.submit(self._run, person_id, profile, begun, lock)
        except BaseException:
            os.close(lock)
            raise

    def state(self, person_id: str, profile: Profile) -> BundleState | None:
        """Returns where it stands; None where there is none, or none any more."""
        found = _read(self._file(person_id, profile, "json"))
        if found is None or _is_over(found, self._now()):
            return None
        if found.state == "building" and not self._is_written(person_id, profile):
            # It may have ended just now.
            again = _read(self._file(person_id, profile, "json"))
            if again is not None and again.state == "building":
                return msgspec.structs.replace(found, state="failed", message=CUT_SHORT)
            return again
        return found

    def file(self, person_id: str, profile: Profile) -> Path | None:
        """Returns the file that is ready, or None."""
        found = self.state(person_id, profile)
        path = self._file(person_id, profile, "zip")
        return path if found is not None and found.state == "ready" and path.exists() else None

    def close(self) -> None:
        """Waits for what is being written."""
        self._worker.shutdown(cancel_futures=True)

    def _run(self, person_id: str, profile: Profile, begun: BundleState, lock: int) -> None:
        """In the worker's thread; gives the lock back."""
        try:
            self._write(person_id, profile, self._made(person_id, profile, begun))
        finally:
            os.close(lock)

    def _made(self, person_id: str, profile: Profile, begun: BundleState) -> BundleState:
        out = self._file(person_id, profile, "zip")
        now = self._now()

        def progress(done: int, total: int) -> None:
            step = msgspec.structs.replace(begun, done=done, total=total)
            self._write(person_id, profile, step)

        try:
            records = self._store.person_data.collect(
                person_id, now, is_portable=profile == "portability"
            )
            bundle_export.export(
                records,
                LakeReader(self._data),
                self._directory,
                out,
                profile=profile,
                now=now,
                progress=progress,
            )
            sha256 = _sha256(out)
            # An export without its entry would be one that nobody can find out about.
            self._store.audit.append(
                AuditEntry(
                    at=now,
                    actor=person_id,
                    action="export_person",
                    thing=f"person:{person_id}",
                    subject=person_id,
                    detail={"profile": profile, "sha256": sha256},
                )
            )
        except CatalogError:
            return msgspec.structs.replace(begun, state="failed", message=CANNOT_READ)
        except BundleError as error:
            log.warning("a bundle failed", profile=profile, error=str(error))
            return msgspec.structs.replace(begun, state="failed", message=CUT_SHORT)
        except Exception:
            # The thread must tell its reader, whatever it was; the log has the rest.
            log.exception("a bundle failed", profile=profile)
            out.unlink(missing_ok=True)
            return msgspec.structs.replace(begun, state="failed", message=CUT_SHORT)
        return msgspec.structs.replace(
            begun,
            state="ready",
            ready_at=self._now(),
            bytes=out.stat().st_size,
            sha256=sha256,
        )

    def _is_written(self, person_id: str, profile: Profile) -> bool:
        try:
            lock = os.open(self._file(person_id, profile, "lock"), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def _write(self, person_id: str, profile: Profile, state: BundleState) -> None:
        path = self._file(person_id, profile, "json")
        paths.write(path, msgspec.json.encode(state), mode=0o600)

    def _file(self, person_id: str, profile: Profile, suffix: str) -> Path:
        return self._directory.bundles / f"{person_id}-{profile}.{suffix}"


def sweep(directory: PortalDirectory, now: datetime) -> int:
    """Deletes bundles whose day is over; returns how many there were."""
    gone = 0
    for file in sorted(directory.bundles.glob("*.json")):
        found = _read(file)
        if found is None or _is_over(found, now):
            file.with_suffix(".zip").unlink(missing_ok=True)
            file.unlink(missing_ok=True)
            gone += 1
    return gone


def _is_over(state: BundleState, now: datetime) -> bool:
    return now >= (state.ready_at or state.begun_at) + KEPT


def _read(file: Path) -> BundleState | None:
    try:
        return _STATE.decode(file.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _sha256(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
