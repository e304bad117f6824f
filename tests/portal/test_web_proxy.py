"""A proxy that is named says whose request it is, and nobody else does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autarco_portal import cli
from autarco_portal.throttle import network_of
from autarco_portal.web_identity import NOBODY, address
from autarco_portal.web_proxy import behind, forwarded_address

PROXY = "10.1.2.3"


def seen(peer: str, *forwarded: str) -> str:
    """The address that the application finds behind a proxy in 10.0.0.0/8."""
    found: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(scope)

    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    scope: Any = {"type": "http", "client": (peer, 4711), "scheme": "http", "headers": headers}
    asyncio.run(behind(app, ["10.0.0.0/8"])(scope, None, None))  # type: ignore[arg-type]
    assert set(found[0]) == {"type", "client", "scheme", "headers"}
    host: str = found[0]["client"][0]
    return host


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        (("192.0.2.7",), "192.0.2.7"),
        (("198.51.100.1, 192.0.2.7",), "192.0.2.7"),
        (("192.0.2.7, 10.9.9.9",), "192.0.2.7"),
        (("198.51.100.1", "192.0.2.7"), "192.0.2.7"),
        (("192.0.2.7:4711",), "192.0.2.7"),
        (("2001:db8::1",), "2001:db8::1"),
        (("[2001:db8::1]:4711",), "2001:db8::1"),
        ((), PROXY),
        (("",), PROXY),
        (("unknown",), PROXY),
        (("_hidden",), PROXY),
        (("192.0.2.7, unknown",), PROXY),
        (("127.0.0.1.example",), PROXY),
        (("192.0.2.7:http",), PROXY),
        (("[2001:db8::1",), "2001:db8::1"),
        (("[2001:db8::1]x",), PROXY),
        (("\x00", "\xff" * 5_000), PROXY),
    ],
)
def test_what_a_proxy_says_counts_if_it_is_an_address(
    forwarded: tuple[str, ...], expected: str
) -> None:
    assert seen(PROXY, *forwarded) == expected


@pytest.mark.parametrize("forwarded", ["192.0.2.7", "127.0.0.1", "nonsense"])
def test_what_others_say_counts_nothing(forwarded: str) -> None:
    assert seen("203.0.113.9", forwarded) == "203.0.113.9"


def test_a_part_with_a_port_names_the_address() -> None:
    assert forwarded_address("192.0.2.7:80") == "192.0.2.7"
    assert forwarded_address("192.0.2.7:") is None
    assert forwarded_address("") is None


def test_who_has_no_address_is_not_this_machine() -> None:
    class Asked:
        client: Any = None

    request: Any = Asked()
    assert network_of(address(request)) == NOBODY
    request.client = type("Peer", (), {"host": "nonsense"})
    assert network_of(address(request)) == NOBODY
    request.client = type("Peer", (), {"host": "192.0.2.7"})
    assert network_of(address(request)) == "192.0.2.7"


@pytest.mark.parametrize("name", ["proxy.local", "*", "10.0.0.1/8", "10.0.0.0/99", ""])
def test_a_proxy_is_named_by_its_address(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", f"--proxy={name}"])
    assert ended.value.code == 2
    assert "no address or network" in capsys.readouterr().err


def test_there_is_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--workers=2"])
    assert ended.value.code == 2
    assert "--workers" in capsys.readouterr().err
