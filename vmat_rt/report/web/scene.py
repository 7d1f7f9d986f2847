"""What the viewer shows of a case: CT, doses, gamma and structures packed for the page, and the places worth a look."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from vmat_rt.case import Case, FloatArray, Structure, Volume
from vmat_rt.geometry.rasterize import bounds_mm
from vmat_rt.geometry.resample import resample
from vmat_rt.grid import Grid, Triple
from vmat_rt.metrics.gamma.index import GammaResult
from vmat_rt.report.colours import list_evaluated_structures
from vmat_rt.report.planes import find_focus_mm
from vmat_rt.report.result import CaseResult, DoseResult
from vmat_rt.report.sampling import compute_fraction, crop_round, is_empty
from vmat_rt.report.schema import ReportDocument
from vmat_rt.report.web.packing import Packed, pack_volume
from vmat_rt.report.web.places import find_places

CT_STEP_HU: Final = 8.0
CT_RANGE_HU: Final = (-1024.0, 3064.0)
DOSE_LEVELS: Final = 1023
FRACTION_LEVELS: Final = 16
GAMMA_STEP: Final = 0.02
MOST_CT_VOXELS: Final = 2_200_000
MOST_DOSE_VOXELS: Final = 2_600_000
_FINEST_MM: Final = 2.0
_MARGIN_MM: Final = 12.0


@dataclass(frozen=True)
class Scene:
    """description goes into the page as JSON; volumes are base64 texts by the id of the element that holds them."""

    description: Mapping[str, Any]
    volumes: Mapping[str, str]


def build_scene(
    result: CaseResult,
    document: ReportDocument,
    colours: Mapping[str, str],
    titles: Mapping[str, str],
    gamma: GammaResult | None,
) -> Scene:
    """Pack what the viewer needs: the structures with a colour (by ROI name), every dose under its title (by label).

    gamma is that of the predicted dose against the reference, or None where there is no map to show.
    """
    volumes: dict[str, str] = {}

    def add(packed: Packed) -> dict[str, Any]:
        place = f"volume-{len(volumes)}"
        volumes[place] = packed.data
        return packed.describe(place)

    ct = pack_ct(result.case, result.predicted.dose.grid)
    description: dict[str, Any] = {"ct": add(ct)}
    highest = max(float(dose.dose.array.max()) for dose in (result.predicted, *result.others))
    description["doses"] = [
        {"label": dose.label, "title": titles[dose.label], **add(pack_dose(dose, result.case, highest))}
        for dose in (result.predicted, *result.others)
    ]
    description["gamma"] = None if gamma is None else {"title": gamma.criteria.label, **add(pack_gamma(gamma))}
    description["structures"] = [
        {"name": s.name or s.roi_name, "roi": s.roi_name, "colour": colours[s.roi_name], **add(packed)}
        for s in list_evaluated_structures(result.case, result.protocol)
        if (packed := pack_structure(s, ct.grid)) is not None
    ]
    return Scene(
        description | _describe_case(result, document, highest, titles) | {"note": _write_note(result, ct)}, volumes
    )


def pack_ct(case: Case, dose_grid: Grid) -> Packed:
    """The CT round the patient in voxels of 2 mm or more, HU in steps of 8 from -1024 to 3064 (9 bits)."""
    region = _find_region_mm(case, dose_grid)
    grid = choose_grid(case.ct.grid, region, MOST_CT_VOXELS)
    ct = resample(crop_round(case.ct, grid), grid, outside=CT_RANGE_HU[0])
    return pack_volume(grid, np.clip(ct.array, *CT_RANGE_HU), CT_STEP_HU, CT_RANGE_HU[0])


def choose_grid(source: Grid, region: tuple[Triple, Triple], most_voxels: int) -> Grid:
    """The source's own voxels within the region, made coarser where they are finer than 2 mm or too many.

    Rows and columns grow first: slices stay what they are while voxels are at most 3 mm wide.
    """
    low = [max(a, b) for a, b in zip(source.bounds_mm[0], region[0], strict=True)]
    high = [min(a, b) for a, b in zip(source.bounds_mm[1], region[1], strict=True)]
    extent = [b - a for a, b in zip(low, high, strict=True)]
    spacing = [max(s, _FINEST_MM) if n > 1 else s for s, n in zip(source.spacing_mm, source.shape, strict=True)]
    wanted = math.prod(e / s for e, s in zip(extent, spacing, strict=True)) / most_voxels
    if wanted > 1:
        grown = min(math.sqrt(wanted), max(1.0, 3.0 / max(spacing[1:])))
        spacing = [spacing[0], *(s * grown for s in spacing[1:])]
        left = math.prod(e / s for e, s in zip(extent, spacing, strict=True)) / most_voxels
        spacing = [s * max(1.0, left ** (1 / 3)) for s in spacing]
    return _fit_grid(source, (low, high), spacing)


def _fit_grid(source: Grid, region: tuple[Sequence[float], Sequence[float]], spacing: Sequence[float]) -> Grid:
    """A grid within the region; an axis that keeps the source's spacing keeps its voxels too."""
    shape, origin = [], []
    for axis, (low, high) in enumerate(zip(*region, strict=True)):
        first, step = source.origin_mm[axis], spacing[axis]
        if abs(step - source.spacing_mm[axis]) < 1e-9:
            start = max(0, math.ceil((low - first) / step - 1e-6))
            end = min(source.shape[axis] - 1, math.floor((high - first) / step + 1e-6))
            shape.append(max(1, end - start + 1))
            origin.append(first + min(start, source.shape[axis] - 1) * step)
        else:
            shape.append(max(1, math.floor((high - low) / step + 1e-6)))
            origin.append(low + step / 2)
    z, y, x = shape
    return Grid((z, y, x), (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]), source.frame_uid)


def pack_dose(dose: DoseResult, case: Case, highest_gy: float) -> Packed:
    """A dose round the body on its own voxels where they are not too many, in 1023 steps up to highest_gy (10 bits)."""
    source = dose.dose
    grid = choose_dose_grid(source.grid, _find_body_mm(case, source.grid))
    if np.allclose(grid.spacing_mm, source.grid.spacing_mm):
        start = [round(float(index)) for index in source.grid.index_of(np.array(grid.origin_mm))]
        array = source.array[tuple(slice(a, a + n) for a, n in zip(start, grid.shape, strict=True))]
    else:
        array = resample(crop_round(source, grid), grid, outside=0.0, interpolation="cubic").array
    return pack_volume(grid, array, max(highest_gy, 1e-3) / DOSE_LEVELS, 0.0)


def choose_dose_grid(source: Grid, region: tuple[Triple, Triple]) -> Grid:
    """The dose's own voxels within the region; past MOST_DOSE_VOXELS larger ones in the same proportions."""
    grid = _fit_grid(source, region, source.spacing_mm)
    factor = (math.prod(grid.shape) / MOST_DOSE_VOXELS) ** (1 / 3)
    if factor <= 1:
        return grid
    return _fit_grid(grid, grid.bounds_mm, [spacing * factor for spacing in grid.spacing_mm])


def pack_gamma(gamma: GammaResult) -> Packed:
    """The gamma map in steps of 0.02 on the voxels that were evaluated."""
    return _pack_known(gamma.map, GAMMA_STEP)


def _pack_known(volume: Volume, step: float) -> Packed:
    box = volume.grid.box_of(np.isfinite(volume.array), (1, 1, 1))
    if box is None:
        return pack_volume(volume.grid, volume.array, step, 0.0)
    return pack_volume(volume.grid.part(box), volume.array[box], step, 0.0)


def pack_structure(structure: Structure, grid: Grid) -> Packed | None:
    """Area fractions in 16 levels on the CT's voxels round the structure; None where it covers none of them."""
    if is_empty(structure):
        return None
    low, high = bounds_mm(structure)
    near = grid.index_of(np.array([low, high]))
    start = [max(0, math.floor(a) - 1) for a in near[0]]
    stop = [min(n, math.ceil(b) + 2) for n, b in zip(grid.shape, near[1], strict=True)]
    if any(a >= b for a, b in zip(start, stop, strict=True)):
        return None
    part = grid.crop((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    fraction: FloatArray = compute_fraction(structure, part)
    return pack_volume(part, fraction, 1 / FRACTION_LEVELS, 0.0) if fraction.any() else None


def _find_region_mm(case: Case, dose_grid: Grid) -> tuple[Triple, Triple]:
    """Where the patient is in rows and columns, with a margin; along z all slices of the CT that any dose reaches."""
    low, high = _find_body_mm(case, case.ct.grid)
    first, last = dose_grid.bounds_mm
    clear = _MARGIN_MM * 2
    return (max(low[0], first[0] - clear), low[1], low[2]), (min(high[0], last[0] + clear), high[1], high[2])


def _find_body_mm(case: Case, grid: Grid) -> tuple[Triple, Triple]:
    """The outer faces of the grid, drawn in to the patient's outline and a margin where there is one."""
    low, high = grid.bounds_mm
    if is_empty(case.body):
        return low, high
    body_low, body_high = bounds_mm(case.body)
    inner = [max(a, b - _MARGIN_MM) for a, b in zip(low, body_low, strict=True)]
    outer = [min(a, b + _MARGIN_MM) for a, b in zip(high, body_high, strict=True)]
    if any(a >= b for a, b in zip(inner, outer, strict=True)):
        return low, high
    return (low[0], inner[1], inner[2]), (high[0], outer[1], outer[2])


def _describe_case(
    result: CaseResult, document: ReportDocument, highest_gy: float, titles: Mapping[str, str]
) -> dict[str, Any]:
    prescription = result.case.prescription
    return {
        "prescription": [{"name": name, "gy": gy} for name, gy in document.prescription.dose_gy.items()],
        "reference": prescription.highest_gy,
        "highest": highest_gy,
        "places": [place.describe() for place in find_places(result, document, titles)],
        "start": find_focus_mm(result.case, result.predicted.dose.grid),
    }


def _write_note(result: CaseResult, ct: Packed) -> str:
    """What the reader must know of the stored voxels."""
    size = " × ".join(f"{spacing:.1f}" for spacing in reversed(ct.grid.spacing_mm))
    dose = " × ".join(f"{spacing:.1f}" for spacing in reversed(result.predicted.dose.grid.spacing_mm))
    return (
        f"For display the CT is kept in voxels of {size} mm (x, y, z) and steps of {CT_STEP_HU:g} HU (9 bits), the "
        f"predicted dose in voxels of {dose} mm and 1023 steps (10 bits). All numbers of tables and of the DVH come "
        "from the full dose."
    )
