"""OpenKBP patients as cases: axes, names and units against the published files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.external import shared_folder
from vmat_rt.cohort import openkbp
from vmat_rt.cohort.openkbp import OpenKbpPatient, make_openkbp_case, read_csv_patient, to_openkbp_axes, to_patient_axes
from vmat_rt.errors import InputError
from vmat_rt.protocol import load_protocol


def compact(split: str, number: int) -> dict[str, Any]:
    """Arrays of the shared reader, an implementation of its own."""
    root = shared_folder("openkbp")
    sys.path.insert(0, str(root))
    try:
        from read_openkbp import read_patient
    finally:
        sys.path.remove(str(root))
    arrays: dict[str, Any] = read_patient(root / split / f"pt_{number}.npz.xz")
    return arrays


def synthetic(**changes: Any) -> OpenKbpPatient:
    """One marked voxel a structure, in a body that fills the middle of the grid."""
    body = np.zeros(openkbp.SHAPE, bool)
    body[20:110, 15:120, 10:118] = True
    masks = {}
    for i, name in enumerate(openkbp.NAMES):
        masks[name] = np.zeros(openkbp.SHAPE, bool)
        masks[name][30 + i, 40 + 2 * i, 50 + 3 * i] = True
    ct = np.where(body, 1000, 0).astype(np.int16)
    fields: dict[str, Any] = {"ct": ct, "possible_dose_mask": body, "masks": masks, "spacing_mm": (3.5, 3.9, 2.5)}
    return OpenKbpPatient(**{**fields, **changes})


def test_axes_become_lps() -> None:
    """Front to back is y, right to left is x, head to feet is z turned round; so the front, right, top voxel moves."""
    array = np.zeros((2, 3, 4))
    array[0, 0, 0] = 1
    assert to_patient_axes(array).shape == (4, 2, 3)
    assert np.argwhere(to_patient_axes(array)).tolist() == [[3, 0, 0]]


def test_axes_there_and_back() -> None:
    array = np.random.default_rng(0).random((4, 5, 6))
    np.testing.assert_array_equal(to_openkbp_axes(to_patient_axes(array)), array)


def test_every_structure_keeps_its_place_and_gets_its_name() -> None:
    case = make_openkbp_case(synthetic(), "a")
    assert case.ct.grid.spacing_mm == (2.5, 3.5, 3.9)
    assert set(case.structures) == {*openkbp.NAMES.values(), "External"}
    for i, ours in enumerate(openkbp.NAMES.values()):
        place = np.argwhere(case.structures[ours].shape.array)  # type: ignore[union-attr]
        assert place.tolist() == [[127 - (50 + 3 * i), 30 + i, 40 + 2 * i]]


def test_names_are_those_of_the_protocol() -> None:
    protocol = load_protocol(openkbp.PROTOCOL)
    known = {spec.name for spec in protocol.structures}
    assert {*openkbp.NAMES.values(), "External"} <= known
    assert protocol.default_prescription_gy() == openkbp.DOSE_GY
    assert protocol.fractions == openkbp.FRACTIONS


def test_hounsfield_units_are_shifted_and_metal_is_clipped() -> None:
    ct = synthetic().ct.copy()
    ct[60, 60, 60] = 32743
    ct[61, 61, 61] = 1046
    array = to_openkbp_axes(make_openkbp_case(synthetic(ct=ct), "a").ct.array)
    assert (array[0, 0, 0], array[60, 60, 60], array[61, 61, 61]) == (-1000, 3095, 46)


def test_only_contoured_targets_are_prescribed() -> None:
    masks = dict(synthetic().masks)
    del masks["PTV63"]
    masks["PTV56"] = np.zeros(openkbp.SHAPE, bool)
    case = make_openkbp_case(synthetic(masks=masks), "a")
    assert dict(case.prescription.dose_gy) == {"PTV_7000": 70.0}
    assert "PTV_5600" not in case.structures
    with pytest.raises(InputError, match="NO_TARGET"):
        make_openkbp_case(synthetic(masks={}), "a")


def test_the_outline_comes_from_ct_and_the_body_from_the_mask() -> None:
    """The mask takes in a couch that the outline leaves, and stops short of tissue that the outline holds."""
    possible = np.zeros(openkbp.SHAPE, bool)
    possible[30:80, 20:100, 10:110] = True
    ct = np.zeros(openkbp.SHAPE, np.int16)
    ct[20:80, 20:100, 10:110] = 1000
    possible[95:97, 10:120, 10:110] = True
    ct[95:97, 10:120, 10:110] = 900
    case = make_openkbp_case(synthetic(ct=ct, possible_dose_mask=possible), "a")
    found = to_openkbp_axes(case.structures["External"].shape.array) > 0  # type: ignore[union-attr]
    np.testing.assert_array_equal(to_openkbp_axes(case.body.shape.array) > 0, possible)  # type: ignore[union-attr]
    assert not found[81:].any()
    assert np.count_nonzero(found) == pytest.approx(60 * 80 * 100, rel=0.02)


def test_a_real_patient_lies_the_right_way_up() -> None:
    """Brainstem above larynx, mandible before cord, left parotid at larger x: the anatomy knows its axes."""
    case = make_openkbp_case(OpenKbpPatient.from_arrays(compact("validation", 201)), "a")

    def centre(name: str) -> np.ndarray:
        return np.argwhere(case.structures[name].shape.array).mean(axis=0)  # type: ignore[union-attr]

    assert centre("Brainstem")[0] > centre("Larynx")[0] + 10
    assert centre("Bone_Mandible")[1] < centre("SpinalCord")[1] - 5
    assert centre("Parotid_L")[2] > centre("Parotid_R")[2] + 10
    inside = case.structures["External"].shape.array > 0  # type: ignore[union-attr]
    assert inside[case.body.shape.array > 0].mean() > 0.98  # type: ignore[union-attr]
    assert case.reference_dose is not None
    assert case.reference_dose.array[case.structures["PTV_7000"].shape.array > 0].mean() > 65  # type: ignore[union-attr]


@pytest.mark.parametrize(("split", "number"), [("train", 143), ("validation", 201)])
def test_published_csv_files_give_the_arrays_of_the_compact_reader(split: str, number: int) -> None:
    expected = compact(split, number)
    found = read_csv_patient(shared_folder(f"openkbp/csv_sample/pt_{number}"))
    np.testing.assert_array_equal(found.ct, expected["ct"])
    np.testing.assert_array_equal(found.possible_dose_mask, expected["possible_dose_mask"])
    assert set(found.masks) == set(expected["masks"])
    for name, mask in expected["masks"].items():
        np.testing.assert_array_equal(found.masks[name], mask, err_msg=name)
    assert found.spacing_mm == pytest.approx(expected["spacing_mm"])
    assert found.dose is not None
    np.testing.assert_allclose(found.dose, expected["dose"], atol=0.0051)


def write_csv(folder: Path, **files: str) -> Path:
    content = {
        "ct": ",data\n5,1000.0\n6,1010.0\n",
        "possible_dose_mask": ",data\n5,\n6,\n",
        "voxel_dimensions": "3.5\n3.9\n2.5\n",
        "PTV70": ",data\n6,\n",
        **files,
    }
    for name, text in content.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def test_a_small_csv_patient(tmp_path: Path) -> None:
    patient = read_csv_patient(write_csv(tmp_path, Larynx=",data\n"))
    assert patient.dose is None
    assert patient.spacing_mm == (3.5, 3.9, 2.5)
    assert np.flatnonzero(patient.masks["PTV70"]).tolist() == [6]
    assert not patient.masks["Larynx"].any()
    assert patient.ct[0, 0, 6] == 1010
    with pytest.raises(InputError, match="NO_BODY"):
        make_openkbp_case(patient, "a")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"voxel_dimensions": "3.5\n3.9\n"}, "voxel_dimensions.csv holds 2 values"),
        ({"voxel_dimensions": "3.5\n3.9\n-1\n"}, "not three positive lengths"),
        ({"PTV70": ",data\n2097152,\n"}, "PTV70.csv holds indices"),
        ({"PTV70": ",data\n6.5,\n"}, "PTV70.csv holds indices"),
        ({"ct": ",data\n-1,1000\n"}, "ct.csv holds indices"),
    ],
)
def test_faulty_csv_files_are_named(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_csv_patient(write_csv(tmp_path, **files))


def test_missing_csv_files_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lacks ct\.csv, possible_dose_mask\.csv, voxel_dimensions\.csv"):
        read_csv_patient(tmp_path)
