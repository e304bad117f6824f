"""How many connections can this process hold? Each takes a file descriptor."""

from __future__ import annotations

import resource

OWN_DESCRIPTORS = 256
"""Left for journal, tables, catalog, logs and the libraries' own; some 60 are in use at once."""


def raise_limit() -> int:
    """Raises this process's limit of open files as far as it may and returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connections_possible(wanted: int, limit: int) -> int:
    """Returns how many of the wanted connections a limit of open files leaves room for."""
    if limit == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, limit - OWN_DESCRIPTORS))
