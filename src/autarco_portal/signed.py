"""What does somebody have who signs in: a session, how far he is, and a new second factor?

Values that `accounts` returns. Tokens and codes in them are `Secret`: shown to their owner, in no
log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from autarco_portal.account import Account, LoginSession, Stage
    from autarco_portal.people import Actor, Person
    from autarco_portal.secret import Secret


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """Whose session it is; only at the full stage he acts as anybody."""

    session: LoginSession
    stage: Stage
    person: Person
    account: Account
    actor: Actor | None


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A session under a new token: the one before, if any, opens nothing any more."""

    signed: Signed
    token: Secret


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What an authenticator wants to know."""

    secret: Secret
    uri: Secret


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """A second factor is set up; the recovery codes are shown this once."""

    signed_in: SignedIn
    recovery_codes: tuple[Secret, ...]
