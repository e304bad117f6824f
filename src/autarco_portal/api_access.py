"""For whom does a program ask, and may it ask at all?

By app token, or by the password of an account without a second factor. A program looks, it changes
nothing (`Actor.is_read_only`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from autarco_portal.account import AppToken, Identity
from autarco_portal.credentials import APP_TOKEN_PREFIX, Basic, Bearer, parse
from autarco_portal.people import PeopleError, check_text, normal_email
from autarco_portal.proofs import WRONG, Proofs, Refusal, Refused
from autarco_portal.remembered import Believed
from autarco_portal.secret import Secret, digest, new_token
from autarco_portal.store.keys import new_identifier
from autarco_portal.verified import ENTRIES_MAX, VerifiedCredentials

if TYPE_CHECKING:
    from autarco_portal.store import Store

USED_STEP = timedelta(minutes=10)
"""When a token was last used is written no more often: not each request shall be a write."""


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """For whom credentials speak, and until when at most."""

    identity: Identity
    expires_at: datetime | None = None


class ApiAccess:
    """Credentials of programs; safe to share between threads."""

    def __init__(self, store: Store, proofs: Proofs) -> None:
        self._store = store
        self._proofs = proofs
        self._verified = VerifiedCredentials()
        self._known: Believed[bytes, _Known] = Believed(ENTRIES_MAX, lambda: store.revision)

    def known(self, header: Secret, now: datetime) -> Identity | None:
        """Returns for whom an `Authorization` header spoke a moment ago, if that still holds.

        None says nothing. Asks neither the store nor Argon2: an event loop may call it.
        """
        found = self._known.get(self._verified.name(header), now)
        if found is None or (found.expires_at is not None and now >= found.expires_at):
            return None
        actor = msgspec.structs.replace(found.identity.actor, at=now)
        return msgspec.structs.replace(found.identity, actor=actor)

    def authenticate(self, header: Secret, *, address: str, now: datetime) -> Identity | Refused:
        """Returns for whom an `Authorization` header speaks, or why not."""
        known = self.known(header, now)
        if known is not None:
            return known
        revision = self._store.revision
        found = self._look(header, address, now)
        if isinstance(found, Refused):
            return found
        self._known.put(self._verified.name(header), found, now, revision)
        return found.identity

    def _look(self, header: Secret, address: str, now: datetime) -> _Known | Refused:
        credentials = parse(header)
        if credentials is None:
            return WRONG
        if isinstance(credentials, Bearer):
            return self._by_token(credentials.token, None, now)
        if credentials.password.reveal().startswith(APP_TOKEN_PREFIX):
            return self._by_token(credentials.password, credentials.email, now)
        found = self._by_password(header, credentials, address, now)
        return found if isinstance(found, Refused) else _Known(identity=found)

    def add_token(
        self,
        person_id: str,
        name: str,
        *,
        has_second_factor: bool,
        now: datetime,
        expires_at: datetime | None = None,
    ) -> tuple[AppToken, Secret]:
        """Makes a token for a program, which is shown this once.

        `has_second_factor` is that of the session that makes it. Raises PeopleError for a name that
        is none.
        """
        check_text("name of a token", name)
        token = AppToken(
            token_id=new_identifier(),
            person_id=person_id,
            name=name,
            has_second_factor=has_second_factor,
            created_at=now,
            last_used_at=None,
            expires_at=expires_at,
        )
        secret = new_token(APP_TOKEN_PREFIX)
        self._store.sessions.add_token(token, digest(secret))
        return token, secret

    def _by_token(self, token: Secret, email: str | None, now: datetime) -> _Known | Refused:
        # 256 bits: nobody tries them, and looking one up costs no more than refusing it.
        found = self._store.sessions.token(digest(token), now)
        if found is None:
            return WRONG
        app_token, identity = found
        if app_token.expires_at is not None and now >= app_token.expires_at:
            return WRONG
        if identity.account.disabled_at is not None:
            return WRONG
        if email is not None and not _is_of(email, identity):
            return WRONG
        used = app_token.last_used_at
        if used is None or now - used >= USED_STEP:
            self._store.sessions.token_used(app_token.token_id, now)
        return _Known(identity=identity, expires_at=app_token.expires_at)

    def _by_password(
        self, header: Secret, credentials: Basic, address: str, now: datetime
    ) -> Identity | Refused:
        known = self._verified.get(header, now)
        if known is not None:
            identity = self._identity(known.person_id, now)
            if identity is not None and identity.account.generation == known.generation:
                return _without_second_factor(identity)
            self._verified.forget(header)
        account = self._proofs.password(credentials.email, credentials.password, address, now)
        if isinstance(account, Refused):
            return account
        identity = self._identity(account.person_id, now)
        if identity is None:
            return WRONG
        self._verified.put(header, account.person_id, account.generation, now)
        return _without_second_factor(identity)

    def _identity(self, person_id: str, now: datetime) -> Identity | None:
        return self._store.accounts.identity(person_id, now, is_read_only=True)


def _without_second_factor(identity: Identity) -> Identity | Refused:
    """A password alone is enough for whom it opens a session too."""
    if identity.account.has_second_factor or identity.actor.needs_second_factor:
        return Refused(reason=Refusal.APP_TOKEN_WANTED)
    return identity


def _is_of(email: str, identity: Identity) -> bool:
    try:
        return normal_email(email) == identity.person.email
    except PeopleError:
        return False
