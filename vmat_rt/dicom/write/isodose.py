"""Predicted isodoses as an RTSTRUCT, for use as planning structures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vmat_rt.case import ContourPlane, Contours, FloatArray, ModelIdentity, Volume
from vmat_rt.dicom.write.header import NOT_FOR_TREATMENT, CtReference, OutputHeader, origin_of, save_object
from vmat_rt.dicom.write.structures import Roi, structure_set_dataset
from vmat_rt.dicom.write.trace import trace_level
from vmat_rt.errors import ConfigError, GeometryError, Problem, warning
from vmat_rt.predictor import require_dose

_LABEL = "PREDICTED ISODOS"  # StructureSetLabel holds 16 characters


def write_isodoses(
    path: Path,
    dose: Volume,
    levels_percent: Sequence[float],
    prescribed_gy: float,
    header: OutputHeader,
    identity: ModelIdentity,
) -> tuple[Problem, ...]:
    """Write one ROI a level, highest first, traced in every CT slice within the dose grid.

    dose: Gy in total, on any grid of the study's frame. levels_percent: of prescribed_gy, the highest prescription.
    Returns a warning for each level that the dose reaches nowhere: it is left out, and without any level no file is
    written. Raises ConfigError when a level is no positive percentage or stands twice, GeometryError for another frame.
    """
    _require_levels(levels_percent)
    header.require_frame_of(dose.grid)
    require_dose(dose.array)
    if header.ct is None:
        raise GeometryError("isodoses are drawn on CT slices, and there is no CT series")
    rois: list[Roi] = []
    problems: list[Problem] = []
    for percent in sorted(levels_percent, reverse=True):
        level_gy = percent / 100 * prescribed_gy
        contours = isodose_contours(dose, level_gy, header.ct)
        if contours.planes:
            name = f"Isodose_{percent:g}pct_{level_gy:.1f}Gy"
            rois.append(Roi(len(rois) + 1, name, contours, "CONTROL", NOT_FOR_TREATMENT))
        else:
            problems.append(_unreached(percent, level_gy, float(dose.array.max())))
    if rois:
        origin = origin_of(identity)
        save_object(path, structure_set_dataset(rois, _LABEL, header, origin), header, origin)
    return tuple(problems)


def isodose_contours(dose: Volume, level_gy: float, ct: CtReference) -> Contours:
    """Where the dose, linear between voxel centres, exceeds level_gy in the CT slices that lie within the dose grid."""
    planes = []
    for z_mm in ct.z_mm:
        plane = _plane_at(dose, z_mm)
        polygons = trace_level(plane, dose.grid, level_gy) if plane is not None else ()
        if polygons:
            planes.append(ContourPlane(z_mm, polygons))
    gaps = np.diff(ct.z_mm)
    slab_mm = float(np.median(gaps)) if gaps.size else dose.grid.spacing_mm[0]
    return Contours(tuple(planes), slab_mm, dose.grid.frame_uid)


def _plane_at(dose: Volume, z_mm: float) -> FloatArray | None:
    """Dose (y, x) at z_mm; the outermost half voxels take the value of their centre. None outside the grid."""
    index = (z_mm - dose.grid.origin_mm[0]) / dose.grid.spacing_mm[0]
    last = dose.grid.shape[0] - 1
    if not -0.5 <= index <= last + 0.5:
        return None
    index = float(np.clip(index, 0, last))
    below = int(index)
    above, weight = min(below + 1, last), index - below
    return np.asarray((1 - weight) * dose.array[below] + weight * dose.array[above], np.float32)


def _require_levels(levels_percent: Sequence[float]) -> None:
    if not levels_percent or not all(np.isfinite(level) and level > 0 for level in levels_percent):
        raise ConfigError(f"isodose levels are positive percentages of the prescription, not {list(levels_percent)}")
    if len(set(levels_percent)) < len(levels_percent):
        raise ConfigError(f"an isodose level stands twice in {list(levels_percent)}")


def _unreached(percent: float, level_gy: float, highest_gy: float) -> Problem:
    return warning(
        "ISODOSE_NOT_REACHED",
        f"The predicted dose reaches {highest_gy:.1f} Gy, so there is no isodose of {percent:g} % ({level_gy:.1f} Gy).",
        "Ask for a lower level with --isodose.",
    )
