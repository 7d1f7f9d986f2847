"""Features of voxels: closed forms on a phantom, and what must leave them unchanged.

Covers vmat_rt.baseline.scene.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.baseline.patients import CENTRE, SETTINGS, SHAPES, mask_of, mirrored, patient, small_grid
from vmat_rt.baseline.features import FeatureTable, compute_features
from vmat_rt.baseline.scene import choose_features
from vmat_rt.case import Case, Structure, Volume
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.grid import Grid, centred_grid
from vmat_rt.protocol import load_protocol


def volume(table: FeatureTable, name: str) -> NDArray[np.float32]:
    out = np.full(table.body.shape, np.nan, np.float32)
    out[table.body] = table.matrix[:, table.names.index(name)]
    return out


def at(table: FeatureTable, grid: Grid, name: str, z: float, y: float, x: float) -> float:
    """The feature at the voxel nearest to a place relative to CENTRE."""
    place = np.rint(grid.index_of(np.array([CENTRE[0] + z, CENTRE[1] + y, CENTRE[2] + x]))).astype(int)
    return float(volume(table, name)[tuple(place)])


@pytest.fixture(scope="module")
def table() -> FeatureTable:
    return compute_features(patient(small_grid()), small_grid(), SETTINGS)


def test_one_row_a_body_voxel_without_infinities(table: FeatureTable) -> None:
    assert table.matrix.shape == (np.count_nonzero(table.body), len(table.names))
    assert table.matrix.dtype == np.float32
    assert len(set(table.names)) == len(table.names)
    assert not np.isinf(table.matrix).any()
    np.testing.assert_array_equal(table.body, mask_of(small_grid(), SHAPES["External"]))


@pytest.mark.parametrize(
    ("name", "place", "expected"),
    [
        ("distance_high", (0, -15, 12), -14.0),
        ("distance_high", (0, 35, 12), 34.0),
        ("distance_SpinalCord", (0, 10, 1), 18.0),
        ("axial_gap_high", (50, 0, 0), 30.0),
        ("axial_gap_high", (0, 60, 0), 0.0),
        ("axial_gap_low", (-50, 0, 0), 18.0),
        ("above_targets_mm", (50, 0, 0), 24.0),
        ("below_targets_mm", (-50, 0, 0), 18.0),
        ("skin_depth_mm", (0, 60, 0), 25.0),
        ("distance_Parotid_nearer", (20, -2, 40), 9.0),
        ("beside_body_middle_mm", (0, 0, -40), 40.0),
        ("behind_body_middle_mm", (0, 20, 0), 20.0),
        ("density", (0, 0, 0), 1.0),
    ],
)
def test_known_lengths(table: FeatureTable, name: str, place: tuple[float, float, float], expected: float) -> None:
    """Within a voxel: the phantom's surfaces fall between voxels of 2.4 x 3.2 x 3.6 mm."""
    assert at(table, small_grid(), name, *place) == pytest.approx(expected, abs=2.5)


def test_prescription_map_and_nearest_level(table: FeatureTable) -> None:
    grid = small_grid()
    assert at(table, grid, "prescribed", 0, -15, 12) == 1.0
    assert at(table, grid, "prescribed", 0, -12, -25) == pytest.approx(0.8)
    assert at(table, grid, "prescribed", 0, 60, 0) == 0.0
    assert at(table, grid, "nearest_prescribed", 0, -12, -70) == pytest.approx(0.8)


def test_areas_are_those_of_the_ellipses(table: FeatureTable) -> None:
    assert at(table, small_grid(), "area_high_cm2", 0, 0, 0) == pytest.approx(np.pi * 1.6 * 1.4, rel=0.1)
    assert at(table, small_grid(), "area_any_cm2", 0, 0, 0) == pytest.approx(np.pi * 2.8 * 4.0, rel=0.05)
    assert at(table, small_grid(), "area_any_cm2", 50, 0, 0) == 0


def test_absent_structures_are_missing_not_far(table: FeatureTable) -> None:
    absent = {name for i, name in enumerate(table.names) if np.isnan(table.matrix[:, i]).all()}
    assert {"distance_middle", "axial_gap_middle", "distance_Larynx"} <= absent
    alone = compute_features(without(patient(small_grid()), "Parotid_R"), small_grid(), SETTINGS)
    assert np.isnan(volume(alone, "distance_Parotid_farther")[alone.body]).all()
    assert np.isfinite(volume(alone, "distance_Parotid_nearer")[alone.body]).all()


def without(case: Case, *names: str) -> Case:
    return replace(case, structures={n: s for n, s in case.structures.items() if n not in names})


def test_a_structure_without_contours_or_voxels_is_absent(table: FeatureTable) -> None:
    case = patient(small_grid())
    grid = small_grid()
    empty = {
        "Larynx": Structure("Larynx", "Larynx", None),
        "SpinalCord": Structure("SpinalCord", "SpinalCord", Volume(grid, np.zeros(grid.shape, np.float32))),
    }
    result = compute_features(replace(case, structures={**case.structures, **empty}), grid, SETTINGS)
    assert np.isnan(volume(result, "distance_SpinalCord")[result.body]).all()
    assert np.isnan(volume(result, "distance_Larynx")[result.body]).all()


def test_nested_and_disjoint_targets_are_the_same(table: FeatureTable) -> None:
    disjoint = compute_features(patient(small_grid(), nested=False), small_grid(), SETTINGS)
    np.testing.assert_array_equal(disjoint.matrix, table.matrix)


def test_a_mirrored_patient_has_the_same_features(table: FeatureTable) -> None:
    """The voxel grid is symmetric about CENTRE; organs keep their side's name, so the shapes swap names too."""
    swap = {"Parotid_L": "Parotid_R", "Parotid_R": "Parotid_L"}
    shapes = {swap.get(name, name): mirrored(ellipse) for name, ellipse in SHAPES.items()}
    other = compute_features(patient(small_grid(), shapes), small_grid(), SETTINGS)
    for name in table.names:
        expected = volume(table, name)[:, :, ::-1]
        np.testing.assert_allclose(volume(other, name), expected, rtol=2e-3, atol=3e-3, err_msg=name)


def test_another_prescription_with_the_same_ratio_has_the_same_features(table: FeatureTable) -> None:
    other = patient(small_grid(), dose_gy={"PTV_7000": 60.0, "PTV_5600": 48.0})
    np.testing.assert_array_equal(compute_features(other, small_grid(), SETTINGS).matrix, table.matrix)


def test_targets_are_known_by_dose_not_by_name(table: FeatureTable) -> None:
    case = patient(small_grid())
    named = {"PTV_7000": "PTV_A", "PTV_5600": "PTV_B"}
    structures = {named.get(n, n): s for n, s in case.structures.items()}
    prescription = replace(case.prescription, dose_gy={"PTV_A": 66.0, "PTV_B": 52.8})
    other = compute_features(replace(case, structures=structures, prescription=prescription), small_grid(), SETTINGS)
    np.testing.assert_array_equal(other.matrix, table.matrix)


def test_a_target_of_the_middle_level_has_its_own_columns() -> None:
    other = compute_features(patient(small_grid(), dose_gy={"PTV_7000": 70, "PTV_5600": 63}), small_grid(), SETTINGS)
    assert np.isfinite(volume(other, "distance_middle")[other.body]).all()
    assert np.isnan(volume(other, "distance_low")[other.body]).all()


def test_contours_and_voxels_agree(table: FeatureTable) -> None:
    drawn = compute_features(patient(small_grid(), as_contours=True), small_grid(), SETTINGS)
    both = drawn.body & table.body
    assert np.count_nonzero(both) > 0.97 * np.count_nonzero(drawn.body | table.body)
    for name in ("distance_high", "distance_low", "distance_SpinalCord", "skin_depth_mm"):
        difference = np.abs(volume(drawn, name) - volume(table, name))[both]
        assert difference.mean() < 0.8, name
    difference = np.abs(volume(drawn, "plan_sparing") - volume(table, "plan_sparing"))[both]
    assert difference.mean() < 0.02


def test_smaller_voxels_and_a_longer_scan_change_little(table: FeatureTable) -> None:
    """The same patient on finer voxels with more air around: what a clinic's own CT does to an OpenKBP patient."""
    fine = centred_grid((98, 110, 88), (1.6, 2.4, 2.4), CENTRE, "1.2.3")
    case = patient(fine, as_contours=True)
    other = compute_features(case, fine, SETTINGS)
    places = [(0, -15, 12), (0, 30, -30), (10, 50, 20), (-40, 0, 0), (40, -20, 40)]
    for name in table.names:
        for place in places:
            before, after = at(table, small_grid(), name, *place), at(other, fine, name, *place)
            length = name.endswith("mm") or name.startswith(("distance", "axial", "in_plane"))
            tolerance = 4.0 if length else 4.0 if name.endswith("cm2") else 0.3 if name == "beam_chord" else 0.06
            assert after == pytest.approx(before, abs=tolerance, nan_ok=True), (name, place)


def test_without_beams_the_other_features_are_unchanged(table: FeatureTable) -> None:
    plain = compute_features(patient(small_grid()), small_grid(), SETTINGS.model_copy(update={"beams": False}))
    assert not [name for name in plain.names if name.startswith(("beam", "plan", "in_beam", "open"))]
    np.testing.assert_array_equal(plain.matrix, table.matrix[:, : len(plain.names)])


def test_angles_of_the_plan_go_before_those_of_the_bundle(table: FeatureTable) -> None:
    from_behind = replace(patient(small_grid()), gantry_angles_deg=(180.0,))
    behind = compute_features(from_behind, small_grid(), SETTINGS)
    grid = small_grid()
    assert at(behind, grid, "open_field", 0, 60, 0) > 1.2 * at(behind, grid, "open_field", 0, -60, 0)
    assert at(table, grid, "open_field", 0, 60, 0) < 1.2 * at(table, grid, "open_field", 0, -60, 0)


def test_no_target_or_no_body_is_refused() -> None:
    grid = small_grid()
    case = patient(grid)
    with pytest.raises(InputError, match="NO_TARGET"):
        compute_features(without(case, "PTV_7000", "PTV_5600"), grid, SETTINGS)
    elsewhere = centred_grid((9, 9, 9), (2.0, 2.0, 2.0), (CENTRE[0] + 55, CENTRE[1], CENTRE[2]), "1.2.3")
    with pytest.raises(InputError, match="NO_TARGET"):
        compute_features(patient(small_grid(), as_contours=True), elsewhere, SETTINGS)
    nothing = replace(case.body, shape=Volume(grid, np.zeros(grid.shape, np.float32)))
    with pytest.raises(InputError, match="NO_BODY"):
        compute_features(replace(case, body=nothing), grid, SETTINGS)


def test_features_of_a_protocol() -> None:
    protocol = load_protocol("head_neck_70")
    found = choose_features(protocol, beams=True, importance={"SpinalCord": 0.3})
    assert found.pairs == (("Parotid_L", "Parotid_R"),)
    assert found.importance == {"SpinalCord": 0.3}
    assert set(found.organs) == {spec.name for spec in protocol.with_role("oar")}
    with pytest.raises(ConfigError, match="Spine: no organ at risk of head_neck_70"):
        choose_features(protocol, beams=True, importance={"Spine": 0.3})
