"""What is an account: how somebody signs in, from where he is signed in, and who else may look?

Plain values. None of them holds a password, token, code or a hash of one, so that each may be shown
and logged by its identifiers. The rules are in `passwords`, `second_factor` and `throttle`; who
carries them out is `accounts`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from autarco_portal.people import Actor, Person  # noqa: TC001 - msgspec looks at them


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """How somebody signs in."""

    person_id: str
    has_password: bool
    """Not before the invitation was taken up."""
    password_at: datetime | None
    has_second_factor: bool
    """Set up and confirmed with a code."""
    created_at: datetime
    disabled_at: datetime | None
    last_signed_in_at: datetime | None
    generation: int
    """Counts whatever ends what was proved before: a new password or second factor, disabling."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody found by what only he has, as he acts now."""

    person: Person
    account: Account
    actor: Actor


class LoginSession(msgspec.Struct, frozen=True, kw_only=True):
    """A browser that is signed in."""

    session_id: str
    """Names it to people; opens nothing."""
    person_id: str
    has_second_factor: bool
    created_at: datetime
    authenticated_at: datetime
    """When somebody last proved who he is; what is dangerous wants that to be minutes ago."""
    last_seen_at: datetime
    expires_at: datetime
    client: str
    """Which browser, as it says itself."""
    network: str
    """Truncated address, for the owner to recognise."""


class AppToken(msgspec.Struct, frozen=True, kw_only=True):
    """A program that may look for somebody."""

    token_id: str
    person_id: str
    name: str
    has_second_factor: bool
    """Whether it was made in a session with one: it can look as far as that."""
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


class InvitationPurpose(StrEnum):
    """What a link is for."""

    ACCOUNT = "account"
    PASSWORD = "password"  # noqa: S105 - the name of a purpose


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """A link that lets somebody choose a password, once."""

    invitation_id: str
    person_id: str
    purpose: InvitationPurpose
    invited_by: str | None
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    withdrawn_at: datetime | None = None


class Stage(StrEnum):
    """How far somebody has come with signing in."""

    CODE = "code"
    """The password was right, the second factor's code is wanted."""
    ENROL = "enrol"
    """He must set up a second factor before anything else."""
    FULL = "full"


class SessionRules(msgspec.Struct, frozen=True, kw_only=True):
    """How long sessions last; our choice (OWASP names no numbers, only that both limits exist)."""

    idle: timedelta = timedelta(days=7)
    absolute: timedelta = timedelta(days=30)
    unfinished: timedelta = timedelta(minutes=15)
    """Between the password and the code, or the set-up of a second factor."""
    fresh: timedelta = timedelta(minutes=10)
    """Dangerous things want a proof no older than that."""
    seen_step: timedelta = timedelta(minutes=1)
    """`last_seen_at` is written no more often: not each request shall be a write."""


def stage(session: LoginSession, account: Account, *, needs_second_factor: bool) -> Stage:
    """Tells how far a session is; who has or needs a second factor is not in without it."""
    if session.has_second_factor:
        return Stage.FULL
    if account.has_second_factor:
        return Stage.CODE
    return Stage.ENROL if needs_second_factor else Stage.FULL


def is_alive(session: LoginSession, at: Stage, now: datetime, rules: SessionRules) -> bool:
    """Tells whether a session is still good for anything."""
    if now >= session.expires_at or now - session.last_seen_at >= rules.idle:
        return False
    return at is Stage.FULL or now - session.authenticated_at < rules.unfinished


def is_fresh(session: LoginSession, now: datetime, rules: SessionRules) -> bool:
    """Tells whether somebody proved who he is just now."""
    return now - session.authenticated_at < rules.fresh
