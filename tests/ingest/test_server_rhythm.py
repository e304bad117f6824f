"""When does the next turn follow a commit: at once, or with the tick?"""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import trio
import trio.testing

from autarco_ingest import server, settings
from autarco_ingest.paths import DataDirectory

if TYPE_CHECKING:
    from pathlib import Path


LOOKS_MAX = 5_000
"""Some ten seconds."""


class Gateway:
    """A gateway to which something has come whenever it is asked."""

    def __init__(self, *, answers: list[int]) -> None:
        """Each commit lets the next number of `answers` frames be answered."""
        self.turns = 0
        self.answered: list[int] = []
        self._answers = answers
        self._ready, self._other = socket.socketpair()
        self._other.send(b"x")

    def fileno(self) -> int:
        return self._ready.fileno()

    def turn(self) -> SimpleNamespace:
        self.turns += 1
        staged = len(self.answered) < len(self._answers)
        return SimpleNamespace(staged=int(staged), staged_bytes=0, deferred=False)

    def commit(self) -> int:
        return self._answers[len(self.answered)]

    def answer(self) -> None:
        self.answered.append(self._answers[len(self.answered)])

    def close(self) -> None:
        self._ready.close()
        self._other.close()


async def _until(gateway: Gateway, *, commits: int) -> None:
    """Waits for commits, which run in a thread, and for what follows them."""
    for _ in range(LOOKS_MAX):
        if len(gateway.answered) >= commits:
            break
        # The clock stands: nothing else can be waited for.
        await trio.testing.wait_all_tasks_blocked(0.001)
    assert len(gateway.answered) == commits
    await trio.testing.wait_all_tasks_blocked(0.01)


def test_a_large_commit_is_followed_by_a_turn_at_once_and_a_small_one_by_the_tick(
    tmp_path: Path,
) -> None:
    busy = server.BUSY_ANSWERS
    gateway = Gateway(answers=[busy - 1, busy, 0])
    known = settings.load(None, {}, {"commit_tick_ms": "50"})
    clock = trio.testing.MockClock()

    async def run() -> None:
        served = server._Server(
            known,
            DataDirectory.at(tmp_path),
            cast("Any", SimpleNamespace()),
            cast("Any", gateway),
            cast("Any", SimpleNamespace()),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served._pump)
            nursery.start_soon(served._commit_staged)

            await _until(gateway, commits=1)
            assert gateway.turns == 1, "the tick is not over"
            clock.jump(0.049)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert gateway.turns == 1

            clock.jump(0.001)
            # That turn's commit is large, so the third turn comes while the clock stands.
            await _until(gateway, commits=3)
            assert gateway.turns == 3
            assert gateway.answered == [busy - 1, busy, 0]
            nursery.cancel_scope.cancel()

    try:
        trio.run(run, clock=clock)
    finally:
        gateway.close()
