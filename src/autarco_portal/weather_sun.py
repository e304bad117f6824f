"""Is it day at a place? To be asked for thousands of sites every few minutes.

Analytical equations (Spencer 1971, as in pvlib.solarposition), some tenths of a degree off: good
enough to know a sleeping inverter from a silent one. `weather_sky` has the sun's exact place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pvlib  # type: ignore[import-untyped]

_DAY_US = 86_400_000_000


def elevation(latitude: float, longitude: float, at_us: npt.ArrayLike) -> Any:
    """Returns the sun's elevation in degrees at microseconds since 1970 UTC, without refraction."""
    at = np.asarray(at_us, dtype=np.int64)
    day_of_year = 1 + (
        at.astype("datetime64[us]").astype("datetime64[D]")
        - at.astype("datetime64[us]").astype("datetime64[Y]").astype("datetime64[D]")
    ).astype(np.int64)
    minutes = (at % _DAY_US) / 60_000_000
    solar_minutes = (
        minutes + 4 * longitude + pvlib.solarposition.equation_of_time_spencer71(day_of_year)
    )
    hour_angle = np.radians(solar_minutes / 4 - 180)
    declination = pvlib.solarposition.declination_spencer71(day_of_year)
    zenith = pvlib.solarposition.solar_zenith_analytical(
        np.radians(latitude), hour_angle, declination
    )
    return 90 - np.degrees(zenith)
