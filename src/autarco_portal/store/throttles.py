"""What is held against a pair of address and account?

Names are keyed hashes that `accounts` makes. A try is counted before it is judged, in one
transaction per name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Engine, delete, select

from autarco_portal import throttle
from autarco_portal.store.account_tables import ThrottleRow
from autarco_portal.store.engine import Conflict, affected, writing
from autarco_portal.throttle import Throttle

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from autarco_portal.throttle import ThrottleRules


class Throttles:
    """Throttles of the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def attempt(self, key_hash: str, now: datetime, rules: ThrottleRules) -> timedelta | None:
        """Counts a try; returns None, or how long to wait before it (then it is not counted)."""
        try:
            return self._attempt(key_hash, now, rules)
        except Conflict:
            # Another one made the row at the same moment; now it is there to be locked.
            return self._attempt(key_hash, now, rules)

    def succeeded(self, key_hash: str, *, forgive: bool) -> None:
        """Takes the try back, or everything."""
        with writing(self._engine, is_note=True) as session:
            row = session.get(ThrottleRow, key_hash, with_for_update=True)
            if row is None:
                return
            state = throttle.succeeded(_state(row), forgive=forgive)
            if state.failures == 0:
                session.delete(row)
            else:
                _write(row, state)

    def sweep(self, before: datetime) -> int:
        """Forgets those without a failure since then; returns how many."""
        with writing(self._engine, is_note=True) as session:
            gone = affected(
                session, delete(ThrottleRow).where(ThrottleRow.last_failure_at < before)
            )
            return gone

    def _attempt(self, key_hash: str, now: datetime, rules: ThrottleRules) -> timedelta | None:
        with writing(self._engine, is_note=True) as session:
            row = session.scalar(
                select(ThrottleRow).where(ThrottleRow.key_hash == key_hash).with_for_update()
            )
            state = throttle.attempt(Throttle() if row is None else _state(row), now, rules)
            if not isinstance(state, Throttle):
                return state
            if row is None:
                row = ThrottleRow(key_hash=key_hash)
                session.add(row)
            _write(row, state)
            return None


def _state(row: ThrottleRow) -> Throttle:
    return Throttle(
        failures=row.failures,
        last_failure_at=row.last_failure_at,
        blocked_until=row.blocked_until,
    )


def _write(row: ThrottleRow, state: Throttle) -> None:
    if state.last_failure_at is None:
        raise ValueError("expected a state after a failure")
    row.failures = state.failures
    row.last_failure_at = state.last_failure_at
    row.blocked_until = state.blocked_until
