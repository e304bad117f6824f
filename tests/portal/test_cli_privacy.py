"""A privacy officer can do his work at the command line, and is refused in one sentence."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

import privacy_samples as samples
from autarco_portal import cli_privacy, cli_requests
from autarco_portal.cli import main
from autarco_portal.people import PortalRole
from autarco_portal.privacy import suspension
from autarco_portal.privacy.request import Right
from autarco_portal.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

OFFICER = "officer@autarco.example"
JAN = "jan@canary.example"


class Command:
    """Runs a command on one data directory."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self._capsys = capsys

    def __call__(self, *words: str, by: bool = False, code: int = 0) -> list[str]:
        more = ["--by", OFFICER] if by else []
        group, verb = words[0], words[1:]
        assert main([group, "--data", str(self.data), *verb, *more]) == code
        told = self._capsys.readouterr()
        return (told.out + told.err).splitlines()


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    data = tmp_path / "data"
    (data / "portal").mkdir(parents=True)
    with open_store(str(data / "portal" / "portal.sqlite"), migrate=True) as store:
        officer = samples.person(store, "Olga", OFFICER)
        store.people.give_portal_role(officer, PortalRole.PRIVACY_OFFICER, samples.NOW)
        somebody = samples.person(store)
        samples.account(store, somebody)
        site = samples.site(store, somebody)
        samples.guaranteed(store, site)
    return Command(data, capsys)


def test_a_letter_becomes_an_erasure_that_waits_for_its_cooling_off(command: Command) -> None:
    (name,) = command("request", "add", "erasure", "Kanarieweg 7", "--channel", "letter", by=True)
    assert name in command("request", "list")[1]
    command("request", "verify", name, "--person", JAN, "--method", "known_fact", by=True)
    command("request", "decide", name, "granted", by=True)
    preview = command("erase", "preview", JAN)
    case, *shown = command("erase", "open", name, by=True)
    assert json.loads("\n".join(shown[:-1]))["guarantees_lapse"] == ["C-1"]
    assert preview[-1] == shown[-1]
    wrong = command("erase", "confirm", case, "--sha256", "0" * 64, by=True, code=2)
    assert "what was confirmed is not this preview" in wrong[0]
    command("erase", "confirm", case, "--sha256", shown[-1].split()[1], by=True)
    told = command("erase", "execute", case, by=True, code=2)
    assert "the cooling-off lasts until" in told[0]
    command("erase", "call-off", case, by=True)
    steps = json.loads("\n".join(command("request", "show", name)))["steps"]
    assert [step["kind"] for step in steps] == ["verified", "decided"]
    assert " 6:" in command("audit", "verify")[0]


def test_only_a_privacy_officer_does_it(command: Command) -> None:
    told = command("request", "add", "access", JAN, "--by", JAN, code=2)
    assert told == ["autarco-portal request: jan@canary.example is no privacy officer"]
    told = command("request", "show", "nothing", code=2)
    assert told == ["autarco-portal request: there is no such request"]


def test_a_missed_deadline_is_a_finding(command: Command) -> None:
    long_ago = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    command("request", "add", "access", JAN, "--received", long_ago, by=True)
    command("request", "list", code=1)
    report = json.loads("\n".join(command("duties")))
    assert report["warnings"] == 1
    assert json.loads("\n".join(command("duties")))["warnings"] == 0


def test_restriction_suspends_and_its_end_is_announced(command: Command) -> None:
    name, suspended = command("restrict", "begin", JAN, "--ground", "accuracy", by=True)
    assert suspended == "guarantees suspended: 1"
    assert name in command("restrict", "list")[1]
    assert command("restrict", "announce", name, by=True)[0].startswith("it ends on")


def test_retention_counts_first_and_then_removes(command: Command) -> None:
    rules = command("retention", "list")
    assert any(line.startswith("invoices\tinvoices\t2557\t") for line in rules)
    assert command("retention", "run", "--dry-run")[0].split("\t") == [
        "rule", "before", "due", "held",
    ]  # fmt: skip
    (command.data / "portal" / "privacy.toml").write_text("[retention]\nleads = 9999\n")
    told = command("retention", "list", code=2)
    assert told == [
        "autarco-portal retention: retention of leads: expected 1 to 365 days, got 9999"
    ]


def test_an_incident_runs_for_72_hours(command: Command) -> None:
    aware = (datetime.now(UTC) - timedelta(hours=80)).isoformat()
    (name,) = command("incident", "add", "a laptop", "--aware", aware, by=True)
    command("incident", "list", code=1)
    told = command("incident", "report", name, "nature=theft", by=True, code=2)
    assert "delay_reason" in told[0]
    left = command("incident", "report", name, "nature=theft", "--delay-reason", "weekend", by=True)
    assert left[0].startswith("still to be told: categories")


def test_a_policy_is_published_in_time_or_not_at_all(command: Command, tmp_path: Path) -> None:
    for language in ("nl", "en"):
        (tmp_path / f"{language}.md").write_text(f"Policy in {language}")
    files = [str(tmp_path / "nl.md"), str(tmp_path / "en.md")]
    soon = (datetime.now(UTC) + timedelta(days=5)).date().isoformat()
    assert "30 days" in command("notice", "add", "2", soon, *files, by=True, code=2)[0]
    later = (datetime.now(UTC) + timedelta(days=31)).date().isoformat()
    name, queued = command("notice", "add", "2", later, *files, by=True)
    assert queued == "mails queued: 1"
    assert command("notice", "status", name, code=1)[0] == "not everybody was told"


def test_a_hold_is_shown_and_ended(command: Command) -> None:
    review = (datetime.now(UTC) + timedelta(days=90)).isoformat()
    told = command(
        "hold", "add", "gossip", JAN, "--reason", "case", "--review", review, by=True, code=2
    )
    assert "no store gossip" in told[0]
    (name,) = command("hold", "add", "*", JAN, "--reason", "case", "--review", review, by=True)
    impact = json.loads("\n".join(command("erase", "preview", JAN)[:-1]))
    assert impact["blocked_by"] == ["case"]
    command("hold", "end", name, by=True)
    assert len(command("hold", "list")) == 1


def test_the_words_of_the_help_are_those_of_the_rules() -> None:
    assert set(cli_requests._RIGHTS) == {right.value for right in Right}
    assert set(cli_privacy._GROUNDS) == suspension.GROUNDS
