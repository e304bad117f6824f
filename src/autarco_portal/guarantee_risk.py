"""What does a guarantee cost before anything happened: P90, chance of a claim, pure premium?

Energy of a period is taken as normally distributed around P50, its years as independent of each
other. Shares are of P50. Source: reference document, section 3.2; the quantile is the exact one of
the normal distribution, of which 1.2816 is the rounded value for P90.
"""

from __future__ import annotations

import math
from statistics import NormalDist

MODEL_VERSION = "guarantee_risk-1"

_NORMAL = NormalDist()


def sigma(s_model: float, s_iav: float, years: int) -> float:
    """Returns the standard deviation of the mean of `years` years.

    `s_model` is the model's uncertainty, which no number of years makes smaller, `s_iav` the
    weather's from year to year. For a weather-normalised guarantee `s_iav` is what normalising
    leaves, such as the spread between stations. Raises ValueError for what no deviation is.
    """
    if years < 1:
        raise ValueError(f"years: expected at least 1, got {years}")
    for name, value in (("s_model", s_model), ("s_iav", s_iav)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name}: expected a share of at least 0, got {value}")
    return math.sqrt(s_model**2 + s_iav**2 / years)


def exceeded_kwh(p50_kwh: float, sigma: float, probability: float) -> float:
    """Returns the energy per year that is exceeded with `probability`; 0.9 gives P90."""
    return p50_kwh * (1 - _NORMAL.inv_cdf(probability) * sigma)


def claim_probability(fraction: float, sigma: float) -> float:
    """Returns the chance that a period's energy stays below `fraction` of P50."""
    return _NORMAL.cdf(-_distance(fraction, sigma))


def expected_shortfall(fraction: float, sigma: float) -> float:
    """Returns the mean energy below `fraction` of P50, as a share of P50: the pure premium."""
    z = _distance(fraction, sigma)
    return sigma * (_NORMAL.pdf(z) - z * _NORMAL.cdf(-z))


def _distance(fraction: float, sigma: float) -> float:
    if not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma: expected a share above 0, got {sigma}")
    return (1 - fraction) / sigma
