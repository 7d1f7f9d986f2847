"""Small studies as files, exported from the case of tests.dicom.written: still beams, arcs, simulated."""

from __future__ import annotations

import filecmp
from dataclasses import replace
from pathlib import Path

from tests.dicom import written
from vmat_rt.case import Case, Contours
from vmat_rt.dicom.study import Study, read_study
from vmat_rt.dicom.write.export import ExportOptions, export_case

STATIC_DEG = (0.0, 130.0, 210.0)
# Equally spaced angles: full turns, turns that end short of or beyond the top and the bottom, both ways.
ARCS_DEG = {
    "72 from a random start": [(203.7182 + 5.0 * k) % 360 for k in range(72)],
    "48 on the tenths": [(0.4 + 7.5 * k) % 360 for k in range(48)],
    "55 of odd width": [(17.123456789 + 360 / 55 * k) % 360 for k in range(55)],
    "partial over the top": [(271.3 + 4.5 * k) % 360 for k in range(40)],
    "partial through the bottom": [(100.0 + 3.75 * k) % 360 for k in range(48)],
    "partial downwards": [(40.0 - 4.0 * k) % 360 for k in range(50)],
    "a clinical arc as it is read": [float(a) for a in range(0, 360, 10) if a != 180],
}


def options(position: str) -> ExportOptions:
    return ExportOptions(patient_position=position, compression="rle" if position[0] == "H" else "none")  # type: ignore[arg-type]


def exported(folder: Path, position: str = "HFS", case: Case | None = None) -> Study:
    """The case written and read again."""
    angled = replace(case or written.case(), gantry_angles_deg=STATIC_DEG)
    export_case(angled, folder, options(position))
    return read_study(folder)


def contours_of(study: Study, roi_name: str) -> Contours:
    (roi,) = (roi for roi in study.structure_set.rois if roi.name == roi_name)
    assert roi.contours is not None
    return roi.contours


def simulated(folder: Path) -> Path:
    case = replace(written.case(), gantry_angles_deg=tuple(ARCS_DEG["72 from a random start"]))
    export_case(case, folder, ExportOptions(description="prostate", body_part="PELVIS", simulated=True))
    return folder


def same_files(one: Path, other: Path) -> bool:
    """Whether two folders hold the same DICOM files, byte for byte."""
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*.dcm"))
    assert names == sorted(str(path.relative_to(other)) for path in other.rglob("*.dcm"))
    _, different, failed = filecmp.cmpfiles(one, other, names, shallow=False)
    return bool(names) and not different and not failed
