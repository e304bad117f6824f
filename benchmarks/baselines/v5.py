"""What must a server know of the V5 envelope so that sticks take its answers?

For the baselines only: they acknowledge frames and do nothing else with them.
"""

from __future__ import annotations

import argparse
import struct
import time
from collections.abc import Callable

START = 0xA5
END = 0x15
CONTROL = 0x10
ACCEPTED = 1
ANSWER_PAYLOAD_BYTES = 10
OVERHEAD_BYTES = 13
ANSWER_OFFSET = 0x30
"""An answer's type is its request's minus this."""

_LENGTH = struct.Struct("<H")
_HEADER = struct.Struct("<BHBBBBIB")
"""Up to the first byte of the payload, which an answer repeats."""
_ANSWER = struct.Struct("<BHBBBBIBBIi")

Answering = Callable[[bytearray], bytes]
"""Takes whole frames off the front of what was received and returns their answers."""


class NoFrameError(Exception):
    """The bytes received are no V5 frame."""


def answer_checked(received: bytearray) -> bytes:
    """Answers as a server has to: envelope and sum are checked, the answer says what time it is."""
    answers = []
    done = 0
    while len(received) - done >= OVERHEAD_BYTES:
        end = done + _LENGTH.unpack_from(received, done + 1)[0] + OVERHEAD_BYTES
        if len(received) < end:
            break
        start, _, control, kind, server_counter, logger_counter, serial, echo = _HEADER.unpack_from(
            received, done
        )
        checksum = sum(received[done + 1 : end - 2]) & 0xFF
        if (start, control, received[end - 2], received[end - 1]) != (
            START,
            CONTROL,
            checksum,
            END,
        ):
            raise NoFrameError
        answer = _ANSWER.pack(
            START,
            ANSWER_PAYLOAD_BYTES,
            CONTROL,
            kind - ANSWER_OFFSET,
            (server_counter + 1) & 0xFF,
            logger_counter,
            serial,
            echo,
            ACCEPTED,
            int(time.time()),
            0,
        )
        answers.append(answer + bytes((sum(answer[1:]) & 0xFF, END)))
        done = end
    del received[:done]
    return b"".join(answers)


_HEADS = [
    bytes((START, ANSWER_PAYLOAD_BYTES, 0, CONTROL, (kind - ANSWER_OFFSET) & 0xFF))
    for kind in range(256)
]
_TAIL = bytes((ACCEPTED,)) + struct.pack("<Ii", int(time.time()), 0)
_TAILS = [
    _TAIL
    + bytes((repeated + ANSWER_PAYLOAD_BYTES + CONTROL - ANSWER_OFFSET + sum(_TAIL) & 0xFF, END))
    for repeated in range(256)
]
"""By the sum of the bytes that an answer repeats of its request."""


def answer_bare(received: bytearray) -> bytes:
    """Answers with as little Python as possible: nothing is checked, the time is that of the start.

    No server could do with this. It bounds what of a baseline's cost is Python code of ours.
    """
    answers = b""
    done = 0
    while len(received) - done >= OVERHEAD_BYTES:
        end = done + received[done + 1] + (received[done + 2] << 8) + OVERHEAD_BYTES
        if len(received) < end:
            break
        repeated = received[done + 4 : done + 12]
        answers += _HEADS[repeated[0]] + repeated[1:] + _TAILS[sum(repeated) & 0xFF]
        done = end
    del received[:done]
    return answers


ANSWERINGS: dict[str, Answering] = {"checked": answer_checked, "bare": answer_bare}


def options(question: str) -> tuple[str, int, Answering]:
    """Returns host, port and way of answering from the command line."""
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--answer", choices=ANSWERINGS, default="checked")
    chosen = parser.parse_args()
    host, _, port = chosen.listen.rpartition(":")
    return host, int(port), ANSWERINGS[chosen.answer]
