"""Does our stick put on the wire what real sticks do, and behave as they do?"""

from __future__ import annotations

import dataclasses
import struct
from datetime import datetime
from typing import Any

import pytest

import corpus
from autarco_ingest import stick
from autarco_ingest.stick import Identity, Kind, Measurement, Stick, Times, WrongAnswer
from fake_cloud import acknowledgement

NOON_S = 1_750_000_000
IDENTITY = Identity(
    logger_sn=1_700_000_001,
    inverter_sn="SIM0507000000001",
    sensor_type=0x0507,
    firmware="MW_08_512_0501_1.82",
)
MEASURED = Measurement(
    clock=datetime(2025, 6, 15, 17, 6, 20),
    temperature_c=41.7,
    dc_voltage_v=(312.4, 298.1),
    dc_current_a=(4.4, 3.9),
    ac_voltage_v=234.5,
    ac_current_a=10.6,
    frequency_hz=50.02,
    ac_power_w=2_478.0,
    dc_power_w=2_537.0,
    apparent_va=2_485.0,
    power_factor=0.998,
    bus_voltage_v=371.5,
    limit_pct=110.0,
    status=1,
    today_wh=12_345,
    yesterday_wh=20_199,
    month_wh=301_999,
    last_month_wh=520_001,
    year_wh=1_900_500,
    last_year_wh=3_700_000,
    total_wh=9_876_543,
)


def u16(data: bytes, at: int) -> int:
    """Reads a little-endian word."""
    return int.from_bytes(data[at : at + 2], "little")


def u32(data: bytes, at: int) -> int:
    """Reads a little-endian double word."""
    return int.from_bytes(data[at : at + 4], "little")


# --- frames ---------------------------------------------------------------------------------


def test_envelope_is_built_byte_for_byte() -> None:
    frame = stick.encode(
        0x47, server_counter=3, logger_counter=9, logger_sn=0x12345678, payload=b"\0"
    )

    # 01+00+10+47+03+09+78+56+34+12+00 = 0x178
    assert frame.hex() == "a5010010470309785634120078" + "15"


@pytest.mark.parametrize("at", range(14))
def test_one_damaged_byte_is_noticed(at: int) -> None:
    frame = bytearray(
        stick.encode(0x47, server_counter=3, logger_counter=9, logger_sn=17, payload=b"\0")
    )
    assert stick.is_whole(bytes(frame))

    frame[at] ^= 0x20

    assert not stick.is_whole(bytes(frame))


@pytest.mark.parametrize(
    ("kind", "wanted"), [(0x41, True), (0x42, True), (0x02, False), (0x12, False), (0x47, True)]
)
def test_only_requests_with_the_answer_bit_want_an_answer(kind: int, wanted: bool) -> None:
    frame = stick.encode(kind, server_counter=0, logger_counter=1, logger_sn=17, payload=b"\1")

    assert stick.wants_answer(frame) is wanted


def test_data_of_0507_has_every_value_at_its_place() -> None:
    payload = stick.data_payload(IDENTITY, stick.LIVE, Times(1_000, 60, 5_000), 7, MEASURED)

    assert len(payload) == 233
    assert payload[:3] == b"\x01\x07\x05"
    assert struct.unpack_from("<IIIHI", payload, 3) == (1_000, 60, 5_000, 1, 7)
    assert payload[21:37] == b"SIM0507000000001"
    base = struct.unpack_from("<hHHHHHHHHHHHIII", payload, 37)
    assert base[:5] == (417, 3124, 2981, 44, 39)
    assert base[5:12] == (0, 0, 106, 0, 0, 2345, 5002)
    # Power in steps of 10 W, today in steps of 0.1 kWh, total in steps of 1 kWh.
    assert base[12:] == (2470, 1230, 98760)
    assert (u16(payload, 0x61), u16(payload, 0x65), u16(payload, 0x67)) == (3715, 11000, 998)
    assert [u32(payload, at) for at in (0x69, 0x6D, 0x71)] == [2537, 301, 520]
    assert [u16(payload, 0x75), u32(payload, 0x77), u32(payload, 0x7B)] == [201, 1900, 3700]
    assert u32(payload, 0x83) == 2485
    assert struct.unpack_from("<6H", payload, 0x87) == (25, 6, 15, 17, 6, 20)
    assert u16(payload, 0xE7) == 3


def test_data_of_older_generations_keeps_their_quirks() -> None:
    for sensor_type, size in ((0x0503, 119), (0x0504, 124)):
        identity = dataclasses.replace(IDENTITY, sensor_type=sensor_type)

        payload = stick.data_payload(identity, stick.LIVE, Times(1, 2, 3), 7, MEASURED)

        assert len(payload) == size
        # Their base power is only volt times ampere, and 3 means generating.
        assert (u32(payload, 61), u16(payload, 77)) == (int(234.5 * 10.6), 3)
        assert (u16(payload, 86), u16(payload, 88)) == (301, 520)
        assert int.from_bytes(payload[100:103], "little") == 2478


def _measurement_of(payload: bytes) -> Measurement:
    """Reads a real 0x0507 payload, by the reference's tables and not by our encoder."""
    clock = struct.unpack_from("<6H", payload, 0x87)
    return Measurement(
        clock=datetime(2_000 + clock[0], *clock[1:]),
        temperature_c=struct.unpack_from("<h", payload, 37)[0] / 10,
        dc_voltage_v=(u16(payload, 39) / 10, u16(payload, 41) / 10),
        dc_current_a=(u16(payload, 43) / 10, u16(payload, 45) / 10),
        ac_voltage_v=u16(payload, 57) / 10,
        ac_current_a=u16(payload, 51) / 10,
        frequency_hz=u16(payload, 59) / 100,
        ac_power_w=u32(payload, 61),
        dc_power_w=u32(payload, 0x69),
        apparent_va=u32(payload, 0x83),
        power_factor=struct.unpack_from("<h", payload, 0x67)[0] / 1_000,
        bus_voltage_v=u16(payload, 0x61) / 10,
        limit_pct=u16(payload, 0x65) / 100,
        status=u16(payload, 77),
        today_wh=u32(payload, 65) * 10,
        yesterday_wh=u16(payload, 0x75) * 100,
        month_wh=u32(payload, 0x6D) * 1_000,
        last_month_wh=u32(payload, 0x71) * 1_000,
        year_wh=u32(payload, 0x77) * 1_000,
        last_year_wh=u32(payload, 0x7B) * 1_000,
        total_wh=u32(payload, 69) * 100,
    )


def _session(kind: Kind) -> list[bytes]:
    found = [
        bytes.fromhex(line["hex"])
        for line in corpus.lines("solis-session.jsonl")
        if line["direction"] == "stick->server"
    ]
    return [frame for frame in found if frame[4] == kind]


def _encode_again(frame: bytes, payload: bytes) -> bytes:
    return stick.encode(
        frame[4],
        server_counter=frame[5],
        logger_counter=frame[6],
        logger_sn=u32(frame, 7),
        payload=payload,
    )


def _identity_of(frame: bytes) -> Identity:
    return dataclasses.replace(
        IDENTITY, logger_sn=u32(frame, 7), inverter_sn=frame[32:48].decode().rstrip()
    )


def test_every_captured_0507_frame_is_rebuilt_byte_for_byte() -> None:
    frames = _session(Kind.DATA)
    assert len(frames) == 783

    for frame in frames:
        payload = frame[11:-2]
        times = Times(*struct.unpack_from("<III", payload, 3))

        rebuilt = stick.data_payload(
            _identity_of(frame), payload[0], times, u32(payload, 17), _measurement_of(payload)
        )

        assert _encode_again(frame, rebuilt) == frame


def test_captured_handshakes_links_and_reports_are_rebuilt_byte_for_byte() -> None:
    for frame in _session(Kind.HANDSHAKE):
        payload = frame[11:-2]
        identity = dataclasses.replace(IDENTITY, signal_pct=payload[17])
        times = Times(*struct.unpack_from("<III", payload, 1))
        rebuilt = stick.handshake_payload(identity, times, u16(payload, 81))
        assert _encode_again(frame, rebuilt) == frame
    for frame in _session(Kind.LINK):
        payload = frame[11:-2]
        identity = dataclasses.replace(IDENTITY, signal_pct=payload[45], ssid="TESTNET")
        times = Times(*struct.unpack_from("<III", payload, 1))
        rebuilt = stick.link_payload(identity, times, u16(payload, 13))
        assert _encode_again(frame, rebuilt) == frame
    boots = [frame for frame in _session(Kind.REPORT) if frame[25] == 1]
    assert boots
    for frame in boots:
        payload = frame[11:-2]
        times, event = (Times(*struct.unpack_from("<III", payload, at)) for at in (1, 16))
        assert _encode_again(frame, stick.boot_report_payload(times, event)) == frame


def test_captured_0503_frames_are_rebuilt_in_every_known_value() -> None:
    found: list[dict[str, Any]] = [
        line for line in corpus.lines("frames.jsonl") if 214 <= line["id"] <= 232
    ]
    frames = [bytes.fromhex(line["hex"]) for line in found]
    frames = [frame for frame in frames if len(frame) == 132]
    assert len(frames) >= 8

    for frame in frames:
        payload = frame[11:-2]
        identity = dataclasses.replace(_identity_of(frame), sensor_type=0x0503)
        measured = dataclasses.replace(
            MEASURED,
            temperature_c=struct.unpack_from("<h", payload, 37)[0] / 10,
            dc_voltage_v=(u16(payload, 39) / 10, u16(payload, 41) / 10),
            dc_current_a=(u16(payload, 43) / 10, u16(payload, 45) / 10),
            ac_voltage_v=u16(payload, 57) / 10,
            ac_current_a=u16(payload, 51) / 10,
            frequency_hz=u16(payload, 59) / 100,
            ac_power_w=int.from_bytes(payload[100:103], "little"),
            limit_pct=u16(payload, 98) / 100,
            status=1 if u16(payload, 77) == 3 else 0,
            today_wh=u32(payload, 65) * 10,
            total_wh=u32(payload, 69) * 100,
            month_wh=u16(payload, 86) * 1_000,
            last_month_wh=u16(payload, 88) * 1_000,
        )
        times = Times(*struct.unpack_from("<III", payload, 3))
        rebuilt = stick.data_payload(identity, payload[0], times, u32(payload, 17), measured)

        # Powers that firmware computes from unrounded values may differ by one step.
        assert rebuilt[:61] == payload[:61]
        assert rebuilt[65:100] == payload[65:100]
        assert abs(u32(rebuilt, 61) - u32(payload, 61)) <= 1
        assert rebuilt[100:103] == payload[100:103]
        apparent = [int.from_bytes(data[106:109], "little") for data in (rebuilt, payload)]
        assert abs(apparent[0] - apparent[1]) <= 2
        assert abs(u16(rebuilt, 109) - u16(payload, 109)) <= 2
        assert rebuilt[111:] == payload[111:]


# --- answers --------------------------------------------------------------------------------


def test_answers_are_taken_from_a_stream_one_by_one() -> None:
    request = stick.encode(0x47, server_counter=0, logger_counter=1, logger_sn=17, payload=b"\0")
    answer = acknowledgement(request)
    buffer = bytearray(answer + answer[:11])

    assert stick.take_answer(buffer) == answer
    assert stick.take_answer(buffer) is None
    buffer += answer[11:]
    assert stick.take_answer(buffer) == answer
    assert stick.take_answer(buffer) is None
    with pytest.raises(WrongAnswer, match="starts with 0x68"):
        stick.take_answer(bytearray(b"\x68" * 30))


@pytest.mark.parametrize("at", [4, 6, 7, 8, 9, 10, 11, 12])
def test_an_answer_to_something_else_is_refused(at: int) -> None:
    request = stick.encode(0x42, server_counter=0, logger_counter=1, logger_sn=17, payload=b"\x81")
    answer = bytearray(acknowledgement(request))
    stick.check_answer(request, bytes(answer))

    answer[at] ^= 0x04
    answer[-2] = sum(answer[1:-2]) & 0xFF

    with pytest.raises(WrongAnswer, match=f"byte {at} "):
        stick.check_answer(request, bytes(answer))


def test_captured_answers_of_the_real_cloud_are_all_good() -> None:
    lines = [bytes.fromhex(line["hex"]) for line in corpus.lines("solis-session.jsonl")]

    for request, answer in zip(lines[::2], lines[1::2], strict=True):
        stick.check_answer(request, answer)


# --- behaviour ------------------------------------------------------------------------------


def booted(identity: Identity = IDENTITY) -> Stick:
    """Returns a stick that has power since noon."""
    machine = Stick(identity, working_s=600_000)
    machine.power_on(NOON_S)
    return machine


def exchange(machine: Stick, now_s: int) -> bytes:
    """Lets the stick send its next frame and have it acknowledged."""
    frame = machine.next_frame(now_s)
    assert frame is not None
    machine.accept(acknowledgement(frame, counter=frame[5] + 1), now_s)
    return frame


def sent(machine: Stick, now_s: int) -> list[bytes]:
    """Lets the stick send everything that it has to say at this moment."""
    frames = []
    while (frame := machine.next_frame(now_s)) is not None:
        machine.accept(acknowledgement(frame, counter=frame[5] + 1), now_s)
        frames.append(frame)
    return frames


def sample_s(frame: bytes) -> int:
    """Returns the sample time of a data frame as a server computes it."""
    return u32(frame, 14) + u32(frame, 22)


def test_a_boot_is_told_in_the_order_of_real_sticks() -> None:
    machine = booted()
    machine.poll(NOON_S, MEASURED)

    frames = sent(machine, NOON_S)

    kinds = [frame[4] for frame in frames]
    assert kinds == [0x41, 0x42, 0x48, 0x43, 0x48]
    assert [frame[6] for frame in frames] == [1, 2, 3, 4, 5]
    assert [frame[5] for frame in frames] == [0, 1, 2, 3, 4]
    assert sample_s(frames[1]) == NOON_S


def test_no_data_leaves_before_the_handshake_is_answered() -> None:
    machine = booted()
    machine.poll(NOON_S, MEASURED)

    first, second = machine.next_frame(NOON_S), machine.next_frame(NOON_S + 11)

    assert first is not None
    assert second is not None
    assert (first[4], second[4]) == (0x41, 0x41)
    assert (first[6], second[6]) == (1, 2)


def test_a_live_retry_has_fresh_times_and_the_same_record() -> None:
    machine = booted()
    exchange(machine, NOON_S)
    machine.poll(NOON_S, MEASURED)
    first = machine.next_frame(NOON_S)
    assert not machine.unanswered(NOON_S)

    second = machine.next_frame(NOON_S + 11)

    assert first is not None
    assert second is not None
    assert second[6] == first[6] + 1
    assert sample_s(second) == sample_s(first) + 11
    assert second[26:-2] == first[26:-2]


def test_three_unanswered_tries_end_in_a_restart_and_lose_nothing() -> None:
    machine = booted()
    exchange(machine, NOON_S)
    machine.poll(NOON_S + 300, MEASURED)
    restarted = []
    for tries in range(3):
        machine.next_frame(NOON_S + 300 + 11 * tries)
        restarted.append(machine.unanswered(NOON_S + 300 + 11 * tries))
    machine.poll(NOON_S + 600, MEASURED)

    frames = sent(machine, NOON_S + 600)

    assert restarted == [False, False, True]
    assert [(frame[4], frame[11]) for frame in frames[:3]] == [
        (0x41, 0x02),
        (0x42, 0x01),
        (0x42, 0x81),
    ]
    assert frames[0][6] == 1
    assert sample_s(frames[2]) == NOON_S + 300


def test_backlog_is_replayed_newest_first_after_the_live_frame() -> None:
    machine = booted()
    sent(machine, NOON_S)
    machine.link_lost()
    for minutes in range(5, 30, 5):
        machine.poll(NOON_S + 60 * minutes, MEASURED)

    frames = [frame for frame in sent(machine, NOON_S + 60 * 25) if frame[4] == 0x42]

    assert [frame[11] for frame in frames] == [0x01, 0x81, 0x81, 0x81, 0x81]
    assert [(sample_s(frame) - NOON_S) // 60 for frame in frames] == [25, 20, 15, 10, 5]
    assert machine.backlog == 0


def test_records_of_a_stick_without_clock_carry_offset_zero() -> None:
    machine = booted()
    machine.poll(NOON_S, MEASURED)
    machine.poll(NOON_S + 300, MEASURED)

    frames = [frame for frame in sent(machine, NOON_S + 300) if frame[4] == 0x42]

    assert [u32(frame, 22) == 0 for frame in frames] == [False, True]


def test_a_historic_retry_repeats_its_payload() -> None:
    machine = booted()
    machine.poll(NOON_S, MEASURED)
    machine.poll(NOON_S + 300, MEASURED)
    exchange(machine, NOON_S + 300)
    exchange(machine, NOON_S + 300)
    first = machine.next_frame(NOON_S + 300)
    machine.unanswered(NOON_S + 311)

    second = machine.next_frame(NOON_S + 311)

    assert first is not None
    assert second is not None
    assert first[11] == 0x81
    assert second[11:-2] == first[11:-2]
    assert second[6] == first[6] + 1


def test_an_idle_stick_sends_a_heartbeat_each_two_minutes_and_greets_each_three_hours() -> None:
    machine = booted()
    machine.poll(NOON_S, MEASURED)
    sent(machine, NOON_S)

    kinds = [frame[4] for second in range(1, 11_000) for frame in sent(machine, NOON_S + second)]

    # 89 until 10,680 s, the greeting at 10,740 s, then at 10,860 s and 10,980 s.
    assert kinds.count(0x47) == 89 + 2
    assert kinds.count(0x41) == 1
    assert set(kinds) == {0x41, 0x47}


def test_a_wrong_answer_changes_nothing() -> None:
    machine = booted()
    frame = machine.next_frame(NOON_S)
    assert frame is not None
    wrong = bytearray(acknowledgement(frame))
    wrong[6] += 1
    wrong[-2] = sum(wrong[1:-2]) & 0xFF

    with pytest.raises(WrongAnswer):
        machine.accept(bytes(wrong), NOON_S)

    machine.accept(acknowledgement(frame), NOON_S)
    with pytest.raises(WrongAnswer, match="no frame is outstanding"):
        machine.accept(acknowledgement(frame), NOON_S)


def test_the_working_time_goes_back_at_a_restart() -> None:
    machine = booted()
    before = u32(exchange(machine, NOON_S + 599), 12)
    machine.power_off(NOON_S + 700)
    machine.power_on(NOON_S + 40_000)

    after = u32(exchange(machine, NOON_S + 40_000), 12)

    assert after - before < 120


def test_an_unpowered_stick_is_silent() -> None:
    machine = booted()
    machine.poll(NOON_S, MEASURED)
    machine.power_off(NOON_S)

    assert machine.next_frame(NOON_S + 10_000) is None
    assert machine.backlog == 1
