"""How long is what kept, what for, and what happens then?

One table of rules. The defaults are the policy's; a deployment changes periods in a TOML file, and
cannot keep anything longer than `longest`. The job that enforces them is `privacy_retention`;
docs/privacy.md prints this table, and a test compares both.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from autarco_portal.privacy.error import PrivacyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Action(StrEnum):
    """What happens at the end of the period."""

    DELETE = "delete"
    CLEAR = "clear"
    """Only the named fields become empty, the row stays."""
    UNLINK = "unlink"
    """The row stays without anything that leads to a person."""
    THIN = "thin"
    """Only sums over a quarter of an hour stay."""


class Enforcer(StrEnum):
    """Who does it."""

    PORTAL = "portal"
    INGEST = "ingest"
    """`autarco-ingest retain`, by its own settings."""
    OPERATOR = "operator"
    """Backups are out of reach of the program; the rule is a duty."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """How long one store keeps data for one purpose."""

    name: str
    store: str
    purpose: str
    days: int
    """From `since`."""
    since: str
    """The moment the period begins."""
    action: Action = Action.DELETE
    enforcer: Enforcer = Enforcer.PORTAL
    longest_days: int
    """What a deployment may set at most."""

    def __post_init__(self) -> None:
        """Raises PrivacyError for a period that is none or too long."""
        if not 0 < self.days <= self.longest_days:
            raise PrivacyError(
                f"retention of {self.name}: expected 1 to {self.longest_days} days, "
                f"got {self.days}"
            )


def _rule(
    name: str,
    store: str,
    days: int,
    since: str,
    purpose: str,
    *,
    action: Action = Action.DELETE,
    enforcer: Enforcer = Enforcer.PORTAL,
    longest: int | None = None,
) -> Rule:
    return Rule(
        name=name, store=store, purpose=purpose, days=days, since=since, action=action,
        enforcer=enforcer, longest_days=longest or days,
    )  # fmt: skip


YEAR = 365
"""Days; a leap day more or less is no matter of privacy."""
