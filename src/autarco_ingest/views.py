"""What is derived from the tables, in SQL?

Views over the table views `readings` and `latest`, with what people read about each column.
`catalog` creates them; the SQL is DuckDB's. `{time_zone}` stands for the time zone of local days,
as an SQL string.

Queries over months must answer within a second, and what costs most there is neither reading nor
summing: converting instants to local time costs 70 ns per row, a window function 100 ns, an
aggregate 3 ns. So the local day comes from a table of midnights, and windows see only rows that
need them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from autarco_ingest import schema

if TYPE_CHECKING:
    from collections.abc import Sequence


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One view: its query, and the comments people see on it and its columns."""

    name: str
    comment: str
    sql: str
    columns: Sequence[schema.Column]


def derived(time_zone: str) -> list[View]:
    """Returns the views over others, in the order they must be created.

    `time_zone` decides what a local day is.
    """
    quoted = "'" + time_zone.replace("'", "''") + "'"
    return [
        View(
            name=name,
            comment=comment.format(time_zone=time_zone),
            sql=sql.replace("{time_zone}", quoted).replace("{readings}", "readings"),
            columns=columns,
        )
        for name, comment, sql, columns in (
            (
                "daily_energy",
                "Energy per inverter and local day ({time_zone}).",
                _DAILY_ENERGY,
                DAILY_ENERGY_COLUMNS,
            ),
            (
                "daily_quality",
                "How complete the samples of an inverter are, per local day ({time_zone}); dearer "
                "to ask than daily_energy.",
                _DAILY_QUALITY,
                DAILY_QUALITY_COLUMNS,
            ),
            (
                "comms_gaps",
                "Spans of more than 30 minutes between two readings of an inverter. Replayed "
                "(historic) rows fill gaps afterwards and show by received_at - ts; the night is "
                "a gap too where the stick sleeps.",
                _COMMS_GAPS,
                COMMS_GAPS_COLUMNS,
            ),
            (
                "fleet_day",
                "All inverters together, per local day ({time_zone}).",
                _FLEET_DAY,
                FLEET_DAY_COLUMNS,
            ),
        )
    ]


class Macro(msgspec.Struct, frozen=True, kw_only=True):
    """A view that looks at some days only: a table function of the first and the last of them."""

    name: str
    sql: str


def bounded(time_zone: str) -> list[Macro]:
    """Returns what asks of a few days without reading the years around them.

    A view cannot do so: from a sample's date to its day is a way that no filter goes back. Samples
    of a day lie on the dates from one before to two after, and the energy of a day takes the days
    around it.
    """
    quoted = "'" + time_zone.replace("'", "''") + "'"
    some = "(SELECT * FROM readings WHERE date BETWEEN first_day - 2 AND last_day + 3)"
    return [
        Macro(
            name=f"{name}_between",
            sql=f"SELECT * FROM ({sql.replace('{time_zone}', quoted).replace('{readings}', some)}) "  # noqa: S608
            "WHERE day BETWEEN first_day AND last_day",
        )
        for name, sql in (("daily_energy", _DAILY_ENERGY), ("daily_quality", _DAILY_QUALITY))
    ]


# A local day begins within one UTC date or at its edge, so comparing with that instant says to
# which day of two a row belongs; days of 23 and 25 hours come out right. Dates outside the series
# count as UTC days.
_MIDNIGHTS = """
    SELECT
        midnight::DATE AS date,
        timezone({time_zone}, midnight) AS begins,
        timezone({time_zone}, midnight + INTERVAL 1 DAY) AS ends,
        epoch_us(midnight + INTERVAL 1 DAY) - epoch_us(ends) AS ahead_us
    FROM generate_series(TIMESTAMP '2000-01-01', TIMESTAMP '2100-01-01', INTERVAL 1 DAY)
        AS calendar(midnight)
"""

_DAY_OF_TS = "date + CASE WHEN ts >= ends THEN 1 WHEN ts < begins THEN -1 ELSE 0 END"

# A sample belongs to the day of the inverter's own clock if that is plausible, because that clock
# resets the daily counter: cached registers sent after midnight stay with the day they measured.
_DAY_OF_SAMPLE = f"""CASE
            WHEN epoch_us(inverter_clock) - epoch_us(ts) - ahead_us
                BETWEEN -36 * 3600000000 AND 3600000000
            THEN inverter_clock::DATE ELSE {_DAY_OF_TS} END"""

# docs/data.md tells the rules. `counted` is one cheap pass; where first, last, lowest and highest
# values of both counters tell one story, that is the answer. Otherwise the samples of that inverter
# and day are looked at one by one:
# - a value outside its two neighbours, which agree with each other, is a glitch and left out; of
#   the daily counter, which may start anew, only if the inverter could not have made it;
# - a step of the total counts if the inverter could have made it, at 1.1 times its highest power
#   of the day, or 100 kW over a gap in which nobody saw its power;
# - the daily counter gives its last value and what it had before each time it went down, except
#   the first time if it had not moved until then: that was yesterday's value.
# 1000 Wh is the step of the coarser total counters. A sample of a day is on one of the UTC dates
# from the day before to two days after, which spares most rows the way to their day.
_DAILY_ENERGY = f"""
WITH midnights AS MATERIALIZED ({_MIDNIGHTS}
), sample AS NOT MATERIALIZED (
    SELECT
        inverter_sn, ts, ac_power, energy_today_wh AS today, energy_total_wh AS total,
        {_DAY_OF_SAMPLE} AS day
    FROM {{readings}} AS readings LEFT JOIN midnights USING (date)
    WHERE energy_today_wh IS NOT NULL OR energy_total_wh IS NOT NULL
), counted AS (
    SELECT
        inverter_sn, day,
        arg_min({{'today': today, 'total': total}}, ts) AS first,
        arg_max({{'today': today, 'total': total}}, ts) AS last,
        min(today) AS today_min, max(today) AS today_max,
        min(total) AS total_min, max(total) AS total_max,
        max(ac_power) AS ac_power_max,
        count(*) AS readings,
        min(ts) AS first_at,
        max(ts) AS last_at
    FROM sample
    GROUP BY inverter_sn, day
), compared AS MATERIALIZED (
    SELECT
        *,
        total_max - total_min AS growth,
        last.today = 0 AND today_max > first.today AS is_reset_early,
        today_max > 0 AND today_min = today_max AND growth = 0 AND last = lag(last) OVER days
            AS is_still_yesterday,
        -- What the total grew since the last sample of a day before, where it can have.
        lag(day) OVER days AS day_before,
        first.total - lag(last.total) OVER days AS since_wh,
        CASE
            WHEN since_wh BETWEEN 0 AND 2000
                + 1.1 * coalesce(max(ac_power_max) OVER (PARTITION BY inverter_sn), 100000)
                    * (epoch(first_at) - epoch(lag(last_at) OVER days)) / 3600
            THEN since_wh
        END AS night_wh,
        CASE
            WHEN first.today > last.today OR is_still_yesterday OR first.today > night_wh + 1100
            THEN 0 ELSE coalesce(first.today, 0)
        END AS start_wh,
        -- Of it, what the daily counter does not claim for its own day.
        CASE
            WHEN today_max IS NULL THEN night_wh
            WHEN night_wh - start_wh
                > if(first.total % 1000 = 0 AND last.total % 1000 = 0, 1100, 200)
            THEN night_wh - start_wh
        END AS unclaimed_wh,
        coalesce(CASE
            WHEN today_max IS NULL THEN
                first.total = total_min AND last.total = total_max
                AND growth <= coalesce(1.1 * ac_power_max, 100000)
                    * (epoch(last_at) - epoch(first_at)) / 3600 + 2000
            WHEN total_max IS NULL THEN first.today = today_min AND last.today = today_max
            WHEN first.total = total_min AND last.total = total_max THEN
                (
                    first.today = today_min AND last.today = today_max
                    AND abs(last.today - first.today - growth) <= 1000
                ) OR (
                    today_max IN (first.today, last.today) AND abs(last.today - growth) <= 1000
                ) OR (
                    is_reset_early AND first.today = today_min
                    AND abs(today_max - first.today - growth) <= 1000
                )
        END, false) AS is_simple
    FROM counted
    WINDOW days AS (PARTITION BY inverter_sn ORDER BY day)
), suspect AS (
    SELECT
        inverter_sn, ts, energy_today_wh AS today, energy_total_wh AS total,
        {_DAY_OF_SAMPLE} AS day
    FROM {{readings}} AS readings JOIN (
        SELECT DISTINCT inverter_sn, (day + unnest([-1, 0, 1, 2]))::DATE AS date
        FROM compared WHERE NOT is_simple
    ) USING (inverter_sn, date) LEFT JOIN midnights USING (date)
    WHERE energy_today_wh IS NOT NULL OR energy_total_wh IS NOT NULL
), doubtful AS (
    SELECT
        inverter_sn, day, ts, today, total, ac_power_max,
        lag(today) OVER near AS today_before, lead(today) OVER near AS today_after,
        lag(total) OVER near AS total_before, lead(total) OVER near AS total_after,
        (epoch(ts) - epoch(lag(ts) OVER near)) AS gap_s
    FROM suspect JOIN (
        SELECT inverter_sn, day, ac_power_max FROM compared WHERE NOT is_simple
    ) USING (inverter_sn, day)
    WINDOW near AS (PARTITION BY inverter_sn, day ORDER BY ts)
), cleaned AS (
    SELECT
        inverter_sn, day, ts,
        2000 + gap_s / 3600 * CASE
            WHEN gap_s > 1800 OR ac_power_max IS NULL THEN 100000
            ELSE greatest(1.1 * ac_power_max, 1000)
        END AS possible,
        CASE
            WHEN today - today_before > possible AND (today_after >= today_before) IS NOT false
                OR today_after >= today_before AND today < today_before
                    AND today_after - today > possible
            THEN NULL ELSE today
        END AS today,
        CASE
            WHEN total_before <= total_after AND total NOT BETWEEN total_before AND total_after
            THEN NULL ELSE total
        END AS total
    FROM doubtful
), stepped AS (
    SELECT
        *,
        lag(today IGNORE NULLS) OVER earlier AS today_before,
        total - lag(total IGNORE NULLS) OVER earlier AS step,
        min(today) OVER before = max(today) OVER before AND today < today_before AS is_morning,
        today < today_before AND NOT is_morning AS is_restart
    FROM cleaned
    WINDOW
        earlier AS (PARTITION BY inverter_sn, day ORDER BY ts),
        before AS (
            PARTITION BY inverter_sn, day ORDER BY ts
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        )
), summed AS (
    SELECT
        inverter_sn, day,
        CASE WHEN count(total) > 0 THEN
            coalesce(sum(step) FILTER (step BETWEEN 0 AND possible), 0)
        END AS total_wh,
        count(*) FILTER (step NOT BETWEEN 0 AND possible) AS leaps,
        arg_max(today, ts) AS today_last,
        today_last + coalesce(sum(today_before) FILTER (is_restart), 0) AS today_wh,
        coalesce(arg_min(today, ts) FILTER (is_morning), arg_min(today, ts)) AS today_first,
        count(*) FILTER (is_restart) AS restarts,
        count(*) FILTER (is_restart OR step < 0) AS n_resets
    FROM stepped
    GROUP BY inverter_sn, day
), judged AS (
    SELECT
        inverter_sn, day, n_resets,
        CASE
            WHEN today_wh IS NULL THEN
                {{'wh': total_wh, 'method': if(leaps > 0, 'estimated', 'total')}}
            WHEN total_wh IS NULL
                OR total_wh BETWEEN today_wh - today_first - 1000 AND today_wh + 1000
            THEN {{'wh': today_wh, 'method': 'today'}}
            WHEN leaps > 0 THEN
                {{'wh': today_wh, 'method': if(restarts > 0, 'estimated', 'today')}}
            WHEN total_wh > today_wh THEN
                {{'wh': total_wh, 'method': if(restarts > 0, 'total', 'estimated')}}
            ELSE {{'wh': greatest(total_wh, today_last), 'method': 'estimated'}}
        END AS energy
    FROM summed
), assigned AS (
    SELECT
        *,
        CASE
            WHEN is_still_yesterday THEN 0
            WHEN is_simple AND is_reset_early THEN today_max
            WHEN is_simple THEN coalesce(last.today, growth)
            ELSE energy.wh
        END AS wh,
        CASE
            WHEN is_still_yesterday THEN 'estimated'
            WHEN is_simple THEN if(last.today IS NULL, 'total', 'today')
            ELSE energy.method
        END AS how,
        day = day_before + 1 AS follows,
        -- The evening that only the next day tells of. Without a daily counter nobody can tell
        -- evening from morning, and the morning gets it.
        coalesce(
            lead(CASE WHEN follows AND today_max IS NOT NULL THEN unclaimed_wh END)
                OVER (PARTITION BY inverter_sn ORDER BY day),
            0
        ) AS evening_wh,
        if(follows AND today_max IS NULL, coalesce(unclaimed_wh, 0), 0) AS morning_wh
    FROM compared LEFT JOIN judged USING (inverter_sn, day)
)
SELECT
    inverter_sn,
    day,
    (wh + evening_wh + morning_wh) / 1000 AS energy_kwh,
    if(evening_wh > 0 OR morning_wh > 1100, 'estimated', how) AS method,
    coalesce(n_resets, 0) AS n_resets,
    CASE WHEN NOT follows AND unclaimed_wh > 0 THEN unclaimed_wh / 1000 END AS energy_gap_kwh,
    ac_power_max,
    readings,
    first_at,
    last_at
FROM assigned
"""  # noqa: S608

_DAILY_QUALITY = f"""
WITH midnights AS MATERIALIZED ({_MIDNIGHTS}
), sample AS (
    SELECT
        inverter_sn, ts, ac_power,
        {_DAY_OF_SAMPLE} AS day,
        CASE WHEN ac_power IS NOT NULL AND repeat IS DISTINCT FROM true
            THEN {{'us': epoch_us(ts), 'watt': ac_power::DOUBLE}} END AS measured,
        -- Old rows stand for a quarter of an hour each.
        if(time_source = 'quarter', 3, 1) AS slots
    FROM {{readings}} AS readings LEFT JOIN midnights USING (date)
    WHERE energy_today_wh IS NOT NULL OR energy_total_wh IS NOT NULL
), stepped AS (
    SELECT
        inverter_sn, day, ts, measured, slots,
        epoch_us(ts) - lag(epoch_us(ts)) OVER earlier AS gap_us,
        lag(measured IGNORE NULLS) OVER earlier AS before
    FROM sample
    WINDOW earlier AS (PARTITION BY inverter_sn, day ORDER BY ts)
)
SELECT
    inverter_sn,
    day,
    CASE max(slots) WHEN 1 THEN
        count(DISTINCT epoch_us(ts) // 300000000)
        / (max(epoch_us(ts)) // 300000000 - min(epoch_us(ts)) // 300000000 + 1)
    ELSE
        count(DISTINCT epoch_us(ts) // 900000000)
        / (max(epoch_us(ts)) // 900000000 - min(epoch_us(ts)) // 900000000 + 1)
    END AS coverage,
    max(gap_us) / 1e6 AS gap_max_s,
    sum((measured.watt + before.watt) / 2 * (measured.us - before.us))
        FILTER (measured.us - before.us <= 900000000 * if(slots = 3, 2, 1)) / 3.6e12
        AS energy_integral_kwh
FROM stepped
GROUP BY inverter_sn, day
"""  # noqa: S608

# Readings more than 30 minutes apart are never in one quarter of an hour, so the window sees only
# the first and the last of each. Until when somebody is silent is known only as far as the data go:
# the newest arrival of anybody.
_COMMS_GAPS = """
WITH quarter AS (
    SELECT
        inverter_sn,
        epoch_us(ts) // 900000000 AS number,
        min(ts) AS first_at,
        max(ts) AS last_at
    FROM readings
    GROUP BY inverter_sn, number
), span AS MATERIALIZED (
    SELECT
        inverter_sn,
        last_at AS from_at,
        lead(first_at) OVER (PARTITION BY inverter_sn ORDER BY number) AS to_at,
        (SELECT max(received_at) FROM readings) AS until
    FROM quarter
    QUALIFY epoch_us(coalesce(to_at, until)) - epoch_us(from_at) > 1800000000
), edge AS MATERIALIZED (
    SELECT
        inverter_sn, ts,
        arg_min(logger_sn, received_at) AS logger_sn,
        arg_min(energy_total_wh, received_at) AS total
    FROM readings SEMI JOIN (
        SELECT inverter_sn, unnest([from_at, to_at]) AS ts FROM span
    ) USING (inverter_sn, ts)
    GROUP BY inverter_sn, ts
)
SELECT
    span.inverter_sn,
    before.logger_sn,
    from_at,
    to_at,
    (epoch_us(coalesce(to_at, until)) - epoch_us(from_at)) / 1e6 AS gap_s,
    timezone({time_zone}, from_at)::DATE AS day,
    CASE WHEN after.total >= before.total THEN after.total - before.total END AS energy_wh
FROM span
JOIN edge AS before ON before.inverter_sn = span.inverter_sn AND before.ts = from_at
LEFT JOIN edge AS after ON after.inverter_sn = span.inverter_sn AND after.ts = to_at
"""

_FLEET_DAY = f"""
WITH midnights AS MATERIALIZED ({_MIDNIGHTS}
), heard AS MATERIALIZED (
    SELECT
        inverter_sn,
        {_DAY_OF_TS} AS day,
        count(*) AS readings,
        count(*) FILTER (historic) AS historic
    FROM readings LEFT JOIN midnights USING (date)
    WHERE energy_today_wh IS NOT NULL OR energy_total_wh IS NOT NULL
    GROUP BY inverter_sn, day
), silence AS (
    SELECT
        day,
        least(lead(day) OVER (PARTITION BY inverter_sn ORDER BY day) - 1, day + 7,
            (SELECT max(day) FROM heard)) AS until
    FROM heard
), silent AS (
    SELECT day, count(*) AS inverters FROM (
        SELECT unnest(generate_series(day + 1, until, INTERVAL 1 DAY))::DATE AS day
        FROM silence WHERE until > day
    ) GROUP BY day
), present AS (
    SELECT day, count(*) AS inverters, sum(readings) AS readings, sum(historic) AS historic
    FROM heard GROUP BY day
), energy AS (
    SELECT
        day,
        sum(energy_kwh) AS total,
        avg(energy_kwh) AS mean,
        quantile_cont(energy_kwh, [0.1, 0.5]) AS parts
    FROM daily_energy GROUP BY day
)
SELECT
    day,
    coalesce(present.inverters, 0) AS inverters,
    coalesce(silent.inverters, 0) AS silent,
    energy.total AS energy_kwh,
    energy.mean AS energy_mean_kwh,
    energy.parts[2] AS energy_median_kwh,
    energy.parts[1] AS energy_p10_kwh,
    coalesce(present.readings, 0)::BIGINT AS readings,
    present.historic / present.readings AS historic_share
FROM present FULL JOIN silent USING (day) FULL JOIN energy USING (day)
"""  # noqa: S608


def _number(name: str, description: str, unit: str | None = None) -> schema.Column:
    return schema.Column(name=name, type=pa.float64(), unit=unit, description=description)


def _count(name: str, description: str) -> schema.Column:
    return schema.Column(name=name, type=pa.int64(), description=description)


def _instant(name: str, description: str) -> schema.Column:
    return schema.Column(name=name, type=schema.INSTANT, description=description)


_INVERTER = schema.column(schema.READINGS, "inverter_sn")
_DAY = schema.Column(
    name="day",
    type=pa.date32(),
    description="Local day, by the inverter's clock where it has a plausible one.",
)

DAILY_ENERGY_COLUMNS = (
    _INVERTER,
    _DAY,
    _number("energy_kwh", "Energy generated that day.", "kWh"),
    schema.Column(
        name="method",
        type=pa.string(),
        description="Which counter gave it: today, total, or estimated where they contradicted "
        "each other or only the next day tells of the evening.",
    ),
    _count(
        "n_resets",
        "Times a counter went down, other than the daily one over night; where both counters tell "
        "the same story from first to last sample, nobody looked.",
    ),
    _number(
        "energy_gap_kwh",
        "Energy since the last sample before this day, if days without samples lie between; "
        "nobody knows on which of them, so it is in no energy_kwh. Add it to sums over months.",
        "kWh",
    ),
    schema.Column(
        name="ac_power_max",
        type=pa.float32(),
        unit="W",
        description="Highest active power of a sample.",
    ),
    _count("readings", "Samples of that day."),
    _instant("first_at", "Time of the first sample."),
    _instant("last_at", "Time of the last sample."),
)

DAILY_QUALITY_COLUMNS = (
    _INVERTER,
    _DAY,
    _number(
        "coverage",
        "Share of the 5-minute slots between first and last sample that have a sample; of old "
        "days, of the quarters of an hour.",
    ),
    _number("gap_max_s", "Longest time between two samples; null for a single one.", "s"),
    _number(
        "energy_integral_kwh",
        "Active power summed up over time, gaps of more than 15 minutes (30 of old days) and "
        "repeats left out.",
        "kWh",
    ),
)

COMMS_GAPS_COLUMNS = (
    _INVERTER,
    schema.column(schema.READINGS, "logger_sn"),
    _instant("from_at", "Time of the last reading before the gap."),
    _instant("to_at", "Time of the first reading after it; null while the inverter is silent."),
    _number(
        "gap_s", "How long it lasts; while it lasts, until the newest arrival of any reading.", "s"
    ),
    schema.Column(name="day", type=pa.date32(), description="Local day on which it began."),
    schema.Column(
        name="energy_wh",
        type=pa.int64(),
        unit="Wh",
        description="Growth of energy_total_wh over the gap; null when unknown or when it fell.",
    ),
)

FLEET_DAY_COLUMNS = (
    schema.Column(name="day", type=pa.date32(), description="Local day."),
    _count("inverters", "Inverters heard that day; meters do not count anywhere here."),
    _count("silent", "Inverters heard within the 7 days before, but not that day."),
    _number("energy_kwh", "Energy of all inverters, by daily_energy.", "kWh"),
    _number("energy_mean_kwh", "Mean energy of an inverter.", "kWh"),
    _number("energy_median_kwh", "Median energy of an inverter.", "kWh"),
    _number("energy_p10_kwh", "Energy that a tenth of the inverters stayed below.", "kWh"),
    _count("readings", "Readings of that day."),
    _number("historic_share", "Share of readings that a stick replayed from its memory."),
)

COLUMNS = {view.name: view.columns for view in derived("UTC")}
"""What each derived view has, by name."""
