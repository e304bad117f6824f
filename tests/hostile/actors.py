"""What do hostile and broken peers do to a server? Each actor is one of them, for a while.

Run as a program, `actors.py PORT SECONDS`, all of them act at once from addresses 127.7.x.y and
then end. It gives way to other processes: in the field hostile peers run on other machines, and the
time they take here must not be taken from the sticks that are being measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SLOW_WRITERS = 50
SILENT = 200
NEVER_READERS = 10
GARBAGE = 4
STORMS = 3
FLOODS = 2

DONE: Counter[str] = Counter()


def main(port: int, seconds: float) -> None:
    """Lets all actors loose and prints what each has done."""
    os.nice(19)
    deadline = time.monotonic() + seconds
    actors: list[tuple[Callable[..., None], int]] = [
        (slow_writers, 1),
        (silent, 1),
        (never_reader, NEVER_READERS),
        (garbage, GARBAGE),
        (reconnect_storm, STORMS),
        (invented_loggers, FLOODS),
    ]
    threads = [
        threading.Thread(target=actor, args=(port, f"127.7.{kind}.{number}", deadline))
        for kind, (actor, count) in enumerate(actors)
        for number in range(1, count + 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps(DONE) + "\n")


def slow_writers(port: int, source: str, deadline: float) -> None:
    """Many connections that write a frame at one byte a second."""
    frame = heartbeat(1)
    writers: list[socket.socket] = []
    while time.monotonic() < deadline:
        while len(writers) < SLOW_WRITERS:
            writers.append(connect(port, source))
        for writer in list(writers):
            try:
                writer.send(frame[DONE["slow bytes"] % len(frame) :][:1])
                DONE["slow bytes"] += 1
            except OSError:
                writers.remove(writer)
        time.sleep(1)
    close(writers)


def silent(port: int, source: str, deadline: float) -> None:
    """Many connections that say nothing at all."""
    held = [connect(port, source) for _ in range(SILENT)]
    DONE["silent"] += len(held)
    wait(deadline)
    close(held)


def never_reader(port: int, source: str, deadline: float) -> None:
    """Asks for answers as fast as it can and reads none of them."""
    beats = heartbeat(int(source.rpartition(".")[2]) + 100) * 200
    until_closed(port, source, deadline, "unread bytes", lambda: beats, receive_bytes=2048)


def garbage(port: int, source: str, deadline: float) -> None:
    """Sends random bytes at full speed, with start bytes in them."""
    dice = random.Random(source)
    chunks = [dice.randbytes(65_536) for _ in range(8)]
    until_closed(port, source, deadline, "garbage bytes", lambda: dice.choice(chunks))


def reconnect_storm(port: int, source: str, deadline: float) -> None:
    """Connects and resets as fast as it can."""
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            peer = connect(port, source)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            DONE["reconnects"] += 1


def invented_loggers(port: int, source: str, deadline: float) -> None:
    """Sends whole frames of serial numbers that nobody has, as fast as it can."""
    dice = random.Random(source)
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), connect(port, source) as peer:
            peer.settimeout(0.2)
            while time.monotonic() < deadline:
                beats = b"".join(heartbeat(dice.getrandbits(32)) for _ in range(50))
                peer.sendall(beats)
                DONE["invented frames"] += 50
                with contextlib.suppress(TimeoutError):
                    peer.recv(65_536)


def until_closed(
    port: int,
    source: str,
    deadline: float,
    name: str,
    data: Callable[[], bytes],
    *,
    receive_bytes: int | None = None,
) -> None:
    """Writes until the server hangs up, then comes again."""
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), connect(port, source) as peer:
            peer.settimeout(0.2)
            if receive_bytes is not None:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            while time.monotonic() < deadline:
                try:
                    DONE[name] += peer.send(data())
                except TimeoutError:
                    continue


def connect(port: int, source: str) -> socket.socket:
    """Connects from any loopback address."""
    return socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(source, 0))


def close(peers: list[socket.socket]) -> None:
    """Hangs up on all of them."""
    for peer in peers:
        peer.close()


def wait(deadline: float) -> None:
    """Sleeps until the end."""
    time.sleep(max(0.0, deadline - time.monotonic()))


def heartbeat(logger_sn: int) -> bytes:
    """A V5 heartbeat."""
    inner = struct.pack("<HBBBBI", 1, 0x10, 0x47, 1, 2, logger_sn) + b"\0"
    return b"\xa5" + inner + bytes([sum(inner) % 256]) + b"\x15"


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
