"""Whatever tables the database has: an erasure leaves no row, and each rule has its moment.

With a row about Anna and one about Bob in every table.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, select, update

from autarco_portal.privacy import erasure, retention
from autarco_portal.store import Store
from autarco_portal.store.declarative import Base
from autarco_portal.store.engine import reading, writing
from autarco_portal.store.privacy_erasure import PROOF
from autarco_portal.store.privacy_retention import EXPIRED
from person_rows import ANNA, BOB, NOW, SITES, database, fill

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

OUTLIVE = PROOF | {
    # To whom what was disclosed is told also after the person is gone: by the site's key.
    "disclosures",
    "disclosure_sites",
    # A hold names by a key that leads nowhere then; it ends by a person's word.
    "legal_holds",
    # What he did at another's site, by his identifier: acknowledged an alarm, gave access.
    "alarms",
    "grants",
    # Partners; who one is stands with the rows that refer to it.
    "organisations",
}
"""docs/privacy.md says so; in this test nobody has a guarantee."""

SINCE: dict[str, dict[str, Any]] = {
    "login_sessions": {"last_seen_at": NOW},
    "invitations": {"expires_at": NOW},
    "app_tokens": {"expires_at": NOW},
    "attribute_history": {"until": NOW},
    "ended_grants": {"until": NOW},
    "alarms": {"closed_at": NOW},
    "support_notes": {"closed_at": NOW},
    "leads": {"added_at": NOW},
    "requests": {"closed_at": NOW},
    "erasures": {"ended_at": NOW},
    "consents_unconfirmed": {"asked_at": NOW, "confirmed_at": None, "withdrawn_at": None},
    "consents_withdrawn": {"withdrawn_at": NOW},
    "disclosures": {"disclosed_at": NOW},
    "notices": {"at": NOW, "next_at": None},
    "restrictions": {"lifted_at": NOW},
    "automated_decisions": {"told_at": NOW},
}
"""When the period of each rule begins; `test_time_travel` knows where the others are tested."""

RULES = {rule.name: rule for rule in retention.RULES}


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = database(tmp_path / "portal.sqlite")
    fill(engine)
    return engine


def left(engine: Engine) -> dict[str, int]:
    """How many rows of each table tell of Anna."""
    number, key = SITES[ANNA]
    found = {}
    with reading(engine) as session:
        for table in Base.metadata.sorted_tables:
            rows = [row._asdict() for row in session.execute(select(table))]
            hits = [
                row
                for row in rows
                if any(ANNA in str(one) or "ANN " in str(one) or key in str(one)
                       for one in row.values())
                or row.get("site_number") == number
            ]  # fmt: skip
            if hits:
                found[table.name] = len(hits)
    return found


def test_no_table_keeps_a_row_of_the_erased_but_those_that_are_proof(engine: Engine) -> None:
    with writing(engine) as session:
        for name in ("guarantee_suspensions", "decisions", "settlements", "guarantees"):
            session.execute(delete(Base.metadata.tables[name]))
        restrictions = Base.metadata.tables["restrictions"]
        for who in (ANNA, BOB):
            subject = f"person:{who}"
            statement = update(restrictions).where(restrictions.c.subject == subject)
            session.execute(statement.values(subject=who))
    before = left(engine)
    assert len(before) > 25
    with Store(engine) as store:
        impact = erasure.preview(store.erasure.holdings(ANNA, NOW), today=NOW.date())
        assert store.erasure.erase(impact, NOW) == impact.removed
        assert store.erasure.traces(ANNA) == []
        assert set(left(engine)) <= OUTLIVE
        assert store.people.get(BOB) is not None
        with reading(engine) as session:
            for table in Base.metadata.sorted_tables:
                if table.name in before and table.name not in OUTLIVE:
                    assert session.execute(select(table)).first() is not None, table.name


@pytest.mark.parametrize("name", sorted(SINCE))
def test_each_rule_removes_at_its_moment_and_only_what_is_due(engine: Engine, name: str) -> None:
    rule, (row, _) = RULES[name], EXPIRED[name]
    table = row.__table__
    with writing(engine) as session:
        session.execute(delete(Base.metadata.tables["legal_holds"]))
        keys = list(table.primary_key)
        rows = session.execute(select(*keys)).all()
        for number, found in enumerate(rows):
            # The first one begins now, the others a day later.
            later = timedelta(days=bool(number))
            values = {
                column: None if begun is None else begun + later
                for column, begun in SINCE[name].items()
            }
            statement = update(table).values(values)
            for key, value in zip(keys, found, strict=True):
                statement = statement.where(key == value)
            session.execute(statement)
    ends = NOW + timedelta(days=rule.days)
    with Store(engine) as store:
        assert store.retention.run(rule, ends - timedelta(seconds=1)).count == 0
        assert store.retention.due(rule, ends).count == 1
        assert store.retention.run(rule, ends).count == 1
        assert store.retention.run(rule, ends).count == 0
        with reading(engine) as session:
            assert len(session.execute(select(table)).all()) == len(rows) - 1
