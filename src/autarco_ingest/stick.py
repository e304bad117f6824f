"""What does a V5 stick send, and when? A stick as a state machine without socket or clock.

It keeps the sticks' own rules (reference 1.3–1.5, 2 and 3): one frame outstanding, three tries,
restart, a backlog replayed newest first, and the wire layouts of three Solis generations. The
encoder stands here in Python on purpose: the sender must not share code with the decoder that it
tests. Who measures what is `fleet`; who carries the bytes is `simulate`.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

START = 0xA5
END = 0x15
CONTROL = 0x10
HEADER_BYTES = 11
# Everything of a frame that is not payload: header, checksum, end byte.
ENVELOPE_BYTES = 13
ANSWER_BYTES = 23

LIVE = 0x01
HISTORIC = 0x81
INVERTER_ADDRESS = 1

# The periods a stick announces in its handshake, and keeps.
UPLOAD_PERIOD_S = 300
SAMPLE_PERIOD_S = 60
HEARTBEAT_S = 120
# A stick says hello again about every three hours, also on a healthy connection.
HANDSHAKE_AGAIN_S = 10_740
# After this many unanswered tries a stick drops the connection and restarts.
TRIES_MAX = 3
# The first frame leaves a stick about this long after power came.
BOOT_S = 16
# The working-time counter is saved this often; a restart goes back to the saved value.
FLASH_PERIOD_S = 600
# No vendor figure is known; sticks have replayed 17 hours of records.
BACKLOG_RECORDS_MAX = 2_000


class Kind(IntEnum):
    """Types of the frames that a stick sends."""

    HANDSHAKE = 0x41
    DATA = 0x42
    LINK = 0x43
    HEARTBEAT = 0x47
    REPORT = 0x48


class WrongAnswer(Exception):
    """The server's answer does not fit the frame that is outstanding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What an inverter holds in its registers at one poll; `clock` is its local wall clock."""

    clock: datetime
    temperature_c: float
    dc_voltage_v: tuple[float, float]
    dc_current_a: tuple[float, float]
    ac_voltage_v: float
    ac_current_a: float
    frequency_hz: float
    ac_power_w: float
    dc_power_w: float
    apparent_va: float
    power_factor: float
    bus_voltage_v: float
    limit_pct: float
    status: int
    today_wh: int
    yesterday_wh: int
    month_wh: int
    last_month_wh: int
    year_wh: int
    last_year_wh: int
    total_wh: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What distinguishes one stick and its inverter from another on the wire."""

    logger_sn: int
    inverter_sn: str
    sensor_type: int
    firmware: str
    signal_pct: int = 90
    local_ip: str = "192.0.2.10"
    mac: bytes = b"\x02\x00\x00\x00\x00\x01"
    ssid: str = "SIMULATED"


# --- frames ---------------------------------------------------------------------------------


def encode(
    kind: int, *, server_counter: int, logger_counter: int, logger_sn: int, payload: bytes
) -> bytes:
    """Wraps a payload in the V5 envelope."""
    body = struct.pack(
        "<HBBBBI", len(payload), CONTROL, kind, server_counter, logger_counter, logger_sn
    )
    body += payload
    return bytes([START]) + body + bytes([sum(body) & 0xFF, END])


def is_whole(frame: bytes) -> bool:
    """Tells whether these bytes are exactly one V5 frame with the right length and checksum."""
    if len(frame) < ENVELOPE_BYTES or frame[0] != START or frame[3] != CONTROL:
        return False
    (payload_bytes,) = struct.unpack_from("<H", frame, 1)
    return (
        len(frame) == payload_bytes + ENVELOPE_BYTES
        and frame[-1] == END
        and frame[-2] == sum(frame[1:-2]) & 0xFF
    )


def whole_frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields start and end of each whole frame, in order and without overlap."""
    at = data.find(START)
    while at >= 0:
        end = at + ENVELOPE_BYTES + int.from_bytes(data[at + 1 : at + 3], "little")
        found = end <= len(data) and is_whole(data[at:end])
        if found:
            yield at, end
        at = data.find(START, end if found else at + 1)


def wants_answer(frame: bytes) -> bool:
    """Tells whether a server has to answer this frame: whole, a request, answer wanted."""
    has_payload = len(frame) > ENVELOPE_BYTES
    return is_whole(frame) and has_payload and frame[4] & 0x50 == 0x40


def take_answer(buffer: bytearray) -> bytes | None:
    """Removes the first whole frame from what a server sent; None while it is incomplete.

    Raises `WrongAnswer` where the bytes cannot become a frame.
    """
    if not buffer:
        return None
    if buffer[0] != START:
        raise WrongAnswer(f"answer starts with 0x{buffer[0]:02x}, wanted 0xa5")
    if len(buffer) < HEADER_BYTES:
        return None
    (payload_bytes,) = struct.unpack_from("<H", buffer, 1)
    if payload_bytes != ANSWER_BYTES - ENVELOPE_BYTES:
        raise WrongAnswer(f"answer announces {payload_bytes} payload bytes, wanted 10")
    if len(buffer) < ANSWER_BYTES:
        return None
    answer = bytes(buffer[:ANSWER_BYTES])
    del buffer[:ANSWER_BYTES]
    return answer


def check_answer(request: bytes, answer: bytes) -> None:
    """Raises `WrongAnswer` unless `answer` acknowledges `request` as the real cloud does."""
    if not is_whole(answer) or len(answer) != ANSWER_BYTES:
        raise WrongAnswer(f"answer is damaged: {answer.hex()}")
    wanted = {
        4: request[4] - 0x30,
        6: request[6],
        7: request[7],
        8: request[8],
        9: request[9],
        10: request[10],
        11: request[HEADER_BYTES],
        12: 0x01,
    }
    for at, value in wanted.items():
        if answer[at] != value:
            raise WrongAnswer(f"answer byte {at} is 0x{answer[at]:02x}, wanted 0x{value:02x}")


# --- payloads -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Times:
    """The three time words of a stick; `working_s + offset_s` is unix time, offset 0 no clock."""

    working_s: int
    power_on_s: int
    offset_s: int

    def encode(self) -> bytes:
        """Packs the words in the order of the wire."""
        return struct.pack("<III", self.working_s, self.power_on_s, self.offset_s)


def handshake_payload(identity: Identity, times: Times, boots: int) -> bytes:
    """Builds the 86 bytes of 0x41; its offset word is 0 in every capture."""
    return (
        b"\x02"
        + Times(times.working_s, times.power_on_s, 0).encode()
        + bytes([UPLOAD_PERIOD_S // 60, SAMPLE_PERIOD_S, HEARTBEAT_S, 1, identity.signal_pct, 3])
        + identity.firmware.encode("ascii").ljust(40, b"\0")
        + identity.mac
        + identity.local_ip.encode("ascii").ljust(16, b"\0")
        + struct.pack("<HBH", boots & 0xFFFF, 1, 0x0501)
    )


def link_payload(identity: Identity, times: Times, code: int) -> bytes:
    """Builds the 47 bytes of 0x43."""
    ssid = identity.ssid.encode("ascii").ljust(30, b"\0")
    return (
        b"\x81" + times.encode() + struct.pack("<H", code) + ssid + bytes([identity.signal_pct, 1])
    )


def boot_report_payload(times: Times, event: Times) -> bytes:
    """Builds the 28 bytes of 0x48 that tell of a stored boot."""
    return b"\x01" + times.encode() + bytes([1, 1, 12]) + event.encode()


def firmware_report_payload(identity: Identity, times: Times, built_s: int) -> bytes:
    """Builds the 60 bytes of 0x48 that tell the firmware."""
    firmware = identity.firmware.encode("ascii").ljust(40, b"\0")
    return b"\x01" + times.encode() + bytes([1, 5, 44]) + struct.pack("<I", built_s) + firmware


def data_payload(
    identity: Identity, frame_type: int, times: Times, record_no: int, measured: Measurement
) -> bytes:
    """Builds the payload of 0x42 in the layout of the stick's sensor type."""
    header = (
        struct.pack("<BH", frame_type, identity.sensor_type)
        + times.encode()
        + struct.pack("<HI", INVERTER_ADDRESS, record_no)
        + identity.inverter_sn.encode("ascii").ljust(16, b" ")
    )
    payload = bytearray(PAYLOAD_BYTES[identity.sensor_type])
    payload[: len(header)] = header
    _put_base(payload, measured, identity.sensor_type)
    _TAILS[identity.sensor_type](payload, measured)
    return bytes(payload)


def _put_base(payload: bytearray, m: Measurement, sensor_type: int) -> None:
    """Writes the registers that all Solis generations share (reference 2.3), slot 3 as phase."""
    power_w = int(m.ac_power_w) // 10 * 10
    status = m.status
    if sensor_type != 0x0507:
        # Older generations compute this word from the rounded voltage and current.
        power_w = int(round(m.ac_voltage_v, 1) * round(m.ac_current_a, 1))
        status = 3 if m.status == 1 else 0
    struct.pack_into(
        "<hHHHHHHHHHHHIII",
        payload,
        37,
        round(m.temperature_c * 10),
        round(m.dc_voltage_v[0] * 10),
        round(m.dc_voltage_v[1] * 10),
        round(m.dc_current_a[0] * 10),
        round(m.dc_current_a[1] * 10),
        0,
        0,
        round(m.ac_current_a * 10),
        0,
        0,
        round(m.ac_voltage_v * 10),
        round(m.frequency_hz * 100),
        power_w,
        # Words of 0.01 and 0.1 kWh, yet the devices count in steps of 0.1 and 1 kWh.
        m.today_wh // 100 * 10,
        m.total_wh // 1_000 * 10,
    )
    struct.pack_into("<H", payload, 77, status)


def _put_month(payload: bytearray, m: Measurement, model: bytes) -> None:
    payload[83:86] = model
    struct.pack_into("<HH", payload, 86, m.month_wh // 1_000, m.last_month_wh // 1_000)
    struct.pack_into("<H", payload, 98, round(m.limit_pct * 100))


def _put_0503(payload: bytearray, m: Measurement) -> None:
    """Adds the three-byte powers; apparent power is twice V×I, as this firmware sends it."""
    _put_month(payload, m, bytes.fromhex("be2104"))
    active = int(m.ac_power_w)
    apparent = max(int(2 * m.ac_voltage_v * m.ac_current_a), active)
    reactive = int((apparent**2 - active**2) ** 0.5)
    for at, value in ((100, active), (103, reactive), (106, apparent)):
        payload[at : at + 3] = value.to_bytes(3, "little")
    struct.pack_into("<H", payload, 109, active * 1_000 // apparent if apparent else 0)
    payload[116:119] = bytes.fromhex("0ba809")


def _put_0504(payload: bytearray, m: Measurement) -> None:
    _put_month(payload, m, bytes.fromhex("a80104"))
    active = int(m.ac_power_w)
    apparent = max(int(m.apparent_va), active)
    reactive = int((apparent**2 - active**2) ** 0.5)
    factor = active * 1_000 // apparent if apparent else 0
    struct.pack_into("<IIIH", payload, 100, active, reactive, apparent, factor)
    payload[117:124] = bytes.fromhex("020012ad140012")


def _put_0507(payload: bytearray, m: Measurement) -> None:
    """Adds counters, apparent power and the inverter clock (reference 2.4)."""
    struct.pack_into("<H2xH", payload, 0x5B, 1, 1)
    struct.pack_into(
        "<HHHhIIIHIIHHI",
        payload,
        0x61,
        round(m.bus_voltage_v * 10),
        0,
        round(m.limit_pct * 100),
        round(m.power_factor * 1_000),
        int(m.dc_power_w),
        m.month_wh // 1_000,
        m.last_month_wh // 1_000,
        m.yesterday_wh // 100,
        m.year_wh // 1_000,
        m.last_year_wh // 1_000,
        0x34,
        4,
        int(m.apparent_va),
    )
    clock = m.clock
    struct.pack_into(
        "<HHHHHHHHH2xH",
        payload,
        0x87,
        clock.year - 2_000,
        clock.month,
        clock.day,
        clock.hour,
        clock.minute,
        clock.second,
        0xE3,
        42,
        67,
        1,
    )
    struct.pack_into("<H", payload, 0xE7, 3 if m.status == 1 else 2)


PAYLOAD_BYTES = {0x0503: 119, 0x0504: 124, 0x0507: 233}
_TAILS = {0x0503: _put_0503, 0x0504: _put_0504, 0x0507: _put_0507}


# --- the machine ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Record:
    """One poll that has to reach the server, with the stick's times at that poll."""

    times: Times
    number: int
    measured: Measurement


class Stick:
    """One stick: say what happens to it, ask for the next frame, tell it the answer.

    Every method takes `now_s`, unix seconds of the stick's own world. A real stick sets its clock
    from the answer; this one lives in simulated time, so its clock follows `now_s` instead.
    """

    def __init__(self, identity: Identity, *, working_s: int, boots: int = 0) -> None:
        self.identity = identity
        self._working_saved_s = working_s
        self._boots = boots
        self._backlog: deque[_Record] = deque(maxlen=BACKLOG_RECORDS_MAX)
        self._live: _Record | None = None
        self._record_no = 0
        self._powered = False
        self._outstanding: tuple[Kind, bytes] | None = None
        self._sent = b""
        self._tries = 0

    @property
    def backlog(self) -> int:
        """Counts the records that wait for a replay."""
        return len(self._backlog)

    def power_on(self, now_s: int) -> None:
        """Boots: counters start again, the clock is unknown until the first accepted frame."""
        self._powered = True
        self._boots += 1
        self._booted_s = now_s - BOOT_S
        self._working_at_boot_s = self._working_saved_s
        self._offset_s = 0
        self._server_counter = 0
        self._logger_counter = 0
        self._events: deque[tuple[Kind, int]] = deque(
            [(Kind.REPORT, 1), (Kind.LINK, 0x0000), (Kind.REPORT, 5)]
        )
        self._boot_times = self._times(now_s)
        self._last_frame_s = now_s
        self.link_lost()

    def power_off(self, now_s: int) -> None:
        """Loses power with the inverter at dusk; what was not accepted stays in flash."""
        self._working_saved_s = self._times(now_s).working_s // FLASH_PERIOD_S * FLASH_PERIOD_S
        self._powered = False
        self.link_lost()

    def link_lost(self) -> None:
        """Forgets the connection: the record on its way becomes history, a handshake is next."""
        self._shelve()
        self._outstanding = None
        self._tries = 0
        self._greeted_s: int | None = None
        self._live_accepted = False

    def poll(self, now_s: int, measured: Measurement) -> None:
        """Takes the inverter's registers as the next record to upload."""
        self._shelve()
        self._live = _Record(self._times(now_s), self._record_no, measured)

    def next_frame(self, now_s: int) -> bytes | None:
        """Gives the frame to send now, a fresh try while one is outstanding; None when idle."""
        if not self._powered:
            return None
        if self._outstanding is None:
            self._outstanding = self._choose(now_s)
            if self._outstanding is None:
                return None
        kind, payload = self._outstanding
        if self._tries:
            payload = self._renewed(kind, payload, now_s)
        self._tries += 1
        self._logger_counter = (self._logger_counter + 1) & 0xFF
        self._last_frame_s = now_s
        self._sent = encode(
            kind,
            server_counter=self._server_counter,
            logger_counter=self._logger_counter,
            logger_sn=self.identity.logger_sn,
            payload=payload,
        )
        return self._sent

    def next_heartbeat_s(self) -> int:
        """Tells when an idle stick will next speak by itself."""
        return self._last_frame_s + HEARTBEAT_S

    def accept(self, answer: bytes, now_s: int) -> None:
        """Takes the answer to the outstanding frame; raises `WrongAnswer` and stays as it was."""
        if self._outstanding is None:
            raise WrongAnswer("answer to nothing: no frame is outstanding")
        check_answer(self._sent, answer)
        kind, payload = self._outstanding
        self._outstanding = None
        self._tries = 0
        self._server_counter = answer[5]
        self._offset_s = now_s - self._times(now_s).working_s
        if kind is Kind.HANDSHAKE:
            self._greeted_s = now_s
        elif kind is Kind.DATA:
            self._record_no += 1
            if payload[0] == LIVE:
                self._live = None
                self._live_accepted = True
            else:
                self._backlog.pop()
        elif kind in (Kind.LINK, Kind.REPORT):
            self._events.popleft()

    def unanswered(self, now_s: int) -> bool:
        """Notes a try without a good answer; True when the stick drops the link and restarts."""
        if self._tries < TRIES_MAX:
            return False
        self.power_off(now_s)
        self.power_on(now_s)
        return True

    def _choose(self, now_s: int) -> tuple[Kind, bytes] | None:
        times = self._times(now_s)
        if self._greeted_s is None or now_s - self._greeted_s >= HANDSHAKE_AGAIN_S:
            return Kind.HANDSHAKE, handshake_payload(self.identity, times, self._boots)
        if self._live and times.working_s - self._live.times.working_s > SAMPLE_PERIOD_S:
            # The stick has polled again since: an old record is history, not live.
            self._shelve()
        if self._live is not None:
            return Kind.DATA, self._data(LIVE, self._live, times)
        if self._backlog and self._live_accepted:
            newest = self._backlog[-1]
            return Kind.DATA, self._data(HISTORIC, newest, newest.times)
        if self._events and self._live_accepted:
            return self._event(times)
        if now_s - self._last_frame_s >= HEARTBEAT_S:
            return Kind.HEARTBEAT, b"\0"
        return None

    def _event(self, times: Times) -> tuple[Kind, bytes]:
        kind, detail = self._events[0]
        if kind is Kind.LINK:
            return kind, link_payload(self.identity, times, detail)
        if detail == 1:
            return kind, boot_report_payload(times, self._boot_times)
        return kind, firmware_report_payload(self.identity, times, 0)

    def _renewed(self, kind: Kind, payload: bytes, now_s: int) -> bytes:
        """Gives a retried live record new times; everything else is repeated as it was."""
        if kind is Kind.DATA and payload[0] == LIVE:
            return payload[:3] + self._times(now_s).encode() + payload[15:]
        return payload

    def _data(self, frame_type: int, record: _Record, times: Times) -> bytes:
        return data_payload(self.identity, frame_type, times, record.number, record.measured)

    def _shelve(self) -> None:
        if self._live is not None:
            self._backlog.append(self._live)
            self._live = None

    def _times(self, now_s: int) -> Times:
        power_on_s = now_s - self._booted_s
        return Times(self._working_at_boot_s + power_on_s, power_on_s, self._offset_s)
