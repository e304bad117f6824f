"""The page of measurements says what the results say, and the README what the page says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
RESULTS = sorted((REPOSITORY / "benchmarks" / "results").glob("*/summary.json"))


@pytest.fixture
def summary(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, whose directory is no package."""
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    import summary

    return summary


@pytest.mark.parametrize("result", RESULTS, ids=lambda path: path.parent.name)
def test_the_page_is_what_its_result_makes(result: Path, summary: Any) -> None:
    page = summary.page(json.loads(result.read_text(encoding="utf-8")))
    assert result.with_suffix(".md").read_text(encoding="utf-8") == page


def test_the_readme_shows_the_newest_budgets(summary: Any) -> None:
    newest = json.loads(RESULTS[-1].read_text(encoding="utf-8"))
    table = "\n".join(summary.budgets_table(newest["numbers"]["budgets"]))
    assert table in (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_a_page_without_any_result_says_so(summary: Any, tmp_path: Path) -> None:
    found = summary.numbers(tmp_path)
    assert {row["measured"] for row in found["budgets"]} == {"not measured"}
    result = {
        "command": "python benchmarks/bench.py",
        "at": "2026-11-25T12:00:00Z",
        "commit": "0123456789abcdef with changes",
        "machine": {"cores": 2, "cpu": "a CPU", "kernel": "6", "python": "3.11"},
        "numbers": found | {"minutes": 0.1},
    }
    page = summary.page(result)
    assert "commit 0123456789ab with changes" in page
    assert page.count("Not measured.") == 5


def test_a_section_says_of_which_commit_it_is_and_how_its_script_ended(
    summary: Any, tmp_path: Path
) -> None:
    result = {"commit": "fedcba9876543210 with changes", "at": "2026-11-29T01:02:03Z"}
    store = {
        "readings": 1,
        "stores": {
            "ours": {
                "bytes_per_reading": 1,
                "load_s": 1,
                "settle_s": 1,
                "server_cpu_us_per_reading": 1,
            }
        },
        "questions": {},
    }
    (tmp_path / "store.json").write_text(json.dumps({**result, "numbers": store}), "utf-8")
    numbers = summary.numbers(tmp_path)
    page = summary.page(
        {
            "command": "python benchmarks/bench.py",
            "at": "2026-11-29T12:00:00Z",
            "commit": "0123456789abcdef",
            "machine": {"cores": 2, "cpu": "a CPU", "kernel": "6", "python": "3.11"},
            "numbers": numbers | {"minutes": 0.1, "exit_codes_other_than_0": {"store.py": 1}},
        }
    )
    told = "commit fedcba987654 with changes. `store.py` ended with exit code 1."
    assert f"Measured at 2026-11-29T01:02:03Z, {told}" in page
    assert page.count("Measured at") == 1
