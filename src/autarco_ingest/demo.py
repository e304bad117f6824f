"""What does all this look like? `python -m autarco_ingest.demo`, or `make demo`.

Starts the server as its own process on a free loopback port, lets a simulated fleet live some days
over TCP, stops the server as an operator would, and asks the data what happened. Ends by itself;
exit code 1 and one sentence when a step fails.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from autarco_ingest import catalog, fleet, paths, render, server_process, simulate
from autarco_ingest.stick import Kind

# Batches reach the table while the fleet still talks, as they do in real life, only faster.
SERVER_ENVIRONMENT = {
    "AUTARCO_COMMIT_TICK_MS": "10",
    # A server of the user's own may have the usual port.
    "AUTARCO_HTTP_LISTEN": "",
    "AUTARCO_FLUSH_SECONDS": "3",
    "AUTARCO_LATEST_SECONDS": "1",
    "AUTARCO_TAIL_SECONDS": "1",
    "AUTARCO_LOG__FORMAT": "json",
}

# An inverter's size is not in its frames; the highest power it ever showed stands for it. Against
# the fleet's median of the same day, weather drops out and a dead string remains.
YIELD_SQL = """
WITH sized AS (
    SELECT inverter_sn, day, energy_kwh,
        energy_kwh / (max(ac_power_max) OVER (PARTITION BY inverter_sn) / 1000) AS hours
    FROM daily_energy
), compared AS (
    SELECT inverter_sn, day, energy_kwh,
        100 * hours / median(hours) OVER (PARTITION BY day) AS percent
    FROM sized
), string2 AS (
    SELECT inverter_sn, arg_max(day_max, date) AS ampere FROM (
        SELECT inverter_sn, date, max(dc_current_mppt2) AS day_max
        FROM readings GROUP BY ALL
    ) GROUP BY ALL
), cell AS (
    SELECT inverter_sn, strftime(day, '%a %d %b') AS day, min(percent) OVER lot AS worst,
        format('{:5.1f} kWh {:4.0f} %', energy_kwh, percent) AS shown
    FROM compared WINDOW lot AS (PARTITION BY inverter_sn)
), listed AS (PIVOT (SELECT * FROM cell) ON day IN (%DAYS%) USING first(shown))
SELECT listed.* EXCLUDE (worst), round(ampere, 1) AS "string 2, A",
    CASE WHEN worst < 80 THEN '<- less than its neighbours' ELSE '' END AS note
FROM listed JOIN string2 USING (inverter_sn) ORDER BY inverter_sn
"""

BACKLOG_SQL = """
SELECT inverter_sn, count(*) AS replayed,
    count(*) FILTER (time_source = 'inverter') AS "dated by inverter clock",
    min(ts) AS oldest, max(ts) AS newest
FROM readings WHERE historic GROUP BY inverter_sn ORDER BY inverter_sn
"""

COUNT_SQL = """
SELECT count(*) AS readings, count(DISTINCT (inverter_sn, ts)) AS distinct_readings FROM readings
"""


class DemoError(Exception):
    """A step of the demo failed; the message is one sentence."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the demo and returns the exit code."""
    parser = argparse.ArgumentParser(prog="autarco_ingest.demo", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("demo-data"), metavar="DIR")
    parser.add_argument("--sticks", type=int, default=12, metavar="N")
    parser.add_argument("--days", type=int, default=4, metavar="D")
    parsed = parser.parse_args(arguments)
    try:
        run(parsed.data, sticks=parsed.sticks, days=parsed.days)
    except (DemoError, catalog.CatalogError, server_process.ServerProcessError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run(data: Path, *, sticks: int, days: int) -> None:
    """Runs all steps with fresh data in `data`; raises DemoError when one fails."""
    _clear(data)
    end = _last_evening(datetime.now(UTC))
    with server_process.running(data, SERVER_ENVIRONMENT) as server:
        print(f"server: listening on {server.host}:{server.port}, data in {data}")
        print(f"fleet: {sticks} sticks live {days} days until {end:%A %d %B %Y}", flush=True)
        plan = simulate.Plan(host=server.host, port=server.port, sticks=sticks, days=days, end=end)
        outcome = simulate.run(plan)
        print(outcome.summary())
        if outcome.exit_code:
            raise DemoError("the server did not acknowledge every frame")
        print("server: stopping", flush=True)
    directory = paths.DataDirectory.at(data)
    _show_result(directory, fleet.Span.ending(end, days))
    _check_count(directory, outcome.acknowledged[Kind.DATA])
    ask = f"{_program()} sql --data {data}"
    print(f'\nlook further:\n  {ask} "FROM daily_energy ORDER BY day"')
    print(f"  {ask}            (lists what can be asked)")
    print(f"  duckdb {data}/catalog.duckdb")


def _show_result(directory: paths.DataDirectory, span: fleet.Span) -> None:
    shown = ", ".join(f"'{day:%a %d %b}'" for day in span.days)
    print("\ndaily energy per inverter, and its yield relative to the fleet's median that day:\n")
    render.table(catalog.query(directory, YIELD_SQL.replace("%DAYS%", shown)), sys.stdout)
    print("\nreplayed from a stick's memory after its internet came back:\n")
    render.table(catalog.query(directory, BACKLOG_SQL), sys.stdout)


def _check_count(directory: paths.DataDirectory, acknowledged: int) -> None:
    """Compares the table with what the sticks believe to be safe."""
    row = catalog.query(directory, COUNT_SQL).to_pylist()[0]
    if row["readings"] != acknowledged or row["distinct_readings"] != acknowledged:
        raise DemoError(
            f"{acknowledged} readings were acknowledged, but the table has {row['readings']}, "
            f"of which {row['distinct_readings']} distinct"
        )
    print(f"\nacknowledged readings: {acknowledged}; in the table: {row['readings']}, each once")


def _last_evening(now: datetime) -> datetime:
    """Returns the latest 23:00 local time that has passed: every simulated day is complete."""
    local = now.astimezone(fleet.ZONE)
    evening = local.replace(hour=23, minute=0, second=0, microsecond=0)
    return evening if evening <= local else evening - timedelta(days=1)


def _clear(data: Path) -> None:
    """Removes the data of an earlier demo, and nothing that looks like something else."""
    if data.is_dir() and any(data.iterdir()) and not (data / "journal").is_dir():
        raise DemoError(f"{data} exists and is no data directory; move it away or use --data")
    try:
        if data.exists():
            shutil.rmtree(data)
        data.mkdir(parents=True)
    except OSError as error:
        raise DemoError(f"cannot prepare {data}: {error.strerror}") from error


def _program() -> str:
    """Names the command as it can be typed here."""
    program = Path(sys.executable).with_name("autarco-ingest")
    try:
        return str(program.relative_to(Path.cwd()))
    except ValueError:
        return str(program)


if __name__ == "__main__":
    sys.exit(main())
