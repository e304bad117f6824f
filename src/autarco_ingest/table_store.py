"""Where do a table's files live, and when are they safe there?

On a local disk (`LocalStore`) a file is safe when its bytes and its directory entry have been
forced to disk; on S3-compatible object storage (`ObjectStore`) when the service has answered the
put. Names are relative to their table, with `/`. Nothing here knows what is in a file: that is
the business of `lake` and of those who rewrite its files.

The Delta log is written by deltalake, here and there. On object storage it puts an entry only if
there is none of that number (If-None-Match), so nodes never overwrite each other's commits.
"""

from __future__ import annotations

import configparser
import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Protocol, TypeAlias, TypeVar

import msgspec
import pyarrow as pa
from pyarrow import fs

from autarco_ingest import delta_log, durable, file_lock, paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from autarco_ingest.settings import LakeSettings

WRITERS = 8
"""Files written at once: an `fsync` or a put waits, and a batch may have thousands of dates."""

CONNECT_S = 5.0
REQUEST_S = 30.0
"""Object storage that has not answered by then is ill; the journal keeps the rows meanwhile."""

RETRY_S = 20.0
"""How long deltalake repeats a failed request; the flush after it tries again anyway."""

_LOG = "_delta_log/"

Sink: TypeAlias = IO[bytes] | pa.NativeFile
Item = TypeVar("Item")
T = TypeVar("T")


class StoreError(Exception):
    """The place cannot be used as it was given; the message is one sentence."""


class Draft(msgspec.Struct, frozen=True):
    """A file to be written: its name below the table, and what writes its bytes."""

    name: str
    write: Callable[[Sink], object]


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A data file of a table that is there."""

    name: str
    bytes: int
    modified_ms: int


class TableStore(Protocol):
    """A place for tables; every call may block, and raises OSError when the place is ill."""

    @property
    def storage_options(self) -> dict[str, str] | None:
        """What deltalake needs to get there; holds secrets. Polars takes those with `aws_`."""

    @property
    def file_system(self) -> fs.FileSystem | None:
        """What reads the files that `full_name` names by URL; None when those are paths."""

    def uri(self, table: str) -> str:
        """Returns what deltalake opens."""

    def full_name(self, table: str, name: str) -> str:
        """Returns path or URL of a file, as the catalog names it."""

    def write(self, table: str, name: str, write: Callable[[Sink], object]) -> Stored:
        """Writes one file, or replaces it, and returns when it is safe.

        When `write` raises, a part of the file may be there.
        """

    def write_all(self, table: str, drafts: Sequence[Draft]) -> list[Stored]:
        """Writes files, several at once; returns in their order when all are safe."""

    def open(self, table: str, name: str) -> pa.NativeFile:
        """Opens a file for random reading; the caller closes it."""

    def delete(self, table: str, names: Iterable[str]) -> None:
        """Removes files for good; those that are gone already are no error."""

    def names(self, table: str) -> list[Stored]:
        """Lists the data files that are there, whether the log names them or not."""

    def log_files(self, table: str) -> list[Stored]:
        """Lists the files of a table's log; their names go to `open` and `delete` as well."""

    def log_locked(self, table: str) -> AbstractContextManager[None]:
        """Keeps repair and pruning of a log apart: each trusts what the other deletes."""

    def repair(self, table: str) -> None:
        """Makes the place ready before the table is opened: no torn log, all directories."""

    def sync_log(self, table: str, first: int, last: int) -> None:
        """Returns when log entries `first` to `last` are safe."""

    def sync_checkpoint(self, table: str, version: int) -> None:
        """Returns when the checkpoint of that version and the hint to it are safe."""

    def checkpoint_version(self, table: str) -> int:
        """Returns the version of the newest checkpoint; -1 without one."""


class LocalStore:
    """Tables below a directory of a local disk."""

    storage_options: dict[str, str] | None = None
    file_system: fs.FileSystem | None = None

    def __init__(self, root: Path) -> None:
        """Touches nothing yet."""
        self._root = root

    def uri(self, table: str) -> str:
        """See TableStore."""
        return str(self._directory(table))

    def full_name(self, table: str, name: str) -> str:
        """See TableStore."""
        return str(self._directory(table) / name)

    def write(self, table: str, name: str, write: Callable[[Sink], object]) -> Stored:
        """See TableStore."""
        return self.write_all(table, [Draft(name, write)])[0]

    def write_all(self, table: str, drafts: Sequence[Draft]) -> list[Stored]:
        """See TableStore."""
        directory = self._directory(table)
        # A directory is forced to disk once for all files in it, not once for each.
        homes = list(dict.fromkeys((directory / draft.name).parent for draft in drafts))
        made = [home for home in homes if not home.is_dir()]
        for home in made:
            durable.make_directory(home.parent)
            home.mkdir(exist_ok=True)
        for parent in dict.fromkeys(home.parent for home in made):
            durable.sync(parent)

        def one(draft: Draft) -> Stored:
            path = directory / draft.name
            with path.open("wb") as sink:
                draft.write(sink)
            durable.sync(path)
            status = path.stat()
            return Stored(
                name=draft.name,
                bytes=status.st_size,
                modified_ms=status.st_mtime_ns // 1_000_000,
            )

        stored = _at_once(one, drafts)
        _at_once(durable.sync, homes)
        return stored

    def open(self, table: str, name: str) -> pa.NativeFile:
        """See TableStore."""
        return pa.OSFile(str(self._directory(table) / name), mode="r")

    def delete(self, table: str, names: Iterable[str]) -> None:
        """See TableStore."""
        found = [self._directory(table) / name for name in names]
        for path in found:
            path.unlink(missing_ok=True)
        for home in dict.fromkeys(path.parent for path in found):
            if home.is_dir():
                durable.sync(home)

    def names(self, table: str) -> list[Stored]:
        """See TableStore."""
        return [file for file in self._found(table, "*/*.parquet") if not _is_log(file.name)]

    def log_files(self, table: str) -> list[Stored]:
        """See TableStore."""
        return self._found(table, f"{_LOG}*")

    def _found(self, table: str, pattern: str) -> list[Stored]:
        directory = self._directory(table)
        found = []
        for path in directory.glob(pattern):
            name = str(path.relative_to(directory))
            # Another process may be sweeping.
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                modified_ms = status.st_mtime_ns // 1_000_000
                found.append(Stored(name=name, bytes=status.st_size, modified_ms=modified_ms))
        return found

    def log_locked(self, table: str) -> AbstractContextManager[None]:
        """See TableStore."""
        return file_lock.held(paths.log_lock(self._directory(table)))

    def repair(self, table: str) -> None:
        """See TableStore."""
        durable.make_directory(paths.log_directory(self._directory(table)))
        with self.log_locked(table):
            delta_log.repair(self._directory(table))

    def sync_log(self, table: str, first: int, last: int) -> None:
        """See TableStore."""
        delta_log.sync(self._directory(table), first, last)

    def sync_checkpoint(self, table: str, version: int) -> None:
        """See TableStore."""
        delta_log.sync_checkpoint(self._directory(table), version)

    def checkpoint_version(self, table: str) -> int:
        """See TableStore."""
        return delta_log.checkpoint_version(self._directory(table))

    def _directory(self, table: str) -> Path:
        return paths.table_directory(self._root, table)


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """A key pair; the text form shows none of it."""

    access_key: str
    secret_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        """Hides everything: credentials must not get into a log by way of a message."""
        return "Credentials(…)"


class ObjectStore:
    """Tables below a prefix of a bucket; data files by pyarrow, the log by deltalake.

    Not by deltalake's own file system: that one keeps Python's global lock while it waits for the
    network, and the server could acknowledge nothing in that time.
    """

    def __init__(
        self,
        location: str,
        *,
        region: str,
        endpoint: str = "",
        credentials: Credentials | None = None,
    ) -> None:
        """Connects to nothing yet. `location` is s3://bucket/prefix, `endpoint` a URL.

        Without an endpoint it is Amazon's; without credentials those of the machine's role.
        """
        self._location = location.rstrip("/")
        self._endpoint = endpoint
        self._region = region
        self._credentials = credentials
        scheme, _, host = endpoint.rpartition("://")
        key = credentials
        self.file_system: fs.S3FileSystem = fs.S3FileSystem(
            access_key=key.access_key if key else None,
            secret_key=key.secret_key if key else None,
            session_token=key.session_token if key else None,
            region=region,
            scheme="http" if scheme == "http" else "https",
            endpoint_override=host or None,
            connect_timeout=CONNECT_S,
            request_timeout=REQUEST_S,
            # A small file is one put instead of a multipart upload of three requests.
            allow_delayed_open=True,  # type: ignore[call-arg]
        )

    @property
    def storage_options(self) -> dict[str, str]:
        """See TableStore."""
        options = {
            "aws_region": self._region,
            # deltalake 1.6 does so by itself; a default is not enough for what must never fail.
            "aws_conditional_put": "etag",
            "AWS_S3_ALLOW_UNSAFE_RENAME": "false",
            "connect_timeout": f"{CONNECT_S:.0f}s",
            "timeout": f"{REQUEST_S:.0f}s",
            "max_retries": "5",
            "retry_timeout": f"{RETRY_S:.0f}s",
        }
        if self._endpoint:
            options["aws_endpoint"] = self._endpoint
            options["aws_allow_http"] = str(self._endpoint.startswith("http://")).lower()
        if key := self._credentials:
            options["aws_access_key_id"] = key.access_key
            options["aws_secret_access_key"] = key.secret_key
            if key.session_token:
                options["aws_session_token"] = key.session_token
        return options

    def uri(self, table: str) -> str:
        """See TableStore."""
        return f"{self._location}/{table}"

    def full_name(self, table: str, name: str) -> str:
        """See TableStore."""
        return f"{self._location}/{table}/{name}"

    def write(self, table: str, name: str, write: Callable[[Sink], object]) -> Stored:
        """See TableStore."""
        with self.file_system.open_output_stream(self._key(table, name)) as sink:
            write(sink)
            size = sink.tell()
        # The service's own time would be one more request, and nobody compares the two.
        return Stored(name=name, bytes=size, modified_ms=time.time_ns() // 1_000_000)

    def write_all(self, table: str, drafts: Sequence[Draft]) -> list[Stored]:
        """See TableStore."""
        return _at_once(lambda draft: self.write(table, draft.name, draft.write), drafts)

    def open(self, table: str, name: str) -> pa.NativeFile:
        """See TableStore."""
        return self.file_system.open_input_file(self._key(table, name))

    def delete(self, table: str, names: Iterable[str]) -> None:
        """See TableStore."""

        def one(name: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                self.file_system.delete_file(self._key(table, name))

        _at_once(one, list(names))

    def names(self, table: str) -> list[Stored]:
        """See TableStore."""
        return [
            file
            for file in self._found(table, "")
            if file.name.endswith(".parquet") and not _is_log(file.name)
        ]

    def log_files(self, table: str) -> list[Stored]:
        """See TableStore."""
        return self._found(table, _LOG)

    def _found(self, table: str, below: str) -> list[Stored]:
        base = self._key(table, "")
        chosen = fs.FileSelector((base + below).rstrip("/"), recursive=True, allow_not_found=True)
        return [
            Stored(
                name=info.path.removeprefix(base),
                bytes=info.size,
                modified_ms=(info.mtime_ns or 0) // 1_000_000,
            )
            for info in self.file_system.get_file_info(chosen)
            if info.is_file
        ]

    def log_locked(self, table: str) -> AbstractContextManager[None]:
        """See TableStore; nothing is repaired here."""
        return contextlib.nullcontext()

    def repair(self, table: str) -> None:
        """See TableStore; an object is there as a whole or not at all."""

    def sync_log(self, table: str, first: int, last: int) -> None:
        """See TableStore; what was put is safe."""

    def sync_checkpoint(self, table: str, version: int) -> None:
        """See TableStore; what was put is safe."""

    def checkpoint_version(self, table: str) -> int:
        """See TableStore."""
        try:
            with self.open(table, f"{_LOG}_last_checkpoint") as file:
                return int(json.loads(file.read())["version"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            # Without a hint readers list the log; the next checkpoint writes one.
            return -1

    def _key(self, table: str, name: str) -> str:
        return f"{self.uri(table)}/{name}".removeprefix("s3://")


def open_store(
    settings: LakeSettings, data: paths.DataDirectory, environment: Mapping[str, str]
) -> TableStore:
    """Returns the place that the settings name; raises StoreError, or OSError."""
    if not settings.is_remote:
        return LocalStore(data.lake)
    endpoint = settings.endpoint or environment.get("AWS_ENDPOINT_URL", "")
    if endpoint.startswith("http://") and not settings.allow_http:
        raise StoreError("AWS_ENDPOINT_URL: http, and lake.allow_http is not set")
    region = settings.region or environment.get("AWS_REGION")
    region = region or environment.get("AWS_DEFAULT_REGION")
    if not region and not endpoint:
        raise StoreError("lake.region: Amazon needs one, and neither it nor AWS_REGION is set")
    try:
        return ObjectStore(
            settings.location,
            endpoint=endpoint.rstrip("/"),
            # Servers of one's own have no regions, but the signature has one.
            region=region or "us-east-1",
            credentials=_credentials(settings.credentials, environment),
        )
    except pa.ArrowException as error:
        raise StoreError(f"lake.location: {error}") from error


def _credentials(file: Path | None, environment: Mapping[str, str]) -> Credentials | None:
    if file is None:
        source, found = "the environment", environment
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        if not environment.get(names[0]) and not environment.get(names[1]):
            return None
    else:
        source, found = str(file), _section(file, environment.get("AWS_PROFILE") or "default")
        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    for name in names[:2]:
        if not found.get(name):
            raise StoreError(f"credentials of the lake: {name} is missing in {source}")
    return Credentials(
        access_key=found[names[0]],
        secret_key=found[names[1]],
        session_token=found.get(names[2]) or None,
    )


def _section(file: Path, profile: str) -> Mapping[str, str]:
    # A secret may hold a percent sign; and a parser's message quotes the line it stumbles over.
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"cannot read {file}: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError):
        raise StoreError(f"{file}: not an ini file with a section [{profile}]") from None
    if not parser.has_section(profile):
        raise StoreError(f"{file}: no section [{profile}]")
    return parser[profile]


def _is_log(name: str) -> bool:
    return name.startswith(_LOG)


def _at_once(do: Callable[[Item], T], items: Sequence[Item]) -> list[T]:
    """Does the same with all items, several at once when there are several; keeps the order."""
    if len(items) < 2:
        return [do(item) for item in items]
    with ThreadPoolExecutor(WRITERS, thread_name_prefix="store") as pool:
        return list(pool.map(do, items))
