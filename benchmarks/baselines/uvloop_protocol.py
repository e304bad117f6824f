"""What does a frame cost an asyncio Protocol under uvloop that only acknowledges it?

The fastest way to serve TCP in Python. Nothing is decoded and nothing is stored, which favours it.
Needs uvloop, which is no dependency of the project.

    cd benchmarks && ../.venv-bench/bin/python -m baselines.uvloop_protocol --listen 127.0.0.1:10000
"""

from __future__ import annotations

import asyncio
import resource
import sys
from typing import cast

import uvloop  # type: ignore[import-not-found]

from baselines import v5

BACKLOG = 4096


class Acknowledge(asyncio.Protocol):
    """One connection."""

    def __init__(self, answering: v5.Answering) -> None:
        """Has received nothing yet."""
        self._answering = answering
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps where answers go; uvloop sets TCP_NODELAY."""
        # What uvloop gives has the methods of asyncio's Transport, not its class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answers what is whole."""
        assert self._transport is not None
        self._received += data
        try:
            answers = self._answering(self._received)
        except v5.NoFrameError:
            self._transport.close()
            return
        if answers:
            self._transport.write(answers)


async def serve(host: str, port: int, answering: v5.Answering) -> None:
    """Serves until the process ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Acknowledge(answering), host, port, backlog=BACKLOG)
    bound_host, bound_port = server.sockets[0].getsockname()[:2]
    sys.stdout.write(f"listening on {bound_host}:{bound_port}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """Serves as the command line says."""
    host, port, answering = v5.options(__doc__.splitlines()[0])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(serve(host, port, answering))


if __name__ == "__main__":
    main()
