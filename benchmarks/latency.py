"""Claim: of 5,000 records a second, 99 of 100 are acknowledged, and so on disk, within 50 ms.

Records leave at intended times whatever the server does, and latency counts from the intended time:
a server that stalls is charged for every record that had to wait meanwhile. Each rate is held for
some seconds, one after another, with a fleet of its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import record
from processes import Server, free_port, run_fleet

CLAIM = "at 5,000 records a second, 99 of 100 are acknowledged within 50 ms"
CLAIM_RATE = 5_000
CLAIM_MS = 50.0
FLUSH_S = 15.0


def main() -> int:
    """Measures each rate, records, and tells whether the claim holds."""
    options = _options()
    on = record.machine()
    root = Path(tempfile.mkdtemp(prefix="autarco-latency-", dir=options.directory))
    server = Server(root / "data", port=free_port(), flush_seconds=str(FLUSH_S))
    try:
        rates = [
            _at_rate(server, number, rate, options) for number, rate in enumerate(options.rates)
        ]
        exit_code = server.stop()
    finally:
        server.end()
        shutil.rmtree(root)
    judged = [rate for rate in rates if rate["rate"] <= CLAIM_RATE]
    holds = exit_code == 0 and all(
        rate["ack_ms"]["p99"] <= CLAIM_MS and not rate["unacknowledged"] for rate in judged
    )
    numbers = {"holds": holds, "sticks": options.sticks, "flush_s": FLUSH_S, "rates": rates}
    path = record.write("latency", claim=CLAIM, numbers=numbers, on=on)
    sys.stdout.write(f"{json.dumps(numbers, indent=1)}\n{path.relative_to(record.REPOSITORY)}\n")
    return 0 if holds else 1


def _at_rate(server: Server, number: int, rate: int, options: argparse.Namespace) -> dict[str, Any]:
    cpu_before = server.cpu_s()
    report = run_fleet(
        *("--to", f"127.0.0.1:{server.port}", "--sticks", str(options.sticks)),
        *("--first-serial", str(1_800_000_001 + number * options.sticks)),
        *("--sources", str(-(-options.sticks // 1_000)), "--open-loop"),
        *("--rate", str(rate), "--seconds", str(options.seconds)),
    )
    records = report["sent"]["live"]
    return {
        "rate": rate,
        "records": records,
        "unacknowledged": records - report["records_acknowledged"],
        "ack_ms": report["ack_ms"]["live"],
        "sent_late_ms": report["send_lag_ms"],
        "server_cpu_us_per_frame": round(
            (server.cpu_s() - cpu_before) / sum(report["answered"].values()) * 1e6, 1
        ),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sticks", type=int, default=2_000)
    parser.add_argument("--rates", type=int, nargs="+", default=[500, 2_000, 5_000, 10_000, 20_000])
    parser.add_argument("--seconds", type=int, default=20, help="for each rate")
    parser.add_argument("--directory", type=Path, help="where the server's data goes meanwhile")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
