"""Does a server answer a recording as the real cloud did?

Sends the stick's side of a recording over TCP, in order, and compares every acknowledgement with
the recorded one, apart from what two servers may differ in: server counter, time, zone, and the
checksum over them. With a cut seed the stream arrives in random segments instead of frame by frame.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import trio

from autarco_ingest.progress import Meter
from autarco_ingest.stick import (
    ANSWER_BYTES,
    WrongAnswer,
    check_answer,
    take_answer,
    wants_answer,
    whole_frames,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from autarco_ingest.recording import Recorded

# Server counter; unix time and zone; checksum.
_FREE_BYTES = frozenset({5, *range(13, 22)})
CONNECT_TIMEOUT_S = 10.0
# A server that stays silent this often in a row is not going to speak.
SILENCE_MAX = 5
# Frames that may be on their way at once when the stream is cut; a real stick has one.
_WINDOW_FRAMES = 8
DIFFERENCES_SHOWN = 10
# A server closes soon after we do; one that does not is no finding.
GOODBYE_S = 2.0
_RECEIVE_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to replay, towards whom, and how."""

    host: str
    port: int
    answer_timeout_s: float = 15.0
    one_connection: bool = False
    cut_seed: int | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded frame of a stick and, where recorded, the answer that the cloud gave.

    `glued` frames leave together with the next one: they were recorded as one segment.
    """

    line: int
    frame: bytes
    recorded: bytes | None
    connection: str | None
    glued: bool = False

    @property
    def wanted(self) -> bool:
        """Tells whether a server has to answer this frame."""
        return wants_answer(self.frame)


@dataclass(slots=True)
class Outcome:
    """Counts of a replay; `different` and `missing` are findings, and so is `unexpected`."""

    sent: int = 0
    wanted: int = 0
    answered: int = 0
    equal: int = 0
    unrecorded: int = 0
    different: int = 0
    missing: int = 0
    unexpected: int = 0
    connections: int = 0
    findings: list[str] = field(default_factory=list)
    stopped: str | None = None

    @property
    def exit_code(self) -> int:
        """0 when every answer was as recorded, else 1."""
        bad = self.different or self.missing or self.unexpected or self.stopped
        return 1 if bad else 0

    def summary(self) -> str:
        """Sums up in one line of counts, and a line for each of the first findings."""
        counts = (
            f"sent {self.sent}, answer wanted {self.wanted}, answered {self.answered}, "
            f"equal {self.equal}, different {self.different}, missing {self.missing}, "
            f"unexpected {self.unexpected}; {self.connections} connections"
        )
        if self.unrecorded:
            counts += f"; {self.unrecorded} good answers without a recorded one"
        stopped = [self.stopped] if self.stopped else []
        return "\n".join([counts, *self.findings[:DIFFERENCES_SHOWN], *stopped])


class Unreachable(Exception):
    """No connection to the server; the message is one sentence for a person."""


class _Silent(Exception):
    """The server does not answer, read or keep the connection any more."""


def exchanges(recording: Sequence[Recorded]) -> list[Exchange]:
    """Pairs each frame of a stick with the answer that follows it in the recording."""
    paired: list[Exchange] = []
    for position, piece in enumerate(recording):
        if not piece.from_stick:
            continue
        after = recording[position + 1 : position + 2]
        answer = after[0].data if after and _belongs(piece, after[0]) else None
        *glued, last = _split(piece.data)
        paired += [Exchange(piece.line, part, None, piece.connection, True) for part in glued]
        paired.append(Exchange(piece.line, last, answer, piece.connection))
    return paired


def _split(segment: bytes) -> list[bytes]:
    """Cuts a recorded segment at the borders of its whole frames; the rest are parts, too."""
    cuts = {0, len(segment)}
    for start, end in whole_frames(segment):
        cuts |= {start, end}
    borders = sorted(cuts)
    return [segment[start:end] for start, end in pairwise(borders)]


def _belongs(piece: Recorded, after: Recorded) -> bool:
    """Tells whether the next line is an answer to this one: same counter and logger."""
    if after.from_stick or not wants_answer(piece.data):
        return False
    return after.data[6:11] == piece.data[6:11]


def run(plan: Plan, todo: Sequence[Exchange]) -> Outcome:
    """Replays the exchanges; raises `Unreachable` when the first connection fails."""
    return trio.run(replay, plan, todo)


async def replay(plan: Plan, todo: Sequence[Exchange]) -> Outcome:
    """Does the same inside a running trio loop."""
    outcome = Outcome()
    unreachable: Unreachable | None = None
    dice = None if plan.cut_seed is None else random.Random(plan.cut_seed)  # noqa: S311
    with Meter(f"{len(todo)} frames", len(todo)) as meter:
        async with trio.open_nursery() as closing:
            try:
                await _replay_all(plan, todo, outcome, dice, meter, closing)
            except Unreachable as error:
                unreachable = error
            except _Silent as error:
                outcome.stopped = f"stopped: {error}"
    if unreachable:
        raise unreachable
    return outcome


async def _replay_all(
    plan: Plan,
    todo: Sequence[Exchange],
    outcome: Outcome,
    dice: random.Random | None,
    meter: Meter,
    closing: trio.Nursery,
) -> None:
    """Sends everything in order; a connection lives from its first recorded frame to its last."""
    names = [None if plan.one_connection else exchange.connection for exchange in todo]
    frames_left = Counter(names)
    lines: dict[str | None, _Line] = {}
    try:
        for name, window in _windows(todo, names, dice):
            line = lines.get(name)
            if line is None:
                line = lines[name] = _Line(plan, await _connect(plan, outcome), outcome)
            await line.send(window, dice)
            await line.collect(window)
            note = f"{outcome.answered} answered, {outcome.different} different"
            meter.advance(len(window), note)
            frames_left[name] -= len(window)
            if not frames_left[name]:
                # The next frame need not wait for the end of this connection.
                closing.start_soon(lines.pop(name).finish)
    finally:
        for line in lines.values():
            await line.drop()


async def _connect(plan: Plan, outcome: Outcome) -> trio.SocketStream:
    try:
        with trio.fail_after(CONNECT_TIMEOUT_S):
            stream = await trio.open_tcp_stream(plan.host, plan.port)
    except (OSError, trio.TooSlowError) as error:
        if outcome.connections:
            raise _Silent(f"no connection to {plan.host}:{plan.port} any more") from error
        raise Unreachable(f"no server answers at {plan.host}:{plan.port}") from error
    outcome.connections += 1
    return stream


def _windows(
    todo: Sequence[Exchange], names: Sequence[str | None], dice: random.Random | None
) -> Iterator[tuple[str | None, list[Exchange]]]:
    """Yields what goes out at once: one frame, or with dice some that share a connection."""
    start = 0
    while start < len(todo):
        size = 1 if dice is None else dice.randint(1, _WINDOW_FRAMES)
        end = start + 1
        while end < len(todo) and names[end] == names[start]:
            if end - start >= size and not todo[end - 1].glued:
                break
            end += 1
        yield names[start], list(todo[start:end])
        start = end


class _Line:
    """One connection: what was sent on it waits here for its answer."""

    def __init__(self, plan: Plan, stream: trio.SocketStream, outcome: Outcome) -> None:
        self._plan = plan
        self._stream = stream
        self._outcome = outcome
        self._received = bytearray()
        self._silence = 0

    async def send(self, window: Sequence[Exchange], dice: random.Random | None) -> None:
        """Sends a window of frames, whole or cut at random places."""
        self._outcome.sent += len(window)
        data = b"".join(exchange.frame for exchange in window)
        try:
            with trio.fail_after(self._plan.answer_timeout_s):
                for segment in _segments(data, dice):
                    await self._stream.send_all(segment)
        except trio.TooSlowError as error:
            raise _Silent("the server does not read") from error
        except trio.BrokenResourceError as error:
            raise _Silent(f"the server closed the connection at line {window[0].line}") from error

    async def collect(self, window: Sequence[Exchange]) -> None:
        """Waits until every frame of the window that wants an answer has one."""
        waiting = [exchange for exchange in window if exchange.wanted]
        self._outcome.wanted += len(waiting)
        try:
            with trio.move_on_after(self._plan.answer_timeout_s):
                while waiting:
                    self._judge(await self._answer(), waiting)
        except (WrongAnswer, trio.BrokenResourceError) as error:
            self._outcome.missing += len(waiting)
            raise _Silent(f"at line {window[0].line}: {error}") from error
        for exchange in waiting:
            self._outcome.missing += 1
            self._outcome.findings.append(f"line {exchange.line}: no answer")
        self._silence = self._silence + 1 if waiting else 0
        if self._silence >= SILENCE_MAX:
            raise _Silent(f"no answer {SILENCE_MAX} times in a row")

    async def drop(self) -> None:
        """Closes without a goodbye."""
        await trio.aclose_forcefully(self._stream)

    async def finish(self) -> None:
        """Says goodbye, counts answers that nobody asked for, and closes."""
        async with self._stream:
            with trio.move_on_after(GOODBYE_S), suppress(trio.BrokenResourceError):
                await self._stream.send_eof()
                while chunk := await self._stream.receive_some(_RECEIVE_BYTES):
                    self._received += chunk
        if self._received:
            self._outcome.unexpected += -(-len(self._received) // ANSWER_BYTES)
            self._outcome.findings.append(f"unexpected answer: {self._received[:64].hex()}")

    async def _answer(self) -> bytes:
        while (answer := take_answer(self._received)) is None:
            chunk = await self._stream.receive_some(_RECEIVE_BYTES)
            if not chunk:
                raise WrongAnswer("the server closed the connection before its answer")
            self._received += chunk
        return answer

    def _judge(self, answer: bytes, waiting: list[Exchange]) -> None:
        """Compares an answer with the oldest frame that it can belong to, and crosses that off.

        Answers of one window may overtake each other: a heartbeat need not wait for the disk.
        """
        key = bytes([(answer[4] + 0x30) & 0xFF, answer[6]])
        fitting = [at for at, other in enumerate(waiting) if other.frame[4:7:2] == key]
        exchange = waiting.pop(fitting[0] if fitting else 0)
        self._outcome.answered += 1
        difference = _difference(exchange, answer)
        if difference:
            self._outcome.different += 1
            self._outcome.findings.append(f"line {exchange.line}: {difference}")
        elif exchange.recorded is None:
            self._outcome.unrecorded += 1
        else:
            self._outcome.equal += 1


def _segments(data: bytes, dice: random.Random | None) -> Iterator[bytes]:
    if dice is None:
        yield data
        return
    # Small pieces on one day, large ones on another: both kinds of trouble occur.
    longest = dice.choice([1, 7, 60, 400])
    start = 0
    while start < len(data):
        end = start + dice.randint(1, longest)
        yield data[start:end]
        start = end


def _difference(exchange: Exchange, answer: bytes) -> str | None:
    """Says in one clause how the answer differs from the wanted one."""
    try:
        check_answer(exchange.frame, answer)
    except WrongAnswer as error:
        return str(error)
    if exchange.recorded is None:
        return None
    if len(exchange.recorded) != len(answer):
        return f"{len(exchange.recorded)} bytes recorded, got {len(answer)}"
    for at, (recorded, got) in enumerate(zip(exchange.recorded, answer, strict=True)):
        if at not in _FREE_BYTES and recorded != got:
            return f"answer byte {at} is 0x{got:02x}, recorded 0x{recorded:02x}"
    return None
