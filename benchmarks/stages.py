"""On what does the server spend its time, from the socket to the table?

Runs the server under `perf record` while a fleet keeps it saturated, and gives every sample to the
first stage whose pattern its stack matches. Functions that the compiler put into others count for
those: the sum over a frame is part of finding it. Sending is dear because on loopback the sender's
system call does the receiver's half too.

The usual extension has neither symbols nor frame pointers, so one of its own is built, into
target/profiling; the first time that takes minutes.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import record
from processes import (
    FLEET_CORE,
    SERVER_CORE,
    Fleet,
    Server,
    closed_loop,
    free_port,
    pinned,
    settle,
)

CLAIM = "none: where the time of a frame goes, stage by stage"
CASES = {
    "10,000 connections, one frame per read": {"sticks": 10_000, "window": 1},
    "1,000 connections, bursts of 16": {"sticks": 1_000, "window": 16},
}
SAMPLES_PER_S = 1_999
"""Not a multiple of any rhythm of the server."""
SETTLE_S = 0.5
"""Until perf samples and the server has nothing more to do for those who have connected."""
SYMBOLS_TOLD = 25
SYMBOL_CHARACTERS = 80

STAGES = {
    "kernel: send": r"__x64_sys_sendto|^__send ",
    "kernel: receive": r"__x64_sys_recvfrom|^__libc_recv ",
    "kernel: epoll": r"__x64_sys_epoll_|^epoll_wait ",
    "accept": r"Sockets::(accept|welcome)|__x64_sys_accept",
    "journal": r"journal::|crc32c|Gateway::prepare|\A(commit|prepare)[\s\S]*__x64_sys_(?!futex)",
    "resend memory": r"resend::",
    "decode": r"autarco_protocol::(reading|layouts|zone|text)",
    "rows": r"batch::Rows|\Acommit[\s\S]*Gateway::commit",
    "answers": r"reply::|Sockets::(release|send)|Connection::send",
    "frame and sum": r"Intake::|autarco_protocol::",
    "sockets": r"Sockets::|Connection::|Gateway::turn",
    "batch: sort, Parquet, commit": r"\A(None|seal|retire|tokio-rt)|libparquet|libarrow",
    "views: tail, latest, catalog": r"\Awrite|_duckdb",
    "Python's garbage collector": r"^(gc_collect|visit_|subtract_refs|update_refs)|_traverse ",
    "Python and trio": r"\A(python|Trio thread)|libpython",
    "other": r"",
}
"""In order. The first line of a stack is the thread's name: trio names it after what it runs."""


def main() -> int:
    """Profiles each case and records."""
    options = _options()
    if refusal := _perf_refusal():
        sys.stderr.write(f"SKIPPED, no shares of stages: {refusal}\n")
        return 0
    on = record.machine()
    os.environ["PYTHONPATH"] = str(_profiling_package())
    cases = []
    for name, case in CASES.items():
        root = Path(tempfile.mkdtemp(prefix="autarco-stages-", dir=options.directory))
        try:
            cases.append({"case": name, **_profile(root, **case, seconds=options.seconds)})
        finally:
            shutil.rmtree(root)
    numbers = {"seconds": options.seconds, "cases": cases}
    path = record.write("stages", claim=CLAIM, numbers=numbers, on=on)
    sys.stdout.write(f"{json.dumps(numbers, indent=1)}\n{path.relative_to(record.REPOSITORY)}\n")
    return 0


def _perf_refusal() -> str | None:
    """Returns why perf cannot sample here, if so."""
    try:
        tried = subprocess.run(
            ["perf", "record", "-q", "-e", "cpu-clock", "-g", "-o", "/dev/null", "true"],
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        return "perf is not installed"
    return tried.stderr.strip() or "perf failed" if tried.returncode else None


def _profiling_package() -> Path:
    """Builds the extension with symbols and frame pointers, beside a copy of the package."""
    target = record.REPOSITORY / "target" / "profiling"
    subprocess.run(
        [
            *("cargo", "build", "--release", "--locked", "--quiet", "-p", "autarco-core"),
            *("--target-dir", str(target)),
        ],
        cwd=record.REPOSITORY,
        check=True,
        env=os.environ
        | {
            "RUSTFLAGS": "-C force-frame-pointers=yes",
            "CARGO_PROFILE_RELEASE_STRIP": "none",
            # Without it the extension is linked with libpython, as no wheel is.
            "PYO3_BUILD_EXTENSION_MODULE": "1",
            "PYO3_PYTHON": sys.executable,
        },
    )
    package = target / "python" / "autarco_ingest"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(
        record.REPOSITORY / "src" / "autarco_ingest",
        package,
        ignore=shutil.ignore_patterns("*.so", "__pycache__"),
    )
    shutil.copy(target / "release" / "lib_core.so", package / "_core.abi3.so")
    return package.parent


def _profile(root: Path, *, sticks: int, window: int, seconds: float) -> dict[str, Any]:
    samples = root / "perf.data"
    with pinned(SERVER_CORE):
        server = Server(root / "data", port=free_port(), flush_seconds=str(seconds / 2))
    try:
        with pinned(FLEET_CORE):
            fleet = Fleet(
                *("--to", f"127.0.0.1:{server.port}"),
                *closed_loop(sticks=sticks, window=window, seconds=seconds),
            )
        fleet.wait_connected()
        cpu_before = server.cpu_s()
        perf = subprocess.Popen(
            [
                *("perf", "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_S), "-g"),
                *("-p", str(server.process.pid), "-o", str(samples)),
            ]
        )
        time.sleep(SETTLE_S)
        fleet.begin()
        report = fleet.report()
        # Before the server ends: taking an interpreter apart is nothing that a frame costs.
        settle([server], report["records_acknowledged"])
        cpu_s = server.cpu_s() - cpu_before
        perf.send_signal(signal.SIGINT)
        perf.wait()
        server.stop()
    finally:
        server.end()
    frames = report["records_acknowledged"]
    stored = server.rows_flushed("readings")
    if stored != frames:
        raise SystemExit(f"{frames} records were acknowledged, {stored} stored")
    by_stage, by_symbol = _counted(samples)
    total = by_stage.total()
    us_per_sample = cpu_s / frames / total * 1e6
    return {
        "sticks": sticks,
        "window": window,
        "frames": frames,
        "flush_s": seconds / 2,
        "samples": total,
        "server_cpu_us_per_frame_under_perf": round(us_per_sample * total, 2),
        "share": {stage: round(by_stage[stage] / total, 4) for stage in STAGES},
        "us_per_frame": {stage: round(by_stage[stage] * us_per_sample, 2) for stage in STAGES},
        "costliest_symbols": [
            {"symbol": symbol, "stage": stage, "share": round(count / total, 4)}
            for (symbol, stage), count in by_symbol.most_common(SYMBOLS_TOLD)
        ],
    }


def _counted(
    samples: Path,
) -> tuple[collections.Counter[str], collections.Counter[tuple[str, str]]]:
    """Counts the samples of each stage, and of each symbol within its stage by itself."""
    script = subprocess.run(
        ["perf", "script", "--no-inline", "-F", "comm,ip,sym,dso", "-i", str(samples)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    patterns = {stage: re.compile(pattern, re.MULTILINE) for stage, pattern in STAGES.items()}
    by_stage: collections.Counter[str] = collections.Counter()
    by_symbol: collections.Counter[tuple[str, str]] = collections.Counter()
    for sample in script.stdout.split("\n\n"):
        thread, *frames = sample.strip("\n").split("\n")
        if not frames:
            continue
        # Of "  ffffffff81e2afbe sock_poll ([kernel.kallsyms])" all but the address.
        called = [frame.strip().partition(" ")[2] for frame in frames]
        stack = "\n".join([thread.strip(), *called])
        stage = next(stage for stage, pattern in patterns.items() if pattern.search(stack))
        by_stage[stage] += 1
        by_symbol[_short(called[0]), stage] += 1
    return by_stage, by_symbol


def _short(symbol: str) -> str:
    """Without the directories of the library, and of a C++ template only the beginning."""
    name, _, library = symbol.rpartition(" (")
    return f"{name[:SYMBOL_CHARACTERS]} ({Path(library).name}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="for each case")
    parser.add_argument("--directory", type=Path, help="where the server's data goes meanwhile")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
