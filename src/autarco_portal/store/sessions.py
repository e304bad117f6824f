"""Where is somebody signed in, and which programs may look for him?

By the hash of a random token: who reads the tables cannot sign in with what he finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Engine, bindparam, delete, or_, select, update

from autarco_portal.account import AppToken, LoginSession
from autarco_portal.store import account_rows, identity_query
from autarco_portal.store.account_rows import existing
from autarco_portal.store.account_tables import AppTokenRow, LoginSessionRow
from autarco_portal.store.engine import affected, reading, writing

if TYPE_CHECKING:
    from datetime import datetime

    from autarco_portal.account import Identity


# Asked with each request: built once, and read without the ORM.
_LOGIN = select(*(getattr(LoginSessionRow, name) for name in LoginSession.__struct_fields__)).where(
    LoginSessionRow.token_hash == bindparam("token_hash")
)
_TOKEN = select(*(getattr(AppTokenRow, name) for name in AppToken.__struct_fields__)).where(
    AppTokenRow.token_hash == bindparam("token_hash")
)


class Sessions:
    """Sessions and app tokens of the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin_session(self, login: LoginSession, token_hash: str) -> None:
        """Keeps a new session."""
        with writing(self._engine) as session:
            row = existing(session, login.person_id)
            row.last_signed_in_at = login.created_at
            session.add(LoginSessionRow(token_hash=token_hash, **msgspec.structs.asdict(login)))

    def session(self, token_hash: str, at: datetime) -> tuple[LoginSession, Identity] | None:
        """Returns a session and who is signed in by it; whether it is alive the caller knows."""
        with reading(self._engine) as session:
            connection = session.connection()
            row = connection.execute(_LOGIN, {"token_hash": token_hash}).first()
            if row is None:
                return None
            login = LoginSession(**row._mapping)
            identity = identity_query.identity(
                connection,
                login.person_id,
                at,
                has_second_factor=login.has_second_factor,
                is_read_only=False,
            )
            return None if identity is None else (login, identity)

    def sessions(self, person_id: str) -> list[LoginSession]:
        """Returns where somebody is signed in, the last one seen first."""
        with reading(self._engine) as session:
            rows = session.scalars(
                select(LoginSessionRow)
                .where(LoginSessionRow.person_id == person_id)
                .order_by(LoginSessionRow.last_seen_at.desc())
            )
            return [_login(row) for row in rows]

    def seen(self, session_id: str, now: datetime) -> None:
        """Keeps when a session was last used."""
        with writing(self._engine, is_note=True) as session:
            session.execute(
                update(LoginSessionRow)
                .where(LoginSessionRow.session_id == session_id)
                .values(last_seen_at=now)
            )

    def prove(
        self, session_id: str, token_hash: str, now: datetime, *, has_second_factor: bool
    ) -> bool:
        """Keeps a new proof in a session, under a new token; False if it ended meanwhile."""
        with writing(self._engine) as session:
            row = session.get(LoginSessionRow, session_id)
            if row is None:
                return False
            row.token_hash, row.authenticated_at, row.last_seen_at = token_hash, now, now
            row.has_second_factor = row.has_second_factor or has_second_factor
            return True

    def end_session(self, person_id: str, session_id: str) -> bool:
        """Signs one of somebody's browsers out; tells whether it was in."""
        with writing(self._engine) as session:
            gone = affected(
                session,
                delete(LoginSessionRow).where(
                    LoginSessionRow.session_id == session_id,
                    LoginSessionRow.person_id == person_id,
                ),
            )
            return gone == 1

    def end_sessions(self, person_id: str, *, but: str | None = None) -> int:
        """Signs somebody out everywhere, or everywhere else; returns how often."""
        with writing(self._engine) as session:
            existing(session, person_id).generation += 1
            return account_rows.end_sessions(session, person_id, but)

    def sweep(self, now: datetime, idle_since: datetime) -> int:
        """Removes sessions that are over; returns how many."""
        with writing(self._engine) as session:
            gone = affected(
                session,
                delete(LoginSessionRow).where(
                    or_(
                        LoginSessionRow.expires_at <= now,
                        LoginSessionRow.last_seen_at <= idle_since,
                    )
                ),
            )
            return gone

    def add_token(self, token: AppToken, token_hash: str) -> None:
        """Keeps a new token."""
        with writing(self._engine) as session:
            existing(session, token.person_id)
            session.add(AppTokenRow(token_hash=token_hash, **msgspec.structs.asdict(token)))

    def token(self, token_hash: str, at: datetime) -> tuple[AppToken, Identity] | None:
        """Returns a token and for whom it looks."""
        with reading(self._engine) as session:
            connection = session.connection()
            row = connection.execute(_TOKEN, {"token_hash": token_hash}).first()
            if row is None:
                return None
            token = AppToken(**row._mapping)
            identity = identity_query.identity(
                connection,
                token.person_id,
                at,
                has_second_factor=token.has_second_factor,
                is_read_only=True,
            )
            return None if identity is None else (token, identity)

    def tokens(self, person_id: str) -> list[AppToken]:
        """Returns somebody's tokens, the oldest first."""
        with reading(self._engine) as session:
            rows = session.scalars(
                select(AppTokenRow)
                .where(AppTokenRow.person_id == person_id)
                .order_by(AppTokenRow.created_at)
            )
            return [_token(row) for row in rows]

    def token_used(self, token_id: str, now: datetime) -> None:
        """Keeps when a token was last used."""
        with writing(self._engine, is_note=True) as session:
            session.execute(
                update(AppTokenRow).where(AppTokenRow.token_id == token_id).values(last_used_at=now)
            )

    def end_token(self, person_id: str, token_id: str) -> bool:
        """Ends one of somebody's tokens; tells whether there was one."""
        with writing(self._engine) as session:
            gone = affected(
                session,
                delete(AppTokenRow).where(
                    AppTokenRow.token_id == token_id, AppTokenRow.person_id == person_id
                ),
            )
            return gone == 1


def _login(row: LoginSessionRow) -> LoginSession:
    return LoginSession(**{name: getattr(row, name) for name in LoginSession.__struct_fields__})


def _token(row: AppTokenRow) -> AppToken:
    return AppToken(**{name: getattr(row, name) for name in AppToken.__struct_fields__})
