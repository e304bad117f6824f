"""What was the last value of a key? Kept in memory for threads that ask again, within a limit."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

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
