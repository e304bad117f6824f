"""Which secret, sealed, makes somebody's codes, and which codes were taken already?

A code is taken by one conditional statement, so once, however many ask at the same time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Engine, delete, or_, select, update

from autarco_portal.store.account_rows import end_everything, existing
from autarco_portal.store.account_tables import RecoveryCodeRow, TotpRow
from autarco_portal.store.engine import StoreError, affected, reading, writing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy.orm import Session


class SecondFactors:
    """Second factors of the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def offer_totp(self, person_id: str, sealed: str, now: datetime) -> None:
        """Keeps a sealed secret that somebody has not confirmed yet; StoreError if one is."""
        with writing(self._engine) as session:
            existing(session, person_id)
            row = session.get(TotpRow, person_id)
            if row is not None and row.confirmed_at is not None:
                raise StoreError("a second factor is set up already")
            if row is not None:
                session.delete(row)
                session.flush()
            session.add(TotpRow(person_id=person_id, secret=sealed, created_at=now))

    def totp_secret(self, person_id: str, *, confirmed: bool) -> str | None:
        """Returns the sealed secret that codes are compared with, or None."""
        with reading(self._engine) as session:
            row = session.get(TotpRow, person_id)
            if row is None or (row.confirmed_at is not None) != confirmed:
                return None
            return row.secret

    def totp_secrets(self) -> dict[str, str]:
        """Returns all as they are stored, by person."""
        with reading(self._engine) as session:
            rows = session.execute(select(TotpRow.person_id, TotpRow.secret))
            return {row.person_id: row.secret for row in rows}

    def replace_secret(self, person_id: str, before: str, sealed: str) -> bool:
        """Stores the same secret otherwise; False if it is another one by now."""
        with writing(self._engine) as session:
            return (
                affected(
                    session,
                    update(TotpRow)
                    .where(TotpRow.person_id == person_id, TotpRow.secret == before)
                    .values(secret=sealed),
                )
                == 1
            )

    def confirm_totp(
        self, person_id: str, step: int, code_hashes: Iterable[str], now: datetime
    ) -> bool:
        """Begins to ask for codes, with new recovery codes; ends what a password alone opened."""
        with writing(self._engine) as session:
            if not _take_step(session, person_id, step, confirmed=False):
                return False
            row = session.get(TotpRow, person_id, populate_existing=True)
            if row is None:
                return False
            row.confirmed_at = now
            existing(session, person_id).generation += 1
            _replace_codes(session, person_id, code_hashes)
            return True

    def take_step(self, person_id: str, step: int) -> bool:
        """Takes a code by its number; False if it or a newer one was taken before."""
        with writing(self._engine) as session:
            return _take_step(session, person_id, step, confirmed=True)

    def replace_codes(self, person_id: str, code_hashes: Iterable[str]) -> None:
        """Gives somebody new recovery codes; the old ones open nothing any more."""
        with writing(self._engine) as session:
            _replace_codes(session, person_id, code_hashes)

    def take_code(self, person_id: str, code_hash: str, now: datetime) -> bool:
        """Takes a recovery code; False if there is none or it was taken before."""
        with writing(self._engine) as session:
            taken = affected(
                session,
                update(RecoveryCodeRow)
                .where(
                    RecoveryCodeRow.code_hash == code_hash,
                    RecoveryCodeRow.person_id == person_id,
                    RecoveryCodeRow.used_at.is_(None),
                )
                .values(used_at=now),
            )
            return taken == 1

    def codes_left(self, person_id: str) -> int:
        """Returns how many recovery codes somebody has."""
        with reading(self._engine) as session:
            rows = session.scalars(
                select(RecoveryCodeRow.code_hash).where(
                    RecoveryCodeRow.person_id == person_id, RecoveryCodeRow.used_at.is_(None)
                )
            )
            return len(rows.all())

    def remove_totp(self, person_id: str) -> None:
        """Forgets somebody's second factor; his sessions and tokens end."""
        with writing(self._engine) as session:
            row = existing(session, person_id)
            session.execute(delete(TotpRow).where(TotpRow.person_id == person_id))
            _replace_codes(session, person_id, ())
            end_everything(session, row, tokens=True)


def _take_step(session: Session, person_id: str, step: int, *, confirmed: bool) -> bool:
    is_confirmed = TotpRow.confirmed_at.is_not(None)
    taken = affected(
        session,
        update(TotpRow)
        .where(
            TotpRow.person_id == person_id,
            is_confirmed if confirmed else ~is_confirmed,
            or_(TotpRow.last_step.is_(None), TotpRow.last_step < step),
        )
        .values(last_step=step),
    )
    return taken == 1


def _replace_codes(session: Session, person_id: str, code_hashes: Iterable[str]) -> None:
    session.execute(delete(RecoveryCodeRow).where(RecoveryCodeRow.person_id == person_id))
    session.add_all(
        RecoveryCodeRow(code_hash=code_hash, person_id=person_id) for code_hash in code_hashes
    )
