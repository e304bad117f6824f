"""Where are the captured frames? Beside the checkout, or nowhere: then tests say so and skip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FRAMES = Path(__file__).resolve().parents[3] / "shared" / "data" / "frames"


def path(name: str) -> Path:
    """Returns a captured file; skips the test with the reason when it is missing."""
    found = FRAMES / name
    if not found.is_file():
        pytest.skip(f"captured frames are not here: {found} is missing")
    return found


def lines(name: str) -> list[dict[str, Any]]:
    """Reads the JSON lines of a captured file."""
    return [json.loads(line) for line in path(name).read_text(encoding="utf-8").splitlines()]
