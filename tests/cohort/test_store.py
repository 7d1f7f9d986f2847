"""A cohort gives back what the live case would be, in whole and in part, on a disk and in an object store.

Covers vmat_rt.cohort.arrays.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
import zarr

from tests.cohort.cases import IDENTITY, RULE, SETTINGS, pelvis, record_of, small_cohort
from vmat_rt.baseline.features import compute_features
from vmat_rt.baseline.scene import FeatureSettings
from vmat_rt.bundle import GridRule
from vmat_rt.case import Case, Structure, Volume
from vmat_rt.cohort.arrays import LONGEST_CHUNK
from vmat_rt.cohort.openkbp import OpenKbpPatient, make_openkbp_case
from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import InputError
from vmat_rt.geometry.gridded import gridded
from vmat_rt.geometry.model_grid import model_grid
from vmat_rt.geometry.resample import resample
from vmat_rt.nn.encode import channels_for, encode
from vmat_rt.protocol import load_protocol


@pytest.fixture(params=["disk", "file", "memory"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder by path and by URL, and an object store of fsspec's."""
    if request.param == "memory":
        name = f"memory://{uuid.uuid4().hex}/cohort"
        yield name
        fsspec.filesystem("memory").rm(name.rpartition("/")[0], recursive=True)
    else:
        yield f"{'file://' if request.param == 'file' else ''}{tmp_path / 'cohort'}"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return small_cohort(tmp_path_factory.mktemp("store") / "cohort")


@pytest.fixture(scope="module")
def live() -> Case:
    case = pelvis()
    return gridded(case, model_grid(RULE, case))


def voxels(structure: Structure) -> np.ndarray:
    assert isinstance(structure.shape, Volume)
    return structure.shape.array


def assert_same(stored: Case, live: Case) -> None:
    assert stored.ct.grid == replace(live.ct.grid, frame_uid=f"cohort:{stored.key}")
    np.testing.assert_array_equal(stored.ct.array, live.ct.array)
    assert list(stored.structures) == list(live.structures)
    for name, structure in live.structures.items():
        np.testing.assert_array_equal(voxels(stored.structures[name]), voxels(structure), err_msg=name)
    np.testing.assert_array_equal(voxels(stored.body), voxels(live.body))
    if live.reference_dose is not None:
        assert stored.reference_dose is not None
        np.testing.assert_array_equal(stored.reference_dose.array, live.reference_dose.array)
    assert dict(stored.prescription.dose_gy) == dict(live.prescription.dose_gy)
    assert stored.gantry_angles_deg == live.gantry_angles_deg


def test_a_case_comes_back_wherever_the_cohort_is(uri: str, live: Case) -> None:
    added = small_cohort(uri)
    cohort = Cohort.open(uri)
    assert cohort.settings == SETTINGS
    assert cohort.keys() == ("c0001",)
    assert cohort.records() == added.records()
    assert_same(cohort.read("c0001"), live)
    assert cohort.reindex() == {"c0001": cohort.record("c0001").content_sha256}
    assert cohort.check() == ()
    assert Cohort.open(uri).settings == SETTINGS


def test_dose_comes_back_within_a_thousandth_of_a_gray(cohort: Cohort) -> None:
    case = pelvis()
    assert case.reference_dose is not None
    expected = resample(case.reference_dose, model_grid(RULE, case), 0.0, "cubic").array
    found = cohort.read("c0001").reference_dose
    assert found is not None
    assert np.abs(found.array - expected).max() <= 0.00101


def test_a_dose_beyond_sixteen_bits_is_as_exact(tmp_path: Path) -> None:
    case = pelvis()
    assert case.reference_dose is not None
    case = replace(case, reference_dose=replace(case.reference_dose, array=case.reference_dose.array * 3))
    cohort = Cohort.create(tmp_path / "c", SETTINGS)
    cohort.add(case, record_of(case))
    assert_same(cohort.read("c0001"), gridded(case, model_grid(RULE, case)))


@pytest.mark.parametrize("with_external", [True, False])
def test_a_network_sees_the_same_arrays(tmp_path: Path, with_external: bool) -> None:
    case = pelvis(with_external=with_external)
    cohort = Cohort.create(tmp_path / "c", SETTINGS)
    cohort.add(case, record_of(case))
    grid, stored = model_grid(RULE, case), cohort.read("c0001")
    channels = channels_for(load_protocol("prostate_sib_70_56"), ("beam:beam_any", "beam:beam_chord"))
    expected = encode(gridded(case, grid), grid, channels)
    found = encode(stored, stored.ct.grid, channels)
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_array_equal(found.condition, expected.condition)
    np.testing.assert_array_equal(found.body, expected.body)
    assert found.highest_gy == expected.highest_gy


@pytest.mark.parametrize("with_external", [True, False])
def test_the_geometric_predictor_sees_the_same_features(tmp_path: Path, with_external: bool) -> None:
    case = pelvis(with_external=with_external)
    cohort = Cohort.create(tmp_path / "c", SETTINGS)
    cohort.add(case, record_of(case))
    grid, stored = model_grid(RULE, case), cohort.read("c0001")
    settings = FeatureSettings(organs=("Rectum", "Bladder"), angles_deg=(0.0, 90.0), beams=True)
    expected, found = (
        compute_features(gridded(case, grid), grid, settings),
        compute_features(stored, stored.ct.grid, settings),
    )
    assert found.names == expected.names
    np.testing.assert_array_equal(found.body, expected.body)
    np.testing.assert_array_equal(found.matrix, expected.matrix)


def test_an_openkbp_patient_loses_nothing(tmp_path: Path) -> None:
    """Whole HU, masks and doses of two decimals: the stored arrays are the published ones."""
    random = np.random.default_rng(3)
    body = np.zeros((128, 128, 128), bool)
    body[20:110, 15:120, 10:118] = True
    target = np.zeros_like(body)
    target[50:70, 60:80, 40:70] = True
    ct = np.where(body, random.integers(900, 1300, body.shape), 0)
    dose = np.where(body, np.round(random.random(body.shape) * 75, 2), 0).astype(np.float32)
    patient = OpenKbpPatient(ct, body, {"PTV70": target}, (3.9, 3.9, 2.5), dose)
    case = make_openkbp_case(patient, "pt_1")
    rule = GridRule(kind="ct_blocks", shape=(128, 128, 128), spacing_mm=(2.5, 3.9, 3.9))
    cohort = Cohort.create(tmp_path / "c", SETTINGS.model_copy(update={"protocol": "head_neck_70", "grid": rule}))
    cohort.add(case, record_of(case))
    stored = cohort.read("c0001")
    np.testing.assert_array_equal(stored.ct.array, case.ct.array)
    for name, structure in case.structures.items():
        np.testing.assert_array_equal(voxels(stored.structures[name]), voxels(structure))
    np.testing.assert_array_equal(voxels(stored.body), voxels(case.body))
    assert stored.reference_dose is not None
    assert case.reference_dose is not None
    np.testing.assert_allclose(stored.reference_dose.array, case.reference_dose.array, atol=4e-6)


def test_parts_are_parts_of_the_whole(cohort: Cohort, live: Case) -> None:
    start, stop = (3, 5, 7), (20, 33, 40)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    patch, arrays = cohort.read_patch("c0001", start, stop), cohort.arrays("c0001")
    assert live.reference_dose is not None
    assert patch.grid == replace(live.ct.grid, frame_uid="cohort:c0001").crop(start, stop)
    np.testing.assert_array_equal(patch.ct, live.ct.array[box])
    np.testing.assert_array_equal(arrays.ct[box], live.ct.array[box])
    assert patch.dose is not None
    assert arrays.dose is not None
    np.testing.assert_array_equal(patch.dose, live.reference_dose.array[box])
    np.testing.assert_array_equal(arrays.dose[box], live.reference_dose.array[box])
    for name, structure in live.structures.items():
        np.testing.assert_array_equal(patch.fraction(name), voxels(structure)[box])
        np.testing.assert_array_equal(arrays.structures[name][box], voxels(structure)[box])
    np.testing.assert_array_equal(patch.body, voxels(live.body)[box])
    np.testing.assert_array_equal(arrays.body[4], voxels(live.body)[4])
    with pytest.raises(KeyError):
        patch.fraction("PenileBulb")


@pytest.mark.parametrize(("start", "stop"), [((0, 0, 0), (25, 1, 1)), ((2, 2, 2), (2, 3, 3)), ((-1, 0, 0), (3, 3, 3))])
def test_patches_lie_on_the_grid(cohort: Cohort, start: tuple[int, int, int], stop: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="not within"):
        cohort.read_patch("c0001", start, stop)


def test_a_case_without_dose_is_a_case(tmp_path: Path) -> None:
    case = replace(pelvis(), reference_dose=None)
    cohort = Cohort.create(tmp_path / "c", SETTINGS)
    cohort.add(case, record_of(case))
    assert cohort.read("c0001").reference_dose is None
    assert cohort.arrays("c0001").dose is None
    assert cohort.read_patch("c0001", (0, 0, 0), (2, 2, 2)).dose is None


def test_a_body_that_is_no_structure_is_stored_as_well(tmp_path: Path) -> None:
    """OpenKBP: where dose may lie, beside the outline of the same name."""
    case = pelvis()
    other = Structure("possible_dose_mask", "External", case.structures["PTV_5600"].shape)
    case = replace(case, body=other)
    cohort = Cohort.create(tmp_path / "c", SETTINGS)
    cohort.add(case, record_of(case))
    stored = cohort.read("c0001")
    np.testing.assert_array_equal(voxels(stored.body), voxels(stored.structures["PTV_5600"]))
    assert voxels(stored.structures["External"]).sum() > 2 * voxels(stored.body).sum()


def test_nothing_identifies_the_patient(tmp_path: Path) -> None:
    """Names, dates, UIDs, paths and comments of the case, looked for in every file and every value of the cohort."""
    cohort = small_cohort(tmp_path / "cohort")
    cohort.reindex()
    contents = [path.read_bytes() for path in (tmp_path / "cohort").rglob("*") if path.is_file()]
    contents += [str(path).removeprefix(str(tmp_path)).encode() for path in (tmp_path / "cohort").rglob("*")]
    group = zarr.open_group(str(tmp_path / "cohort" / "cases" / "c0001.zarr"), mode="r")
    contents += [np.asarray(group[name][...]).tobytes() for name in ("ct", "structures", "dose")]  # type: ignore[index]
    assert len(contents) > 20
    assert not [word for word in IDENTITY for content in contents if word.casefold().encode() in content.lower()]
    case = cohort.read("c0001")
    assert not [word for word in IDENTITY if word.casefold() in repr(case).casefold()]


def test_chunks_are_equal_pieces_and_checked(tmp_path: Path) -> None:
    case = pelvis()
    rule = GridRule(kind="fixed", shape=(24, 90, 160), spacing_mm=(3.5, 2.5, 1.2))
    cohort = Cohort.create(tmp_path / "c", SETTINGS.model_copy(update={"grid": rule}))
    cohort.add(case, record_of(case))
    array = zarr.open_array(str(tmp_path / "c" / "cases" / "c0001.zarr"), path="structures", mode="r")
    assert array.chunks == (5, 24, 45, 80)
    assert max(array.chunks) <= LONGEST_CHUNK
    assert array.metadata.zarr_format == 3


def test_a_case_that_the_grid_cannot_take_is_refused(tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path / "c", SETTINGS)
    case, record = pelvis(), record_of(pelvis())
    bad = case.ct.array.copy()
    bad[0, 0, 0] = np.nan
    small = SETTINGS.model_copy(update={"grid": RULE.model_copy(update={"shape": (8, 40, 44)})})
    with pytest.raises(InputError, match="STRUCTURE_CUT_OFF"):
        Cohort.create(tmp_path / "d", small).add(case, record)
    with pytest.raises(InputError, match="VALUES_NOT_FINITE"):
        cohort.add(replace(case, ct=replace(case.ct, array=bad)), record)
    with pytest.raises(InputError, match="NO_TARGET"):
        cohort.add(replace(case, structures={"Rectum": case.structures["Rectum"]}), record)
    empty = Structure("e", "External", Volume(case.ct.grid, np.zeros(case.ct.grid.shape, np.float32)))
    with pytest.raises(InputError, match="NO_BODY"):
        cohort.add(replace(case, body=empty), record)
    assert cohort.keys() == ()
    assert not any((tmp_path / "c").rglob("*.zarr"))


def test_what_the_grid_cuts_off_is_noted(tmp_path: Path) -> None:
    case = pelvis()
    rule = RULE.model_copy(update={"shape": (20, 40, 44)})
    cohort = Cohort.create(tmp_path / "c", SETTINGS.model_copy(update={"grid": rule}))
    assert cohort.add(case, record_of(case)).problems == ("FOREIGN_FILES", "STRUCTURE_CUT_OFF")
    assert [problem.code for problem in cohort.read("c0001").problems] == ["FOREIGN_FILES", "STRUCTURE_CUT_OFF"]
