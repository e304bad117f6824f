"""Which passwords are good enough, and how is one compared without being kept?

Argon2id (RFC 9106). What a person may choose is judged without lists of leaked passwords: length
does most, and what everybody guesses first is refused.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autarco_portal.secret import Secret

LENGTH_MIN = 12
LENGTH_MAX = 256
"""Argon2 takes more; nobody types more."""
DIFFERENT_MIN = 5
"""Different characters."""
REST_MIN = 8
"""Characters besides one's own name and address: the rest must be a password by itself."""
PERIOD_MAX = 4
"""`abcabcabcabc` is no longer than `abc`."""

_ROWS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop[]asdfghjkl;'zxcvbnm,./",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
)
"""What lies side by side, in the alphabet or on a keyboard."""
_WORD = re.compile(r"[^\W_]{3,}")


class PasswordError(ValueError):
    """A password is too weak; the message says why and does not repeat it."""


class Busy(Exception):
    """So many passwords wait to be compared that another one must come back later."""


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """What a guess costs; the second choice of RFC 9106, for machines that serve others besides."""

    time_cost: int = 3
    memory_kib: int = 65_536
    parallelism: int = 4
    at_once: int = 2
    """Passwords compared at the same time: more would take memory and win nothing on two cores."""
    waiting_max: int = 2
    """Who comes when so many wait already is turned away: each holds a thread of the server, which
    has six on two cores, and without threads nobody sees a page."""


def check_password(password: Secret, *, email: str, name: str) -> None:
    """Raises PasswordError for a password that others would guess."""
    text = normal(password)
    if len(text) < LENGTH_MIN:
        raise PasswordError(f"a password has at least {LENGTH_MIN} characters")
    if len(text) > LENGTH_MAX:
        raise PasswordError(f"a password has at most {LENGTH_MAX} characters")
    folded = text.casefold()
    if len(set(folded)) < DIFFERENT_MIN:
        raise PasswordError(f"a password has at least {DIFFERENT_MIN} different characters")
    if _period(folded) <= PERIOD_MAX:
        raise PasswordError("a password is more than a few characters again and again")
    if _is_sequence(folded):
        raise PasswordError("a password is not a row of the keyboard or the alphabet")
    if len(_without_owner(folded, email, name)) < REST_MIN:
        raise PasswordError("a password is more than one's own name or e-mail address")


def normal(password: Secret) -> str:
    """Returns one spelling of a password, whatever keyboard it was typed on."""
    return unicodedata.normalize("NFC", password.reveal())


class Hasher:
    """Makes and compares hashes; safe to share between threads."""

    def __init__(self, parameters: Parameters | None = None) -> None:
        parameters = parameters or Parameters()
        self._argon2 = PasswordHasher(
            time_cost=parameters.time_cost,
            memory_cost=parameters.memory_kib,
            parallelism=parameters.parallelism,
        )
        self._turn = threading.BoundedSemaphore(parameters.at_once)
        self._places = threading.BoundedSemaphore(parameters.at_once + parameters.waiting_max)
        # Nobody's password; compared with where there is none, so that it takes as long.
        self._nobody = self._argon2.hash("nobody's password")

    @contextmanager
    def place(self) -> Iterator[None]:
        """Takes a place in the queue for a comparison; raises Busy at once if there is none."""
        if not self._places.acquire(blocking=False):
            raise Busy
        try:
            yield
        finally:
            self._places.release()

    def hash(self, password: Secret) -> str:
        """Returns the hash of a password, with a random salt and the parameters in it."""
        with self._turn:
            return self._argon2.hash(normal(password))

    def matches(self, password: Secret, password_hash: str | None) -> bool:
        """Tells whether a password is the one of a hash; without one no, after the same time."""
        text = normal(password)
        with self._turn:
            try:
                # What is too long to have been accepted is not worth the time either way.
                self._argon2.verify(password_hash or self._nobody, text[: LENGTH_MAX + 1])
            except VerifyMismatchError:
                return False
            except (InvalidHashError, VerificationError) as error:
                raise ValueError("a stored password hash is damaged") from error
        return password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Tells whether a hash was made with other parameters than today's."""
        return self._argon2.check_needs_rehash(password_hash)


def _period(text: str) -> int:
    """Length of the shortest part that, again and again, makes up the text."""
    for period in range(1, len(text)):
        if all(text[index] == text[index - period] for index in range(period, len(text))):
            return period
    return len(text)


def _is_sequence(text: str) -> bool:
    """Tells whether nearly every character lies beside the one before it."""
    neighbours = set()
    for row in _ROWS:
        for left, right in pairwise(row):
            neighbours |= {left + right, right + left}
    steps = [text[index : index + 2] for index in range(len(text) - 1)]
    beside = sum(step in neighbours or step[0] == step[1] for step in steps)
    return beside >= 0.8 * len(steps)


def _without_owner(text: str, email: str, name: str) -> str:
    own = {email.casefold(), *_WORD.findall(email.casefold()), *_WORD.findall(name.casefold())}
    for word in sorted(own, key=len, reverse=True):
        text = text.replace(word, "")
    return text
