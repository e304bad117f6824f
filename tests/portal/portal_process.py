"""The portal as its own process under TLS, and the public client `autarco` as people have it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trustme
from aiohttp import ClientSession, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from autarco import Autarco

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

READY_S = 90.0
PEER_S = 20.0


class Server:
    """A running portal."""

    def __init__(self, process: subprocess.Popen[str], port: int, ca: trustme.CA) -> None:
        self.process = process
        self.port = port
        self.context = ssl.create_default_context()
        ca.configure_trust(self.context)

    def connect(self) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=PEER_S)
        return self.context.wrap_socket(raw, server_hostname="my.autarco.com")

    def say(self, data: bytes) -> bytes:
        """What comes back to some bytes until the server closes or says no more."""
        with self.connect() as peer:
            answer = b""
            try:
                peer.sendall(data)
                peer.settimeout(3)
                while chunk := peer.recv(65_536):
                    answer += chunk
            except (TimeoutError, ConnectionError, ssl.SSLError):
                pass
            return answer

    def is_well(self) -> bool:
        answer = self.say(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return answer.startswith(b"HTTP/1.1 200")


class Certificate:
    """Of our own authority, for the name that the client has built in; files in a directory."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        cert = self.ca.issue_cert("my.autarco.com", "localhost")
        self.chain, self.key = directory / "cert.pem", directory / "key.pem"
        self.chain.write_bytes(b"".join(blob.bytes() for blob in cert.cert_chain_pems))
        self.key.write_bytes(cert.private_key_pem.bytes())


@contextmanager
def serving(command: Sequence[str | Path], certificate: Certificate) -> Iterator[Server]:
    """Runs a command that serves; it must end well on SIGTERM, and ends in any case."""
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on 127.0.0.1:"), line
        yield Server(process, int(line.rpartition(":")[2]), certificate.ca)
        process.send_signal(signal.SIGTERM)
        assert process.wait(READY_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


class ToUs(AbstractResolver):
    """Every name is the portal under test."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=self.port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Nothing to close."""


def all_of(site: str) -> Callable[[Autarco], Awaitable[Any]]:
    """Returns what asks for everything of a site but its battery."""

    async def ask(client: Autarco) -> Any:
        return (
            await client.get_site(site),
            await client.get_solar(site),
            await client.get_inverters(site),
            await client.get_power_statistics(site),
            await client.get_energy_statistics(site),
        )

    return ask


def by_client(
    server: Server, use: Callable[[Autarco], Awaitable[Any]], *, email: str, password: str
) -> Any:
    """Lets the client that people have ask, through a session that it is given."""

    async def run() -> Any:
        connector = TCPConnector(resolver=ToUs(server.port), ssl=server.context)
        async with ClientSession(connector=connector) as session:
            return await use(Autarco(email=email, password=password, session=session))

    return asyncio.run(run())
