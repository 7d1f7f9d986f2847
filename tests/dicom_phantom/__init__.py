"""A small DICOM study with known content: every axis differs, so that no exchange, flip or shift goes unseen.

`write_study` writes CT + RTSTRUCT (+ RTPLAN, RTDOSE) and returns what is true of them. Faults are made afterwards, with
`edited`, `cut_short` or by removing files.
"""

from tests.dicom_phantom.files import cut_short, edited, save, to_other_patient
from tests.dicom_phantom.images import ct_slice, dose
from tests.dicom_phantom.plans import beam, plan
from tests.dicom_phantom.structures import contour, structure_set
from tests.dicom_phantom.study import default_rois, disc, phantom_dose, phantom_hu, write_study
from tests.dicom_phantom.values import ORIENTATIONS, Drawn, Options, Phantom

__all__ = [
    "ORIENTATIONS", "Drawn", "Options", "Phantom", "beam", "contour", "ct_slice", "cut_short", "default_rois", "disc",
    "dose", "edited", "phantom_dose", "phantom_hu", "plan", "save", "structure_set", "to_other_patient", "write_study",
]  # fmt: skip
