"""What the viewer is given: voxels within their steps, structures where they are, places in the full dose.

Covers vmat_rt.report.web.places.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.report import synthetic
from vmat_rt.case import Case, Structure, Volume
from vmat_rt.geometry.rasterize import volume_cc
from vmat_rt.grid import Grid
from vmat_rt.report.colours import assign_colours, list_evaluated_structures
from vmat_rt.report.document import build_report_document
from vmat_rt.report.result import CaseResult
from vmat_rt.report.web import scene
from vmat_rt.report.web.packing import Packed, unpack_codes
from vmat_rt.report.web.places import find_places
from vmat_rt.report.web.scene import Scene, build_scene, choose_grid, pack_ct, pack_dose, pack_structure
from vmat_rt.report.web.titles import title_doses


def build(result: CaseResult) -> Scene:
    colours = assign_colours(list_evaluated_structures(result.case, result.protocol), result.protocol)
    return build_scene(result, build_report_document(result, {}), colours, title_doses(result), None)


def values_of(packed: Packed) -> np.ndarray:
    codes = unpack_codes(packed)
    return np.where(codes == 0, np.nan, packed.lowest + (codes.astype(np.float64) - 1) * packed.step)


def test_the_scene_holds_all_doses_and_structures(result: CaseResult) -> None:
    made = build(result)
    json.dumps(made.description, allow_nan=False)
    assert [dose["title"] for dose in made.description["doses"]] == ["Predicted", "Geometric baseline", "Clinical"]
    assert [s["name"] for s in made.description["structures"]] == [
        s.name for s in list_evaluated_structures(result.case, result.protocol)
    ]
    places = [entry["data"] for key in ("doses", "structures") for entry in made.description[key]]
    assert {made.description["ct"]["data"], *places} == set(made.volumes)
    assert "10 bits" in made.description["note"]
    assert "full dose" in made.description["note"]


def test_a_dose_that_fits_keeps_its_own_voxels(result: CaseResult) -> None:
    dose = result.predicted.dose
    packed = pack_dose(result.predicted, result.case, 73.0)
    assert packed.grid.spacing_mm == dose.grid.spacing_mm
    start = np.rint(dose.grid.index_of(np.array(packed.grid.origin_mm))).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(start, packed.grid.shape, strict=True))
    assert np.abs(values_of(packed) - dose.array[box]).max() <= 73.0 / 1023 / 2 * 1.001
    outside = dose.array.copy()
    outside[box] = 0
    assert outside.max() == 0, "nothing but what lies beyond the patient is left out"


def test_a_dose_of_too_many_voxels_is_stored_in_larger_ones(
    result: CaseResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene, "MOST_DOSE_VOXELS", 20_000)
    packed = pack_dose(result.predicted, result.case, 73.0)
    assert np.prod(packed.grid.shape) <= 20_000
    assert packed.grid.spacing_mm[0] > 4.0
    spread = np.ptp(np.divide(packed.grid.spacing_mm, result.predicted.dose.grid.spacing_mm))
    assert spread == pytest.approx(0)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((120, 512, 512), (3.0, 0.9, 0.8)), ((600, 512, 512), (1.0, 1.2, 1.2)), ((200, 512, 512), (3.0, 0.7, 0.7)),
     ((40, 70, 104), (4.0, 3.0, 3.3)), ((1, 64, 64), (5.0, 3.0, 3.0))],
)  # fmt: skip
def test_the_ct_is_at_least_2_mm_coarse_and_never_too_large(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    source = Grid(shape, spacing, (-100.0, -200.0, -300.0), "")
    grid = choose_grid(source, source.bounds_mm, scene.MOST_CT_VOXELS)
    assert np.prod(grid.shape) <= scene.MOST_CT_VOXELS * 1.001
    assert min(grid.spacing_mm) >= 2.0
    for low, high, first, last in zip(*grid.bounds_mm, *source.bounds_mm, strict=True):
        assert first - 1e-6 <= low
        assert high <= last + 1e-6
        assert high - low > (last - first) - 3 * max(grid.spacing_mm)
    if grid.spacing_mm[0] == spacing[0]:
        assert (grid.origin_mm[0] - source.origin_mm[0]) / spacing[0] % 1 == pytest.approx(0, abs=1e-9)


def test_the_ct_comes_back_to_within_its_step(result: CaseResult) -> None:
    packed = pack_ct(result.case, result.predicted.dose.grid)
    assert packed.grid.spacing_mm == result.case.ct.grid.spacing_mm, "it is coarser than 2 mm already"
    start = np.rint(result.case.ct.grid.index_of(np.array(packed.grid.origin_mm))).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(start, packed.grid.shape, strict=True))
    held = np.clip(result.case.ct.array[box], *scene.CT_RANGE_HU)
    assert np.abs(values_of(packed) - held).max() <= scene.CT_STEP_HU / 2 * 1.001


def test_a_structure_is_where_it_is(result: CaseResult) -> None:
    grid = pack_ct(result.case, result.predicted.dose.grid).grid
    packed = pack_structure(result.case.structures["Bladder"], grid)
    assert packed is not None
    inside = values_of(packed)
    assert np.isin(np.unique(inside), np.arange(17) / 16).all()
    centre = np.add(synthetic.CENTRE, synthetic.ELLIPSOIDS["Bladder"][0])
    z, y, x = np.rint(packed.grid.index_of(np.array(centre))).astype(int)
    assert inside[z, y, x] == 1
    volume = float(inside.sum()) * packed.grid.voxel_cc
    assert volume == pytest.approx(volume_cc(result.case.structures["Bladder"]), rel=0.03)


@pytest.mark.parametrize(
    "shape", [None, Volume(Grid((1, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), ""), np.zeros((1, 1, 1), np.float32))]
)
def test_an_empty_structure_has_no_voxels(shape: Volume | None, result: CaseResult) -> None:
    assert pack_structure(Structure("empty", None, shape), result.case.ct.grid) is None


def test_the_hottest_voxel_is_that_of_the_full_dose(result: CaseResult) -> None:
    grid = result.predicted.dose.grid
    array = result.predicted.dose.array.copy()
    array[7, 11, 13] = 91.25
    hot = replace(result, predicted=replace(result.predicted, dose=Volume(grid, array)))
    place = find_places(hot, build_report_document(result, {}), title_doses(hot))[0]
    assert place.at_mm == pytest.approx((grid.axis_mm(0)[7], grid.axis_mm(1)[11], grid.axis_mm(2)[13]))
    assert place.text == "91.25 Gy predicted"


def test_the_worst_goal_leads_to_where_it_is_violated(result: CaseResult) -> None:
    document = build_report_document(result, {})
    goal = document.predicted.goals[0].model_copy(
        update={"structure": "Bladder", "judged_on": "Bladder", "status": "missed", "comparison": "<", "value": 60.0,
                "limit_evaluated": 20.0, "metric_evaluated": "Dmax", "unit_evaluated": "Gy"}
    )  # fmt: skip
    missed = document.model_copy(update={"predicted": document.predicted.model_copy(update={"goals": [goal]})})
    place = next(p for p in find_places(result, missed, title_doses(result)) if p.kind == "goal")
    assert place.text == "Bladder Dmax: 40.0 Gy over the limit"
    offset = np.subtract(place.at_mm, np.add(synthetic.CENTRE, synthetic.ELLIPSOIDS["Bladder"][0]))
    assert np.linalg.norm(offset / synthetic.ELLIPSOIDS["Bladder"][1]) <= 1.1
    assert place.at_mm[0] < synthetic.CENTRE[0] + 46, "its lower end is nearest to the target"


def test_the_largest_difference_is_against_the_reference_in_the_body(result: CaseResult) -> None:
    clinical = result.other("clinical")
    assert clinical is not None
    array = clinical.dose.array.copy()
    array[18, 30, 45] += 30
    moved = replace(clinical, dose=Volume(clinical.dose.grid, array))
    changed = replace(result, others=(result.others[0], moved))
    place = next(
        p
        for p in find_places(changed, build_report_document(result, {}), title_doses(result))
        if p.kind == "difference"
    )
    there = [clinical.dose.grid.axis_mm(axis)[i] for axis, i in enumerate((18, 30, 45))]
    assert np.abs(np.subtract(place.at_mm, there)).max() <= 4.0
    assert place.text.startswith("−")
    assert place.text.endswith(" Gy against clinical")


def test_without_another_dose_there_is_no_difference_to_show() -> None:
    alone = synthetic.result()
    kinds = [place.kind for place in find_places(alone, build_report_document(alone, {}), title_doses(alone))]
    assert "difference" not in kinds


def test_a_case_without_targets_on_the_grid_still_has_a_start(result: CaseResult) -> None:
    case: Case = replace(result.case, structures={})
    assert len(build(replace(result, case=case)).description["start"]) == 3
