"""What do pages need of accounts? `accounts` carries it out, rules and throttles and all.

Secrets go in and come out as text and are no part of a value that could be logged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from autarco_portal.account import Identity, LoginSession, Stage
    from autarco_portal.people import Person


class Refused(Exception):
    """What was given does not open; the message is one sentence for whoever tried."""


class Wait(Exception):
    """Somebody tried too often; `span` is how long to wait."""

    def __init__(self, span: timedelta) -> None:
        super().__init__("too many tries")
        self.span = span


class Signed(Struct, frozen=True, kw_only=True):
    """A browser that is signed in, or on its way."""

    token: str
    """What its cookie holds."""
    session: LoginSession
    identity: Identity
    stage: Stage

    def __repr__(self) -> str:
        """Names the session, not what opens it."""
        return f"Signed({self.session.session_id}, {self.stage})"


class From(Struct, frozen=True, kw_only=True):
    """Where somebody tries from."""

    address: str
    client: str
    """The browser, as it says itself."""


class Door(Protocol):
    """Lets people in and out. Raises Refused and Wait, and StoreError when there is no store."""

    def session(self, token: str, now: datetime) -> Signed | None:
        """Returns who is signed in by a cookie; None if nobody is."""

    def sign_in(self, email: str, password: str, origin: From, now: datetime) -> str:
        """Begins a session and returns what its cookie holds."""

    def prove(self, signed: Signed, code: str, origin: From, now: datetime) -> str:
        """Takes a code of the second factor, or a recovery code; returns the new cookie."""

    def sign_out(self, signed: Signed) -> None:
        """Ends one session."""

    def sign_out_everywhere(self, signed: Signed) -> None:
        """Ends all sessions of somebody."""

    def offer_second_factor(self, signed: Signed, now: datetime) -> tuple[str, str]:
        """Returns a secret, and the address for a phone's app that holds it.

        The one that waits for its first code, a new one if none does: whoever mistypes need not
        scan again.
        """

    def confirm_second_factor(
        self, signed: Signed, code: str, origin: From, now: datetime
    ) -> tuple[str, tuple[str, ...]]:
        """Begins to ask for codes; returns the new cookie and the recovery codes."""

    def drop_second_factor(self, signed: Signed, code: str, origin: From, now: datetime) -> None:
        """Ends it for somebody who may do without."""

    def reset_second_factor(self, person_id: str, by: Signed, now: datetime) -> None:
        """Ends it for somebody else who lost the phone."""

    def change_password(
        self, signed: Signed, old: str, new: str, origin: From, now: datetime
    ) -> str:
        """Sets another password; returns the new cookie, all other sessions end."""

    def invited(self, link: str, now: datetime) -> Person | None:
        """Returns for whom a link is; None if it is used, over or none."""

    def take_up(self, link: str, password: str, now: datetime) -> None:
        """Sets the password that a link allows."""

    def invite(self, person: Person, by: Signed, now: datetime) -> str:
        """Makes an account if there is none, and a link to its first password."""

    def disable(self, person_id: str, by: Signed, now: datetime) -> None:
        """Closes somebody's account."""

    def new_app_token(self, signed: Signed, name: str, now: datetime) -> str:
        """Returns a new password of a program."""
