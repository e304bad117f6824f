"""Claim: a 0x0507 frame is decoded and validated in at most 250 ns.

`cargo bench -p autarco-protocol` finds, checks and reads frames of every layout, and beside it
copies and sums the same bytes. The very same 0x0507 frames are decoded in Python: by one
precompiled `struct.Struct` with the sum checked (`decode_with_struct` below, about the least that
Python can do), by pysolarmanv5, and by `_core.decode`, which is for people and returns JSON with
details.

pysolarmanv5 asks sticks in the local network and knows only the frames of that; it gets the same
bytes with the control code of an answer to a request, and does less: it checks the envelope, finds
the record, and reads no register. It is not among this project's dependencies; it runs in
`.venv-bench`, and is left out with a warning when that is missing.

Everything is CPU time of one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import record
from autarco_ingest import _core

if TYPE_CHECKING:
    from collections.abc import Callable

CLAIM_NS = 250
CLAIM = f"a 0x0507 frame is decoded and validated in at most {CLAIM_NS} ns"
LAYOUT = "Solis 1-phase mini 0x0507"
PYTHON = record.REPOSITORY / ".venv-bench" / "bin" / "python"
RECEIVED_US = 1_780_315_205_000_000
"""When the frames of the benchmark arrive: five seconds after they were taken."""

HEADER = struct.Struct("<BHBBBBI")
_U8, _U16, _I16, _U32 = "B", "H", "h", "I"
FIELDS: list[tuple[str, int, str, float]] = [
    ("temp_inverter", 37, _I16, 10),
    ("dc_voltage_mppt1", 39, _U16, 10),
    ("dc_voltage_mppt2", 41, _U16, 10),
    ("dc_current_mppt1", 43, _U16, 10),
    ("dc_current_mppt2", 45, _U16, 10),
    ("ac_current_l1", 47, _U16, 10),
    ("ac_current_l2", 49, _U16, 10),
    ("ac_current_l3", 51, _U16, 10),
    ("ac_voltage_l1", 53, _U16, 10),
    ("ac_voltage_l2", 55, _U16, 10),
    ("ac_voltage_l3", 57, _U16, 10),
    ("ac_frequency", 59, _U16, 100),
    ("ac_power", 61, _U32, 1),
    ("energy_today_wh", 65, _U32, 0.1),
    ("energy_total_wh", 69, _U32, 0.01),
    ("status_vendor", 0x4D, _U16, 1),
    ("dc_bus_voltage", 0x61, _U16, 10),
    ("power_limit_pct", 0x65, _U16, 100),
    ("power_factor", 0x67, _I16, 1000),
    ("dc_power", 0x69, _U32, 1),
    ("energy_month_wh", 0x6D, _U32, 0.001),
    ("energy_last_month_wh", 0x71, _U32, 0.001),
    ("energy_yesterday_wh", 0x75, _U16, 0.01),
    ("energy_year_wh", 0x77, _U32, 0.001),
    ("energy_last_year_wh", 0x7B, _U32, 0.001),
    ("ac_apparent_power", 0x83, _U32, 1),
]
"""Name, offset in the payload, form on the wire, wire units per unit."""

STICK = [("frame_type", 0, _U8), ("sensor_type", 1, _U16), ("working_s", 3, _U32)]
STICK += [("uptime_s", 7, _U32), ("offset_s", 11, _U32), ("record_no", 17, _U32)]
STICK += [("inverter_sn", 21, "16s")]


def _record_format() -> str:
    """Returns one format for all of the payload; what nobody reads is padding."""
    text, at = "<", 0
    for _, offset, form in STICK + [(name, offset, form) for name, offset, form, _ in FIELDS]:
        text += f"{offset - at}x{form}"
        at = offset + struct.calcsize("<" + form)
    return text


RECORD = struct.Struct(_record_format())
NAMES = [name for name, *_ in FIELDS]
PER = [per for *_, per in FIELDS]
HEADER_BYTES = 11


def decode_with_struct(frame: bytes) -> dict[str, Any]:
    """Checks a 0x0507 frame and returns its values; raises ValueError for anything else."""
    start, length, control, kind, _, _, logger_sn = HEADER.unpack_from(frame)
    if start != 0xA5 or control != 0x10 or kind != 0x42 or len(frame) != length + 13:
        raise ValueError("no data frame")
    if frame[-1] != 0x15 or frame[-2] != sum(frame[1:-2]) & 0xFF:
        raise ValueError("a wrong checksum")
    frame_type, sensor_type, working_s, uptime_s, offset_s, record_no, serial, *values = (
        RECORD.unpack_from(frame, HEADER_BYTES)
    )
    if sensor_type != 0x0507:
        raise ValueError("another layout")
    reading = {name: value / per for name, value, per in zip(NAMES, values, PER, strict=True)}
    reading["ts"] = working_s + offset_s
    reading["uptime_s"] = uptime_s
    reading["record_no"] = record_no
    reading["logger_sn"] = logger_sn
    reading["inverter_sn"] = serial.rstrip().decode("ascii")
    reading["historic"] = frame_type & 0x80 != 0
    return reading


def decode_with_core(frame: bytes) -> list[str]:
    """Goes to Rust and back with one frame, as the command `decode` does with many."""
    return _core.decode(frame, received_at_us=RECEIVED_US)


PYSOLARMANV5 = """
import json, sys, time
from pysolarmanv5 import PySolarmanV5
frames = [bytes.fromhex(text) for text in json.loads(sys.stdin.readline())]
decoder = object.__new__(PySolarmanV5)  # its constructor connects to a stick
decoder.v5_start, decoder.v5_end = b"\\xa5", b"\\x15"
decoder.v5_error_correction, decoder.sequence_number = False, frames[0][5]
decoder.v5_loggerserial = frames[0][7:11]
answers = []
for frame in frames:
    answer = bytearray(frame)
    answer[4], answer[11] = 0x15, 0x02
    answer[-2] = sum(answer[1:-2]) & 0xFF
    answers.append(bytes(answer))
assert decoder._v5_frame_decoder(answers[0]) == frames[0][25:-2]
repeats = int(sys.argv[1])
start = time.process_time_ns()
for _ in range(repeats):
    for answer in answers:
        decoder._v5_frame_decoder(answer)
print((time.process_time_ns() - start) / repeats / len(answers))
"""


def main() -> int:
    """Measures in rounds, records, and tells whether the claim holds."""
    options = _options()
    on = record.machine()
    _cargo_bench("--no-run")
    frames = _by_layout(_rust())[LAYOUT]["frames"]
    _check([bytes.fromhex(frame) for frame in frames])
    contestants: dict[str, Callable[[], Any]] = {
        "rust": _rust,
        "python struct": lambda: _python(decode_with_struct, frames, options.seconds),
        "python _core.decode": lambda: _python(decode_with_core, frames, options.seconds),
    }
    if PYTHON.exists():
        contestants["pysolarmanv5"] = lambda: _pysolarmanv5(frames, options.seconds)
    else:
        sys.stderr.write(f"WARNING: pysolarmanv5 is left out, there is no {PYTHON}\n")
    rounds = []
    for number in range(options.rounds):
        names = list(contestants)[:: -1 if number % 2 else 1]
        rounds.append({name: contestants[name]() for name in names})
    numbers = _numbers(rounds, [name for name in contestants if name != "rust"])
    path = record.write("decode", claim=CLAIM, numbers=numbers, on=on)
    sys.stdout.write(f"{json.dumps(numbers, indent=1)}\n{path.relative_to(record.REPOSITORY)}\n")
    return 0 if numbers["holds"] else 1


def _numbers(rounds: list[dict[str, Any]], others: list[str]) -> dict[str, Any]:
    layouts = [_by_layout(one["rust"]) for one in rounds]
    ours = [found[LAYOUT]["decode_ns"] for found in layouts]

    def middle(layout: str, name: str) -> float:
        return round(float(statistics.median(found[layout][name] for found in layouts)), 1)

    def times(values: list[float]) -> float:
        pairs = zip(values, ours, strict=True)
        return round(float(statistics.median(value / own for value, own in pairs)), 1)

    return {
        "holds": statistics.median(ours) <= CLAIM_NS,
        "rounds": len(rounds),
        "ns_per_frame": {
            layout: {
                "bytes": found["bytes"],
                **{name: middle(layout, name) for name in found if name.endswith("_ns")},
            }
            for layout, found in layouts[0].items()
        },
        "decode_over_memcpy": round(
            statistics.median(
                found[LAYOUT]["decode_ns"] / found[LAYOUT]["memcpy_ns"] for found in layouts
            ),
            1,
        ),
        "python_ns_per_0507_frame": {
            name: round(statistics.median(one[name] for one in rounds)) for name in others
        },
        "times_slower_than_rust": {name: times([one[name] for one in rounds]) for name in others},
        "left_out": [] if "pysolarmanv5" in others else ["pysolarmanv5"],
    }


def _by_layout(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["layout"]: one for one in found}


def _rust() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_cargo_bench("--", "--json"))
    return found


def _cargo_bench(*arguments: str) -> str:
    command = ["cargo", "bench", "--locked", "--quiet", "-p", "autarco-protocol"]
    return subprocess.run(
        [*command, "--bench", "decode", *arguments],
        cwd=record.REPOSITORY,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def _python(decode: Callable[[bytes], Any], frames: list[str], seconds: float) -> float:
    """Returns nanoseconds per frame."""
    data = [bytes.fromhex(frame) for frame in frames]
    repeats, start_ns = 0, time.process_time_ns()
    until_ns = start_ns + seconds * 1e9
    while time.process_time_ns() < until_ns:
        for frame in data:
            decode(frame)
        repeats += 1
    return (time.process_time_ns() - start_ns) / repeats / len(data)


def _pysolarmanv5(frames: list[str], seconds: float) -> float:
    # Each takes some 10 us.
    repeats = max(1, round(seconds * 100_000 / len(frames)))
    done = subprocess.run(
        [str(PYTHON), "-c", PYSOLARMANV5, str(repeats)],
        input=json.dumps(frames) + "\n",
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(done.stdout)


def _check(frames: list[bytes]) -> None:
    """Makes sure that both decoders say the same of every frame."""
    for frame in frames:
        (line,) = decode_with_core(frame)
        ours = json.loads(line)
        ours["ts"] = datetime.fromisoformat(ours["ts"]).astimezone(UTC).timestamp()
        for name, value in decode_with_struct(frame).items():
            if isinstance(value, float):
                same = abs(ours[name] - value) < 1e-6 * max(1.0, abs(value))
            else:
                same = ours[name] == value
            if not same:
                raise SystemExit(f"{name}: {value!r} in Python, {ours[name]!r} in Rust")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each in each round")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
