"""How is a register of values kept: added, found, and changed by a rule, with an audit entry?

A row is the value as JSON, with columns beside it that follow from the value. A change is a pure
function from the value before to the value after, inside the transaction that also writes the audit
entry; a rule that refuses leaves everything as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from sqlalchemy import Engine, select

from autarco_portal.store import audit
from autarco_portal.store.engine import Conflict, StoreError, reading, writing

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from autarco_portal.audit import AuditEntry
    from autarco_portal.store.declarative import Base

Value = TypeVar("Value")


class Register(Generic[Value]):
    """One register; `columns` says what stands beside a value's JSON."""

    def __init__(
        self,
        engine: Engine,
        row: type[Base],
        value: type[Value],
        columns: Callable[[Value], dict[str, Any]],
    ) -> None:
        self._engine = engine
        # The models share no base with `body`; each of them has it.
        self._row: Any = row
        self._columns = columns
        self._decoder = msgspec.json.Decoder(value)

    def add(self, value: Value, *entries: AuditEntry, **more: Any) -> Value:
        """Keeps a new value; raises StoreError where its name is taken or points nowhere."""
        try:
            with writing(self._engine) as session:
                session.add(self._row(**self._fields(value), **more))
                if entries:
                    audit.append(session, *entries)
        except Conflict as error:
            raise StoreError("it is there already, or names what is not there") from error
        return value

    def get(self, key: Any) -> Value | None:
        """Returns one, or None; a key of two columns is a tuple."""
        with reading(self._engine) as session:
            row = session.get(self._row, key)
            return None if row is None else self._decoder.decode(row.body)

    def all(self, **equal: Any) -> list[Value]:
        """Returns those whose columns are as said, by key."""
        keys = list(self._row.__table__.primary_key)
        with reading(self._engine) as session:
            rows = session.scalars(select(self._row).filter_by(**equal).order_by(*keys))
            return [self._decoder.decode(row.body) for row in rows]

    def change(self, key: Any, rule: Callable[[Value], Value], *entries: AuditEntry) -> Value:
        """Keeps what a rule makes of a value; raises StoreError for none, and as the rule does."""
        with writing(self._engine) as session:
            value = self.change_in(session, key, rule)
            if entries:
                audit.append(session, *entries)
            return value

    def change_in(self, session: Session, key: Any, rule: Callable[[Value], Value]) -> Value:
        """The same inside somebody's transaction."""
        row = session.get(self._row, key, with_for_update=True)
        if row is None:
            raise StoreError("there is no such entry")
        value = rule(self._decoder.decode(row.body))
        for name, column in self._fields(value).items():
            setattr(row, name, column)
        return value

    def _fields(self, value: Value) -> dict[str, Any]:
        return self._columns(value) | {"body": msgspec.json.encode(value).decode()}
