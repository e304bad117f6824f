"""What does a server look like to a stick? A small one for tests, with faults on demand.

Written from the reference's table of the acknowledgement (1.3), not from the code under test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

HANG_UP = object()
Behaviour = Callable[[bytes, int], object]


def acknowledgement(request: bytes, *, counter: int = 1) -> bytes:
    """Answers one request as the real cloud does, at a fixed time."""
    inner = b"\x0a\x00\x10" + bytes([request[4] - 0x30, counter & 0xFF]) + request[6:11]
    inner += request[11:12] + b"\x01" + (1_750_000_000).to_bytes(4, "little") + b"\x78\0\0\0"
    return b"\xa5" + inner + bytes([sum(inner) % 256]) + b"\x15"


def always(request: bytes, number: int) -> object:
    """Answers everything at once."""
    return acknowledgement(request, counter=number)


def skip_noise(buffer: bytearray) -> None:
    """Drops what stands before the next start byte."""
    del buffer[: buffer.find(0xA5) if 0xA5 in buffer else len(buffer)]


@dataclass
class FakeCloud:
    """Collects frames; `behaviour(frame, number)` gives the answer, None, or HANG_UP."""

    behaviour: Behaviour = always
    frames: list[bytes] = field(default_factory=list)
    connections: list[list[bytes]] = field(default_factory=list)

    async def listen(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until cancelled; reports its port when ready."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(self._talk, listeners)

    async def _talk(self, stream: trio.SocketStream) -> None:
        buffer = bytearray()
        seen: list[bytes] = []
        self.connections.append(seen)
        async with stream:
            try:
                while chunk := await stream.receive_some(65_536):
                    buffer += chunk
                    if not await self._answer(stream, buffer, seen):
                        return
            except trio.BrokenResourceError:
                return

    async def _answer(
        self, stream: trio.SocketStream, buffer: bytearray, seen: list[bytes]
    ) -> bool:
        skip_noise(buffer)
        while len(buffer) >= 3 and len(buffer) >= (size := 13 + buffer[1] + 256 * buffer[2]):
            frame = bytes(buffer[:size])
            del buffer[:size]
            skip_noise(buffer)
            self.frames.append(frame)
            seen.append(frame)
            answer = self.behaviour(frame, len(self.frames))
            if answer is HANG_UP:
                return False
            if isinstance(answer, bytes):
                await stream.send_all(answer)
        return True
