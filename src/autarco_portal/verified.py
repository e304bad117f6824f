"""Which credentials of API clients were compared with their hash a moment ago?

Clients send the password with each request, every few minutes; Argon2 costs a tenth of a second.
What was right is remembered, not as it is: as an HMAC under a key that lives as long as the
process. A new password, a second factor or disabling ends it at once, because the account counts
them (`Account.generation`) and callers compare.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections import OrderedDict
from datetime import datetime, timedelta

import msgspec

from autarco_portal.secret import KEY_BYTES, Secret

UNUSED = timedelta(hours=1)
"""Clients poll every few minutes; who does not come for so long is forgotten."""
LONGEST = timedelta(hours=12)
ENTRIES_MAX = 50_000
"""Some 200 bytes each."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """Whose credentials they were, and as of which generation of his account."""

    person_id: str
    generation: int
    verified_at: datetime
    used_at: datetime


class VerifiedCredentials:
    """What was right; safe to share between threads."""

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self._key = secrets.token_bytes(KEY_BYTES)
        self._entries: OrderedDict[bytes, Verified] = OrderedDict()
        self._entries_max = entries_max
        self._lock = threading.Lock()

    def get(self, header: Secret, now: datetime) -> Verified | None:
        """Returns whose credentials these are, if they were right not long ago."""
        name = self.name(header)
        with self._lock:
            found = self._entries.get(name)
            if found is None:
                return None
            if now - found.used_at >= UNUSED or now - found.verified_at >= LONGEST:
                del self._entries[name]
                return None
            used = msgspec.structs.replace(found, used_at=now)
            self._entries[name] = used
            self._entries.move_to_end(name)
            return used

    def put(self, header: Secret, person_id: str, generation: int, now: datetime) -> None:
        """Remembers credentials that were right."""
        name = self.name(header)
        with self._lock:
            self._entries[name] = Verified(
                person_id=person_id, generation=generation, verified_at=now, used_at=now
            )
            self._entries.move_to_end(name)
            while len(self._entries) > self._entries_max:
                self._entries.popitem(last=False)

    def forget(self, header: Secret) -> None:
        """Forgets credentials whose account has changed."""
        with self._lock:
            self._entries.pop(self.name(header), None)

    def name(self, header: Secret) -> bytes:
        """Returns what credentials are remembered by: nothing that could be used elsewhere."""
        return hmac.digest(self._key, header.reveal().encode(errors="surrogatepass"), "sha256")
