"""Do imaginary sticks deliver everything over TCP, also when the server has bad moments?"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import trio

from autarco_ingest import fleet, simulate, stick
from autarco_ingest.stick import Kind
from fake_cloud import HANG_UP, FakeCloud, acknowledgement

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_S = 60
# A winter evening: few frames, so the tests are quick.
END = datetime(2024, 12, 12, 21, 0, tzinfo=UTC)


def live(cloud: FakeCloud, **changes: Any) -> simulate.Outcome:
    """Lets three sticks live two winter days against a fake cloud."""

    async def scene() -> simulate.Outcome:
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                port = await nursery.start(lambda **kw: cloud.listen(**kw))
                plan = simulate.Plan(
                    host="127.0.0.1",
                    port=port,
                    sticks=3,
                    days=2,
                    end=END,
                    answer_timeout_s=5,
                    reconnect_s=0.001,
                )
                outcome = await simulate.simulate(dataclasses.replace(plan, **changes))
                nursery.cancel_scope.cancel()
        return outcome

    return trio.run(scene)


def data_frames(cloud: FakeCloud) -> dict[int, list[bytes]]:
    """Groups the received data frames by logger."""
    by_logger: dict[int, list[bytes]] = defaultdict(list)
    for frame in cloud.frames:
        if frame[4] == Kind.DATA:
            by_logger[int.from_bytes(frame[7:11], "little")].append(frame)
    return by_logger


def word(frame: bytes, at: int) -> int:
    """Reads a double word of the payload."""
    return int.from_bytes(frame[11 + at : 15 + at], "little")


def test_every_frame_is_sound_and_acknowledged() -> None:
    cloud = FakeCloud()

    outcome = live(cloud)

    assert outcome.exit_code == 0
    assert all(stick.is_whole(frame) for frame in cloud.frames)
    assert outcome.frames.total() == outcome.acknowledged.total() == len(cloud.frames)
    assert outcome.retries == outcome.backlog_left == 0
    assert set(outcome.frames) == set(Kind)
    assert "0 retries" in outcome.summary()


def test_each_morning_opens_one_connection_and_the_outage_one_more() -> None:
    cloud = FakeCloud()

    outcome = live(cloud)

    # Three sticks, two mornings; the outage of the third one costs its connection once.
    assert outcome.connections == len(cloud.connections) == 3 * 2 + 1
    assert all(frames[0][4] == Kind.HANDSHAKE for frames in cloud.connections)


def test_the_polls_of_a_stick_are_five_minutes_apart_and_all_there() -> None:
    cloud = FakeCloud()

    live(cloud)

    plants = _plants()
    for sn, frames in data_frames(cloud).items():
        polls = [event.at_s for event in plants[sn].life() if event.change is fleet.Change.POLL]
        dated = [word(f, 3) + word(f, 11) for f in frames if word(f, 11)]
        undated = [f for f in frames if not word(f, 11)]
        assert len(frames) == len(polls)
        assert set(dated) <= set(polls)
        assert len(set(dated)) == len(dated) == len(polls) - len(undated)


def _plants() -> dict[int, fleet.Plant]:
    span = fleet.Span.ending(END, 2)
    sky = fleet.Sky(span, 1)
    sites = fleet.sites(3, 1)
    return {site.identity.logger_sn: fleet.Plant(site, sky, span) for site in sites}


def test_the_outage_is_replayed_newest_first_and_partly_without_clock() -> None:
    cloud = FakeCloud()

    outcome = live(cloud)

    by_logger = data_frames(cloud)
    replayed = {sn: [f for f in frames if f[11] == 0x81] for sn, frames in by_logger.items()}
    third = replayed.pop(fleet.LOGGER_SN_FIRST + 2)
    assert not any(replayed.values())
    assert outcome.historic == len(third) > 30
    clocks = [tuple(f[11 + at] for at in range(0x87, 0x93, 2)) for f in third]
    assert clocks == sorted(clocks, reverse=True)
    without_clock = [word(frame, 11) == 0 for frame in third]
    assert without_clock == sorted(without_clock, reverse=True)
    assert True in without_clock
    assert False in without_clock


def test_the_truth_agrees_with_the_last_counter_of_each_day(tmp_path: Path) -> None:
    cloud = FakeCloud()

    outcome = live(cloud)
    simulate.write_truth(outcome, tmp_path / "truth.json")

    truth = json.loads((tmp_path / "truth.json").read_text())["inverters"]
    assert [row["fault"] for row in truth] == ["none", "broken string", "communication outage"]
    frames = data_frames(cloud)
    for row in truth:
        last = [frame for frame in frames[row["logger_sn"]] if frame[11] == 0x01][-1]
        today_kwh = word(last, 65) / 100
        assert 0 <= row["kwh"]["2024-12-12"] - today_kwh < 0.1
        assert row["readings"] == len(frames[row["logger_sn"]])


def test_frames_survive_a_server_that_loses_connections() -> None:
    def moody(request: bytes, number: int) -> object:
        return HANG_UP if number % 50 == 7 else acknowledgement(request, counter=number)

    calm, restless = FakeCloud(), FakeCloud(moody)
    live(calm)

    outcome = live(restless)

    assert outcome.exit_code == 0
    assert outcome.retries == outcome.links_lost > 5
    polls = sum(map(len, data_frames(calm).values()))
    assert outcome.acknowledged[Kind.DATA] + outcome.backlog_left == polls
    # What the server saw without answering comes again with the same times, as historic.
    seen = {sn: {frame[12:26] for frame in fs} for sn, fs in data_frames(restless).items()}
    assert sum(map(len, data_frames(restless).values())) > polls
    assert sum(map(len, seen.values())) <= polls


def test_a_late_answer_is_no_wrong_answer() -> None:
    held: list[bytes] = []

    def late_once(request: bytes, number: int) -> object:
        answer = acknowledgement(request, counter=number)
        if number == 12:
            held.append(answer)
            return None
        return held.pop() + answer if held else answer

    outcome = live(FakeCloud(late_once), answer_timeout_s=0.2, sticks=1, days=1)

    assert (outcome.exit_code, outcome.retries, outcome.wrong_answers) == (0, 1, [])


def test_a_wrong_answer_is_a_finding() -> None:
    def wrong_once(request: bytes, number: int) -> object:
        answer = bytearray(acknowledgement(request, counter=number))
        if number == 20:
            answer[11] ^= 0xFF
            answer[-2] = sum(answer[1:-2]) & 0xFF
        return bytes(answer)

    outcome = live(FakeCloud(wrong_once), sticks=1, days=1)

    assert outcome.exit_code == 1
    assert len(outcome.wrong_answers) == 1
    assert "byte 11" in outcome.summary()


def test_a_silent_server_ends_the_simulation() -> None:
    outcome = live(FakeCloud(lambda request, number: None), answer_timeout_s=0.02)

    assert outcome.exit_code == 1
    assert len(outcome.gave_up) == 3
    assert "gave up: no answer" in outcome.summary()


def test_a_span_without_daylight_needs_no_server() -> None:
    outcome = live(FakeCloud(), days=1, end=datetime(2024, 12, 12, 3, 0, tzinfo=UTC))

    assert (outcome.exit_code, outcome.frames.total()) == (0, 0)


def test_no_server_at_all_is_said() -> None:
    async def scene() -> simulate.Outcome:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        await listeners[0].aclose()
        plan = simulate.Plan(
            host="127.0.0.1", port=port, sticks=2, days=1, end=END, reconnect_s=0.001
        )
        with trio.fail_after(DEADLINE_S):
            return await simulate.simulate(plan)

    outcome = trio.run(scene)

    assert outcome.reached_nobody
    assert outcome.exit_code == 2
