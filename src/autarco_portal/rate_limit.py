"""How often may one client ask, and how long must one wait that asked too often?

A leaky bucket per client (the generic cell rate algorithm): `burst` requests at once, then so many
a minute. It is there for programs gone wild; guessing passwords is the business of `throttle`.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec
from litestar.exceptions import TooManyRequestsException

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler

CLIENTS_MAX = 100_000
"""Remembered at once; who was quiet for longest is forgotten first, which costs nobody anything."""


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may ask."""

    per_minute: int
    burst: int


def wait_s(full_at_s: float | None, now_s: float, rate: Rate) -> tuple[float, float]:
    """Returns how long to wait (0: go on), and when the bucket will be empty.

    `full_at_s` is what the last call returned for this client, None for a new one.
    """
    step_s = 60 / rate.per_minute
    empty_at_s = max(now_s, now_s if full_at_s is None else full_at_s)
    wait = empty_at_s + step_s - rate.burst * step_s - now_s
    if wait > 1e-9:
        return wait, empty_at_s
    return 0.0, empty_at_s + step_s


class RateLimit:
    """Remembers clients; used as a guard of a router."""

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        """`clock` gives seconds and never goes back."""
        self._rate = rate
        self._clock = clock
        self._empty_at_s: OrderedDict[bytes, float] = OrderedDict()
        self._turn = threading.Lock()

    def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        """Lets a request pass, or raises TooManyRequestsException."""
        key = _client(connection)
        with self._turn:
            known = self._empty_at_s.get(key)
            wait, empty_at_s = wait_s(known, self._clock(), self._rate)
            self._empty_at_s[key] = empty_at_s
            self._empty_at_s.move_to_end(key)
            while len(self._empty_at_s) > CLIENTS_MAX:
                self._empty_at_s.popitem(last=False)
        if wait:
            policy = f'"default";q={self._rate.per_minute};w=60'
            raise TooManyRequestsException(
                f"more than {self._rate.per_minute} requests a minute",
                headers={"Retry-After": str(int(wait) + 1), "RateLimit-Policy": policy},
            )


def _client(connection: ASGIConnection[Any, Any, Any, Any]) -> bytes:
    """A program by its credentials, so that many behind one address do not hinder one another."""
    named = connection.headers.get("authorization") or connection.headers.get("cookie")
    address = connection.client.host if connection.client else ""
    return hashlib.blake2b(f"{address}\0{named or ''}".encode(), digest_size=16).digest()
