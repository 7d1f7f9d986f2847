"""`vmat_rt.dvh`: metrics in closed form, goals where they are known, and what cannot be placed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.baseline.patients import mask_of, patient, small_grid
from tests.external import REPOSITORY
from tests.metrics.doses import GRID, linear, volume
from vmat_rt.api import dvh
from vmat_rt.case import Case, Volume
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.metrics.dvh.convergence import Accuracy

STUDY = REPOSITORY / "sample_data" / "head_neck_openkbp"
SPACING_MM = GRID.spacing_mm


def flat(dose_gy: float) -> np.ndarray:
    return np.full(GRID.shape, dose_gy, np.float32)


@pytest.fixture(scope="module")
def case() -> Case:
    return patient(small_grid())


class TestDvh:
    def test_a_uniform_dose_is_every_metric(self) -> None:
        mask = np.zeros(GRID.shape, bool)
        mask[3:8, 4:10, 5:12] = True
        found = dvh({"box": mask}, flat(42.0), "D95%,Dmean,Dmax", spacing_mm=SPACING_MM)
        assert list(found) == ["box"]
        assert found["box"].volume_cc == pytest.approx(5 * 6 * 7 * np.prod(SPACING_MM) / 1000)
        for metric in ("D95%", "Dmean", "Dmax", "D2%"):
            assert found["box"].value(metric) == pytest.approx(42.0)
        assert "box" in repr(found)
        assert "D95% 42.00" in repr(found)

    def test_a_dose_that_rises_evenly_has_the_metrics_of_a_ramp(self) -> None:
        """From face to face of the box the dose rises by 7 voxels' worth: D_x% lies at 100 - x % of the way."""
        mask = np.zeros(GRID.shape, bool)
        mask[3:8, 4:10, 5:12] = True
        ramp = linear(10.0, (0.0, 0.0, 2.0))
        first, size = GRID.axis_mm(2)[5] - GRID.origin_mm[2] - SPACING_MM[2] / 2, 7 * SPACING_MM[2]
        low, rise = 10.0 + 2.0 * first, 2.0 * size
        found = dvh({"box": mask.astype(float)}, ramp, ("D95%", "D50%", "D2%", "Dmean"))["box"]
        allowed = Accuracy().dose_percent / 100 * (low + rise)
        for metric, share in (("D95%", 0.05), ("D50%", 0.5), ("D2%", 0.98), ("Dmean", 0.5)):
            assert found.value(metric) == pytest.approx(low + share * rise, abs=allowed)

    def test_of_a_case_it_knows_prescription_and_goals(self, case: Case) -> None:
        dose = np.full(case.ct.grid.shape, 66.5, np.float32)
        found = dvh(case, dose, "V95%,D50%")
        assert found["PTV_7000"].value("V95%") == 100
        assert found["PTV_7000"].value("D50%") == pytest.approx(66.5)
        status = {(goal.structure, goal.metric): goal.status for goal in found.goals["quantec"]}
        assert status["SpinalCord", "Dmax"] == "missed"
        other = dvh(case, dose, "V95%", prescription_gy={"PTV_7000": 72.0})
        assert other["PTV_7000"].value("V95%") == 0

    def test_masks_have_goals_where_protocol_and_prescription_are_given(self) -> None:
        mask = np.ones(GRID.shape)
        given: dict[str, Any] = {"protocol": "head_neck_70", "prescription_gy": {"PTV_7000": 70.0}}
        found = dvh({"SpinalCord": mask}, flat(40.0), "Dmax", spacing_mm=SPACING_MM, **given)
        assert {g.status for g in found.goals["quantec"] if g.structure == "SpinalCord"} == {"met"}
        assert dvh({"SpinalCord": mask}, flat(40.0), "Dmax", spacing_mm=SPACING_MM).goals == {}

    @pytest.mark.parametrize(
        ("masks", "dose", "spacing_mm", "message"),
        [
            (np.ones(GRID.shape), flat(1), None, "how large their voxels are"),
            (np.ones(GRID.shape), volume(flat(1)), SPACING_MM, "the grid of a dose is known"),
            (np.ones((2, 2, 2)), flat(1), SPACING_MM, r"the mask 'box' has the shape \(2, 2, 2\)"),
            (np.full(GRID.shape, 2.0), flat(1), SPACING_MM, "not area fractions from 0 to 1"),
            (np.full(GRID.shape, np.nan), flat(1), SPACING_MM, "not area fractions from 0 to 1"),
            (np.ones(GRID.shape), flat(1)[0], SPACING_MM, "three axes"),
            (np.ones(GRID.shape), flat(1), (1.0, 2.0), "three sizes in mm"),
            (np.ones(GRID.shape), flat(1), (1.0, 2.0, 0.0), "three positive sizes"),
            (np.ones(GRID.shape), "none.dcm", None, "there is no file none.dcm"),
            (np.ones(GRID.shape), ["a", "b"], None, "a dose is an RTDOSE file"),
        ],
        ids=range(10),
    )
    def test_what_cannot_be_placed_is_refused(self, masks: Any, dose: Any, spacing_mm: Any, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            dvh({"box": masks}, dose, spacing_mm=spacing_mm)

    def test_a_metric_that_is_none_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="not a dose-volume metric"):
            dvh({"box": np.ones(GRID.shape)}, flat(1), "X95", spacing_mm=SPACING_MM)

    def test_an_array_has_no_place_in_a_study(self) -> None:
        with pytest.raises(ConfigError, match="does not say where its voxels lie"):
            dvh(STUDY, flat(1))
        with pytest.raises(ConfigError, match="grids of their own"):
            dvh(STUDY, STUDY / "RTDOSE.dcm", spacing_mm=SPACING_MM)

    def test_a_dose_of_another_frame_is_refused(self, case: Case) -> None:
        with pytest.raises(InputError) as refusal:
            dvh(case, Volume(replace(GRID, frame_uid="other"), flat(1)))
        assert refusal.value.problems[0].code == "DOSE_FRAME_MISMATCH"


def test_the_body_of_a_case_is_a_structure_of_its_dvhs(case: Case) -> None:
    found = dvh(case, np.full(case.ct.grid.shape, 5.0, np.float32), "Dmean")
    voxels = int(mask_of(case.ct.grid, (0.0, 0.0, 85.0, 75.0, -60.0, 60.0)).sum())
    assert found["External"].volume_cc == pytest.approx(voxels * case.ct.grid.voxel_cc, rel=1e-4)
