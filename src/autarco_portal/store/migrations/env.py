"""How does Alembic run here? On the connection that it is given, inside its transaction."""

from __future__ import annotations

from typing import Literal

from alembic import context

from autarco_portal.store import account_tables as account_tables
from autarco_portal.store import tables as tables
from autarco_portal.store.declarative import Base, Instant

connection = context.config.attributes["connection"]


def render_item(kind: str, item: object, autogen_context: object) -> str | Literal[False]:
    """Spells our instants as what they are in the database: old revisions outlive our classes."""
    if kind == "type" and isinstance(item, Instant):
        return "sa.DateTime(timezone=True)"
    return False


context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_item=render_item,
    # SQLite changes tables by making them anew.
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
context.run_migrations()
