"""Who has an account, with which password, and whom does a link let choose one?

Hashes of passwords come out in `Credentials` only, which `accounts` compares. A link is taken up by
one conditional statement, so once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Engine, select, update

from autarco_portal.account import Invitation, InvitationPurpose
from autarco_portal.store import account_rows, identity_query, people
from autarco_portal.store.account_rows import (
    Credentials,
    as_account,
    end_everything,
    existing,
)
from autarco_portal.store.account_tables import AccountRow, InvitationRow
from autarco_portal.store.engine import reading, writing
from autarco_portal.store.tables import PersonRow

if TYPE_CHECKING:
    from datetime import datetime

    from autarco_portal.account import Account, Identity
    from autarco_portal.people import Person


class Accounts:
    """Accounts of the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, person_id: str, now: datetime) -> Account:
        """Gives somebody an account without a password; once is enough."""
        with writing(self._engine) as session:
            people.existing(session, person_id)
            row = session.get(AccountRow, person_id)
            if row is None:
                row = AccountRow(person_id=person_id, created_at=now, generation=0)
                session.add(row)
                session.flush()
            return as_account(session, row)

    def get(self, person_id: str) -> Account | None:
        """Returns somebody's account, or None."""
        with reading(self._engine) as session:
            row = session.get(AccountRow, person_id)
            return None if row is None else as_account(session, row)

    def all(self) -> list[tuple[Person, Account]]:
        """Returns all who have an account, by e-mail."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(PersonRow, AccountRow)
                .join(AccountRow, AccountRow.person_id == PersonRow.person_id)
                .order_by(PersonRow.email)
            )
            return [(people.as_person(one), as_account(session, row)) for one, row in rows]

    def credentials(self, email: str) -> Credentials | None:
        """Returns what the password of an address is compared with; `email` is normal already."""
        with reading(self._engine) as session:
            found = session.execute(
                select(PersonRow, AccountRow)
                .join(AccountRow, AccountRow.person_id == PersonRow.person_id)
                .where(PersonRow.email == email)
            ).one_or_none()
            if found is None:
                return None
            person, row = found
            return Credentials(
                person=people.as_person(person),
                account=as_account(session, row),
                password_hash=row.password_hash,
            )

    def identity(
        self,
        person_id: str,
        at: datetime,
        *,
        has_second_factor: bool = False,
        is_read_only: bool = False,
    ) -> Identity | None:
        """Returns somebody with his account, as he acts at a moment; None without an account."""
        with reading(self._engine) as session:
            return identity_query.identity(
                session.connection(),
                person_id,
                at,
                has_second_factor=has_second_factor,
                is_read_only=is_read_only,
            )

    def set_password(self, person_id: str, password_hash: str, now: datetime) -> None:
        """Replaces the password; whatever the old one opened ends."""
        with writing(self._engine) as session:
            account_rows.set_password(session, person_id, password_hash, now)

    def rehash(self, person_id: str, password_hash: str, instead_of: str) -> None:
        """Replaces the hash of the same password by a stronger one, if nobody changed it."""
        with writing(self._engine) as session:
            session.execute(
                update(AccountRow)
                .where(AccountRow.person_id == person_id, AccountRow.password_hash == instead_of)
                .values(password_hash=password_hash)
            )

    def disable(self, person_id: str, now: datetime) -> None:
        """Keeps somebody out: his sessions and tokens end."""
        with writing(self._engine) as session:
            row = existing(session, person_id)
            row.disabled_at = row.disabled_at or now
            end_everything(session, row, tokens=True)

    def enable(self, person_id: str) -> None:
        """Lets somebody sign in again."""
        with writing(self._engine) as session:
            existing(session, person_id).disabled_at = None

    def invite(self, invitation: Invitation) -> None:
        """Keeps an invitation and withdraws those before it."""
        with writing(self._engine) as session:
            existing(session, invitation.person_id)
            session.execute(
                update(InvitationRow)
                .where(
                    InvitationRow.person_id == invitation.person_id,
                    InvitationRow.used_at.is_(None),
                    InvitationRow.withdrawn_at.is_(None),
                )
                .values(withdrawn_at=invitation.created_at)
            )
            columns: dict[str, Any] = msgspec.structs.asdict(invitation)
            columns["purpose"] = invitation.purpose.value
            session.add(InvitationRow(**columns))

    def invitation(self, invitation_id: str) -> Invitation | None:
        """Returns one, or None."""
        with reading(self._engine) as session:
            row = session.get(InvitationRow, invitation_id)
            return None if row is None else _invitation(row)

    def last_invited_at(self, person_id: str) -> datetime | None:
        """Returns when somebody was last sent a link, or None."""
        with reading(self._engine) as session:
            return session.scalar(
                select(InvitationRow.created_at)
                .where(InvitationRow.person_id == person_id)
                .order_by(InvitationRow.created_at.desc())
                .limit(1)
            )

    def take_up(self, invitation_id: str, password_hash: str, now: datetime) -> bool:
        """Sets the password that an invitation allows; False if it is used, withdrawn or over."""
        with writing(self._engine) as session:
            person_id = session.scalar(
                update(InvitationRow)
                .where(
                    InvitationRow.invitation_id == invitation_id,
                    InvitationRow.used_at.is_(None),
                    InvitationRow.withdrawn_at.is_(None),
                    InvitationRow.expires_at > now,
                )
                .values(used_at=now)
                .returning(InvitationRow.person_id)
            )
            if person_id is None:
                return False
            account_rows.set_password(session, person_id, password_hash, now)
            return True


def _invitation(row: InvitationRow) -> Invitation:
    return Invitation(
        invitation_id=row.invitation_id,
        person_id=row.person_id,
        purpose=InvitationPurpose(row.purpose),
        invited_by=row.invited_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
        withdrawn_at=row.withdrawn_at,
    )
