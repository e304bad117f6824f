"""`autarco-portal analyse`: what do the readings of some days mean, and what changed?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autarco_portal.cli_command import Add


def register(add: Add) -> None:
    """Adds the commands."""
