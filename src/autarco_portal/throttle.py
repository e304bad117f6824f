"""How often may somebody be wrong before he must wait, and how long?

Failures are counted for a pair of network address and account, so that nobody can lock others out
from elsewhere, and more generously for an address alone, so that one machine cannot try many
accounts. Pure: a state and a time in, a state out. A try counts as failed until it succeeded:
hundreds at once must not all see the count of before.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta

import msgspec

_IPV6_PREFIX = 64
"""One customer has at least that much of IPv6: single addresses cost nothing there."""


_UNKNOWN = "unknown"
"""Clients without an address, by a socket of this machine, count as one."""


class ThrottleRules(msgspec.Struct, frozen=True, kw_only=True):
    """When waiting begins and how it grows. Our choice: a person mistypes, a program persists."""

    free: int
    """Failures without consequence."""
    first_wait: timedelta = timedelta(seconds=30)
    """Doubles with each failure."""
    longest_wait: timedelta = timedelta(hours=1)
    forget_after: timedelta = timedelta(hours=24)
    """Without a failure for so long, nothing is held against anybody."""


PAIR = ThrottleRules(free=5)
NETWORK = ThrottleRules(free=50)
"""A company or a mobile network behind one address has many who mistype."""
CODE = ThrottleRules(free=5)
"""Codes of one account from anywhere: who tries them knows the password already."""
FORGOTTEN = ThrottleRules(free=5, first_wait=timedelta(minutes=10))
"""Of one address on an account: each is a mail to somebody who perhaps did not ask."""
FORGOTTEN_NETWORK = ThrottleRules(free=30, first_wait=timedelta(minutes=10))
"""Of one network, whatever the addresses."""


class Throttle(msgspec.Struct, frozen=True, kw_only=True):
    """What is held against a pair or a network."""

    failures: int = 0
    last_failure_at: datetime | None = None
    blocked_until: datetime | None = None


def attempt(state: Throttle, now: datetime, rules: ThrottleRules) -> Throttle | timedelta:
    """Returns the state with one more try that may fail, or how long to wait before it."""
    if state.blocked_until is not None and now < state.blocked_until:
        return state.blocked_until - now
    failures = state.failures + 1
    if state.last_failure_at is not None and now - state.last_failure_at >= rules.forget_after:
        failures = 1
    wait = _wait(failures - rules.free, rules)
    return Throttle(
        failures=failures,
        last_failure_at=now,
        blocked_until=now + wait if wait else None,
    )


def succeeded(state: Throttle, *, forgive: bool) -> Throttle:
    """Returns the state when the try did not fail.

    `forgive` lets all of a pair's failures go; a network keeps the others, or whoever has one
    account there would have free tries at all others.
    """
    if forgive:
        return Throttle()
    return Throttle(
        failures=max(0, state.failures - 1),
        last_failure_at=state.last_failure_at,
        blocked_until=None,
    )


def network_of(address: str) -> str:
    """Returns what failures of an address are counted under: itself, or its /64 for IPv6."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX), strict=False))
    return _UNKNOWN if parsed is None else str(parsed)


def truncated(address: str) -> str:
    """Returns the part of an address that may be kept: /24 of IPv4, /48 of IPv6."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed), 48), strict=False))
    return _UNKNOWN if parsed is None else str(ipaddress.ip_network((parsed, 24), strict=False))


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IPv4 address in the clothes of IPv6 is one; what is no address is a local socket's."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def _wait(beyond: int, rules: ThrottleRules) -> timedelta:
    if beyond <= 0:
        return timedelta(0)
    # Beyond this many doublings the longest wait is reached anyway.
    wait: timedelta = rules.first_wait * 2 ** min(beyond - 1, 30)
    return min(wait, rules.longest_wait)
