"""A case of a cohort -> a DICOM study: CT, RTSTRUCT, RTPLAN and RTDOSE under a made-up identity."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from vmat_rt.case import Case
from vmat_rt.cohort.record import CaseRecord, CtSlices
from vmat_rt.cohort.store import Cohort
from vmat_rt.dicom.write.export import ExportOptions, export_case
from vmat_rt.errors import ConfigError
from vmat_rt.geometry.reslice import reslice
from vmat_rt.protocol import load_protocol
from vmat_rt.system.publish import published_folder

_BODY_PART: Final = {"prostate": "PELVIS", "head and neck": "HEADNECK"}
_DEIDENTIFIED: Final = {
    "openkbp": "by the makers of OpenKBP",
    "dicom": "vmat-rt cohort: arrays only, no header was kept",
    "images": "vmat-rt cohort: arrays only, no header was kept",
}


def export_stored(cohort: Cohort, key: str, folder: Path) -> None:
    """Write the case `key` as a study into `folder`, which appears whole or not at all.

    CT and contours lie on the slices that the CT had when it was added, interpolated from the cohort's grid; in the
    plane, and for the dose, the grid is the cohort's. Raises ConfigError when there is no such case or the folder holds
    anything, InputError when the case is damaged or the folder cannot be written.
    """
    record = cohort.record(key)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty; give a new folder for the study")
    case = _as_scanned(cohort.read(key), record.ct_slices)
    with published_folder(folder) as temporary:
        export_case(case, temporary, _choose_options(record, cohort.settings.name))


def _as_scanned(case: Case, slices: CtSlices | None) -> Case:
    if slices is None:
        return case
    return reslice(case, slices.first_mm + slices.step_mm * np.arange(slices.count, dtype=np.float64))


def _choose_options(record: CaseRecord, cohort_name: str) -> ExportOptions:
    simulated = record.source == "simulated"
    return ExportOptions(
        patient_name=None if simulated else "vmat-rt^cohort",
        patient_id=record.patient,
        description=f"cohort {cohort_name}",
        deidentified=_DEIDENTIFIED.get(record.source, ""),
        body_part=_BODY_PART.get(load_protocol(record.protocol).site, ""),
        simulated=simulated,
    )
