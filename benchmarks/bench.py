"""Runs the whole set of measurements, and says on one page what came out: `make bench`.

One after the other, since each wants the machine for itself; in some 18 minutes on two cores.
What takes longer is not in it: a simulated day of 10,000 sticks (`soak.py`), 100,000 connections
(`connections.py --connections 100000 --servers 6`), 26 million readings (`lake_queries.py`), the
whole study of losses (`injected_losses.py`). A claim that does not hold goes into the page, the set
goes on, and ends with exit code 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import record
import summary

BENCHMARKS = Path(__file__).parent

# Short ones first: whoever sees one fail need not wait for the rest.
SET = (
    ("decode.py",),
    ("settlement_speed.py", "--rounds", "5"),
    ("expected_energy.py", "--rounds", "3", "--pvlib-sites", "10", "--model-chain-sites", "2"),
    ("detection_speed.py", "--rounds", "1"),
    ("injected_losses.py", "--short", "--rounds", "8"),
    ("lake_encoding.py", "--days", "3", "--rounds", "5"),
    ("lake_queries.py", "--inverters", "10000", "--days", "1"),
    ("store.py", "--rounds", "5"),
    ("connections.py",),
    ("stages.py", "--seconds", "3"),
    ("peers.py", "--seconds", "1.5", "--readings", "600000"),
    ("ingest.py",),
)


def main() -> int:
    """Measures everything and writes the summary."""
    options = _options()
    on = record.machine()
    failed: dict[str, int] = {}
    took_s: dict[str, int] = {}
    if options.only is not None:
        before = summary.before(record.directory())
        failed, took_s = before["exit_codes_other_than_0"], before["seconds_of_scripts"]
    for script, *arguments in SET:
        if options.only is not None and script.removesuffix(".py") not in options.only:
            continue
        _say(f"\n==> {script} {' '.join(arguments)}")
        began = time.monotonic()
        run = subprocess.run(
            [sys.executable, str(BENCHMARKS / script), *arguments],
            check=False,
            stdout=subprocess.DEVNULL,
        )
        took_s[script] = round(time.monotonic() - began)
        failed.pop(script, None)
        if run.returncode:
            failed[script] = run.returncode
        _say(f"<== {script}: {took_s[script]} s, exit code {run.returncode}")
    numbers = {
        "minutes": round(sum(took_s.values()) / 60, 1),
        "seconds_of_scripts": took_s,
        "exit_codes_other_than_0": failed,
        **summary.numbers(record.directory()),
    }
    path = record.write("summary", claim="everything measured, on one page", numbers=numbers, on=on)
    page = path.with_suffix(".md")
    page.write_text(summary.page(record.read(path)), encoding="utf-8")
    sys.stdout.write(page.read_text(encoding="utf-8"))
    _say(f"{page.relative_to(record.REPOSITORY)} after {numbers['minutes']} minutes")
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = [script.removesuffix(".py") for script, *_ in SET]
    parser.add_argument(
        "--only",
        nargs="*",
        choices=names,
        help="the others keep their results; none: the page only",
    )
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
