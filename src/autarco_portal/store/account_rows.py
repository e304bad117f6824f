"""What is in the rows of an account, who is it, and what ends when its password changes?

Used by `accounts`, `sessions` and `second_factors` inside their transactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import delete

from autarco_portal.account import Account
from autarco_portal.store.account_tables import AccountRow, AppTokenRow, LoginSessionRow, TotpRow
from autarco_portal.store.engine import StoreError, affected

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from autarco_portal.people import Person


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a password is compared with."""

    person: Person
    account: Account
    password_hash: str | None

    def __repr__(self) -> str:
        """Without the hash: this may end in a log."""
        return f"Credentials({self.account.person_id})"


def existing(session: Session, person_id: str) -> AccountRow:
    """Returns the row, which PostgreSQL keeps from others; raises StoreError if there is none."""
    row = session.get(AccountRow, person_id, with_for_update=True)
    if row is None:
        raise StoreError("there is no such account")
    return row


def as_account(session: Session, row: AccountRow) -> Account:
    """Returns the value of a row."""
    totp = session.get(TotpRow, row.person_id)
    return Account(
        person_id=row.person_id,
        has_password=row.password_hash is not None,
        password_at=row.password_at,
        has_second_factor=totp is not None and totp.confirmed_at is not None,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        last_signed_in_at=row.last_signed_in_at,
        generation=row.generation,
    )


def set_password(session: Session, person_id: str, password_hash: str, now: datetime) -> None:
    """Replaces the password; sessions end, tokens stay: they have their own way to end."""
    row = existing(session, person_id)
    row.password_hash, row.password_at = password_hash, now
    end_everything(session, row, tokens=False)


def end_everything(session: Session, row: AccountRow, *, tokens: bool) -> None:
    """Ends the sessions, what was kept as verified, and the tokens if so wished."""
    row.generation += 1
    end_sessions(session, row.person_id, None)
    if tokens:
        session.execute(delete(AppTokenRow).where(AppTokenRow.person_id == row.person_id))


def end_sessions(session: Session, person_id: str, but: str | None) -> int:
    """Ends the sessions, perhaps but one; returns how many."""
    wanted = delete(LoginSessionRow).where(LoginSessionRow.person_id == person_id)
    if but is not None:
        wanted = wanted.where(LoginSessionRow.session_id != but)
    return affected(session, wanted)
