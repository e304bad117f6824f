"""What can an operator choose, what is the default, and is a given value allowed?

Values come from a TOML file, then from environment variables, then from the command line; later
ones win. The environment name of `flush_rows` is AUTARCO_FLUSH_ROWS, of `log.level`
AUTARCO_LOG__LEVEL. docs/settings.md explains each setting; a test compares it with this module.
"""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVIRONMENT_PREFIX = "AUTARCO_"
_OTHER_PROGRAMS = ("AUTARCO_CONFIG", "AUTARCO_PORTAL_")
"""Names with our prefix that are not settings: the path of the file, and the portal's own."""


_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\s\[\]]+):\d{1,5}")
_PORT_MAX = 65_535
_TIME_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
_S3 = "s3://"
_BUCKET_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9][A-Za-z0-9_.-]*)*/?")
"""A bucket, and a prefix of characters that need no escaping anywhere."""
_SERVICE_URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?/?")
_NODE = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


class SettingsError(ValueError):
    """A setting is unknown or its value not allowed; the message is one sentence for a person."""


class AddressSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the network address of a stick is anonymised before anything is stored or logged."""

    mode: Annotated[
        Literal["truncate", "ipcrypt-deterministic", "ipcrypt-pfx", "none"],
        Meta(description="What becomes of a stick's network address."),
    ] = "truncate"
    keys: Annotated[
        Path | None,
        Meta(description="Directory of the monthly keys of the ipcrypt modes."),
    ] = None


class RegistrySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which loggers may send."""

    policy: Annotated[
        Literal["open", "known"],
        Meta(description="Whether loggers that the registry does not list are served."),
    ] = "open"
    file: Annotated[
        Path | None,
        Meta(description="The list of known loggers, one serial number per line."),
    ] = None


class LakeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the tables are; by default on the disk of the data directory."""

    location: Annotated[
        str,
        Meta(description="Directory or s3://BUCKET/PREFIX of the tables; empty for DATA/lake."),
    ] = ""
    endpoint: Annotated[
        str,
        Meta(description="URL of an S3-compatible service; empty for Amazon's."),
    ] = ""
    region: Annotated[
        str,
        Meta(description="Region of the bucket; empty for AWS_REGION."),
    ] = ""
    allow_http: Annotated[
        bool, Meta(description="Whether the service may be reached without TLS.")
    ] = False
    credentials: Annotated[
        Path | None,
        Meta(description="File with the keys of the service, as Amazon's tools write it."),
    ] = None

    @property
    def is_remote(self) -> bool:
        """Whether the tables are on object storage."""
        return self.location.startswith(_S3)

    def fault(self) -> str | None:
        """Returns what is wrong as a sentence, or None."""
        if self.is_remote and not _BUCKET_URL.fullmatch(self.location):
            return f"lake.location: expected s3://BUCKET/PREFIX, got {self.location!r}"
        if not self.is_remote and "://" in self.location:
            return f"lake.location: expected a directory or s3://…, got {self.location!r}"
        if self.endpoint and not _SERVICE_URL.fullmatch(self.endpoint):
            return (
                f"lake.endpoint: expected https://HOST or http://HOST:PORT, got {self.endpoint!r}"
            )
        if self.endpoint.startswith("http://") and not self.allow_http:
            return (
                "lake.endpoint: http shows everything to the network; set lake.allow_http if it may"
            )
        return None


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second listener, for devices that speak TLS."""

    listen: Annotated[
        str,
        Meta(description="Address and port for sticks that speak TLS; empty for none."),
    ] = ""
    certificate: Annotated[
        Path | None, Meta(description="PEM file of the certificate chain, own one first.")
    ] = None
    key: Annotated[Path | None, Meta(description="PEM file of the certificate's key.")] = None


class TlsListener(msgspec.Struct, frozen=True):
    """A TLS listener with everything it needs."""

    host: str
    port: int
    certificate: Path
    key: Path


class MaintenanceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the tables are kept small; who reads them sees no difference but speed."""

    every_s: Annotated[
        float, Meta(ge=0, description="Rhythm of maintenance in the server; 0 for never.")
    ] = 3_600.0
    small_files_max: Annotated[
        int, Meta(ge=1, description="Small files of a day before it is compacted though not over.")
    ] = 48
    late_wait_s: Annotated[
        float, Meta(ge=0, description="How long small files of a day that is over wait for more.")
    ] = 21_600.0
    retired_grace_s: Annotated[
        float, Meta(ge=0, description="How long replaced data files stay for readers.")
    ] = 86_400.0


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many days each table keeps; 0 keeps for ever."""

    readings_days: Annotated[int, Meta(ge=0, description="Days that readings are kept.")] = 0
    samples_days: Annotated[
        int,
        Meta(ge=0, description="Days before readings become one for each quarter of an hour."),
    ] = 0
    addresses_days: Annotated[
        int, Meta(ge=0, description="Days that readings keep the address they came from.")
    ] = 0
    sessions_days: Annotated[int, Meta(ge=0, description="Days that sessions are kept.")] = 366
    quarantine_days: Annotated[
        int, Meta(ge=0, description="Days that quarantined frames are kept.")
    ] = 30


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the server reports; always on standard error."""

    format: Annotated[
        Literal["auto", "json", "human"],
        Meta(description="Lines for people or one JSON object per line."),
    ] = "auto"
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least severe events that are shown."),
    ] = "info"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of `autarco-ingest`."""

    listen: Annotated[
        str,
        Meta(description="Address and port for sticks, as HOST:PORT or [IPV6]:PORT."),
    ] = "0.0.0.0:10000"
    reuse_port: Annotated[
        bool, Meta(description="Let several servers listen on the same port.")
    ] = False
    http_listen: Annotated[
        str,
        Meta(description="Address and port of health and metrics; empty for none."),
    ] = "127.0.0.1:10080"
    data: Annotated[Path, Meta(description="The data directory.")] = Path("data")
    time_zone: Annotated[
        str,
        Meta(description="Zone of the inverters' clocks and of a local day."),
    ] = "Europe/Amsterdam"
    node: Annotated[
        str,
        Meta(description="Name of this server in the tables' transactions and file names."),
    ] = "node"
    oldest_reading: Annotated[
        date, Meta(description="Samples dated before this day go to quarantine.")
    ] = date(2015, 1, 1)
    ahead_max_s: Annotated[
        float, Meta(ge=0, description="Samples dated further ahead go to quarantine.")
    ] = 600.0

    commit_tick_ms: Annotated[
        int, Meta(ge=10, le=50, description="Rhythm of the journal's group commit.")
    ] = 20
    segment_bytes: Annotated[
        int, Meta(ge=64 * 1024, description="Size of one journal segment.")
    ] = 16 * 1024 * 1024
    staged_bytes_max: Annotated[
        int,
        Meta(ge=1024 * 1024, description="Frames waiting for the disk before reading pauses."),
    ] = 64 * 1024 * 1024

    flush_seconds: Annotated[
        float, Meta(gt=0, description="Rhythm of the batches into the tables.")
    ] = 300.0
    flush_rows: Annotated[
        int, Meta(ge=1, description="Rows that start a batch before its time.")
    ] = 500_000
    latest_seconds: Annotated[
        float, Meta(gt=0, description="Rhythm of the file with the newest reading per inverter.")
    ] = 5.0
    tail_seconds: Annotated[
        float, Meta(gt=0, description="Rhythm of the file with rows not in the table yet.")
    ] = 30.0
    superseded_grace_s: Annotated[
        float, Meta(ge=0, description="How long a replaced file stays for running queries.")
    ] = 900.0

    disk_free_warn_bytes: Annotated[
        int, Meta(ge=0, description="Less room than this on a disk of ours is a problem.")
    ] = 1024 * 1024 * 1024
    unflushed_rows_max: Annotated[
        int, Meta(ge=1_000, description="Rows waiting for the tables before reading stops.")
    ] = 2_000_000

    connections_max: Annotated[
        int, Meta(ge=1, description="Connections held at once; more are closed at accept.")
    ] = 100_000
    connections_per_address_max: Annotated[
        int, Meta(ge=1, description="Of them, from one network address.")
    ] = 1_024
    connects_per_address_per_minute: Annotated[
        int, Meta(ge=1, description="New connections of one network address.")
    ] = 6_000
    frames_per_address_per_minute: Annotated[
        int, Meta(ge=1, description="Frames of one network address before reading it waits.")
    ] = 120_000
    connections_per_logger_max: Annotated[
        int, Meta(ge=1, description="Connections of one logger before its oldest is closed.")
    ] = 2
    frames_per_logger_per_minute: Annotated[
        int, Meta(ge=1, description="Frames of one logger before reading it waits.")
    ] = 3_000
    first_frame_s: Annotated[
        float, Meta(gt=0, description="A connection without any frame is closed after this time.")
    ] = 60.0
    idle_timeout_s: Annotated[
        float, Meta(gt=0, description="A silent connection is closed after this time.")
    ] = 900.0
    partial_frame_s: Annotated[
        float, Meta(gt=0, description="An unfinished frame is given up after this time.")
    ] = 30.0
    noise_bytes_max: Annotated[
        int, Meta(ge=0, description="Bytes outside frames before a connection is closed.")
    ] = 65_536
    unsent_bytes_max: Annotated[
        int, Meta(ge=1_024, description="Answers left unread before a connection is closed.")
    ] = 16_384
    unread_s: Annotated[
        float, Meta(gt=0, description="A peer whose TCP takes no answer this long is given up.")
    ] = 60.0
    stop_deadline_s: Annotated[
        float, Meta(gt=0, description="Longest time for flushing at stop.")
    ] = 30.0

    address: AddressSettings = AddressSettings()
    registry: RegistrySettings = RegistrySettings()
    lake: LakeSettings = LakeSettings()
    tls: TlsSettings = TlsSettings()
    maintenance: MaintenanceSettings = MaintenanceSettings()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()

    def __post_init__(self) -> None:
        """Checks what a type cannot say."""
        _endpoint("listen", self.listen)
        if self.http_listen:
            _endpoint("http_listen", self.http_listen)
        if self.tls.listen:
            _endpoint("tls.listen", self.tls.listen)
        # Whether the zone exists is for the gateway to say, which brings its own database.
        if not _TIME_ZONE.fullmatch(self.time_zone):
            raise ValueError(f"time_zone: expected a name as Europe/Paris, got {self.time_zone!r}")
        if not _NODE.fullmatch(self.node):
            raise ValueError(
                f"node: expected up to 40 of a-z, 0-9 and inner hyphens, got {self.node!r}"
            )

    @property
    def host(self) -> str:
        """The host part of `listen`, without brackets."""
        return _endpoint("listen", self.listen)[0]

    @property
    def port(self) -> int:
        """The port part of `listen`; 0 lets the system choose one."""
        return _endpoint("listen", self.listen)[1]

    @property
    def http_endpoint(self) -> tuple[str, int] | None:
        """Host and port of health and metrics, if wanted."""
        return _endpoint("http_listen", self.http_listen) if self.http_listen else None

    @property
    def tls_listener(self) -> TlsListener | None:
        """The TLS listener, if one is wanted."""
        certificate, key = self.tls.certificate, self.tls.key
        if not self.tls.listen or certificate is None or key is None:
            return None
        return TlsListener(*_endpoint("tls.listen", self.tls.listen), certificate, key)

    @property
    def oldest_reading_us(self) -> int:
        """The start of `oldest_reading` in UTC, in microseconds since 1970."""
        start = datetime.combine(self.oldest_reading, datetime.min.time(), UTC)
        return int(start.timestamp()) * 1_000_000


def _endpoint(name: str, text: str) -> tuple[str, int]:
    """Returns host, without brackets, and port; raises ValueError."""
    host, _, port = text.rpartition(":")
    if not _LISTEN.fullmatch(text) or int(port) > _PORT_MAX:
        raise ValueError(f"{name}: expected HOST:PORT, got {text!r}")
    return host.strip("[]"), int(port)


def load(
    config: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Settings:
    """Returns the settings from a TOML file, environment variables and overrides, later ones first.

    `overrides` has setting names as keys (`listen`, `log.level`), as the command line gives them.
    Raises SettingsError with one sentence that names the culprit.
    """
    values = _read(config) if config is not None else {}
    _convert(values, origin=str(config))
    for name, text in (environment or {}).items():
        if name.startswith(ENVIRONMENT_PREFIX) and not name.startswith(_OTHER_PROGRAMS):
            path = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            values = _with(values, path, text)
            _convert(values, origin=f"environment variable {name}")
    for name, text in (overrides or {}).items():
        values = _with(values, name.split("."), text)
        _convert(values, origin=f"option --{name.replace('_', '-')}")
    settings = _convert(values, origin="settings")
    # What one setting needs of another is known only when all sources have been read.
    if fault := settings.lake.fault():
        raise SettingsError(fault)
    if not settings.lake.is_remote and (settings.lake.endpoint or settings.lake.credentials):
        raise SettingsError("lake.endpoint and lake.credentials: need an s3:// lake.location")
    if settings.tls.listen and settings.tls_listener is None:
        raise SettingsError("tls.listen: needs tls.certificate and tls.key")
    return settings


def to_json(settings: Settings) -> bytes:
    """Returns settings as another process of ours reads them back with `from_json`."""
    return msgspec.json.encode(settings, enc_hook=str)


def from_json(data: bytes) -> Settings:
    """Reads what `to_json` wrote."""
    return msgspec.json.decode(data, type=Settings, dec_hook=_decode)


def _read(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {config}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config} is not TOML: {error}") from error


def _with(values: dict[str, Any], path: list[str], text: str) -> dict[str, Any]:
    """Returns a copy of `values` with one nested value set."""
    if len(path) == 1:
        return {**values, path[0]: text}
    inner = values.get(path[0], {})
    return {
        **values,
        path[0]: _with(inner if isinstance(inner, dict) else {}, path[1:], text),
    }


def _convert(values: dict[str, Any], *, origin: str) -> Settings:
    try:
        # Not strict: an environment variable is text, whatever the setting's type is.
        return msgspec.convert(values, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{origin}: {_sentence(error)}") from error


def _decode(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError(f"expected a path, got {value!r}")


def _sentence(error: msgspec.ValidationError) -> str:
    """Returns msgspec's message in the words of this program."""
    text, _, where = str(error).partition(" - at `$")
    text = text.replace("Object contains unknown field", "unknown setting")
    setting = where.strip(".`")
    return f"{setting}: {text}" if setting else text
