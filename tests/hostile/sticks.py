"""How long do well-behaved sticks wait for their answers? One thread, many sticks, paced.

Every stick has one frame outstanding and sends the next at its own instant, so that a slow answer
shows as what it is.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import time

from test_server import data_frame

ACK_BYTES = 23
PATIENCE_S = 11.0
"""A real stick gives up after ten to eleven seconds."""


class Sticks:
    """A few dozen sticks on connections of their own; numbers of acknowledged frames are kept."""

    def __init__(self, port: int, count: int) -> None:
        """Connects them from 127.3.0.x, a few per address."""
        self._sockets = [
            socket.create_connection(
                ("127.0.0.1", port), timeout=5, source_address=(f"127.3.0.{1 + n % 20}", 0)
            )
            for n in range(count)
        ]
        self._next_frame = 0
        self.acknowledged: set[int] = set()

    def run(self, seconds: float, period_s: float) -> list[float]:
        """Lets each stick send every `period_s`; returns the waits in seconds.

        Raises AssertionError when an answer does not come in a stick's patience or is wrong.
        """
        start = time.monotonic()
        waits: list[float] = []
        due = [(start + n * period_s / len(self._sockets), n) for n in range(len(self._sockets))]
        sent: dict[int, tuple[int, float]] = {}
        with selectors.DefaultSelector() as selector:
            for number, stick in enumerate(self._sockets):
                selector.register(stick, selectors.EVENT_READ, number)
            while True:
                now = time.monotonic()
                while due and due[0][0] <= now:
                    at, number = heapq.heappop(due)
                    if at - start < seconds:
                        sent[number] = (self._send(number), at)
                if not due and not sent:
                    break
                until = due[0][0] if due else now + PATIENCE_S
                for key, _ in selector.select(max(0.0, until - time.monotonic())):
                    number = key.data
                    answer = self._sockets[number].recv(ACK_BYTES)
                    assert len(answer) == ACK_BYTES, f"stick {number}: {answer.hex()}"
                    frame, at = sent.pop(number)
                    self.acknowledged.add(frame)
                    waits.append(time.monotonic() - at)
                    heapq.heappush(due, (max(at + period_s, time.monotonic()), number))
                oldest = min((at for _, at in sent.values()), default=time.monotonic())
                assert time.monotonic() - oldest < PATIENCE_S, "a stick would have given up"
        return waits

    def close(self) -> None:
        """Hangs up."""
        for stick in self._sockets:
            stick.close()

    def _send(self, number: int) -> int:
        frame = self._next_frame
        self._next_frame += 1
        self._sockets[number].sendall(data_frame(frame, logger_sn=3_000_000_000 + number))
        return frame
