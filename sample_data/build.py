"""Rebuild the sample studies, byte for byte: `python sample_data/build.py [--out FOLDER] [--openkbp FOLDER]`.

head_neck_openkbp: patient 236 of the OpenKBP validation set, one of the two there with all seven organs and all three
target levels contoured (the other has voxels of 5.4 mm). prostate_simulated: one case of prostate_cohort, as a
clinic would export it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vmat_rt.case import Case, Structure, Volume
from vmat_rt.cohort.openkbp import OpenKbpPatient, make_openkbp_case
from vmat_rt.curation.shipped import read_shipped
from vmat_rt.curation.simulate import treat_patient
from vmat_rt.dicom.write.export import ExportOptions, export_case
from vmat_rt.phantom.anatomy.patient import simulate_patient

HERE = Path(__file__).resolve().parent
PATIENT = 236
PROSTATE = "sim-1-0012"


# --- head and neck -------------------------------------------------------------------------------------------------


def head_neck_case(openkbp: Path) -> Case:
    """The OpenKBP patient with an outline that a clinic would draw."""
    reader = _module(openkbp / "read_openkbp.py")
    arrays = reader.read_patient(str(openkbp / "validation" / f"pt_{PATIENT}.npz.xz"))
    case = make_openkbp_case(OpenKbpPatient.from_arrays(arrays), f"openkbp-{PATIENT}")
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

SHIPPED = HERE / "prostate_cohort"
# As a clinic might write them, so that the protocol's aliases have something to do.
ROI_NAMES = {
    "PTV_7000": "PTV 70",
    "PTV_5600": "PTV 56",
    "External": "Body",
    "Bag_Bowel": "Bowel Bag",
    "Rectum": "RECTUM",
    "Femur_Head_L": "Femoral Head L",
    "Femur_Head_R": "Femoral Head R",
    "PenileBulb": "Penile Bulb",
    "SeminalVes": "Seminal Vesicles",
}


def prostate_case() -> Case:
    """Case PROSTATE of the cohort that ships: drawn again from its seed, with its packed dose, on its own CT."""
    shipped = next(each.record for each in read_shipped(SHIPPED).cases if each.record.key == PROSTATE)
    packed = (SHIPPED / "doses" / f"{PROSTATE}.dose").read_bytes()
    patient = simulate_patient(int(shipped.provenance["seed"]), int(shipped.provenance["index"]))
    case = treat_patient(patient, packed, shipped.gantry_angles_deg)
    named = {name: replace(each, roi_name=ROI_NAMES.get(name, name)) for name, each in case.structures.items()}
    return replace(case, structures=named, body=named["External"])


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


def build_prostate(out: Path) -> None:
    """Write the simulated prostate patient, which needs nothing but the cohort that ships."""
    options = ExportOptions(description="Simulated prostate VMAT", body_part="PELVIS", simulated=True)
    export_case(prostate_case(), out / "prostate_simulated", options)


def main() -> None:
    """Build both where the command line says."""
    shared = Path(os.environ.get("VMAT_RT_SHARED", HERE.parent.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE, help="where to write the studies (default: here)")
    parser.add_argument("--openkbp", type=Path, default=shared / "openkbp", help="folder of the compact OpenKBP files")
    options = parser.parse_args()
    build_prostate(options.out)
    build_head_neck(options.out, options.openkbp)


if __name__ == "__main__":
    main()
