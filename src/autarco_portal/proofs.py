"""Is it he? Compares passwords and codes, counts what was wrong, and tells as little as it can.

An unknown address, a wrong password and a disabled account look the same and take the same time.
Every try is counted before it is judged, for the pair of address and account and for the address
alone (`throttle`).
"""

from __future__ import annotations

import hmac
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from autarco_portal import second_factor, throttle
from autarco_portal.passwords import Busy
from autarco_portal.people import PeopleError, normal_email
from autarco_portal.sealed import is_sealed, seal, unseal
from autarco_portal.secret import Secret, derived

if TYPE_CHECKING:
    from datetime import datetime

    from autarco_portal.account import Account
    from autarco_portal.passwords import Hasher
    from autarco_portal.store import Store
    from autarco_portal.throttle import ThrottleRules


SEAL_PURPOSE = "second factor"
BUSY_S = 5
"""When to come back while too many passwords are being compared."""


class Refusal(StrEnum):
    """Why something was refused."""

    WRONG = "wrong"
    """Address, password, code, session or token; which one is not said."""
    WAIT = "wait"
    """Too often wrong: `retry_after_s` says how long."""
    APP_TOKEN_WANTED = "app_token_wanted"  # noqa: S105 - a reason
    """The password is right, but a program must not use it: the account has a second factor."""
    PROVE_AGAIN = "prove_again"
    """The session is good, its proof is too old for this."""
    LINK_OVER = "link_over"
    """Used, withdrawn, too old, or not ours."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """It was refused."""

    reason: Refusal
    retry_after_s: int | None = None


WRONG = Refused(reason=Refusal.WRONG)


class Proofs:
    """Passwords and codes of one portal; safe to share between threads."""

    def __init__(self, store: Store, key: bytes, hasher: Hasher) -> None:
        self._store = store
        self._hasher = hasher
        self._key = derived(key, "login throttle")
        self._seal_key = derived(key, SEAL_PURPOSE)

    def password(
        self, email: str, password: Secret, address: str, now: datetime
    ) -> Account | Refused:
        """Returns whose password it is, or why not."""
        try:
            with self._hasher.place():
                return self._password(email, password, address, now)
        except Busy:
            # Not counted as a failure: nobody looked at it.
            return Refused(reason=Refusal.WAIT, retry_after_s=BUSY_S)

    def _password(
        self, email: str, password: Secret, address: str, now: datetime
    ) -> Account | Refused:
        try:
            email = normal_email(email)
        except PeopleError:
            # Goes the same way, and finds nobody.
            email = email.strip().lower()
        network = throttle.network_of(address)
        pair = self._name("pair", network, email)
        alone = self._name("network", network)
        refused = self._attempt(pair, now, throttle.PAIR)
        if refused is not None:
            return refused
        refused = self._attempt(alone, now, throttle.NETWORK)
        if refused is not None:
            self._store.throttles.succeeded(pair, forgive=False)
            return refused
        found = self._store.accounts.credentials(email)
        known_hash = None if found is None else found.password_hash
        is_right = self._hasher.matches(password, known_hash)
        if found is None or known_hash is None or not is_right:
            return WRONG
        if found.account.disabled_at is not None:
            return WRONG
        self._store.throttles.succeeded(pair, forgive=True)
        self._store.throttles.succeeded(alone, forgive=False)
        if self._hasher.is_outdated(known_hash):
            stronger = self._hasher.hash(password)
            self._store.accounts.rehash(found.account.person_id, stronger, known_hash)
        return found.account

    def code(self, person_id: str, code: Secret, now: datetime) -> Refused | None:
        """Takes a code or recovery code of a second factor, once; returns why not, or None."""
        name = self._name("code", person_id)
        refused = self._attempt(name, now, throttle.CODE)
        if refused is not None:
            return refused
        if not (self._is_code(person_id, code, now) or self._is_recovery(person_id, code, now)):
            return WRONG
        self._store.throttles.succeeded(name, forgive=True)
        return None

    def first_code(
        self, person_id: str, code: Secret, recovery_codes: tuple[Secret, ...], now: datetime
    ) -> Refused | None:
        """Sets a second factor up by its first code; returns why not, or None."""
        name = self._name("code", person_id)
        refused = self._attempt(name, now, throttle.CODE)
        if refused is not None:
            return refused
        factors = self._store.second_factors
        secret = factors.totp_secret(person_id, confirmed=False)
        step = self._step(person_id, secret, code, now)
        hashes = recovery_hashes(recovery_codes, person_id)
        if step is None or not factors.confirm_totp(person_id, step, hashes, now):
            return WRONG
        self._store.throttles.succeeded(name, forgive=True)
        return None

    def seal(self, person_id: str, secret: Secret) -> str:
        """Returns what somebody's secret of a second factor is stored as."""
        return seal(self._seal_key, secret, of=person_id)

    def seal_all(self) -> int:
        """Seals the secrets that an older version stored as they are; returns how many.

        Raises SealError where those that are sealed do not open: the key's file is another one.
        """
        factors = self._store.second_factors
        stored = factors.totp_secrets()
        for person_id, sealed in stored.items():
            if is_sealed(sealed):
                unseal(self._seal_key, sealed, of=person_id)
                break
        return sum(
            factors.replace_secret(person_id, plain, self.seal(person_id, Secret(plain)))
            for person_id, plain in stored.items()
            if not is_sealed(plain)
        )

    def may_ask_for_link(self, email: str, address: str, now: datetime) -> Refused | None:
        """Counts somebody who forgot his password; returns how long to wait, or None.

        By what he typed, whether anybody has that address or not, and by his network.
        """
        typed = self._name("forgotten", email.strip().lower())
        network = self._name("forgotten network", throttle.network_of(address))
        return self._attempt(network, now, throttle.FORGOTTEN_NETWORK) or self._attempt(
            typed, now, throttle.FORGOTTEN
        )

    def new_hash(self, password: Secret) -> str:
        """Returns what a password is stored as."""
        return self._hasher.hash(password)

    def _is_code(self, person_id: str, code: Secret, now: datetime) -> bool:
        secret = self._store.second_factors.totp_secret(person_id, confirmed=True)
        step = self._step(person_id, secret, code, now)
        return step is not None and self._store.second_factors.take_step(person_id, step)

    def _step(self, person_id: str, stored: str | None, code: Secret, now: datetime) -> int | None:
        if stored is None:
            return None
        return second_factor.step_of(unseal(self._seal_key, stored, of=person_id), code, now)

    def _is_recovery(self, person_id: str, code: Secret, now: datetime) -> bool:
        hashed = second_factor.recovery_hash(code, person_id)
        if hashed is None:
            return False
        return self._store.second_factors.take_code(person_id, hashed, now)

    def _attempt(self, name: str, now: datetime, rules: ThrottleRules) -> Refused | None:
        wait = self._store.throttles.attempt(name, now, rules)
        if wait is None:
            return None
        seconds = max(1, round(wait.total_seconds()))
        return Refused(reason=Refusal.WAIT, retry_after_s=seconds)

    def _name(self, *parts: str) -> str:
        """What is counted, unreadable without the key: neither addresses nor e-mails are stored."""
        return hmac.new(self._key, "\0".join(parts).encode(), "sha256").hexdigest()


def recovery_hashes(codes: tuple[Secret, ...], person_id: str) -> list[str]:
    """Returns what recovery codes are stored as."""
    hashes = (second_factor.recovery_hash(code, person_id) for code in codes)
    return [one for one in hashes if one is not None]
