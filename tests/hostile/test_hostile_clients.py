"""Claim: whatever other peers do, well-behaved sticks lose nothing and hardly wait longer."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from sticks import Sticks

from server_process import running
from test_server import rows

STICKS = 40
PERIOD_S = 0.2
QUIET_S = 6.0
HOSTILE_S = 12.0
WAITS_MAX = 5
"""How many times the undisturbed wait (99th percentile) the disturbed one may be."""


def test_well_behaved_sticks_do_not_suffer_from_hostile_peers(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "server.log"
    with running(data, log=log, first_frame_s="4", commit_tick_ms="20") as server:
        sticks = Sticks(server.port, STICKS)
        quiet = sticks.run(QUIET_S, PERIOD_S)
        actors = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("actors.py")),
                str(server.port),
                str(HOSTILE_S),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        # They need a moment to get going, and are still there when the sticks end.
        sticks.run(2.0, PERIOD_S)
        disturbed = sticks.run(HOSTILE_S - 4.0, PERIOD_S)
        done, _ = actors.communicate(timeout=HOSTILE_S + 30)
        sticks.close()
        assert server.stop() == 0
    did = json.loads(done)
    saw = json.loads(log.read_text().splitlines()[-1])
    told = f"quiet {_told(quiet)}, disturbed {_told(disturbed)}; actors {did}; server {saw}"
    sys.stdout.write(told + "\n")

    assert all(
        did.get(actor, 0) > 0
        for actor in (
            "slow bytes",
            "silent",
            "unread bytes",
            "garbage bytes",
            "reconnects",
            "invented frames",
        )
    ), told
    for consequence in ("closed_noise", "closed_unread", "closed_no_frame", "paused_logger"):
        assert saw[consequence] > 0, told
    assert _p99(disturbed) <= WAITS_MAX * _p99(quiet), told
    stored = rows(
        data, "SELECT energy_today_wh // 10 AS frame, count(*) AS n FROM readings GROUP BY 1"
    )
    assert {row["frame"] for row in stored} == sticks.acknowledged
    assert {row["n"] for row in stored} == {1}


def _p99(waits: list[float]) -> float:
    return statistics.quantiles(waits, n=100)[98]


def _told(waits: list[float]) -> str:
    median, p99 = statistics.median(waits), _p99(waits)
    return f"{len(waits)} answers, p50 {median * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms"
