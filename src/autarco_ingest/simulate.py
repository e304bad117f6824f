"""What happens when a fleet of imaginary sticks talks to a server over real TCP?

One task per stick carries the frames of `stick` through the days that `fleet` invents: connect,
send, wait for the acknowledgement, check it, try again. Time in the frames is simulated; waiting
for the server is real, so some days pass in seconds.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import trio

from autarco_ingest import fleet
from autarco_ingest.fleet import Change
from autarco_ingest.progress import Meter
from autarco_ingest.stick import Kind, Stick, WrongAnswer, check_answer, take_answer

if TYPE_CHECKING:
    from pathlib import Path

# A real stick gives up on an answer after ten to eleven seconds.
ANSWER_TIMEOUT_S = 11.0
CONNECT_TIMEOUT_S = 10.0
# A stick that fails this often in a row stops: a simulation has to end.
FAILURES_MAX = 4
# Pause before a new connection; doubled with each failure in a row.
RECONNECT_S = 0.25
_RECEIVE_BYTES = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to simulate, and towards whom."""

    host: str
    port: int
    sticks: int
    days: int
    end: datetime
    seed: int = 1
    town: bool = False
    """Neighbours with a fault of each kind among them, in place of a fleet all over the country."""
    answer_timeout_s: float = ANSWER_TIMEOUT_S
    reconnect_s: float = RECONNECT_S


@dataclass(slots=True)
class Outcome:
    """What the fleet experienced; `truth` is one object per inverter, ready for JSON."""

    frames: Counter[Kind] = field(default_factory=Counter)
    acknowledged: Counter[Kind] = field(default_factory=Counter)
    historic: int = 0
    retries: int = 0
    connections: int = 0
    links_lost: int = 0
    wrong_answers: list[str] = field(default_factory=list)
    gave_up: dict[int, str] = field(default_factory=dict)
    backlog_left: int = 0
    seconds: float = 0.0
    truth: list[dict[str, Any]] = field(default_factory=list)

    @property
    def reached_nobody(self) -> bool:
        """Tells that sticks wanted to connect and not one ever could."""
        return bool(self.gave_up) and not self.connections

    @property
    def exit_code(self) -> int:
        """0 every frame was acknowledged well in the end, 1 not so, 2 there is no server."""
        if self.reached_nobody:
            return 2
        return 1 if self.gave_up or self.wrong_answers else 0

    def summary(self) -> str:
        """Sums up in a few lines for a person."""
        sent, good = self.frames.total(), self.acknowledged.total()
        rate = good / self.seconds if self.seconds else 0.0
        lines = [
            f"{sent} frames sent, {good} acknowledged, {self.retries} retries, "
            f"{self.seconds:.1f} s ({rate:.0f} frames/s)",
            f"{self.acknowledged[Kind.DATA]} readings, of which {self.historic} replayed from "
            f"backlog; {self.connections} connections, {self.links_lost} lost",
        ]
        if self.backlog_left:
            lines.append(f"{self.backlog_left} records still wait in sticks without connection")
        lines += [f"wrong answer: {text}" for text in self.wrong_answers[:10]]
        lines += [f"stick {sn} gave up: {why}" for sn, why in list(self.gave_up.items())[:10]]
        return "\n".join(lines)


class _LinkLost(Exception):
    """The connection cannot be made, or is gone."""


class _GaveUp(Exception):
    """This stick's server does not come back."""


def run(plan: Plan) -> Outcome:
    """Lets the fleet live through the plan's days and returns what happened."""
    return trio.run(simulate, plan)


async def simulate(plan: Plan) -> Outcome:
    """Does the same inside a running trio loop."""
    span = fleet.Span.ending(plan.end, plan.days)
    sky = fleet.Sky(span, plan.seed)
    outcome = Outcome()
    started_s = time.perf_counter()
    laid_out = (
        fleet.town(plan.sticks, plan.seed, plan.days)
        if plan.town
        else fleet.sites(plan.sticks, plan.seed)
    )
    plants = [fleet.Plant(site, sky, span) for site in laid_out]
    title = f"{plan.sticks} sticks, {plan.days} days"
    with Meter(title, len(plants) * (span.end_s - span.start_s)) as meter:
        async with trio.open_nursery() as nursery:
            for plant in plants:
                nursery.start_soon(_Courier(plan, plant, outcome, meter).run)
    outcome.seconds = time.perf_counter() - started_s
    outcome.truth.sort(key=lambda row: str(row["inverter_sn"]))
    return outcome


def write_truth(outcome: Outcome, path: Path) -> None:
    """Writes what each roof is, what is wrong with it, and its real kWh per local day."""
    path.write_text(json.dumps({"inverters": outcome.truth}, indent=1) + "\n", encoding="utf-8")


class _Courier:
    """Carries one stick's frames, over one connection at a time."""

    def __init__(self, plan: Plan, plant: fleet.Plant, outcome: Outcome, meter: Meter) -> None:
        self._plan = plan
        self._plant = plant
        self._outcome = outcome
        self._meter = meter
        site = plant.site
        self._stick = Stick(site.identity, working_s=fleet.new_working_s(site))
        self._stream: trio.SocketStream | None = None
        self._received = bytearray()
        self._failures = 0
        self._acknowledged = 0
        self._historic = 0

    async def run(self) -> None:
        """Lives through all events; never raises for what a server does."""
        at_s = self._plant.span.start_s
        link_up, powered = True, False
        try:
            for event in self._plant.life():
                if link_up and powered:
                    await self._heartbeats(event.at_s)
                powered = self._happen(event, powered)
                link_up = {Change.LINK_DOWN: False, Change.LINK_UP: True}.get(event.change, link_up)
                if powered and link_up:
                    await self._drain(event.at_s)
                elif self._stream:
                    await self._hang_up()
                note = f"{self._outcome.acknowledged.total()} frames acknowledged"
                self._meter.advance(event.at_s - at_s, note)
                at_s = event.at_s
            self._meter.advance(self._plant.span.end_s - at_s)
        except _GaveUp as error:
            self._outcome.gave_up[self._stick.identity.logger_sn] = str(error)
        finally:
            await self._hang_up()
        self._finish()

    def _happen(self, event: fleet.Event, powered: bool) -> bool:
        """Lets one event befall the stick; returns whether it has power now."""
        match event.change:
            case Change.POWER_ON:
                self._stick.power_on(event.at_s)
                return True
            case Change.POWER_OFF:
                self._stick.power_off(event.at_s)
                return False
            case Change.LINK_DOWN:
                self._stick.link_lost()
            case Change.POLL:
                if event.measured is None:
                    raise AssertionError("a poll without measurement")
                self._stick.poll(event.at_s, event.measured)
        return powered

    def _finish(self) -> None:
        site, plant = self._plant.site, self._plant
        self._outcome.backlog_left += self._stick.backlog
        self._outcome.truth.append(
            {
                "inverter_sn": site.identity.inverter_sn,
                "logger_sn": site.identity.logger_sn,
                "sensor_type": site.identity.sensor_type,
                "kwp": site.kwp,
                "rated_w": site.rated_w,
                "latitude": site.latitude,
                "longitude": site.longitude,
                "tilt": site.tilt,
                "azimuth": site.azimuth,
                "second_string_share": site.second_string_share,
                "fault": site.fault.value,
                "fault_from": _iso(plant.fault_from_s()),
                "broken_from": _iso(plant.broken_from_s()),
                "outage": [_iso(at_s) for at_s in plant.outage() or ()],
                "readings": self._acknowledged,
                "replayed": self._historic,
                "kwh": {
                    day.isoformat(): round(wh / 1_000, 3) for day, wh in plant.daily_wh.items()
                },
            }
        )

    async def _heartbeats(self, until_s: int) -> None:
        while (due_s := self._stick.next_heartbeat_s()) < until_s:
            await self._drain(due_s)

    async def _drain(self, now_s: int) -> None:
        """Sends what the stick wants to send at this moment of its world, until it is idle."""
        while (frame := self._stick.next_frame(now_s)) is not None:
            kind = Kind(frame[4])
            self._outcome.frames[kind] += 1
            try:
                answer = await self._exchange(frame)
                self._stick.accept(answer, now_s)
            except (_LinkLost, WrongAnswer, trio.TooSlowError) as error:
                now_s += round(ANSWER_TIMEOUT_S)
                await self._failed(error, now_s)
                continue
            self._failures = 0
            self._outcome.acknowledged[kind] += 1
            if kind is Kind.DATA:
                self._acknowledged += 1
                if frame[11] & 0x80:
                    self._historic += 1
                    self._outcome.historic += 1

    async def _failed(self, error: Exception, now_s: int) -> None:
        self._outcome.retries += 1
        if isinstance(error, WrongAnswer):
            self._outcome.wrong_answers.append(f"stick {self._stick.identity.logger_sn}: {error}")
        if isinstance(error, _LinkLost):
            self._outcome.links_lost += bool(self._stream)
            self._stick.link_lost()
        elif not self._stick.unanswered(now_s):
            return
        await self._hang_up()
        self._failures += 1
        if self._failures >= FAILURES_MAX:
            raise _GaveUp(str(error) or "no answer")
        await trio.sleep(self._plan.reconnect_s * 2**self._failures)

    async def _exchange(self, frame: bytes) -> bytes:
        """Sends a frame and returns the next answer; raises TooSlowError when none comes."""
        stream = self._stream or await self._connect()
        try:
            with trio.move_on_after(self._plan.answer_timeout_s) as sending:
                await stream.send_all(frame)
            if sending.cancelled_caught:
                # Half a frame may be on its way; this connection is of no use any more.
                raise _LinkLost("the server does not read")
            with trio.fail_after(self._plan.answer_timeout_s):
                return await self._answer(stream, frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _LinkLost("the server closed the connection") from error

    async def _answer(self, stream: trio.SocketStream, frame: bytes) -> bytes:
        while True:
            answer = take_answer(self._received)
            if answer is None:
                chunk = await stream.receive_some(_RECEIVE_BYTES)
                if not chunk:
                    raise _LinkLost("the server closed the connection")
                self._received += chunk
            elif not self._is_late(frame, answer):
                return answer

    def _is_late(self, frame: bytes, answer: bytes) -> bool:
        """Tells whether the answer belongs to an earlier try of this frame."""
        behind = (frame[6] - answer[6]) & 0xFF
        if not 0 < behind <= 2:
            return False
        earlier = frame[:6] + answer[6:7] + frame[7:]
        try:
            check_answer(earlier, answer)
        except WrongAnswer:
            return False
        return True

    async def _connect(self) -> trio.SocketStream:
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                stream = await trio.open_tcp_stream(self._plan.host, self._plan.port)
        except (OSError, trio.TooSlowError) as error:
            raise _LinkLost(f"no connection to {self._plan.host}:{self._plan.port}") from error
        self._outcome.connections += 1
        self._stream = stream
        self._received.clear()
        return stream

    async def _hang_up(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await trio.aclose_forcefully(stream)


def _iso(at_s: int | None) -> str | None:
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC).isoformat()
