"""What do an inverter's 5-minute rows show: silence, outage, grid, strings, clock?

The rules of the reference on one inverter's grid (2.2: 1, 2, 5, 6, 7, 8, 9 and 14), under one name
for who runs them; each has its own file. A rule says one `Verdict` about the day, with what it saw
as evidence; rules that need several days take a row per day and return flags. Daily rules over all
sites are in `detection`.

Pure: values in, values out.
"""

from autarco_portal.detection_clock import (
    clock_faults,
    dark_energy_share,
    energy_centroid,
    night_offset,
)
from autarco_portal.detection_limit import (
    clipped_steps,
    fixed_limit,
    limit_plateau,
    thermal_derating,
)
from autarco_portal.detection_silence import communication_loss, outage
from autarco_portal.detection_stale import stale, stale_steps
from autarco_portal.detection_strings import (
    AZIMUTH_BINS,
    mppt_mismatch,
    tracker_diagnosis,
    tracker_energy,
)
from autarco_portal.detection_voltage import over_voltage, voltage_trips
from autarco_portal.intraday_rules import MODEL_VERSION, IntradayRules, alarm_after, last_days

__all__ = [
    "AZIMUTH_BINS",
    "MODEL_VERSION",
    "IntradayRules",
    "alarm_after",
    "clipped_steps",
    "clock_faults",
    "communication_loss",
    "dark_energy_share",
    "energy_centroid",
    "fixed_limit",
    "last_days",
    "limit_plateau",
    "mppt_mismatch",
    "night_offset",
    "outage",
    "over_voltage",
    "stale",
    "stale_steps",
    "thermal_derating",
    "tracker_diagnosis",
    "tracker_energy",
    "voltage_trips",
]
