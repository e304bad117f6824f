"""Does a replay send what was recorded, and notice every kind of wrong answer?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

import corpus
from autarco_ingest import recording, replay, stick
from autarco_ingest.recording import Recorded, RecordingError
from fake_cloud import HANG_UP, FakeCloud, acknowledgement

if TYPE_CHECKING:
    from collections.abc import Sequence

DEADLINE_S = 60


def request(counter: int, payload: bytes = b"\x01 some registers") -> bytes:
    """Builds one frame of a stick."""
    return stick.encode(
        0x42, server_counter=0, logger_counter=counter, logger_sn=1_700_000_001, payload=payload
    )


def session(count: int, *, connections: int = 1) -> list[Recorded]:
    """Records `count` exchanges, spread over some connections."""
    pieces = []
    for number in range(count):
        frame = request(number & 0xFF)
        name = str(number * connections // count)
        pieces.append(Recorded(2 * number + 1, frame, True, name))
        pieces.append(Recorded(2 * number + 2, acknowledgement(frame, counter=200), False))
    return pieces


def play(cloud: FakeCloud, pieces: Sequence[Recorded], **options: Any) -> replay.Outcome:
    """Replays a recording against a fake cloud."""

    async def scene() -> replay.Outcome:
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                port = await nursery.start(lambda **kw: cloud.listen(**kw))
                options.setdefault("answer_timeout_s", 5.0)
                plan = replay.Plan(host="127.0.0.1", port=port, **options)
                outcome = await replay.replay(plan, replay.exchanges(pieces))
                nursery.cancel_scope.cancel()
        return outcome

    return trio.run(scene)


def test_equal_answers_are_counted_apart_from_what_servers_may_choose() -> None:
    cloud = FakeCloud()

    outcome = play(cloud, session(20))

    assert outcome.exit_code == 0
    assert (outcome.sent, outcome.wanted, outcome.answered, outcome.equal) == (20, 20, 20, 20)
    assert cloud.frames == [piece.data for piece in session(20) if piece.from_stick]


def test_connection_numbers_become_connections() -> None:
    many, one = FakeCloud(), FakeCloud()

    play(many, session(20, connections=5))
    play(one, session(20, connections=5), one_connection=True)

    assert [len(frames) for frames in many.connections] == [4, 4, 4, 4, 4]
    assert [len(frames) for frames in one.connections] == [20]


@pytest.mark.parametrize("seed", range(10))
def test_a_cut_stream_arrives_whole(seed: int) -> None:
    cloud = FakeCloud()

    outcome = play(cloud, session(60, connections=3), cut_seed=seed)

    assert outcome.exit_code == 0
    assert outcome.equal == 60
    assert cloud.frames == [piece.data for piece in session(60) if piece.from_stick]


@pytest.mark.parametrize("at", [0, 1, 3, 4, 6, 7, 10, 11, 12, 21, 22])
def test_a_wrong_byte_in_an_answer_is_found(at: int) -> None:
    def wrong(frame: bytes, number: int) -> object:
        answer = bytearray(acknowledgement(frame, counter=number))
        if number == 3:
            answer[at] ^= 0x01
            if at < 21:
                answer[-2] = sum(answer[1:-2]) & 0xFF
        return bytes(answer)

    outcome = play(FakeCloud(wrong), session(5))

    assert outcome.exit_code == 1
    assert outcome.equal < 5
    assert outcome.different or outcome.stopped


def test_an_answer_that_differs_from_the_recording_is_found() -> None:
    pieces = session(3)
    odd = bytearray(pieces[3].data)
    odd[12] = 0x00
    odd[-2] = sum(odd[1:-2]) & 0xFF
    pieces[3] = Recorded(4, bytes(odd), False)

    outcome = play(FakeCloud(), pieces)

    assert (outcome.equal, outcome.different, outcome.exit_code) == (2, 1, 1)
    assert "line 3: answer byte 12 is 0x01, recorded 0x00" in outcome.summary()


def test_missing_answers_are_counted_and_end_the_replay() -> None:
    outcome = play(FakeCloud(lambda frame, number: None), session(50), answer_timeout_s=0.02)

    assert outcome.missing == replay.SILENCE_MAX
    assert outcome.sent == replay.SILENCE_MAX
    assert outcome.exit_code == 1
    assert "no answer 5 times in a row" in outcome.summary()


def test_an_answer_that_nobody_wanted_is_found() -> None:
    quiet = stick.encode(
        0x02, server_counter=0, logger_counter=1, logger_sn=17, payload=b"\x01 registers"
    )

    outcome = play(
        FakeCloud(lambda frame, number: b"\xa5 chatter"), [Recorded(1, quiet, True, None)]
    )

    assert (outcome.wanted, outcome.unexpected, outcome.exit_code) == (0, 1, 1)


def test_a_server_that_hangs_up_is_named_with_the_line() -> None:
    outcome = play(FakeCloud(lambda frame, number: HANG_UP), session(3))

    assert outcome.exit_code == 1
    assert outcome.missing == 1
    assert "line 1: the server closed the connection" in outcome.summary()


def test_frames_without_recorded_answer_are_judged_by_the_rule() -> None:
    pieces = [piece for piece in session(4) if piece.from_stick]

    outcome = play(FakeCloud(), pieces)

    assert (outcome.equal, outcome.unrecorded, outcome.exit_code) == (0, 4, 0)


def test_a_segment_of_several_frames_leaves_at_once_and_wants_every_answer() -> None:
    text_frame = bytes.fromhex("6804") + bytes(16)
    segment = b"AT+NOISE" + request(1) + text_frame + request(2) + request(3)
    seen: list[int] = []

    def third_first(frame: bytes, number: int) -> object:
        seen.append(frame[6])
        if len(seen) < 3:
            return None
        return b"".join(acknowledgement(request(counter)) for counter in (3, 1, 2))

    outcome = play(FakeCloud(third_first), [Recorded(9, segment)])

    assert seen == [1, 2, 3]
    assert (outcome.wanted, outcome.answered, outcome.unexpected, outcome.exit_code) == (3, 3, 0, 0)


def test_a_damaged_frame_waits_for_no_answer() -> None:
    damaged = bytearray(request(1))
    damaged[-2] ^= 0xFF
    cloud = FakeCloud(lambda frame, number: None)

    outcome = play(cloud, [Recorded(1, bytes(damaged))])

    assert (outcome.sent, outcome.wanted, outcome.exit_code) == (1, 0, 0)


def test_no_server_is_said_in_one_sentence() -> None:
    async def scene() -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        await listeners[0].aclose()
        plan = replay.Plan(host="127.0.0.1", port=port)
        with pytest.raises(replay.Unreachable, match="no server answers"):
            await replay.replay(plan, replay.exchanges(session(2)))

    trio.run(scene)


def test_the_captured_session_replays_in_order() -> None:
    data = corpus.path("solis-session.jsonl").read_bytes()
    pieces = recording.parse(data, "session")
    cloud = FakeCloud()

    outcome = play(cloud, pieces)

    assert (outcome.sent, outcome.equal, outcome.connections) == (1_234, 1_234, 1_147)
    # The fake cloud's zone is another one: what servers may choose is left out.
    assert outcome.exit_code == 0


# --- recordings -----------------------------------------------------------------------------


def test_hex_lines_and_json_lines_are_read() -> None:
    text = b'# a comment\n\nA5 01\n{"hex": "68ff", "direction": "server->stick"}\n'
    text += b'{"hex": "a5", "direction": "stick->server", "connection": 7}\n'

    assert recording.is_text(text)
    assert recording.parse(text, "x") == [
        Recorded(3, b"\xa5\x01"),
        Recorded(4, b"\x68\xff", False),
        Recorded(5, b"\xa5", True, "7"),
    ]


@pytest.mark.parametrize("raw", [request(1), b"\x68\x59\x51\xb0" + b"\0" * 20, b"\x00"])
def test_raw_bytes_are_no_text(raw: bytes) -> None:
    assert not recording.is_text(raw)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "holds no frames"),
        (b"a5\nzz", "line 2 is not hex: 'zz'"),
        (b"a5a", "line 1 is not hex"),
        (b'{"hex": 5}', 'line 1 has no "hex"'),
        (b'{"hex": "a5"', "line 1 is not JSON"),
        (b'{"hex": "a5", "direction": "up"}', "direction 'up'"),
        (b'{"hex": ""}', "line 1 is empty"),
        (b"\xff\xfe", "neither hex lines nor JSON lines"),
    ],
)
def test_a_bad_recording_is_refused_with_its_line(text: bytes, complaint: str) -> None:
    with pytest.raises(RecordingError, match=complaint):
        recording.parse(text, "x")
