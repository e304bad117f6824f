"""Does the demo run on its own, and find by itself what it hid in the fleet?"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from autarco_ingest import demo, server_process

if TYPE_CHECKING:
    from pathlib import Path


def test_the_demo_shows_the_broken_string_and_every_reading_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = demo.main(["--data", str(tmp_path / "demo"), "--sticks", "6", "--days", "3"])

    shown = capfd.readouterr().out
    assert code == 0
    flagged = [line for line in shown.splitlines() if "less than its neighbours" in line]
    assert len(flagged) == 1
    assert flagged[0].startswith("SIM0507000000002")
    assert "each once" in shown
    replayed = shown[shown.index("replayed from a stick's memory") :]
    assert "SIM0507000000003" in replayed
    # No private value of a handshake or link event reached any file.
    found = [path for path in (tmp_path / "demo").rglob("*") if path.is_file()]
    assert found
    for path in found:
        content = path.read_bytes()
        assert b"SIMULATED" not in content
        assert b"192.0.2.10" not in content


def test_the_demo_leaves_a_foreign_directory_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")

    assert demo.main(["--data", str(tmp_path)]) == 1

    assert "is no data directory" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").exists()


def test_a_server_that_does_not_start_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\nno room on this disk\n")
    with (
        subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process,
        pytest.raises(
            server_process.ServerProcessError, match="did not start: no room on this disk"
        ),
    ):
        server_process.wait_until_ready(process, log)


@pytest.mark.parametrize(
    ("now", "evening"),
    [
        (datetime(2025, 6, 20, 20, 59, tzinfo=UTC), datetime(2025, 6, 19, 21, tzinfo=UTC)),
        (datetime(2025, 6, 20, 21, 0, tzinfo=UTC), datetime(2025, 6, 20, 21, tzinfo=UTC)),
        (datetime(2025, 12, 1, 12, 0, tzinfo=UTC), datetime(2025, 11, 30, 22, tzinfo=UTC)),
    ],
)
def test_simulated_days_end_in_the_latest_evening(now: datetime, evening: datetime) -> None:
    assert demo._last_evening(now) == evening
