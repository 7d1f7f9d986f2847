"""Dose at one fractionation as dose at another, by the linear-quadratic model.

BED = D (1 + d / ab) and EQD2 = BED / (1 + 2 / ab), with total dose D, dose per fraction d and ab = alpha/beta, all in
Gy (Fowler, Br. J. Radiol. 62, 679, 1989). No correction for overall time or incomplete repair.
"""

from __future__ import annotations

import math

from vmat_rt.errors import ConfigError

CONVENTIONAL_RANGE_GY = 0.2
"""Limits published for "1.8 to 2 Gy a fraction" are quoted at 2 Gy; this far below it they still hold as they stand."""


def bed_gy(total_gy: float, fractions: int, alpha_beta_gy: float) -> float:
    """Biologically effective dose, Gy. Raises ConfigError for a negative dose, no fraction or alpha/beta <= 0."""
    _check(total_gy, fractions, alpha_beta_gy)
    return total_gy * (1 + total_gy / fractions / alpha_beta_gy)


def eqd2_gy(total_gy: float, fractions: int, alpha_beta_gy: float) -> float:
    """Dose in 2 Gy fractions with the same effect, Gy. Raises ConfigError as bed_gy does."""
    return bed_gy(total_gy, fractions, alpha_beta_gy) / (1 + 2 / alpha_beta_gy)


def physical_gy(bed: float, fractions: int, alpha_beta_gy: float) -> float:
    """Total dose in this number of fractions that has this BED; the inverse of bed_gy.

    The positive root of D^2 / n + ab D - ab BED = 0. Raises ConfigError as bed_gy does.
    """
    _check(bed, fractions, alpha_beta_gy)
    half = fractions * alpha_beta_gy / 2
    return -half + math.sqrt(half * half + fractions * alpha_beta_gy * bed)


def convert_level_gy(level_gy: float, derived_at_gy_per_fraction: float, fractions: int, alpha_beta_gy: float) -> float:
    """A dose level that was published at one dose per fraction, as total physical dose in `fractions` fractions.

    A voxel at the level is taken to get level / fractions each day (voxel-wise LQ), so in 28 fractions 50 Gy at
    2 Gy with alpha/beta 3 becomes 51.6 Gy. Raises ConfigError as bed_gy does.
    """
    if not derived_at_gy_per_fraction > 0:
        raise ConfigError(f"a dose per fraction must be above 0 Gy, not {derived_at_gy_per_fraction}")
    _check(level_gy, fractions, alpha_beta_gy)
    bed = level_gy * (1 + derived_at_gy_per_fraction / alpha_beta_gy)
    return physical_gy(bed, fractions, alpha_beta_gy)


def fractionates_otherwise(plan_gy_per_fraction: float, derived_at_gy_per_fraction: float) -> bool:
    """Whether a limit derived at one dose per fraction must be converted for a plan that gives another.

    The dose per fraction is that of the highest prescribed target. Plans from 0.2 Gy below (1.8 Gy for limits quoted
    at 2 Gy) up to the derived one are within what the limit was published for.
    """
    below = derived_at_gy_per_fraction - plan_gy_per_fraction
    return not -1e-6 <= below <= CONVENTIONAL_RANGE_GY + 1e-6


def _check(dose_gy: float, fractions: int, alpha_beta_gy: float) -> None:
    if not (math.isfinite(dose_gy) and dose_gy >= 0):
        raise ConfigError(f"a dose must be a number of at least 0 Gy, not {dose_gy}")
    if fractions < 1:
        raise ConfigError(f"there must be at least one fraction, not {fractions}")
    if not (math.isfinite(alpha_beta_gy) and alpha_beta_gy > 0):
        raise ConfigError(f"alpha/beta must be above 0 Gy, not {alpha_beta_gy}")
