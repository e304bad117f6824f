"""What does a peer cost with a gateway before it that devices can talk to?

`python peer_gateway.py PEER ADDRESS DIRECTORY`, run by `peers`. Sticks speak a protocol of their
own, so somebody has to hold their connections, check and decode their frames, and answer each one
when its reading is safe. This does so with as little as can be: the same native sockets and decoder
as ours, and nothing kept by itself. What arrives within a tick becomes a batch of the peer's own
form; only when the peer has confirmed it, its frames are answered. DIRECTORY, where the decoder
wants to write a journal, is in memory.

Prints `listening on PORT`; SIGTERM ends it.
"""

from __future__ import annotations

import asyncio
import select
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import peer
from autarco_ingest import _core, settings
from peer_nats import STREAM, batches_of
from processes import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_MS = 20
"""Our own tick."""
BATCH_ROWS = 10_000
SHOWN_S = 2.0
"""As often as our server writes the newest readings down."""
STAGED_PER_ROW = 2
"""A record and its answer."""
SEGMENT_BYTES = 8 << 20
"""The records of one batch: less than 10,000 and a turn more, which reads at most 4 MiB."""
MICROSECONDS = 1_000_000


def main(kind: str, address: str, journal: Path) -> None:
    """Takes frames and answers them when the peer has their readings, until SIGTERM."""
    peer.clients()
    store = {"postgres": _postgres, "nats": _nats}[kind](address)
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: ended.append(number))
    gateway = _gateway(journal)
    sys.stdout.write(f"listening on {gateway.address[1]}\n")
    sys.stdout.flush()
    poll = select.poll()
    poll.register(gateway.fileno(), select.POLLIN)
    shown_s = time.monotonic()
    while not ended:
        poll.poll(WAIT_MS)
        pending = gateway.turn()
        if not pending.staged:
            continue
        # A batch as large as the peer likes it, if so much comes within a tick.
        until_s = time.monotonic() + WAIT_MS / 1_000
        while pending.staged < STAGED_PER_ROW * BATCH_ROWS and time.monotonic() < until_s:
            poll.poll(1)
            pending = gateway.turn()
        gateway.commit()
        batch = gateway.seal()
        if batch is not None:
            readings = pa.table(batch.readings)
            if readings.num_rows:
                # What no inverter of these has, the peer's table has no column for either.
                store(peer.stored_columns(readings))
            gateway.retire(batch.version, at_once=True)
        if time.monotonic() > shown_s + SHOWN_S:
            # Nobody here asks what is newest; until somebody does, the gateway keeps it.
            gateway.take_latest()
            shown_s = time.monotonic()
        gateway.answer()


def _gateway(journal: Path) -> _core.Gateway:
    known = settings.load(None, {f"AUTARCO_{name.upper()}": v for name, v in UNLIMITED.items()})
    return _core.Gateway(
        host="127.0.0.1",
        port=0,
        tls=None,
        reuse_port=False,
        registry_policy="open",
        forget_key=b"",
        forgotten=[],
        journal=journal,
        segment_bytes=SEGMENT_BYTES,
        committed=0,
        time_zone=known.time_zone,
        oldest_reading_us=known.oldest_reading_us,
        ahead_max_us=int(known.ahead_max_s * MICROSECONDS),
        address_mode="truncate",
        address_key=b"",
        limits={
            "connections_max": known.connections_max,
            "connections_per_address_max": known.connections_per_address_max,
            "connects_per_address_per_minute": known.connects_per_address_per_minute,
            "frames_per_address_per_minute": known.frames_per_address_per_minute,
            "connections_per_logger_max": known.connections_per_logger_max,
            "frames_per_logger_per_minute": known.frames_per_logger_per_minute,
            "first_frame_us": int(known.first_frame_s * MICROSECONDS),
            "idle_timeout_us": int(known.idle_timeout_s * MICROSECONDS),
            "partial_frame_us": int(known.partial_frame_s * MICROSECONDS),
            "noise_bytes_max": known.noise_bytes_max,
            "unsent_bytes_max": known.unsent_bytes_max,
            "unread_us": int(known.unread_s * MICROSECONDS),
            "staged_bytes_max": known.staged_bytes_max,
        },
    )


def _postgres(address: str) -> Callable[[pa.Table], None]:
    """COPY in binary and a commit for each batch."""
    import adbc_driver_postgresql.dbapi as adbc  # type: ignore[import-not-found]

    connection = adbc.connect(address)
    cursor = connection.cursor()

    def store(rows: pa.Table) -> None:
        cursor.adbc_ingest("readings", rows, mode="append")
        connection.commit()

    return store


def _nats(address: str) -> Callable[[pa.Table], None]:
    """Record batches of 64 KiB, all of a turn in flight at once."""
    import nats  # type: ignore[import-not-found]

    loop = asyncio.new_event_loop()
    jetstream: Any = loop.run_until_complete(nats.connect(address)).jetstream()

    async def publish(rows: pa.Table) -> None:
        await asyncio.gather(
            *(jetstream.publish(f"{STREAM}.batch", message) for message in batches_of(rows))
        )

    return lambda rows: loop.run_until_complete(publish(rows))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
