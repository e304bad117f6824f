"""The real client over TLS against the real server, and peers who mean no good."""

from __future__ import annotations

import os
import resource
import socket
import ssl
import time
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from autarco import Autarco, AutarcoAuthenticationError, AutarcoConnectionError

import portal_process
from autarco_portal import serve
from autarco_portal.web import BODY_BYTES_MAX
from portal_process import PEER_S, Certificate, Server, serving
from portal_world import BATTERY, EMPTY, FOREIGN, HYBRID, NEW, NORTH, OLD, TWIN, email, password
from serve_world import BODY_S, HEAD_MS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

# The client's own, and its code is not ours to change.
pytestmark = [
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'auth' parameter is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("serve")
    certificate = Certificate(directory)
    program = Path(__file__).parent / "serve_world.py"
    command = [program, directory, certificate.chain, certificate.key]
    with serving(command, certificate) as server:
        yield server


def by_client(
    server: Server,
    use: Callable[[Autarco], Awaitable[Any]],
    who: str = "owner",
    secret: str | None = None,
) -> Any:
    """Lets the client that people have ask; its code is untouched."""
    return portal_process.by_client(server, use, email=email(who), password=secret or password(who))


def test_the_client_gets_its_account(server: Server) -> None:
    sites = by_client(server, lambda client: client.get_account())
    assert [site.public_key for site in sites] == [NORTH, HYBRID, EMPTY]
    assert [site.site_id for site in sites] == [1, 2, 3]
    assert sites[0].retailer == "Reseller BV"
    assert {site.health for site in sites} == {"OK"}


def test_the_client_gets_sites_sun_and_inverters(server: Server) -> None:
    site, solar, inverters, power, energy = by_client(server, portal_process.all_of(NORTH))
    assert (site.timezone, site.has_battery, site.address.city) == (
        "Europe/Amsterdam",
        False,
        "Utrecht",
    )
    assert site.created_at == date(2024, 4, 9)
    assert set(inverters) == {OLD, NEW, TWIN}
    assert solar.power_production == sum(one.out_ac_power for one in inverters.values())
    assert solar.power_production > 3_000
    totals = sum(one.out_ac_energy_total for one in inverters.values())
    assert solar.energy_production_total == totals - 5
    quarters = power.graphs.pv_power[TWIN]
    assert min(quarters) == datetime(2026, 9, 23, 7, 0)
    bars = energy.graphs.pv_energy
    assert sum(kwh or 0 for one in bars.values() for kwh in one.values()) == (
        solar.energy_production_month
    )
    assert sum(one.get(date(2026, 9, 23)) or 0 for one in bars.values()) == (
        solar.energy_production_today
    )


def test_the_client_gets_a_battery(server: Server) -> None:
    async def ask(client: Autarco) -> Any:
        return await client.get_site(HYBRID), await client.get_battery(HYBRID)

    site, battery = by_client(server, ask)
    assert (site.has_battery, site.has_consumption_meter) == (True, True)
    assert (battery.flow_now, battery.state_of_charge) == (2_000, 63)
    assert 0 < battery.charged_today < battery.charged_month < battery.charged_total
    assert battery.discharged_month > 0
    assert site.consumption_today > 0
    power = by_client(server, lambda client: client.get_power_statistics(HYBRID, "week"))
    assert set(power.graphs.pv_power) == {BATTERY}


def test_the_client_gets_an_empty_site(server: Server) -> None:
    async def ask(client: Autarco) -> Any:
        return (
            await client.get_site(EMPTY),
            await client.get_solar(EMPTY),
            await client.get_inverters(EMPTY),
            await client.get_battery(EMPTY),
            await client.get_energy_statistics(EMPTY, "total"),
        )

    site, solar, inverters, battery, energy = by_client(server, ask)
    assert (site.co2_total, solar.energy_production_total, battery.flow_now) == (0, 0, 0)
    assert inverters == energy.graphs.pv_energy == {}


def test_the_client_tells_a_wrong_password_from_a_foreign_site(server: Server) -> None:
    with pytest.raises(AutarcoAuthenticationError):
        by_client(server, lambda client: client.get_account(), secret="wrong")  # noqa: S106
    with pytest.raises(AutarcoAuthenticationError):
        by_client(server, lambda client: client.get_account(), who="disabled")
    with pytest.raises(AutarcoConnectionError):
        by_client(server, lambda client: client.get_inverters(FOREIGN))


HOSTILE = {
    "an upgrade to nothing": b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: \x00\r\n"
    b"Connection: Upgrade\r\n\r\n",
    "a malformed websocket": b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: a\r\nSec-WebSocket-Version: x\r\n\r\n",
    "http/2 without asking": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00",
    "h2c": b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\n\r\n",
    "length and chunks": b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    "two lengths": b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    b"Content-Length: 40\r\n\r\nabcd",
    "a negative length": b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a chunk of eternity": b"POST /sign-in HTTP/1.1\r\nHost: x\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nx",
    "a header without an end": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000,
    "ten thousand headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
    "long headers": b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 50_000 + b"\r\n\r\n",
    "a long address": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
    "null bytes": b"\x00" * 5_000,
    "a path out": b"GET /../../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "an escape out": b"GET /static/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n"
    b"Connection: close\r\n\r\n",
    "wrong utf-8": b"GET /api/site/%ff%fe/power HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a strange method": b"BREW / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a header that is none": b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic \xff\xfe\r\n"
    b"Connection: close\r\n\r\n",
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_no_hostile_bytes_stop_the_server(server: Server, attack: str) -> None:
    answer = server.say(HOSTILE[attack])
    assert b"Traceback" not in answer
    assert b"root:" not in answer
    # Nothing that was smuggled behind a request is answered as a request of its own.
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b"HTTP/1.1 5" not in answer
    assert server.is_well()


FORM = b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(server: Server) -> None:
    for length in (BODY_BYTES_MAX + 1, 99_999_999_999):
        answer = server.say(FORM + b"Content-Length: %d\r\n\r\n{" % length)
        assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]
    assert server.is_well()


def test_a_body_that_becomes_too_large_is_refused(server: Server) -> None:
    whole = server.say(FORM + b"Content-Length: %d\r\n\r\n" % BODY_BYTES_MAX + b"a" * 1_000)
    # One that fits is waited for.
    assert whole.startswith(b"HTTP/1.1 408 "), whole[:200]
    chunk = b"8000\r\n" + b"a" * 0x8000 + b"\r\n"
    chunks = chunk * (BODY_BYTES_MAX // 0x8000 + 1) + b"0\r\n\r\n"
    answer = server.say(FORM + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]
    assert server.is_well()


@pytest.mark.parametrize(
    "head", [b"Content-Length: 10000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"]
)
def test_a_body_that_trickles_is_cut_off_in_time(server: Server, head: bytes) -> None:
    began = time.monotonic()
    answer = trickled(server, FORM + head, b"1\r\na\r\n")
    assert answer.startswith(b"HTTP/1.1 408 "), answer[:200]
    assert b"Traceback" not in answer
    assert BODY_S - 0.5 <= time.monotonic() - began <= BODY_S + PEER_S / 2
    assert server.is_well()


def test_a_head_that_trickles_is_cut_off_in_time(server: Server) -> None:
    began = time.monotonic()
    answer = trickled(server, b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"a")
    assert not answer.startswith(b"HTTP/1.1 2")
    assert time.monotonic() - began <= HEAD_MS / 1_000 + PEER_S / 2
    assert server.is_well()


def trickled(server: Server, begin: bytes, more: bytes) -> bytes:
    """What comes back to a client that sends a few bytes at a time, until the server closes."""
    answer = b""
    with server.connect() as peer:
        peer.sendall(begin)
        peer.settimeout(0.2)
        until = time.monotonic() + PEER_S
        while time.monotonic() < until:
            try:
                peer.sendall(more)
                chunk = peer.recv(65_536)
            except TimeoutError:
                continue
            except (ConnectionError, ssl.SSLError):
                return answer
            if not chunk:
                return answer
            answer += chunk
    pytest.fail(f"the connection was still open after {PEER_S:.0f} s, with {answer[:100]!r}")


def test_slow_clients_hinder_nobody(server: Server) -> None:
    slow = []
    try:
        for _ in range(200):
            peer = server.connect()
            peer.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            slow.append(peer)
        began = time.monotonic()
        assert server.is_well()
        assert time.monotonic() - began < PEER_S
    finally:
        for peer in slow:
            peer.close()
    assert server.is_well()


def test_connections_that_only_wait_hinder_nobody(server: Server) -> None:
    # Home Assistant keeps one after each poll; these do not even shake hands.
    waiting = [
        socket.create_connection(("127.0.0.1", server.port), timeout=PEER_S) for _ in range(600)
    ]
    try:
        began = time.monotonic()
        assert server.is_well()
        assert time.monotonic() - began < PEER_S / 4
    finally:
        for peer in waiting:
            peer.close()
    assert server.is_well()


@pytest.mark.parametrize(
    ("soft", "hard", "asked", "connections"),
    [
        (1_024, 1_048_576, 8_448, 8_192),
        (1_024, 4_096, 4_096, 3_840),
        (1_024, resource.RLIM_INFINITY, 8_448, 8_192),
        (65_536, 65_536, None, 8_192),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, 8_192),
    ],
)
def test_as_many_connections_as_there_are_descriptors_for(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, asked: int | None, connections: int
) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
    assert serve._connections_max() == connections
    assert limits == ([] if asked is None else [(asked, hard)])


def test_what_is_not_tls_hinders_nobody(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PEER_S) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + os.urandom(3_000))
    assert server.is_well()
