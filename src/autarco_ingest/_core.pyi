"""Types of the compiled module; `make check` compares this file with the binary."""

import os
from typing import Final, Literal, TypedDict, final, type_check_only

import arro3.core

__all__ = [
    "DEBUG_BUILD",
    "Batch",
    "Gateway",
    "JournalSegment",
    "Pending",
    "decode",
    "inspect_journal",
    "inverter_serials",
]

DEBUG_BUILD: Final[bool]

@final
class Pending:
    @property
    def staged(self) -> int: ...
    @property
    def staged_bytes(self) -> int: ...
    @property
    def deferred(self) -> bool: ...

@final
class Batch:
    @property
    def version(self) -> int: ...
    @property
    def readings(self) -> arro3.core.RecordBatch: ...
    @property
    def sessions(self) -> arro3.core.RecordBatch: ...
    @property
    def quarantine(self) -> arro3.core.RecordBatch: ...

@type_check_only
class Limits(TypedDict):
    connections_max: int
    connections_per_address_max: int
    connects_per_address_per_minute: int
    frames_per_address_per_minute: int
    connections_per_logger_max: int
    frames_per_logger_per_minute: int
    first_frame_us: int
    idle_timeout_us: int
    partial_frame_us: int
    noise_bytes_max: int
    unsent_bytes_max: int
    unread_us: int
    staged_bytes_max: int

@type_check_only
class Tls(TypedDict):
    host: str
    port: int
    certificate: str | os.PathLike[str]
    key: str | os.PathLike[str]

@final
class Gateway:
    def __new__(
        cls,
        *,
        host: str,
        port: int,
        tls: Tls | None,
        reuse_port: bool,
        journal: str | os.PathLike[str],
        segment_bytes: int,
        committed: int,
        time_zone: str,
        oldest_reading_us: int,
        ahead_max_us: int,
        address_mode: str,
        address_key: bytes,
        registry_policy: str,
        forget_key: bytes,
        forgotten: list[bytes],
        limits: Limits,
    ) -> Gateway: ...
    @property
    def address(self) -> tuple[str, int]: ...
    @property
    def tls_address(self) -> tuple[str, int] | None: ...
    def fileno(self) -> int: ...
    def turn(self) -> Pending: ...
    def sweep(self) -> None: ...
    def hold(self, held: bool) -> None: ...
    def commit(self) -> int: ...
    def seal(self) -> Batch | None: ...
    def seal_all(self) -> Batch | None: ...
    def prepare(self) -> None: ...
    def retire(self, version: int, *, at_once: bool = False) -> None: ...
    def remove_damaged(self) -> int: ...
    def tail(self) -> arro3.core.RecordBatch: ...
    def take_latest(self) -> arro3.core.RecordBatch: ...
    def rows(self) -> int: ...
    def counters(self) -> dict[str, int]: ...
    def answer_latency(self) -> tuple[list[tuple[float, int]], float]: ...
    def set_registry(self, loggers: list[int] | None) -> None: ...
    def set_forgotten(self, key: bytes, digests: list[bytes]) -> None: ...
    def refused(self) -> list[tuple[int, int, int, int]]: ...
    def set_tls(self, certificate: str | os.PathLike[str], key: str | os.PathLike[str]) -> None: ...
    def set_address_key(self, address_mode: str, address_key: bytes) -> None: ...
    def stop_listening(self) -> None: ...
    def close_all(self) -> None: ...

def decode(
    data: bytes,
    *,
    received_at_us: int,
    time_zone: str = "Europe/Amsterdam",
    oldest_us: int = 0,
    ahead_us: int = 600_000_000,
) -> list[str]: ...
def inverter_serials(frames: bytes) -> list[str]: ...

@final
class JournalSegment:
    @property
    def number(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def records(self) -> int: ...
    @property
    def read_bytes(self) -> int: ...
    @property
    def torn_bytes(self) -> int: ...
    @property
    def records_behind_damage(self) -> int: ...
    @property
    def state(self) -> Literal["whole", "torn", "damaged"]: ...

def inspect_journal(directory: str | os.PathLike[str]) -> list[JournalSegment]: ...
