"""Does somebody read in plain sentences who looked at his data, without reading who they are?"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import autarco_portal
from autarco_portal import audit_page
from autarco_portal.audit import FIRST_HASH, AuditEntry, Seal, SealedEntry, seal
from autarco_portal.audit_page import Line, Standing
from autarco_portal.people import PortalRole

if TYPE_CHECKING:
    from autarco_portal.people import Language

NOON = datetime(2026, 3, 29, 10, tzinfo=UTC)
ME = "annaannaannaanna"
STANDINGS = {
    "karelkarelkarel1": Standing(organisations=("Zonnig BV",)),
    "supportsupport12": Standing(portal_roles=(PortalRole.SUPPORT,)),
}


def sealed(*entries: AuditEntry) -> list[SealedEntry]:
    chain: list[SealedEntry] = []
    after = Seal(sequence=0, hash=FIRST_HASH)
    for entry in entries:
        chain.append(seal(entry, after))
        after = Seal(sequence=chain[-1].sequence, hash=chain[-1].hash)
    return chain


def entry(action: str, actor: str = "karelkarelkarel1", **changes: object) -> AuditEntry:
    facts: dict[str, object] = {
        "at": NOON, "actor": actor, "action": action, "thing": "site:annasite", "subject": ME,
    }  # fmt: skip
    return AuditEntry(**(facts | changes))  # type: ignore[arg-type]


def told(*entries: AuditEntry, language: Language = "en") -> list[Line]:
    return audit_page.lines(
        sealed(*entries),
        person_id=ME,
        standings=STANDINGS,
        site_names={"annasite": "Thuis"},
        language=language,
    )


def test_a_look_is_told_by_the_company_not_by_the_employee() -> None:
    (line,) = told(entry("view_site"))

    assert line.sentence == "Your system Thuis was looked at by an employee of Zonnig BV."
    assert (line.is_look, line.is_other) == (True, True)
    assert "karel" not in line.sentence


def test_dutch_people_read_dutch() -> None:
    lines = told(
        entry("view_contact", "supportsupport12", why="ticket:77"),
        entry("sign_in", ME),
        entry("decide_automatically", "system:settle"),
        language="nl",
    )

    assert [line.sentence for line in lines] == [
        "Over uw garantie is automatisch besloten door het programma zelf.",
        "Er is ingelogd door uzelf.",
        "Uw adres- en contactgegevens zijn bekeken door de ondersteuning (vanwege een "
        "ondersteuningsvraag).",
    ]
    assert [line.is_other for line in lines] == [False, False, True]


def test_looks_of_one_local_day_are_one_line() -> None:
    # Clocks change on that Sunday: it ends at 22:00 UTC.
    times = (0, 2, 11.9, 12)
    lines = told(*(entry("view_site", at=NOON + timedelta(hours=hours)) for hours in times))

    assert [line.count for line in lines] == [1, 3]
    assert lines[1].sentence.endswith("Zonnig BV, 3 times.")
    assert lines[1].at == NOON + timedelta(hours=11.9)


def test_changes_are_told_one_by_one() -> None:
    assert len(told(entry("change_site"), entry("change_site"))) == 2


def test_an_entry_found_twice_counts_once() -> None:
    (one,) = sealed(entry("view_site"))

    (line,) = audit_page.lines([one, one], person_id=ME, standings={}, site_names={}, language="en")

    assert line.count == 1
    assert line.sentence == "Your system annasite was looked at by somebody else."


def test_an_action_without_a_sentence_is_told_all_the_same() -> None:
    (line,) = told(entry("paint_roof"))

    assert line.sentence == "Done: paint roof by an employee of Zonnig BV."


_WRITTEN = re.compile(
    r"""(?:AuditEntry\([^)]*?action=|_log\(\s*|_entry\(\s*(?:\w+,\s*)?)"([a-z_]+)\"""", re.DOTALL
)


def written() -> set[str]:
    """The actions that the program writes, as its source spells them."""
    root = Path(autarco_portal.__file__).parent
    return {
        action
        for file in root.rglob("*.py")
        for action in _WRITTEN.findall(file.read_text("utf-8"))
    }


def test_the_search_for_actions_finds_some() -> None:
    assert {"sign_in", "close_request", "export_person"} <= written()


@pytest.mark.parametrize("action", sorted(written()))
def test_every_action_that_is_written_has_its_sentence(action: str) -> None:
    assert audit_page.knows(action)
