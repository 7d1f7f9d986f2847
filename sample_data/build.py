"""Rebuild the sample studies, byte for byte: `python sample_data/build.py [--out FOLDER] [--openkbp FOLDER]`.

head_neck_openkbp: patient 236 of the OpenKBP validation set, one of the two there with all seven organs and all three
target levels contoured (the other has voxels of 5.4 mm). prostate_phantom: drawn here, from ellipsoids and a tube.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vmat_rt.case import Case, ContourPlane, Contours, Prescription, Structure, Volume
from vmat_rt.cohort.openkbp import OpenKbpPatient, case_from_openkbp
from vmat_rt.dicom.export import ExportOptions, export_case
from vmat_rt.dicom.trace import trace_level
from vmat_rt.grid import Grid

HERE = Path(__file__).resolve().parent
PATIENT = 236
Array = NDArray[np.float64]
Solid = Callable[[Array, Array, Array], Array]
"""Depth inside a body (mm, positive inside, roughly true near its surface) at z, y, x relative to the prostate.
The three are open grids: each varies along its own axis."""


# --- head and neck -------------------------------------------------------------------------------------------------


def head_neck_case(openkbp: Path) -> Case:
    """The OpenKBP patient with an outline that a clinic would draw."""
    reader = _module(openkbp / "read_openkbp.py")
    arrays = reader.read_patient(str(openkbp / "validation" / f"pt_{PATIENT}.npz.xz"))
    case = case_from_openkbp(OpenKbpPatient.from_arrays(arrays), f"openkbp-{PATIENT}")
    body = Structure("External", "External", Volume(case.ct.grid, _outline(case).astype(np.float32)))
    return _without_empty_slices(replace(case, structures={**case.structures, "External": body}, body=body))


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _outline(case: Case) -> NDArray[np.bool_]:
    """Skin of the patient, without couch, mask and shoulder rests.

    This patient's possible_dose_mask is no outline: it holds the couch and, at its ends, scattered voxels.
    """
    filled = _each(ndimage.binary_fill_holes, case.ct.array > -400)
    disc = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), 2)
    pieces, _ = ndimage.label(_each(lambda plane: ndimage.binary_opening(plane, disc), filled))
    core = pieces == np.bincount(pieces[pieces > 0]).argmax()
    # Nose and ears come back, as far as they lie next to what opening left.
    near = ndimage.binary_dilation(core, ndimage.generate_binary_structure(3, 1), 2) & filled
    structures = [s.shape.array > 0 for name, s in case.structures.items() if name != "External"]
    whole = _each(ndimage.binary_fill_holes, np.logical_or.reduce([core, near, *structures]))
    smooth = _each(lambda plane: ndimage.binary_opening(plane, np.ones((2, 2), bool)), whole)
    return np.logical_or.reduce([smooth, *structures])


def _each(operation: Callable[[NDArray[np.bool_]], NDArray[np.bool_]], planes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.stack([operation(plane) for plane in planes])


def _without_empty_slices(case: Case) -> Case:
    """The slices that show the patient: OpenKBP pads to 128."""
    body = case.body.shape
    assert isinstance(body, Volume)
    filled = np.flatnonzero(body.array.any(axis=(1, 2)))
    start, stop = (int(filled[0]), 0, 0), (int(filled[-1]) + 1, *case.ct.grid.shape[1:])

    def cut(volume: Volume) -> Volume:
        array = np.ascontiguousarray(volume.array[start[0] : stop[0]])
        return Volume(volume.grid.crop(start, stop), array)

    def cut_structure(structure: Structure) -> Structure:
        assert isinstance(structure.shape, Volume)
        return replace(structure, shape=cut(structure.shape))

    assert case.reference_dose is not None
    dose = cut(case.reference_dose)
    return replace(
        case,
        ct=cut(case.ct),
        structures={name: cut_structure(structure) for name, structure in case.structures.items()},
        body=cut_structure(case.body),
        reference_dose=_where_it_is_not_zero(dose),
    )


def _where_it_is_not_zero(dose: Volume) -> Volume:
    """The dose on the smallest box of its voxels that holds all of it, as planning systems export it."""
    filled = np.argwhere(dose.array > 0)
    (z0, y0, x0), (z1, y1, x1) = filled.min(axis=0).tolist(), (filled.max(axis=0) + 1).tolist()
    grid = dose.grid.crop((z0, y0, x0), (z1, y1, x1))
    return Volume(grid, np.ascontiguousarray(dose.array[z0:z1, y0:y1, x0:x1]))


# --- prostate ------------------------------------------------------------------------------------------------------

GRID = Grid((80, 160, 192), (3.0, 1.9, 2.1), (-522.5, -231.4, -163.7), "prostate phantom")
PROSTATE_MM = (-412.0, -76.0, 38.0)
# Contours are drawn on pixels of this size; their vertices lie where the surface crosses between two of them.
_FINE_MM = 2.0
_NOISE_HU = 8.0


@dataclass(frozen=True)
class Organ:
    """One ROI: its name as a clinic might write it, TG-263 name, solid and HU (None: not shown in CT)."""

    roi_name: str
    name: str | None
    solid: Solid
    hu: float | None = None


def ellipsoid(centre: tuple[float, float, float], radii: tuple[float, float, float], power: float = 2.0) -> Solid:
    """An ellipsoid, or with power > 2 a rounder-cornered box, (z, y, x) mm."""

    def depth(z: Array, y: Array, x: Array) -> Array:
        along = [np.abs((a - c) / r) ** power for a, c, r in zip((z, y, x), centre, radii, strict=True)]
        return (1.0 - (along[0] + along[1] + along[2]) ** (1 / power)) * min(radii)

    return depth


def union(*solids: Solid) -> Solid:
    """What lies in any of the solids."""
    return lambda z, y, x: np.maximum.reduce([solid(z, y, x) for solid in solids])


def without(solid: Solid, hole: Solid) -> Solid:
    """What lies in `solid` but not in `hole`."""
    return lambda z, y, x: np.minimum(solid(z, y, x), -hole(z, y, x))


def rectum_tube(growth_mm: float = 0.0) -> Solid:
    """From the anus, behind the prostate, up and back into the sacral hollow; wider in the middle."""

    def depth(z: Array, y: Array, x: Array) -> Array:
        middle_y = 39.0 + 0.004 * z**2 - 5.0 * np.exp(-(((z - 5.0) / 25.0) ** 2))
        middle_x = 6.0 * np.sin(z / 35.0)
        wide = 13.0 + 5.0 * np.exp(-(((z - 20.0) / 30.0) ** 2)) + growth_mm
        in_plane = wide - np.hypot((y - middle_y) * 1.15, x - middle_x)
        return np.minimum(in_plane, np.minimum(z + 38.0, 78.0 - z))

    return depth


def organs() -> list[Organ]:
    """Everything contoured. Where ROIs of different HU overlap, the later one is seen in CT."""
    prostate = ellipsoid((0.0, 0.0, 0.0), (22.0, 18.0, 24.0))
    vesicles = union(ellipsoid((24.0, 17.0, -15.0), (8.0, 6.0, 14.0)), ellipsoid((24.0, 16.0, 16.0), (8.0, 6.0, 14.0)))
    high = ellipsoid((0.0, -1.0, 0.0), (29.0, 24.0, 31.0))
    wide = union(
        ellipsoid((0.0, -1.0, 0.0), (32.0, 27.0, 34.0)),
        ellipsoid((24.0, 16.0, -15.0), (16.0, 14.0, 22.0)),
        ellipsoid((24.0, 15.0, 16.0), (16.0, 14.0, 22.0)),
    )
    bladder = without(ellipsoid((46.0, -22.0, 2.0), (31.0, 33.0, 40.0)), union(prostate, vesicles))
    rectum = without(rectum_tube(), union(prostate, vesicles))
    bowel = without(ellipsoid((106.0, -38.0, 4.0), (44.0, 52.0, 92.0), 2.6), union(bladder, rectum))
    body = ellipsoid((10.0, 2.0, 3.0), (620.0, 118.0, 186.0), 2.5)
    return [
        Organ("Body", "External", body, 42.0),
        Organ("Bowel Bag", "Bag_Bowel", bowel, 25.0),
        Organ("Bladder", "Bladder", bladder, 6.0),
        Organ("RECTUM", "Rectum", rectum, 35.0),
        Organ("Femoral Head L", "Femur_Head_L", ellipsoid((14.0, -8.0, 93.0), (24.0, 24.0, 24.0)), 360.0),
        Organ("Femoral Head R", "Femur_Head_R", ellipsoid((12.0, -6.0, -91.0), (24.0, 23.0, 24.0)), 355.0),
        Organ("Penile Bulb", "PenileBulb", ellipsoid((-38.0, 6.0, 0.0), (8.0, 9.0, 13.0)), 55.0),
        Organ("Seminal Vesicles", "SeminalVes", without(vesicles, prostate), 30.0),
        Organ("Prostate", "Prostate", prostate, 48.0),
        Organ("PTV 56", "PTV_5600", without(wide, high)),
        Organ("PTV 70", "PTV_7000", high),
    ]


def prostate_case() -> Case:
    """The phantom; all of its axes differ, and nothing is centred on zero."""
    drawn = organs()
    structures = {
        organ.name: Structure(organ.roi_name, organ.name, _contours(organ.solid)) for organ in drawn if organ.name
    }
    return Case(
        key="prostate-phantom",
        ct=Volume(GRID, _hounsfield(drawn)),
        structures=structures,
        body=structures["External"],
        prescription=Prescription({"PTV_7000": 70.0, "PTV_5600": 56.0}, 28, "phantom"),
        protocol_name="prostate_sib_70_56",
    )


def _contours(solid: Solid) -> Contours:
    """The solid's outline in every CT slice, on fine pixels."""
    low, high = GRID.bounds_mm
    shape = (1, *(int((high[a] - low[a]) / _FINE_MM) for a in (1, 2)))
    fine = Grid((1, shape[1], shape[2]), (1.0, _FINE_MM, _FINE_MM), (0.0, *low[1:]), GRID.frame_uid)
    y, x = np.meshgrid(*(fine.axis_mm(a) - PROSTATE_MM[a] for a in (1, 2)), indexing="ij", sparse=True)
    planes = []
    for z_mm in GRID.axis_mm(0):
        depth = solid(np.array([[z_mm - PROSTATE_MM[0]]]), y, x)
        polygons = trace_level(np.clip(0.5 + depth / 4.0, 0.0, 1.0), fine, 0.5)
        if polygons:
            planes.append(ContourPlane(float(z_mm), polygons))
    return Contours(tuple(planes), GRID.spacing_mm[0], GRID.frame_uid)


def _hounsfield(drawn: list[Organ]) -> NDArray[np.float32]:
    """CT: soft edges a pixel wide, skin and fat, pelvic bones, gas in the rectum, a couch, noise."""
    z, y, x = np.meshgrid(*(GRID.axis_mm(axis) - PROSTATE_MM[axis] for axis in range(3)), indexing="ij", sparse=True)
    ct = np.full(GRID.shape, -1000.0)
    body = drawn[0].solid(z, y, x)
    couch = ellipsoid((0.0, 132.0, 3.0), (900.0, 9.0, 200.0), 6.0)
    iliac = union(
        ellipsoid((55.0, 28.0, 108.0), (62.0, 34.0, 14.0)), ellipsoid((55.0, 28.0, -104.0), (62.0, 34.0, 14.0))
    )
    sacrum = ellipsoid((75.0, 82.0, 3.0), (60.0, 16.0, 42.0))
    pubis = without(ellipsoid((-6.0, -44.0, 0.0), (17.0, 13.0, 48.0)), ellipsoid((-6.0, -44.0, 0.0), (30.0, 30.0, 4.0)))
    shown = [(couch, -780.0), (drawn[0].solid, -95.0), (lambda *at: drawn[0].solid(*at) - 22.0, 42.0)]
    shown += [(bone, 420.0) for bone in (iliac, sacrum, pubis)]
    shown += [(organ.solid, organ.hu) for organ in drawn[1:] if organ.hu is not None]
    shown += [(ellipsoid((30.0, 34.0, 4.0), (14.0, 5.0, 7.0)), -850.0)]
    for solid, hu in shown:
        share = np.clip(0.5 + solid(z, y, x) / GRID.spacing_mm[2], 0.0, 1.0)
        ct += share * (hu - ct)
    # The legacy generator, because its stream is promised never to change.
    noise = np.random.RandomState(28).standard_normal(GRID.shape) * _NOISE_HU
    return np.rint(np.where(body > -20.0, ct + noise, ct)).clip(-1000, 3000).astype(np.float32)


# --- both ----------------------------------------------------------------------------------------------------------


def build_head_neck(out: Path, openkbp: Path) -> None:
    """Write the head-and-neck study from the compact OpenKBP files in `openkbp`."""
    options = ExportOptions(
        patient_name="vmat-rt^head and neck sample",
        description=f"OpenKBP patient {PATIENT}",
        deidentified="by the makers of OpenKBP",
        body_part="HEADNECK",
    )
    export_case(head_neck_case(openkbp), out / "head_neck_openkbp", options)


def build_phantom(out: Path) -> None:
    """Write the phantom alone, which needs no data."""
    options = ExportOptions(
        patient_name="vmat-rt^prostate phantom",
        description="Procedural prostate phantom",
        body_part="PELVIS",
        with_plan=False,
    )
    export_case(prostate_case(), out / "prostate_phantom", options)


def main() -> None:
    """Build both where the command line says."""
    shared = Path(os.environ.get("VMAT_RT_SHARED", HERE.parent.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE, help="where to write the studies (default: here)")
    parser.add_argument("--openkbp", type=Path, default=shared / "openkbp", help="folder of the compact OpenKBP files")
    options = parser.parse_args()
    build_phantom(options.out)
    build_head_neck(options.out, options.openkbp)


if __name__ == "__main__":
    main()
