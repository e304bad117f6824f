"""Is a data directory private, with room, and are the small files beside the data right?"""

from __future__ import annotations

import resource
import shutil
import stat
from typing import TYPE_CHECKING

from autarco_ingest import descriptors, forgotten, registry
from autarco_ingest.address_keys import KEY_BYTES
from autarco_ingest.finding import Finding, attention

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from autarco_ingest import paths
    from autarco_ingest.settings import Settings

CONNECTIONS_MIN = 1_000
"""A limit of open files that allows so many connections hinders no fleet that starts small."""


def check(settings: Settings, data: paths.DataDirectory) -> Iterator[Finding]:
    """Yields what is wrong around the data; raises OSError."""
    if data.root.stat().st_mode & stat.S_IWOTH:
        yield attention(".", "anybody on this machine may write here", "chmod o-w it")
    free = shutil.disk_usage(data.root).free
    if free < settings.disk_free_warn_bytes:
        yield attention(
            ".",
            f"{free // 1024**2} MiB free on this file system",
            "make room: on a full disk no frame is acknowledged",
        )
    yield from _address_keys(settings.address.keys or data.address_keys)
    listed = settings.registry.file or data.registry
    try:
        registry.load(listed)
    except FileNotFoundError:
        if settings.registry.policy == "known":
            yield attention(
                str(listed), "missing, so every logger is refused", "write the list of loggers"
            )
    except registry.RegistryError as error:
        yield attention(
            str(listed),
            str(error),
            "correct it: a running server keeps the list before it, none can start with it",
        )
    yield from _forgotten(data)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = descriptors.connections_possible(settings.connections_max, hard)
    if possible < min(settings.connections_max, CONNECTIONS_MIN):
        yield attention(
            "limit of open files",
            f"{hard}, which leaves room for {possible} connections",
            "raise it where the server is started, as LimitNOFILE does",
        )


def _forgotten(data: paths.DataDirectory) -> Iterator[Finding]:
    try:
        forgotten.load(data)
    except forgotten.ForgottenError as error:
        yield Finding(
            severity="damage",
            place=data.forgotten.name,
            seen=str(error),
            do="bring list and key back from a backup: a running server keeps the list before it, "
            "none can start with it",
        )
    if data.forget_key.exists():
        mode = stat.S_IMODE(data.forget_key.stat().st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield attention(
                data.forget_key.name,
                f"mode {mode:04o}: others may read the key that hides who is forgotten",
                "chmod go= it",
            )


def _address_keys(directory: Path) -> Iterator[Finding]:
    if not directory.is_dir():
        return
    for path in (directory, *sorted(directory.glob("*.key"))):
        try:
            status = path.stat()
        except FileNotFoundError:
            # Its time was over.
            continue
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield attention(
                str(path),
                f"mode {stat.S_IMODE(status.st_mode):04o}: others may read the keys that hide "
                "addresses",
                "chmod go= it",
            )
        if path != directory and status.st_size != KEY_BYTES:
            yield Finding(
                severity="damage",
                place=str(path),
                seen=f"{status.st_size} bytes, wanted {KEY_BYTES}",
                do="restore it from a backup; removed, sources of its month keep no relation to "
                "those from before",
            )
