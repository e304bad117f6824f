"""These tests need `.venv-engines`, which `make engines` sets up; others do not collect them."""

from __future__ import annotations

import os

if os.environ.get("AUTARCO_ENGINES") != "1":
    collect_ignore_glob = ["test_*.py"]
