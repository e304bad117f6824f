"""What do sticks do while the server is ill? They wait, come again, and repeat their frame.

Each has one frame outstanding. Which frames were acknowledged is what a fault must not change.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from server_process import Wire, eventually
from test_server import OFFSET, data_frame, rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_S = 2.0
"""A real stick waits ten seconds; tests are in a hurry."""

FIRST_LOGGER_SN = 4_100_000_000


STORED = "SELECT logger_sn, epoch(ts)::BIGINT AS at, count(*) AS n FROM readings GROUP BY ALL"


class Stick(threading.Thread):
    """Sends one sample after the other until told to stop."""

    def __init__(self, number: int, port: int) -> None:
        """Prepares the stick with that number."""
        super().__init__(name=f"stick {number}")
        self.logger_sn = FIRST_LOGGER_SN + number
        self.port = port
        self.sent = 0
        self.acknowledged: list[int] = []
        self.last_answer_at = time.monotonic()
        self.connections = 0
        self._halt = threading.Event()

    def run(self) -> None:
        """Connects and sends; whatever goes wrong, it comes again with the same frame."""
        while not self._halt.is_set():
            try:
                with Wire(self.port) as wire:
                    self.connections += 1
                    wire.be_impatient(PATIENCE_S)
                    self._talk(wire)
            except (OSError, EOFError):
                self._halt.wait(0.05)

    def _talk(self, wire: Wire) -> None:
        while not self._halt.is_set():
            self.sent = len(self.acknowledged) + 1
            frame = data_frame(len(self.acknowledged), logger_sn=self.logger_sn)
            wire.exchange(frame)
            self.acknowledged.append(len(self.acknowledged))
            self.last_answer_at = time.monotonic()
            if len(self.acknowledged) % 50 == 0:
                # One that missed its answer repeats the frame.
                wire.exchange(frame)
            self._halt.wait(0.01)

    def stop(self) -> None:
        """Ends after the frame at hand, or when its patience is over."""
        self._halt.set()


class Load:
    """Some sticks sending all the time."""

    def __init__(self, port: int, sticks: int, first: int = 0) -> None:
        """Starts them; `first` is the number of the first stick."""
        self._sticks = [Stick(first + number, port) for number in range(sticks)]
        for stick in self._sticks:
            stick.start()

    @property
    def acknowledged(self) -> int:
        """How many frames have been acknowledged."""
        return sum(len(stick.acknowledged) for stick in self._sticks)

    @property
    def connections(self) -> int:
        """How many connections the sticks have made."""
        return sum(stick.connections for stick in self._sticks)

    def move_to(self, port: int) -> None:
        """Lets the sticks find the server that was started anew."""
        for stick in self._sticks:
            stick.port = port

    def is_silent(self) -> bool:
        """Whether nobody has been answered for a while."""
        newest = max(stick.last_answer_at for stick in self._sticks)
        return time.monotonic() - newest > 1.0

    def goes_on(self, *, frames: int = 30, seconds: float = 20.0) -> float:
        """Waits for more acknowledgements; returns the seconds until the first."""
        started, before = time.monotonic(), self.acknowledged
        eventually("an acknowledgement", lambda: self.acknowledged > before, seconds=seconds)
        first_s = time.monotonic() - started
        eventually(
            "more acknowledgements", lambda: self.acknowledged >= before + frames, seconds=seconds
        )
        return first_s

    def stop(self) -> None:
        """Ends the sticks."""
        for stick in self._sticks:
            stick.stop()
        for stick in self._sticks:
            stick.join(timeout=30)
            assert not stick.is_alive()

    def check(self, data: Path) -> tuple[int, int]:
        """Every acknowledged frame is in the table once; returns how many are lost and doubled.

        A frame that was sent and not acknowledged may be there, at most once.
        """
        return self.judge(rows(data, STORED))

    def judge(self, counted: list[dict[str, Any]]) -> tuple[int, int]:
        """The same for rows of logger_sn, at (seconds) and n of these sticks."""
        stored = {(row["logger_sn"], row["at"] - OFFSET): row["n"] for row in counted}
        acknowledged = {
            (stick.logger_sn, number) for stick in self._sticks for number in stick.acknowledged
        }
        sent = {(stick.logger_sn, number) for stick in self._sticks for number in range(stick.sent)}
        lost = acknowledged - set(stored)
        doubled = {frame for frame, count in stored.items() if count != 1}
        assert not lost, f"{len(lost)} lost, such as {sorted(lost)[:5]}"
        assert not doubled, f"{len(doubled)} doubled, such as {sorted(doubled)[:5]}"
        assert set(stored) <= sent
        return len(lost), len(doubled)


@contextmanager
def sending(port: int, *, sticks: int = 3, first: int = 0) -> Iterator[Load]:
    """Runs sticks for a while; they are ended in any case."""
    load = Load(port, sticks, first)
    try:
        yield load
    finally:
        load.stop()
