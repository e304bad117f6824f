"""Where do the results of a measurement go, and what has to be known to judge them?

One JSON file per measurement in `benchmarks/results/<date>-<machine>/`: the claim, the numbers, the
command, the commit and the machine. Results are committed, so that a claim in the documentation
can be traced to a run.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent


def machine() -> dict[str, Any]:
    """Describes what the measurement ran on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def write(name: str, *, claim: str, numbers: dict[str, Any], on: dict[str, Any]) -> Path:
    """Writes one result and returns its file; `on` is what `machine` said before the run."""
    parent = directory()
    parent.mkdir(parents=True, exist_ok=True)
    result = {
        "claim": claim,
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "commit": _commit(),
        "at": f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}",
        "machine": on,
        "numbers": numbers,
    }
    path = parent / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return path


def directory() -> Path:
    """Returns where today's results of this machine go."""
    kind = f"{os.cpu_count()}-core-{platform.machine()}"
    return REPOSITORY / "benchmarks" / "results" / f"{dt.datetime.now(dt.UTC):%Y-%m-%d}-{kind}"


def read(path: Path) -> dict[str, Any]:
    """Returns one result, with its claim, command, commit and machine."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    # Results and notes do not change what was measured.
    changed = git("status", "--porcelain", "--", "rust", "src", "benchmarks/*.py", "Cargo.lock")
    return git("rev-parse", "HEAD") + (" with changes" if changed else "")
