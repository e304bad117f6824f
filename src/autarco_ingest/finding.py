"""What does a check find, and what should a person do about it?"""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be. `place` is relative to the data directory."""

    severity: Literal["damage", "attention"]
    """Damage: something that was stored cannot be read. Attention: it will be trouble some day."""
    place: str
    seen: str
    do: str

    def line(self) -> str:
        """Returns the finding as one line of text."""
        return f"{self.severity}: {self.place}: {self.seen}; {self.do}"


def attention(place: str, seen: str, do: str) -> Finding:
    """Returns a finding that is no damage yet."""
    return Finding(severity="attention", place=place, seen=seen, do=do)
