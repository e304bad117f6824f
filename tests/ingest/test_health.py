"""Claims about the state that operators see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from autarco_ingest.health import CONSEQUENCE, Health, Part

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def test_without_a_problem_the_server_is_ready() -> None:
    state = Health(Clock()).state()

    assert (state.status, state.acknowledging, state.problems) == ("ready", True, [])


def test_a_problem_keeps_its_beginning_and_shows_its_latest_reason() -> None:
    clock = Clock()
    health = Health(clock)
    health.fail(Part.LAKE, "disk full")
    clock.now += timedelta(minutes=5)
    health.fail(Part.LAKE, "read-only file system")

    (problem,) = health.state().problems

    assert (problem.since, problem.reason) == (NOON, "read-only file system")
    assert health.state().status == "degraded"


def test_only_what_stops_the_answers_says_so() -> None:
    for part in Part:
        health = Health(Clock())
        health.fail(part, "x")
        assert health.state().acknowledging == (part not in (Part.JOURNAL, Part.MEMORY))


def test_a_part_that_recovers_is_forgotten() -> None:
    health = Health(Clock())
    health.fail(Part.JOURNAL, "x")

    assert health.recover(Part.JOURNAL)
    assert not health.recover(Part.JOURNAL)
    assert health.state().status == "ready"


def test_every_part_says_what_happens_and_what_to_do() -> None:
    assert set(CONSEQUENCE) == set(Part)


def test_the_state_is_json() -> None:
    health = Health(Clock())
    health.fail(Part.DISK_SPACE, "12 MB left")

    shown = msgspec.json.decode(msgspec.json.encode(health.state()))

    assert shown["problems"][0]["part"] == "disk_space"
    assert shown["problems"][0]["since"] == "2026-06-15T12:00:00Z"
