"""How many statements does a database see while something is done?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from collections.abc import Callable

    from autarco_portal.store import Store


def statements(store: Store, done: Callable[[], object]) -> int:
    """Does it, and counts."""
    seen: list[str] = []

    def count(_: Any, __: Any, statement: str, *___: Any) -> None:
        seen.append(statement)

    event.listen(store._engine, "before_cursor_execute", count)
    try:
        done()
    finally:
        event.remove(store._engine, "before_cursor_execute", count)
    return len(seen)
