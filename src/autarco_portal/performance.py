"""How well does a site do? The figures of IEC 61724, and what a site gives per kWp.

Sums come in, ratios of sums go out: the mean of daily ratios would count a dark day like a bright
one. Steps in which either side is unknown (NaN) count on neither.

A performance ratio says little without the irradiance behind it, and few sites have a pyranometer.
So `ReferenceYield` carries the source of its weather and hands it on: there is no way to a
`PerformanceRatio` without. For the same reason the figure of a site is its `PerformanceIndex`,
measured over expected.

Symbols and formulas: IEC 61724-1 as in IEC 61836's glossary; temperature correction after Dierauf
et al. (2013), NREL/TP-5200-57991.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np

from autarco_portal.weather import WeatherSource  # noqa: TC001 - msgspec looks at it

if TYPE_CHECKING:
    from collections.abc import Sequence

Values: TypeAlias = "Sequence[float] | np.ndarray[Any, np.dtype[np.float64]]"

G0 = 1_000.0
"""W/m2 of standard test conditions."""

TEMP_REF = 25.0
"""degC of the cells, likewise."""

METHOD = "IEC 61724-1, ratio of sums"


class ReferenceYield(msgspec.Struct, frozen=True, kw_only=True):
    """Hours at 1 kW/m2 that the sun gave to the roof, and who says so."""

    hours: float
    weather: WeatherSource


class PerformanceRatio(msgspec.Struct, frozen=True, kw_only=True):
    """Final over reference yield, with the weather that it rests on."""

    value: float
    temp_ref: float | None
    """degC to which cell temperature is corrected; none without correction."""
    weather: WeatherSource
    method: str = METHOD


class PerformanceIndex(msgspec.Struct, frozen=True, kw_only=True):
    """Measured over expected energy, with the weather and the model of the latter."""

    value: float
    measured_kwh: float
    expected_kwh: float
    coverage: float
    """Share of the expected energy that was measured against, 0 to 1."""
    weather: WeatherSource
    model_version: str
    method: str = METHOD


class Undefined(ValueError):
    """A ratio over nothing: no sun, no size, or no step in which both sides are known."""


def specific_yield(energy_kwh: float, pdc0: float) -> float:
    """Returns kWh per kWp; `pdc0` in W."""
    if pdc0 <= 0:
        raise Undefined(f"a site of {pdc0} W has no specific yield")
    return energy_kwh / (pdc0 / 1_000)


def final_yield(energy_kwh: float, pdc0: float) -> float:
    """Returns Yf, hours at rated power: the same number as the specific yield of AC energy."""
    return specific_yield(energy_kwh, pdc0)


def reference_yield(poa_global: Values, *, step_s: float, weather: WeatherSource) -> ReferenceYield:
    """Returns Yr, from W/m2 on the roof in steps of `step_s` that are known."""
    hours = float(np.nansum(np.asarray(poa_global, dtype=float))) * step_s / 3_600 / G0
    return ReferenceYield(hours=hours, weather=weather)


def performance_ratio(final_yield_h: float, reference: ReferenceYield) -> PerformanceRatio:
    """Returns PR = Yf / Yr; both must cover the same steps. Raises Undefined without sun."""
    if reference.hours <= 0:
        raise Undefined("there was no sun to compare with")
    return PerformanceRatio(
        value=final_yield_h / reference.hours, temp_ref=None, weather=reference.weather
    )


def performance_ratio_25c(
    ac_power: Values,
    poa_global: Values,
    temp_cell: Values,
    *,
    pdc0: float,
    gamma_pdc: float,
    weather: WeatherSource,
) -> PerformanceRatio:
    """Returns PR as if cells were at 25 degC all the time: hardly any season left in it.

    W, W/m2 and degC of equal steps; `gamma_pdc` in 1/K, negative.
    """
    return _corrected(ac_power, poa_global, temp_cell, TEMP_REF, pdc0, gamma_pdc, weather)


def performance_ratio_weather_corrected(
    ac_power: Values,
    poa_global: Values,
    temp_cell: Values,
    *,
    temp_ref: float,
    pdc0: float,
    gamma_pdc: float,
    weather: WeatherSource,
) -> PerformanceRatio:
    """Returns PR as if cells were at `temp_ref`; see `temp_cell_mean` for the site's own.

    With it the year's value stays what PR is, and months lie near it.
    """
    return _corrected(ac_power, poa_global, temp_cell, temp_ref, pdc0, gamma_pdc, weather)


def temp_cell_mean(temp_cell: Values, poa_global: Values) -> float:
    """Returns the mean cell temperature weighted by irradiance, degC; over a year, as a rule."""
    cell, poa = np.asarray(temp_cell, dtype=float), np.asarray(poa_global, dtype=float)
    known = np.isfinite(cell) & np.isfinite(poa)
    sun = poa[known].sum()
    if sun <= 0:
        raise Undefined("there was no sun to weight temperatures with")
    return float((cell[known] * poa[known]).sum() / sun)


def performance_index(
    measured_kwh: Values,
    expected_kwh: Values,
    *,
    weather: WeatherSource,
    model_version: str,
) -> PerformanceIndex:
    """Returns measured over expected energy of equal steps; the figure of a site of this fleet.

    `expected_kwh` is under the weather there was, not that of a typical year. Raises Undefined when
    nothing was expected.
    """
    measured, expected = np.asarray(measured_kwh, float), np.asarray(expected_kwh, float)
    both = np.isfinite(measured) & np.isfinite(expected)
    total = float(expected[both].sum())
    if total <= 0:
        raise Undefined("nothing was expected while the site was measured")
    return PerformanceIndex(
        value=float(measured[both].sum()) / total,
        measured_kwh=float(measured[both].sum()),
        expected_kwh=total,
        coverage=total / float(np.nansum(expected)),
        weather=weather,
        model_version=model_version,
    )


def _corrected(
    ac_power: Values,
    poa_global: Values,
    temp_cell: Values,
    temp_ref: float,
    pdc0: float,
    gamma_pdc: float,
    weather: WeatherSource,
) -> PerformanceRatio:
    ac, poa, cell = (np.asarray(values, float) for values in (ac_power, poa_global, temp_cell))
    known = np.isfinite(ac) & np.isfinite(poa) & np.isfinite(cell)
    could = pdc0 * poa[known] / G0 * (1 + gamma_pdc * (cell[known] - temp_ref))
    if could.sum() <= 0:
        raise Undefined("there was no sun to compare with")
    return PerformanceRatio(
        value=float(ac[known].sum() / could.sum()), temp_ref=temp_ref, weather=weather
    )
