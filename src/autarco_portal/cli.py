"""What can a person type? `autarco-portal COMMAND`, and what comes back as an exit code.

Exit codes: 0 done, 1 findings, 2 wrong use or configuration with one sentence on standard error,
130 interrupted. Each group of commands is a file of its own, named in `GROUPS`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from autarco_portal import (
    cli_accounts,
    cli_analyse,
    cli_audit,
    cli_demo,
    cli_export,
    cli_notify,
    cli_privacy,
    cli_serve,
    cli_settle,
    cli_sites,
    cli_weather,
)
from autarco_portal.cli_command import DONE, INTERRUPTED, WRONG_USE, Parser, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

GROUPS = (
    cli_serve.register,
    cli_accounts.register,
    cli_sites.register,
    cli_weather.register,
    cli_analyse.register,
    cli_notify.register,
    cli_settle.register,
    cli_privacy.register,
    cli_export.register,
    cli_audit.register,
    cli_demo.register,
)
"""In the order in which `--help` lists them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code; never lets a traceback out for bad input."""
    parsed = _parser(os.environ).parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.run
    try:
        code = command(parsed)
        sys.stdout.flush()
    except UsageError as error:
        print(f"autarco-portal {parsed.command}: {error}", file=sys.stderr)
        return WRONG_USE
    except BrokenPipeError:
        # The reader has seen enough. Python flushes once more at exit: that must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _parser(environment: Mapping[str, str]) -> Parser:
    parser = Parser(
        prog="autarco-portal",
        description="Says how solar sites do, by the readings that autarco-ingest keeps.",
    )
    common = Parser(add_help=False)
    common.add_argument(
        "--data",
        metavar="DIR",
        default=environment.get("AUTARCO_DATA", "data"),
        help="data directory (default: ./data)",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(
        name: str, run: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        command: Parser = commands.add_parser(name, parents=[common], help=text, description=text)
        command.set_defaults(run=run)
        return command

    for register in GROUPS:
        register(add)
    return parser


if __name__ == "__main__":
    sys.exit(main())
