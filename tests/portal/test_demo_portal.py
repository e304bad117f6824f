"""Planted faults are found over the whole way: sticks, server, lake, analysis."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from autarco_portal import cli, demo
from autarco_portal.incidents import Cause

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_every_planted_fault_is_found_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "town"

    assert cli.main(["demo", "--data", str(data), "--sticks", "9", "--days", "3"]) == 0

    out = capsys.readouterr().out
    assert "9 of 9 roofs were judged right" in out
    for cause in ("open_string", "outage", "over_voltage", "communication_loss"):
        assert cause in out
    assert "2025-06-24" in out
    # Then the portal showed it, to somebody of each role.
    assert "with 2 sites of the owner" in out
    for role in ("administrator", "support", "privacy-officer", "reseller", "installer", "guest"):
        assert f"{role}@demo.example" in out
    # Nobody is mailed; who would be is told.
    assert cli.main(["notify", "--dry-run", "--data", str(data)]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
    assert ["Dakwerk Voorbeeld", "installer", "first", "new", "demo0004", "open_string"] in [
        row[:6] for row in rows
    ]
    assert {row[3] for row in rows} == {"new"}, "the houses of the owner are in order"


def planted(fault: str, *causes: Cause) -> demo.Planted:
    return demo.Planted(
        inverter_sn="A", fault=fault, since=demo.LAST_EVENING, lost_kwh=0.0,
        found=tuple((cause, date(2025, 6, 25)) for cause in causes),
    )  # fmt: skip


def test_only_the_right_name_of_a_fault_counts() -> None:
    assert planted("dead inverter", Cause.ZERO_DAY).is_right
    assert planted("dead inverter", Cause.ZERO_DAY).days == 2
    assert not planted("dead inverter", Cause.STALE).is_right
    assert not planted("dead inverter").is_right
    assert planted("none").is_right
    assert not planted("none", Cause.STALE).is_right
    assert not planted("communication outage", Cause.OUTAGE).is_right


def test_somebody_elses_data_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "precious").write_text("mine")

    assert cli.main(["demo", "--data", str(tmp_path)]) == 2
    assert "is no data of a demo" in capsys.readouterr().err
    assert (tmp_path / "precious").exists()
