"""What can a person type? `autarco-ingest COMMAND`, and what comes back as an exit code.

Exit codes: 0 done, 1 findings, 2 wrong use or configuration with one sentence on standard error,
130 interrupted. Commands import what they need when they run, so that `--help` is quick; what a
command does is in its own module.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from autarco_ingest.day_rewrite import DayReport
    from autarco_ingest.finding import Finding
    from autarco_ingest.maintenance import Outcome
    from autarco_ingest.settings import Settings

DONE = 0
FINDINGS = 1
WRONG_USE = 2
INTERRUPTED = 130

# One descriptor per stick; the usual limit of a process is 1,024.
STICKS_MAX = 1_000
BENCH_STICKS_MAX = 200_000
# Frames are told apart by a counter of one byte.
BENCH_WINDOW_MAX = 128
# More than a year shows nothing that a year does not.
DAYS_MAX = 400

_VIEWS = """
SELECT if(schema_name = 'main', '', schema_name || '.') || view_name AS view, comment AS holds
FROM duckdb_views() WHERE database_name = 'catalog' AND schema_name IN ('main', 'analytics')
AND NOT internal ORDER BY schema_name DESC, view_name
"""


class UsageError(Exception):
    """The command cannot be carried out as it was given; the message is one sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code; never lets a traceback out for bad input."""
    parsed = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.run
    try:
        code = command(parsed)
        sys.stdout.flush()
    except UsageError as error:
        print(f"autarco-ingest {parsed.command}: {error}", file=sys.stderr)
        return WRONG_USE
    except BrokenPipeError:
        # The reader has seen enough. Python flushes once more at exit: that must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseExceptionGroup as group:
        # An interrupt inside a nursery arrives wrapped.
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        return INTERRUPTED
    return code


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USE, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="autarco-ingest",
        description="Receives the frames of solar data sticks and keeps every reading.",
    )
    common = _Parser(add_help=False)
    common.add_argument("--data", metavar="DIR", help="data directory (default: ./data)")
    common.add_argument("--config", metavar="FILE", type=Path, help="settings in TOML")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> _Parser:
        command: _Parser = commands.add_parser(name, parents=[common], help=text, description=text)
        command.set_defaults(run=run)
        return command

    serve = add("serve", _serve, "Receive frames from sticks until SIGTERM or Ctrl-C.")
    serve.add_argument("--listen", metavar="HOST:PORT", help="where sticks connect")

    decode = add("decode", _decode, "Decode frames: one JSON object per frame or rejection.")
    decode.add_argument("file", nargs="?", default="-", metavar="FILE", help="hex lines, or raw")

    replay = add("replay", _replay, "Send a recording to a server and compare its answers.")
    replay.add_argument("file", metavar="FILE", help='hex lines, or .jsonl with "hex"')
    replay.add_argument("--to", required=True, type=_endpoint, metavar="HOST:PORT")
    replay.add_argument("--limit", type=_count(10**9), metavar="N", help="only the first N frames")
    replay.add_argument("--one-connection", action="store_true", help="ignore connection numbers")
    replay.add_argument("--cut", type=int, metavar="SEED", help="cut the stream at random places")
    replay.add_argument("--timeout", type=_seconds, default=15.0, metavar="S", help="per answer")

    simulate = add("simulate", _simulate, "Let a fleet of imaginary sticks talk to a server.")
    simulate.add_argument("--sticks", type=_count(STICKS_MAX), default=12, metavar="N")
    simulate.add_argument("--days", type=_count(DAYS_MAX), default=4, metavar="D")
    simulate.add_argument("--to", required=True, type=_endpoint, metavar="HOST:PORT")
    simulate.add_argument("--seed", type=int, default=1, metavar="S")
    simulate.add_argument("--end", type=_moment, metavar="ISO", help="last moment (default: now)")
    simulate.add_argument("--truth", type=Path, metavar="FILE", help="write roofs, faults, kWh")
    simulate.add_argument(
        "--town", action="store_true", help="neighbours, and a fault of each kind among them"
    )
    simulate.add_argument("--timeout", type=_seconds, default=11.0, metavar="S", help="per answer")

    bench = add("bench", _bench, "Measure a server on this machine with a fleet of made-up sticks.")
    bench.add_argument(
        "--sticks", type=_count(BENCH_STICKS_MAX), default=1_000, metavar="N", help="default: 1000"
    )
    bench.add_argument(
        "--rate",
        type=_rate,
        metavar="R",
        help="records a second (default: as many as go)",
    )
    bench.add_argument("--seconds", type=_seconds, default=10.0, metavar="S", help="default: 10")
    bench.add_argument(
        "--window",
        type=_count(BENCH_WINDOW_MAX),
        default=1,
        metavar="K",
        help="records of a stick on their way at once, as after an outage (default: 1)",
    )
    bench.add_argument(
        "--to",
        type=_endpoint,
        metavar="HOST:PORT",
        help="a server that runs on this machine (default: one of its own, without traces)",
    )
    bench.add_argument("--yes", action="store_true", help="with --to: made-up readings may stay")
    bench.add_argument("--format", choices=("table", "json"), default="table")

    sql = add("sql", _sql, "Ask the readings anything in SQL; without SQL, list the views.")
    sql.add_argument("sql", nargs="?", metavar="SQL", help="default: read from standard input")
    sql.add_argument("--format", choices=("table", "csv", "json"), default="table")

    check = add("check", _check, "Verify journal, tables and catalog, and say what to do.")
    check.add_argument("--format", choices=("text", "json"), default="text")
    change = check.add_mutually_exclusive_group()
    change.add_argument("--set-aside", action="store_true", help="take damaged files out of tables")
    change.add_argument("--bring-back", action="store_true", help="add files from a backup again")

    compact = add("compact", _compact, "Make few sorted files of the many that batches leave.")
    compact.add_argument(
        "--due", action="store_true", help="only what the server would do by itself now"
    )

    add("retain", _retain, "Let old readings age, and take out days that the settings do not keep.")

    load = add("load", _load, "Add rows that another instance handed out, each file once.")
    load.add_argument("files", nargs="+", metavar="TABLE=FILE", help="readings=2025.parquet ...")

    forget = add(
        "forget",
        _forget,
        "Erase everything of one logger or inverter, and refuse it from then on.",
    )
    whom = forget.add_mutually_exclusive_group(required=True)
    whom.add_argument("--logger", metavar="SN", help="serial number of a stick")
    whom.add_argument("--inverter", metavar="SN", help="serial number of an inverter or meter")
    forget.add_argument("--yes", action="store_true", help="erase without asking")
    forget.add_argument("--lift", action="store_true", help="serve it again; nothing comes back")

    add("version", _version, "Show the version.")
    return parser


# --- commands -------------------------------------------------------------------------------


def _serve(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    from autarco_ingest import log, server

    log.configure(settings.log)
    return server.run(settings)


def _decode(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    from autarco_ingest import _core, recording

    try:
        data = recording.load_bytes(parsed.file)
        pieces = [data] if data else []
        if data and recording.is_text(data):
            pieces = [piece.data for piece in recording.parse(data, parsed.file)]
    except recording.RecordingError as error:
        raise UsageError(str(error)) from error
    for piece in pieces:
        try:
            frames = _core.decode(
                piece,
                received_at_us=time.time_ns() // 1_000,
                time_zone=settings.time_zone,
                oldest_us=settings.oldest_reading_us,
                ahead_us=int(settings.ahead_max_s * 1_000_000),
            )
        except ValueError as error:
            raise UsageError(str(error)) from error
        for frame in frames:
            print(frame)
    return DONE


def _replay(parsed: argparse.Namespace) -> int:
    _settings(parsed)
    from autarco_ingest import recording, replay

    try:
        data = recording.load_bytes(parsed.file)
        todo = replay.exchanges(recording.parse(data, parsed.file))[: parsed.limit]
    except recording.RecordingError as error:
        raise UsageError(str(error)) from error
    if not todo:
        raise UsageError(f"{parsed.file} holds no frames that a stick sent")
    host, port = parsed.to
    plan = replay.Plan(
        host=host,
        port=port,
        answer_timeout_s=parsed.timeout,
        one_connection=parsed.one_connection,
        cut_seed=parsed.cut,
    )
    try:
        outcome = replay.run(plan, todo)
    except replay.Unreachable as error:
        raise UsageError(str(error)) from error
    print(outcome.summary())
    return outcome.exit_code


def _simulate(parsed: argparse.Namespace) -> int:
    _settings(parsed)
    from autarco_ingest import simulate

    if parsed.truth is not None and not parsed.truth.parent.is_dir():
        raise UsageError(f"cannot write {parsed.truth}: no such directory")
    host, port = parsed.to
    plan = simulate.Plan(
        host=host,
        port=port,
        sticks=parsed.sticks,
        days=parsed.days,
        seed=parsed.seed,
        end=parsed.end or datetime.now(UTC),
        town=parsed.town,
        answer_timeout_s=parsed.timeout,
    )
    outcome = simulate.run(plan)
    if outcome.reached_nobody:
        raise UsageError(f"no server answers at {host}:{port}")
    if parsed.truth is not None:
        try:
            simulate.write_truth(outcome, parsed.truth)
        except OSError as error:
            raise UsageError(f"cannot write {parsed.truth}: {error.strerror}") from error
    print(outcome.summary())
    return outcome.exit_code


def _bench(parsed: argparse.Namespace) -> int:
    _settings(parsed)
    from autarco_ingest import bench

    def note(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    plan = bench.Plan(
        sticks=parsed.sticks, seconds=parsed.seconds, window=parsed.window, rate=parsed.rate
    )
    try:
        if parsed.to is None:
            _needs_descriptors(plan.sticks)
            outcome = bench.run_alone(plan, note)
        else:
            target = _loopback(*parsed.to)
            serials = f"{bench.FIRST_SERIAL} to {bench.FIRST_SERIAL + plan.sticks - 1}"
            stays = f"made-up readings of loggers {serials} stay in the tables of {target}"
            if not parsed.yes:
                raise UsageError(f"{stays}; say --yes if they may")
            note(f"warning: {stays}")
            outcome = bench.run_against(target, plan, note)
    except bench.BenchError as error:
        raise UsageError(str(error)) from error
    if parsed.format == "json":
        print(outcome.to_json())
    else:
        outcome.write_table(sys.stdout)
    return DONE if outcome.is_sound else FINDINGS


def _needs_descriptors(sticks: int) -> None:
    """Refuses more sticks than a server of our own can hold."""
    from autarco_ingest import descriptors

    possible = descriptors.connections_possible(sticks, descriptors.raise_limit())
    if possible < sticks:
        raise UsageError(
            f"--sticks {sticks}: a process may hold {possible} connections here, see LimitNOFILE"
        )


def _loopback(host: str, port: int) -> str:
    """Made-up sticks must never reach a server that real people look at from elsewhere."""
    import ipaddress

    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise UsageError(f"--to {host}:{port}: only a server on this machine, as 127.0.0.1:10000")
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _sql(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    from autarco_ingest import catalog, paths, render, table_store

    directory = paths.DataDirectory.at(settings.data, settings.lake.location)
    sql = parsed.sql
    if sql is None and not sys.stdin.isatty():
        sql = sys.stdin.read()
    try:
        store = table_store.open_store(settings.lake, directory, os.environ)
        question = sql if sql and sql.strip() else _VIEWS
        result = catalog.query(directory, question, store.file_system)
    except (catalog.CatalogError, table_store.StoreError) as error:
        raise UsageError(str(error)) from error
    render.FORMATS[parsed.format](result, sys.stdout)
    return DONE


def _check(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    from contextlib import nullcontext

    import msgspec

    from autarco_ingest import check, paths, set_aside

    def show(finding: Finding) -> None:
        as_json = parsed.format == "json"
        print(msgspec.json.encode(finding).decode() if as_json else finding.line(), flush=True)

    data = paths.DataDirectory.at(settings.data, settings.lake.location)
    change = check.Change.NOTHING
    if parsed.set_aside:
        change = check.Change.SET_ASIDE
    elif parsed.bring_back:
        change = check.Change.BRING_BACK
    try:
        with nullcontext() if change is check.Change.NOTHING else set_aside.locked(data):
            findings = check.run(settings, show, change)
    except (check.CheckError, set_aside.SetAsideError) as error:
        raise UsageError(str(error)) from error
    return FINDINGS if findings else DONE


def _compact(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    _needs_tables(settings)

    def note(day: DayReport) -> None:
        print(
            f"{day.table} {day.date}: {day.files_before} files, {day.rows_before} rows, "
            f"{day.bytes_before} bytes -> {day.files_after} files, {day.rows_after} rows, "
            f"{day.bytes_after} bytes",
            flush=True,
        )

    outcome = _maintained(settings, retain=False, every_day=not parsed.due, note=note)
    if not outcome.days:
        print("nothing to compact")
    _tell_deleted(outcome)
    return DONE


def _retain(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    _needs_tables(settings)
    outcome = _maintained(settings, compact=False)
    for table, dates in outcome.expired.items():
        if dates:
            print(f"{table}: {len(dates)} days expired, {dates[0]} to {dates[-1]}")
    if not any(outcome.expired.values()):
        print("nothing has expired")
    if outcome.aged:
        before = sum(day.rows_before for day in outcome.aged)
        after = sum(day.rows_after for day in outcome.aged)
        print(
            f"readings: {len(outcome.aged)} days aged, {outcome.aged[0].date} to "
            f"{outcome.aged[-1].date}, {before} rows -> {after} rows"
        )
    for table, dates in outcome.held.items():
        print(f"{table}: held rows of {len(dates)} days stay as they are")
    _tell_deleted(outcome)
    return DONE


def _needs_tables(settings: Settings) -> None:
    if not settings.data.is_dir():
        raise UsageError(f"{settings.data} is no data directory")


def _maintained(settings: Settings, **what: Any) -> Outcome:
    from autarco_ingest import log, maintenance

    log.configure(settings.log)
    try:
        return maintenance.run(settings, datetime.now(UTC), **what)
    except maintenance.MaintenanceError as error:
        raise UsageError(str(error)) from error


def _tell_deleted(outcome: Outcome) -> None:
    if outcome.deleted:
        print(f"{outcome.deleted} replaced files deleted")


def _load(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    import msgspec

    from autarco_ingest import load, log

    log.configure(msgspec.structs.replace(settings.log, level="warning"))
    files = []
    for text in parsed.files:
        table, equals, file = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r} is not TABLE=FILE, as readings=2025.parquet")
        files.append((table, Path(file)))

    def note(loaded: load.Loaded) -> None:
        told = "was there already" if loaded.was_there else f"{loaded.rows} rows"
        refused = f", {loaded.refused} rows of forgotten ones refused" if loaded.refused else ""
        print(f"{loaded.table}: {loaded.file}: {told}{refused}", flush=True)

    try:
        load.run(settings, files, note)
    except load.LoadError as error:
        raise UsageError(str(error)) from error
    return DONE


def _forget(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    _needs_tables(settings)
    import msgspec

    from autarco_ingest import forget, log

    # A server that is started for some steps has nothing to tell but what fails.
    log.configure(msgspec.structs.replace(settings.log, level="warning"))
    try:
        if parsed.logger is None:
            subject = forget.Subject.of("inverter", parsed.inverter)
        else:
            subject = forget.Subject.of("logger", parsed.logger)
    except ValueError as error:
        raise UsageError(str(error)) from error
    try:
        if parsed.lift:
            was_refused = forget.lift(settings, subject)
            print("served again" if was_refused else "it was not refused")
            return DONE
        if not parsed.yes:
            if not sys.stdin.isatty():
                raise UsageError("erases for good; say --yes to do so without being asked")
            _ask_before_erasing(forget.count(settings, subject), subject.serial)
        proof = forget.forget(settings, subject, lambda step: print(step, file=sys.stderr))
    except forget.ForgetError as error:
        raise UsageError(str(error)) from error
    print(proof.text())
    return FINDINGS if proof.traces else DONE


def _ask_before_erasing(rows: dict[str, int], serial: str) -> None:
    for table, count in rows.items():
        print(f"{table}: {count} rows", file=sys.stderr)
    if input("This cannot be undone. Type the serial number again to erase: ") != serial:
        raise UsageError("nothing was erased")


def _version(parsed: argparse.Namespace) -> int:
    _settings(parsed)
    from autarco_ingest import _core

    build = ", debug build" if _core.DEBUG_BUILD else ""
    print(f"autarco-ingest {metadata.version('autarco-ingest')}{build}")
    return DONE


# --- values ---------------------------------------------------------------------------------


def _settings(parsed: argparse.Namespace) -> Settings:
    """Loads the settings: file, then environment, then options."""
    from autarco_ingest import settings

    config = parsed.config
    if config is None and os.environ.get("AUTARCO_CONFIG"):
        config = Path(os.environ["AUTARCO_CONFIG"])
    options = {
        name: value
        for name in ("data", "listen")
        if (value := getattr(parsed, name, None)) is not None
    }
    try:
        return settings.load(config, os.environ, options)
    except settings.SettingsError as error:
        raise UsageError(str(error)) from error


def _endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _count(limit: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not 0 < int(text) <= limit:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {limit}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 3_600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to 3600")
    return seconds


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 1 <= rate <= 10_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of records a second")
    return rate


def _moment(text: str) -> datetime:
    """Reads an ISO moment; one without zone is local time of the simulated fleet."""
    from autarco_ingest.fleet import ZONE

    try:
        moment = datetime.fromisoformat(text)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=ZONE)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a moment as 2025-06-21T22:00") from None
    if not 2015 < moment.year < 2100:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 2016 and 2099")
    return moment


if __name__ == "__main__":
    sys.exit(main())
