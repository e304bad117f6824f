"""What was provoked, what was lost, how long did recovery take? One line of a table per fault.

With FAULT_REPORT set to a file, lines are added to it; docs/durability.md shows a run.
"""

from __future__ import annotations

import os
from pathlib import Path

HEAD = (
    "| fault | how it was provoked | acknowledged | lost | doubled | recovery |\n"
    "|---|---|---|---|---|---|\n"
)


def note(
    fault: str, how: str, *, acknowledged: int, lost: int, doubled: int, recovery: str
) -> None:
    """Adds a line to the report, if one is wanted."""
    wanted = os.environ.get("FAULT_REPORT")
    if not wanted:
        return
    path = Path(wanted)
    text = path.read_text(encoding="utf-8") if path.exists() else HEAD
    text += f"| {fault} | {how} | {acknowledged} | {lost} | {doubled} | {recovery} |\n"
    path.write_text(text, encoding="utf-8")
