"""Many sticks in one process that only stay connected.

Run as `holders.py PORT FIRST_SERIAL COUNT SOURCE`. Each connects from SOURCE or one of the
addresses after it (a thousand per address), sends one heartbeat and reads its answer, some hundred
at a time.
Then one line of JSON tells how long that took, and all stay until standard input ends.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
import sys
import time

PER_SOURCE = 1_000
AT_ONCE = 500
"""Fewer than the listener's backlog holds."""
ANSWER_BYTES = 23
PATIENCE_S = 30.0


def main(port: int, first_serial: int, count: int, source: str) -> None:
    """Connects all, tells, and waits for the end."""
    held: list[socket.socket] = []
    waits = []
    started = time.monotonic()
    for first in range(0, count, AT_ONCE):
        begun = []
        for number in range(first, min(first + AT_ONCE, count)):
            at = time.monotonic()
            held.append(_connected(port, first_serial + number, _address(source, number)))
            begun.append(at)
        for at, stick in zip(begun, held[first:], strict=True):
            _answered(stick)
            waits.append(time.monotonic() - at)
    waits.sort()
    told = {
        "connected": len(held),
        "seconds": time.monotonic() - started,
        "p50_ms": waits[len(waits) // 2] * 1e3,
        "p99_ms": waits[len(waits) * 99 // 100] * 1e3,
    }
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    for stick in held:
        stick.close()


def _connected(port: int, serial: int, source: str) -> socket.socket:
    stick = socket.create_connection(
        ("127.0.0.1", port), timeout=PATIENCE_S, source_address=(source, 0)
    )
    inner = struct.pack("<HBBBBI", 1, 0x10, 0x47, 1, 2, serial) + b"\0"
    stick.sendall(b"\xa5" + inner + bytes([sum(inner) % 256]) + b"\x15")
    return stick


def _answered(stick: socket.socket) -> None:
    answer = stick.recv(ANSWER_BYTES)
    if len(answer) != ANSWER_BYTES or answer[4] != 0x17:
        raise SystemExit(f"no heartbeat's answer but {answer.hex()!r}")


def _address(source: str, number: int) -> str:
    return str(ipaddress.ip_address(source) + number // PER_SOURCE)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
