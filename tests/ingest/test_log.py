"""Claims about log lines that come again and again."""

from __future__ import annotations

import pytest
import structlog

from autarco_ingest.log import PROBLEMS_MAX, REPEAT_SECONDS, Repetition


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_problem_is_shown_once_a_minute_with_the_count_in_between() -> None:
    clock = Clock()
    shown = Repetition(clock)
    problem = {"event": "lake cannot be written", "error": "disk full"}
    assert shown(None, "error", dict(problem)) == problem
    for second in range(1, 60):
        clock.now = second
        with pytest.raises(structlog.DropEvent):
            shown(None, "error", dict(problem))
    clock.now = REPEAT_SECONDS
    assert shown(None, "error", dict(problem)) == {**problem, "repeated": 59}
    clock.now = 3 * REPEAT_SECONDS
    assert shown(None, "error", dict(problem)) == problem


def test_another_cause_is_another_problem() -> None:
    shown = Repetition(Clock())
    for error in ("disk full", "read-only"):
        assert shown(None, "error", {"event": "x", "error": error})


def test_infos_always_pass() -> None:
    shown = Repetition(Clock())
    for _ in range(3):
        assert shown(None, "info", {"event": "flushed"}) == {"event": "flushed"}


def test_ever_new_problems_do_not_fill_the_memory() -> None:
    shown = Repetition(Clock())
    for number in range(10 * PROBLEMS_MAX):
        shown(None, "warning", {"event": "x", "error": str(number)})
        assert len(shown._shown) <= PROBLEMS_MAX
