"""Which tables does analysis make, with which columns, in what unit?

The truth for all of them: `derived_store` writes exactly these, docs/analytics.md is compared with
them by a test, and the catalog shows their descriptions. Names and grain follow the reference
(7.2); a ratio stands beside what it is made of, so that sums over months can be divided again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from autarco_ingest.schema import INSTANT, Column

if TYPE_CHECKING:
    from collections.abc import Sequence


class Derived(msgspec.Struct, frozen=True, kw_only=True):
    """One derived table; a row is named by its `keys`."""

    name: str
    description: str
    keys: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return [column.name for column in self.columns]

    @property
    def arrow_schema(self) -> pa.Schema:
        """With the descriptions that people see in the catalog."""
        return pa.schema(
            [_field(column) for column in self.columns],
            metadata={"description": self.description},
        )


def _field(column: Column) -> pa.Field[pa.DataType]:
    notes = {"description": column.description}
    if column.unit is not None:
        notes["unit"] = column.unit
    return pa.field(column.name, column.type, metadata=notes)


def _text(name: str, description: str) -> Column:
    return Column(name=name, type=pa.string(), description=description)


def _number(name: str, description: str, unit: str | None = None) -> Column:
    return Column(name=name, type=pa.float64(), unit=unit, description=description)


def _count(name: str, description: str, unit: str | None = None) -> Column:
    return Column(name=name, type=pa.int64(), unit=unit, description=description)


def _flag(name: str, description: str) -> Column:
    return Column(name=name, type=pa.bool_(), description=description)


def _instant(name: str, description: str) -> Column:
    return Column(name=name, type=INSTANT, description=description)


def _numbers(name: str, description: str, unit: str | None = None) -> Column:
    return Column(name=name, type=pa.list_(pa.float64()), unit=unit, description=description)


_SITE = _text("site_id", "The site.")
_DATE = Column(name="date", type=pa.date32(), description="Local day of the site.")
_INVERTER = _text("inverter_sn", "Serial number of the inverter.")
_MODEL = _text("model_version", "Which version of the model made the numbers.")

DAILY_ENERGY = Derived(
    name="daily_energy",
    description="Energy of each inverter and local day, by its counters.",
    keys=("site_id", "date", "inverter_sn"),
    columns=(
        _SITE,
        _DATE,
        _INVERTER,
        _number("energy_kwh", "By the counters; null where they do not tell.", "kWh"),
        _number("energy_integral_kwh", "Active power summed up over time, to compare.", "kWh"),
        _number(
            "energy_estimated_kwh",
            "Where no counter tells: what the neighbours lead to expect; not for money.",
            "kWh",
        ),
        _number(
            "energy_gap_kwh",
            "Made on days without samples before this one; in no energy_kwh.",
            "kWh",
        ),
        _text("method", "today or total (which counter), estimated, or missing."),
        _count("n_rows", "Samples."),
        _count("n_expected", "Samples of a stick that sends each 5 minutes by daylight."),
        _number("coverage", "Share of the clear day's energy in whose steps samples came."),
        _count("n_resets", "Times a counter went down."),
        _number("gap_max_s", "Longest time between two samples.", "s"),
    ),
)

EXPECTED = Derived(
    name="expected",
    description="What each site should give on a local day, under three skies.",
    keys=("site_id", "date"),
    columns=(
        _SITE,
        _DATE,
        _number("energy_clearsky_kwh", "Without a cloud.", "kWh"),
        _number("energy_expected_kwh", "Under the weather there was.", "kWh"),
        _number("energy_climate_kwh", "On this day of the mean of whole years of weather.", "kWh"),
        _number("temp_air", "Mean of the day.", "°C"),
        _flag("snow", "Snow fell at a station."),
        _text("weather_source", "Stations, weights and method; null without weather."),
        _text("weather_sha256", "Checksums of the weather files, joined by +."),
        _text("climate_source", "Years and stations of the mean."),
        _MODEL,
    ),
)

SITE_DAY = Derived(
    name="site_day",
    description="What each site did on a local day.",
    keys=("site_id", "date"),
    columns=(
        _SITE,
        _DATE,
        _number("energy_kwh", "Of all its inverters; null if one is not known.", "kWh"),
        _number("specific_yield", "Energy per kWp.", "kWh/kWp"),
        _number("pac_max", "Highest active power of a step.", "W"),
        _number("minutes_producing", "Of daylight, with power.", "min"),
        _number("minutes_clipped", "At the limit of the inverter.", "min"),
        _number("ac_voltage_max_l1", "Highest sample of phase 1.", "V"),
        _number("ac_voltage_max_l2", "Highest sample of phase 2.", "V"),
        _number("ac_voltage_max_l3", "Highest sample of phase 3.", "V"),
        _number("minutes_over_253", "With a phase at 253 V or more.", "min"),
        _number("minutes_tripped", "Off because the grid's voltage was high.", "min"),
        _number("curtailed_kwh", "Lost by trips and throttling of rule 6.", "kWh"),
        _number(
            "mppt_ratio",
            "Specific energy of the lowest tracker over the others'; null with one tracker.",
        ),
        _number("coverage", "Share of the clear day's energy in whose steps samples came."),
        _text("method", "The least certain method of its inverters' energy."),
    ),
)

PEER_RATIO = Derived(
    name="peer_ratio",
    description="Each site beside its neighbours on a local day, as rule 4 saw it.",
    keys=("site_id", "date"),
    columns=(
        _SITE,
        _DATE,
        _count("n_peers", "Neighbours with a value."),
        _number("peer_yield", "Their median; without neighbours the weather's.", "kWh/kWp"),
        _number("index_own", "Energy over the clear day's."),
        _number("index_peer_median", "The neighbours' median of it."),
        _number("ratio", "Energy over what the neighbours lead to expect."),
        _number("log_residual", "Its logarithm; a difference at low light."),
        _number("baseline", "What is usual for the site, as log_residual."),
        _number("sigma", "Noise that a day of this light has."),
        _number("z", "Distance from the baseline in sigma."),
        _number("cusum", "What the detector has summed up."),
        _flag("usable", "The day says something: bright, and with data."),
        _flag("held", "An incident was open: the baseline stood still, and nobody's peer."),
        _text("compared_with", "peers, or weather where there are too few."),
        _MODEL,
    ),
)

PERFORMANCE_RATIO = Derived(
    name="performance_ratio",
    description="Yields of a local day (IEC 61724). Over longer times divide sums: "
    "sum(yf) / sum(yr) where both are known.",
    keys=("site_id", "date"),
    columns=(
        _SITE,
        _DATE,
        _number("yr", "Reference yield of the roof under the weather there was.", "h"),
        _number("yr_25c", "The same as panels feel it, for a ratio at 25 °C.", "h"),
        _number("yf", "Final yield, energy per kWp.", "h"),
        _number("pr", "yf over yr."),
        _number("pr_25c", "yf over yr_25c."),
        _number("performance_index", "Energy over expected energy; the figure of a site."),
        _text("weather_source", "What yr and the index rest on."),
    ),
)

AVAILABILITY = Derived(
    name="availability",
    description="How long each site could produce by daylight, did, and was just not heard; "
    "minutes are means of its inverters by rating.",
    keys=("site_id", "date"),
    columns=(
        _SITE,
        _DATE,
        _number("daylight_minutes", "With the sun above 3 degrees.", "min"),
        _number("data_minutes", "With samples.", "min"),
        _number("producing_minutes", "With power.", "min"),
        _number("outage_minutes", "Off while neighbours produced.", "min"),
        _number("comms_gap_minutes", "Not heard, and no outage as far as is known.", "min"),
        _number("availability_time", "Producing over producing and outage."),
        _number("availability_energy", "Energy over energy and loss."),
        _number("lost_kwh", "By outage, as the neighbours did.", "kWh"),
    ),
)

ALARMS = Derived(
    name="alarms",
    description="Incidents: one fault from its first sign to its end.",
    keys=("incident_id",),
    columns=(
        _text("incident_id", "Names the incident for good."),
        _SITE,
        _text("inverter_sn", "Null where the whole site is meant."),
        _text("cause", "What is wrong (docs/detection.md)."),
        _text("severity", "info, warning or alarm."),
        Column(name="date", type=pa.date32(), description="Local day on which it began."),
        _instant("opened_at", "When the fault began."),
        _instant("detected_at", "When a rule first said so."),
        _instant("closed_at", "When it ended; null while it lasts."),
        _text("close_reason", "recovered, or withdrawn when late data showed nothing wrong."),
        Column(name="found_on", type=pa.date32(), description="First local day that alarmed."),
        _number("lost_kwh", "What it cost.", "kWh"),
        _text("method", "How the loss was found."),
        _text("evidence", "What the rule saw on its last faulty day, as JSON."),
        _text("days", "Each day's verdict, as JSON: what the incident follows from."),
        _MODEL,
    ),
)

INVERTER_DAY = Derived(
    name="inverter_day",
    description="What rules over several days remember of each inverter's local day.",
    keys=("site_id", "date", "inverter_sn"),
    columns=(
        _SITE,
        _DATE,
        _INVERTER,
        _flag("is_clear", "The neighbours had about as much light as they ever do."),
        _number("limit_plateau", "Where something held its power; null for nothing.", "W"),
        _number("energy_centroid", "Middle of a cloudless day's energy after local midnight.", "h"),
        _number("peer_centroid", "The neighbours' likewise.", "h"),
        _number("dark_energy_share", "Of its energy, with the sun 3 degrees down."),
        _number("night_offset", "Mean power by night.", "W"),
        _numbers(
            "tracker_energy",
            "kWh per kWp by tracker and 10 degrees of the sun's azimuth, 36 of each.",
            "kWh/kWp",
        ),
    ),
)

DETECTOR_STATE = Derived(
    name="detector_state",
    description="What the detector of rule 4 carried on after a local day.",
    keys=("site_id", "date"),
    columns=(
        _SITE,
        _DATE,
        _number("cusum", "The sum."),
        _number("baseline", "What is usual, as log_residual."),
        _number("spread", "Robust standard deviation of the baseline's days."),
        _number("loss", "Since the sum left zero.", "kWh/kWp"),
        _count("run_days", "Days since then."),
        _count("blank_days", "Days of rest left after an alarm."),
        _numbers("recent", "Deviations of the last usable days, newest last."),
    ),
)

ANALYSED_DAYS = Derived(
    name="analysed_days",
    description="Which local days were analysed, and what had been received for them by then.",
    keys=("date",),
    columns=(
        _DATE,
        _count("sites", "Sites looked at."),
        _count("inverters", "Inverters looked at."),
        _count("readings", "Readings of the day."),
        _instant("received_at", "When the newest of them came."),
        _text("weather", "Checksums of the weather files it was done with, joined by +."),
        _text("rules", "Versions of the rules it was done by."),
        _instant("analysed_at", "When."),
    ),
)

CLIMATE = Derived(
    name="climate",
    description="What each day of the year gives a site on average, over whole years of weather.",
    keys=("site_id", "month", "day"),
    columns=(
        _SITE,
        _count("month", "1 to 12."),
        _count("day", "Of the month."),
        _number("energy_kwh", "Mean, of a site that does not age.", "kWh"),
        _text("source", "Years and stations."),
        _text("key", "Changes when the site, the stations, the years or the model do."),
    ),
)

TABLES: Sequence[Derived] = (
    DAILY_ENERGY,
    EXPECTED,
    SITE_DAY,
    PEER_RATIO,
    PERFORMANCE_RATIO,
    AVAILABILITY,
    ALARMS,
    INVERTER_DAY,
    DETECTOR_STATE,
    ANALYSED_DAYS,
    CLIMATE,
)
