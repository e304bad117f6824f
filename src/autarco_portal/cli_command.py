"""What do all commands of the portal share: how one is added, what it may fail with?

A group of commands is a file `cli_*.py` with `register(add)`, which calls `add` once per command
and gives each its arguments. It imports what it needs when a command runs, so that `--help` is
quick.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from autarco_ingest.paths import DataDirectory

DONE = 0
FINDINGS = 1
WRONG_USE = 2
INTERRUPTED = 130

WIDTH = 120
"""Characters of a line in a file or pipe."""


class UsageError(Exception):
    """The command cannot be carried out as it was given; the message is one sentence."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence instead of a page of usage."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Options are not abbreviated: `--data` would be `--database` where only that is known."""
        super().__init__(*arguments, **{"allow_abbrev": False} | options)

    def error(self, message: str) -> NoReturn:
        """Ends the program with that sentence."""
        self.exit(WRONG_USE, f"{self.prog}: {message}; see {self.prog} --help\n")


class Add(Protocol):
    """Adds one command."""

    def __call__(
        self, name: str, run: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        """Returns the command's parser, for its arguments; `run` returns the exit code."""


def data_directory(parsed: argparse.Namespace) -> DataDirectory:
    """Returns the names below `--data`; raises UsageError where there is no directory."""
    from autarco_ingest.paths import DataDirectory

    root = Path(parsed.data)
    if not root.is_dir():
        raise UsageError(f"{root} is no data directory")
    return DataDirectory.at(root)


def console() -> Console:
    """Returns where results are shown; where no terminal says how wide, tables have room."""
    from rich.console import Console

    shown = Console(highlight=False, markup=False, soft_wrap=False)
    return shown if shown.is_terminal else Console(highlight=False, markup=False, width=WIDTH)


def day(text: str) -> date:
    """Reads a local day as an argument."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day as 2026-06-21") from None
