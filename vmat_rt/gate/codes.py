"""What the gate can say, by code. Loads nothing, so that the command line may list them."""

from __future__ import annotations

ALLOWABLE = ("TARGET_OUTSIDE_BODY", "BODY_NOT_PATIENT", "BODY_SITE", "ANATOMY_IMPLAUSIBLE", "TARGET_SLICES_MISSING")
"""Errors that `--allow` turns into warnings, for a person who has looked."""

ANATOMY = (
    "TARGET_OUTSIDE_BODY",
    "BODY_NOT_PATIENT",
    "BODY_SITE",
    "ANATOMY_IMPLAUSIBLE",
    "CT_SLICE_EMPTY",
    "ANATOMY_ORDER",
    "SIDES_SWAPPED",
    "SIDES_SAME",
    "STRUCTURE_IN_AIR",
    "CONTENTS_UNUSUAL",
    "VOLUME_UNUSUAL",
    "METAL",
)
"""Everything about the anatomy, gravest first."""

CHECKS = (
    "TARGET_NOT_COVERED",
    "DOSE_SINGLE_BEAM",
    "DOSE_PER_FRACTION",
    "DOSE_SCALE",
    "TARGET_DOSE_UNUSUAL",
    "DOSE_CUT_OFF",
    *ANATOMY,
    "DUPLICATE_IMAGE",
    "DUPLICATE_STUDY",
    "PATIENT_UNKNOWN",
)
"""The codes of every check at entry into a cohort, in the order in which a summary counts them."""
