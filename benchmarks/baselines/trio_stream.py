"""What does a frame cost a plain trio server that only acknowledges it?

One task per connection on a SocketStream, as trio's documentation teaches it. Nothing is decoded
and nothing is stored, which favours it: what it acknowledges is lost when it ends.

    cd benchmarks && python -m baselines.trio_stream --listen 127.0.0.1:10000
"""

from __future__ import annotations

import resource
import sys
from functools import partial

import trio

from baselines import v5

BACKLOG = 4096
READ_BYTES = 64 * 1024


async def serve(host: str, port: int, answering: v5.Answering) -> None:
    """Serves until the process ends."""

    async def acknowledge(stream: trio.SocketStream) -> None:
        received = bytearray()
        try:
            while some := await stream.receive_some(READ_BYTES):
                received += some
                if answers := answering(received):
                    await stream.send_all(answers)
        except (trio.BrokenResourceError, v5.NoFrameError):
            # The stick has hung up, or is none: serve_tcp closes the stream.
            return

    listen = partial(trio.serve_tcp, acknowledge, port, host=host, backlog=BACKLOG)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(listen)
        bound_host, bound_port = listeners[0].socket.getsockname()[:2]
        sys.stdout.write(f"listening on {bound_host}:{bound_port}\n")
        sys.stdout.flush()


def main() -> None:
    """Serves as the command line says."""
    host, port, answering = v5.options(__doc__.splitlines()[0])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    trio.run(serve, host, port, answering)


if __name__ == "__main__":
    main()
