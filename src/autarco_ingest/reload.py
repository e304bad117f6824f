"""What happens when the operator's files change under a running server?

The registry, the list of the forgotten and the TLS certificate are looked at every few seconds and
taken over without losing a connection. A file that cannot be used changes nothing: the one before
stays in force, and `problems` says so until it is mended. Whom the registry refused is written the
other way, for the operator to read.

One caller at a time, in a thread: every call may block on disk.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import structlog

from autarco_ingest import durable, forgotten, paths, registry
from autarco_ingest.file_signature import Signature, signature

if TYPE_CHECKING:
    from pathlib import Path

    from autarco_ingest import _core
    from autarco_ingest.settings import Settings

log = structlog.get_logger(__name__)


UNSEEN = Signature(-1, -1, -1)
"""No file has it."""


class RefusedLogger(msgspec.Struct, frozen=True):
    """One entry of `refused.json`: a logger that sends but is not in the registry."""

    logger_sn: int
    frames: int
    first_at: datetime
    last_at: datetime


class Reload:
    """The files that may change, and what was last taken over from them."""

    def __init__(
        self,
        settings: Settings,
        directory: paths.DataDirectory,
        gateway: _core.Gateway,
        in_force: forgotten.Forgotten,
    ) -> None:
        """Takes over the registry; raises RegistryError or OSError when it cannot be used.

        `in_force` is the list of the forgotten that the gateway was opened with.
        """
        self._gateway = gateway
        self._directory = directory
        self.forgotten = in_force
        # It may have changed since it was loaded: the first look reads it again.
        self._forgotten_seen: Signature | None = UNSEEN
        self._registry = settings.registry.file or directory.registry
        self._tls = settings.tls_listener
        self._refused_file = directory.refused
        self._refused: list[tuple[int, int, int, int]] = []
        self._registry_seen: Signature | None = signature(self._registry)
        self._take_registry()
        if settings.registry.policy == "known" and self._registry_seen is None:
            log.warning("no registry yet, every logger is refused", file=str(self._registry))
        self._tls_seen = self._tls_signatures()
        self.problems: dict[str, str] = {}

    def check(self) -> None:
        """Takes over what has changed since the last call, and tells whom the registry refused."""
        self._check_registry()
        self._check_forgotten()
        self._check_tls()
        self._write_refused()

    def _check_registry(self) -> None:
        try:
            seen = signature(self._registry)
        except OSError as error:
            # One that cannot even be looked at is not gone; when it can, it is read anew.
            self._registry_seen = UNSEEN
            self.problems["registry"] = str(error)
            log.error("registry cannot be used, the one before stays", error=str(error))
            return
        if seen == self._registry_seen:
            return
        self._registry_seen = seen
        try:
            self._take_registry()
        except (registry.RegistryError, OSError) as error:
            self.problems["registry"] = str(error)
            log.error("registry cannot be used, the one before stays", error=str(error))
        else:
            self.problems.pop("registry", None)

    def _take_registry(self) -> None:
        if self._registry_seen is None:
            self._gateway.set_registry(None)
            return
        loggers = registry.load(self._registry)
        self._gateway.set_registry(loggers)
        log.info("registry taken over", loggers=len(loggers))

    def use_forgotten(self, listed: forgotten.Forgotten) -> None:
        """Lets the gateway serve whom this list has no more; the tables must have it already."""
        if listed == self.forgotten:
            self._gateway.set_forgotten(listed.key, sorted(listed.digests))

    def forget_refused(self) -> None:
        """Writes anew whom the registry refused, without the forgotten, on disk; raises OSError.

        The file of an earlier process may name them, and so may a draft that it left.
        """
        paths.draft(self._refused_file).unlink(missing_ok=True)
        if self._refused_file.exists():
            self._refused = self._replace_refused()
            durable.sync(self._refused_file)
        durable.sync(self._refused_file.parent)

    def _check_forgotten(self) -> None:
        try:
            seen = signature(self._directory.forgotten)
            if seen == self._forgotten_seen and "forgotten" not in self.problems:
                return
            listed = forgotten.load(self._directory)
        except (forgotten.ForgottenError, OSError) as error:
            self._report_forgotten(str(error))
            return
        self._forgotten_seen = seen
        self.problems.pop("forgotten", None)
        if listed == self.forgotten:
            return
        # Who was taken off the list is served only when the tables take their rows again
        # (`use_forgotten`): what is acknowledged must not be dropped on its way.
        refused = listed.digests
        if listed.key == self.forgotten.key or not listed.digests:
            refused |= self.forgotten.digests
        self._gateway.set_forgotten(listed.key or self.forgotten.key, sorted(refused))
        self.forgotten = listed
        log.info("list of the forgotten taken over", revision=listed.revision)

    def _report_forgotten(self, reason: str) -> None:
        # Each look tries again: a missing key is mended without a change of the list.
        if self.problems.get("forgotten") != reason:
            log.error("list of the forgotten cannot be used, the one before stays", error=reason)
        self.problems["forgotten"] = reason

    def _check_tls(self) -> None:
        seen = self._tls_signatures()
        if self._tls is None or seen == self._tls_seen:
            return
        self._tls_seen = seen
        try:
            self._gateway.set_tls(self._tls.certificate, self._tls.key)
        except ValueError as error:
            # Between two renames the files may not belong together; the next look finds a change.
            self.problems["tls"] = str(error)
            log.error("certificate cannot be used, the one before stays", error=str(error))
        else:
            self.problems.pop("tls", None)
            log.info("certificate taken over")

    def _tls_signatures(self) -> tuple[Signature | None, ...]:
        if self._tls is None:
            return ()
        return (_looked_at(self._tls.certificate), _looked_at(self._tls.key))

    def _write_refused(self) -> None:
        if self._gateway.refused() == self._refused:
            return
        try:
            self._refused = self._replace_refused()
        except OSError as error:
            log.warning("list of refused loggers is out of date", error=str(error))

    def _replace_refused(self) -> list[tuple[int, int, int, int]]:
        refused = self._gateway.refused()
        entries = [
            RefusedLogger(logger_sn, frames, _moment(first), _moment(last))
            for logger_sn, frames, first, last in refused
        ]
        draft = paths.draft(self._refused_file)
        draft.write_bytes(msgspec.json.encode(entries))
        draft.replace(self._refused_file)
        return refused


def _looked_at(path: Path) -> Signature | None:
    """A file that cannot even be looked at counts as changed when that ends."""
    try:
        return signature(path)
    except OSError:
        return None


def _moment(unix_us: int) -> datetime:
    return datetime.fromtimestamp(unix_us / 1_000_000, UTC)
