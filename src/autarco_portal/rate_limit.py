"""How often may one client ask, and how long must one wait that asked too often?

A leaky bucket per client (the generic cell rate algorithm): `burst` requests at once, then so many
a minute. It is there for programs gone wild; guessing passwords is the business of `throttle`.
"""

from __future__ import annotations

import hashlib
import math
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


def guard(
    rate: Rate, clock: Callable[[], float]
) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], None]:
    """Returns a guard for routes: it lets a request pass or raises TooManyRequestsException.

    `clock` gives seconds and never goes back. Not an object with the state in it: Litestar copies
    guards deeply, and each copy would count for itself.
    """
    empty_at_s: OrderedDict[bytes, float] = OrderedDict()
    turn = threading.Lock()

    def limit(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        key = _client(connection)
        with turn:
            wait, empty_at_s[key] = wait_s(empty_at_s.get(key), clock(), rate)
            empty_at_s.move_to_end(key)
            while len(empty_at_s) > CLIENTS_MAX:
                empty_at_s.popitem(last=False)
        if wait:
            raise TooManyRequestsException(
                f"more than {rate.per_minute} requests a minute",
                headers={
                    "Retry-After": str(max(1, math.ceil(wait - 1e-6))),
                    "RateLimit-Policy": f'"default";q={rate.per_minute};w=60',
                },
            )

    return limit


def _client(connection: ASGIConnection[Any, Any, Any, Any]) -> bytes:
    """A program by its credentials, so that many behind one address do not hinder one another."""
    named = connection.headers.get("authorization") or connection.headers.get("cookie")
    address = connection.client.host if connection.client else ""
    return hashlib.blake2b(f"{address}\0{named or ''}".encode(), digest_size=16).digest()
