"""What was read or computed a moment ago and need not be again, and how long may it be believed?

What comes from the store is believed for seconds, and not at all once this process has changed
something (`Store.revision`): a right that is taken away here is gone at once, and one that another
process takes away within `BELIEVED`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

BELIEVED = timedelta(seconds=4)
"""A program polls several addresses of a site within a second or two. Changes by other processes
show within five seconds (docs/accounts.md)."""

Key = TypeVar("Key", bound="Hashable")
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """The last values by key, the oldest forgotten first; any thread may ask."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._turn = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """Returns what was put last, or None."""
        with self._turn:
            return self._values.get(key)

    def put(self, key: Key, value: Value) -> None:
        """Keeps a value and forgets the oldest beyond the limit."""
        with self._turn:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._most:
                self._values.popitem(last=False)


class Believed(Generic[Key, Value]):
    """What was read from the store, for as long as it is believed; any thread may ask."""

    def __init__(self, most: int, revision: Callable[[], int]) -> None:
        """`revision` gives the store's: another one says that something was changed here."""
        self._revision = revision
        self._read: Remembered[Key, tuple[datetime, int, Value]] = Remembered(most)

    def get(self, key: Key, now: datetime) -> Value | None:
        """Returns what was read, or None."""
        found = self._read.get(key)
        if found is None:
            return None
        read_at, revision, value = found
        # Not from the future either: a clock that was set back would make it last.
        is_young = timedelta() <= now - read_at < BELIEVED
        return value if is_young and revision == self._revision() else None

    def put(self, key: Key, value: Value, read_at: datetime, revision: int) -> None:
        """Remembers what was read; `revision` is that of before, so that what was changed while it
        was read makes it old at once.
        """
        self._read.put(key, (read_at, revision, value))
