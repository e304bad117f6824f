"""docs/privacy.md says what the rules do: the same table, the same purposes, the same settings."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import msgspec
import pytest

from autarco_portal.privacy import erasure, human_decision, policy, retention
from autarco_portal.privacy.erasure import Holdings
from autarco_portal.privacy.processing import (
    ALWAYS,
    FREE,
    GUARANTEE_NEEDS,
    Flags,
    Purpose,
    may_process,
)
from autarco_portal.privacy.request import ARTICLES, Right
from autarco_portal.privacy_settings import PrivacySettings, load

PAGE = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text("utf-8")


def table(head: str) -> list[list[str]]:
    """Rows of the table whose first line begins with `head`."""
    lines = PAGE.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith(f"| {head}"))
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_table_of_retention_is_that_of_the_code() -> None:
    assert table("rule | store") == [
        [
            rule.name, rule.store, str(rule.days), rule.since, rule.purpose, rule.action,
            rule.enforcer,
        ]
        for rule in retention.RULES
    ]  # fmt: skip


def test_each_right_is_there_with_its_article() -> None:
    rows = {row[0]: row[1] for row in table("right | article")}
    assert rows == {right.value.replace("_", " "): ARTICLES[right] for right in Right}


def test_the_purposes_are_those_of_the_rule() -> None:
    restricted = Flags(is_restricted=True)
    rows = {row[0]: row[1:] for row in table("purpose | under")}
    assert set(rows) == {purpose.value for purpose in Purpose}
    for name, (under, objection, needed) in rows.items():
        purpose = Purpose(name)
        assert (under == "goes on") == may_process(restricted, purpose)
        assert objection.startswith("yes") == (purpose not in ALWAYS)
        assert (needed == "yes") == (purpose in GUARANTEE_NEEDS)
    assert may_process(FREE, Purpose.MONITORING)


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (r"lapses after (\d+) days", PrivacySettings().suspension.lapse_after_days),
        (r"for (\d+) days\. A\s+restriction", human_decision.CONTEST_DAYS),
        (r"starts (\d+) days after every registered user", policy.NOTICE_DAYS),
        (r"within (\d+) days, with a reason", human_decision.DECIDE_DAYS),
        (r"In the (\d+) to 14 days", erasure.COOLING_OFF_DAYS[0]),
    ],
)
def test_numbers_in_the_text_are_those_of_the_rules(words: str, number: int) -> None:
    found = re.search(words, PAGE)
    assert found is not None, words
    assert int(found[1]) == number


def test_the_settings_of_the_page_can_be_loaded(tmp_path: Path) -> None:
    example = PAGE.split("```toml\n")[1].split("```")[0]
    path = tmp_path / "privacy.toml"
    path.write_text(example, "utf-8")
    settings = load(path)
    assert settings.mail is not None
    assert {rule.name: rule.days for rule in settings.rules}["leads"] == 180
    named = set(re.findall(r"^(\w+) = ", example.split("[")[0], re.MULTILINE))
    given = set(re.findall(r"^\[(\w+)\]", example, re.MULTILINE))
    assert named | given == set(msgspec.structs.asdict(PrivacySettings()))


def test_what_outlives_the_person_is_on_the_page() -> None:
    kept = " ".join(row[0] for row in table("what stays"))
    impact = erasure.preview(Holdings(person="p"), today=date(2026, 5, 1))
    assert [part.what for part in impact.kept] == ["request"]
    for word in ("invoices", "settlements", "guarantee", "request", "audit log", "legal hold"):
        assert word in kept
