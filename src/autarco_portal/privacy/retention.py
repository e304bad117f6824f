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
    PRUNE = "prune"
    """As deletion, but what follows can still be proved unbroken."""
    THIN = "thin"
    """One row for each quarter of an hour stays."""
    BLANK = "blank"
    """The row stays, without this."""


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
                f"retention of {self.name}: expected 1 to {self.longest_days} days, got {self.days}"
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

TERM_DAYS = 15 * YEAR
"""The longest guarantee."""

SAMPLES_DAYS = 3 * YEAR
"""Then one row for each quarter of an hour stays."""

_EVIDENCE = "evidence of what was done, until claims are time-barred"

RULES: tuple[Rule, ...] = (
    _rule(
        "readings", "readings", TERM_DAYS + 5 * YEAR, "measured", "monitoring and guarantee",
        enforcer=Enforcer.INGEST,
    ),
    _rule(
        "samples", "readings", SAMPLES_DAYS, "measured", "seeing what was wrong",
        action=Action.THIN, enforcer=Enforcer.INGEST,
    ),
    _rule(
        "addresses", "readings", YEAR, "measured", "connection of the data stick",
        action=Action.BLANK, enforcer=Enforcer.INGEST,
    ),
    _rule(
        "sessions", "sessions", YEAR + 1, "event", "connection of the data stick",
        enforcer=Enforcer.INGEST,
    ),
    _rule(
        "quarantine", "quarantine", 30, "received", "frames that nobody understood yet",
        enforcer=Enforcer.INGEST,
    ),
    _rule("login_sessions", "login_sessions", 90, "last seen", "safety of accounts"),
    _rule("login_throttles", "login_throttles", 1, "last failure", "safety of accounts",
        longest=30),
    _rule("invitations", "invitations", 30, "expired", "making accounts", longest=YEAR),
    _rule("app_tokens", "app_tokens", 90, "expired", "safety of accounts", longest=YEAR),
    _rule(
        "attribute_history", "personal_attributes", 2 * YEAR, "replaced",
        "proof of rectification",
    ),
    _rule("ended_grants", "grants", 2 * YEAR, "ended", "showing who could see a site"),
    _rule("alarms", "alarms", TERM_DAYS + 5 * YEAR, "closed", "evidence for the guarantee"),
    _rule("photos", "photos", 2 * YEAR, "guarantee ended", "evidence for the guarantee"),
    _rule("support_notes", "support_notes", 2 * YEAR, "closed", "support"),
    _rule("leads", "leads", YEAR, "added", "sales, without an answer"),
    _rule("invoices", "invoices", 7 * YEAR + 2, "end of the year of issue", "tax law (AWR 52)"),
    _rule(
        "audit_log", "audit_log", 5 * YEAR, "written", "showing who looked at what",
        action=Action.PRUNE,
    ),
    _rule("requests", "privacy_requests", 5 * YEAR, "closed", _EVIDENCE),
    _rule("erasures", "erasure_cases", 5 * YEAR, "ended", _EVIDENCE),
    _rule("consents_unconfirmed", "consents", 7, "asked", "double opt-in"),
    _rule("consents_withdrawn", "consents", 5 * YEAR, "withdrawn", _EVIDENCE),
    _rule("disclosures", "disclosures", 5 * YEAR, "disclosed", _EVIDENCE),
    _rule("notices", "notice_deliveries", 5 * YEAR, "sent", _EVIDENCE),
    _rule("restrictions", "restrictions", 5 * YEAR, "lifted", _EVIDENCE),
    _rule("automated_decisions", "automated_decisions", 5 * YEAR, "told", _EVIDENCE),
    _rule("security_incidents", "security_incidents", 5 * YEAR, "closed", "article 33(5)"),
    _rule(
        "backups", "backups", 35, "made", "bringing data back after a loss",
        enforcer=Enforcer.OPERATOR,
    ),
)  # fmt: skip


def cutoff(rule: Rule, now: datetime) -> datetime:
    """Returns the moment before which the period must have begun for the rule to be due."""
    return now - timedelta(days=rule.days)


def due(rule: Rule, since: datetime | None, now: datetime) -> bool:
    """Tells whether data whose period began then must go now; None: it has not begun."""
    return since is not None and since <= cutoff(rule, now)


def with_periods(periods: Mapping[str, object], rules: Iterable[Rule] = RULES) -> tuple[Rule, ...]:
    """Returns the rules with a deployment's periods, in days by name.

    Raises PrivacyError for a rule that does not exist and for a period too long or none.
    """
    found = tuple(rules)
    names = {rule.name for rule in found}
    if unknown := sorted(set(periods) - names):
        raise PrivacyError(f"retention: no rule named {', '.join(unknown)}")
    changed = []
    for rule in found:
        days = periods.get(rule.name, rule.days)
        if not isinstance(days, int) or isinstance(days, bool):
            raise PrivacyError(f"retention of {rule.name}: expected days, got {days!r}")
        # Not `replace`: that would not look at the limits again.
        values = {name: getattr(rule, name) for name in rule.__struct_fields__}
        changed.append(Rule(**(values | {"days": days})))
    return tuple(changed)


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule removed, or would remove."""

    rule: str
    before: datetime
    count: int
    held: int = 0
    """Kept because of a legal hold."""
