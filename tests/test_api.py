"""The Python API: what it costs to import, what it gives, and what predict refuses."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vmat_rt
from tests.baseline.patients import patient, small_grid
from vmat_rt.api import dvh, gamma, predict
from vmat_rt.bundle import find_bundle
from vmat_rt.case import Case, Volume
from vmat_rt.dicom.dose import read_dose
from vmat_rt.dicom.write.dose import as_stored
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.prediction import predict_dose
from vmat_rt.report.schema import NOTICE, ReportDocument
from vmat_rt.study.outputs import Outputs
from vmat_rt.study.prediction import Prediction

STUDY = Path(__file__).resolve().parent.parent / "sample_data" / "head_neck_openkbp"
TREES = "head_neck_geometric"


@pytest.fixture(scope="module")
def case() -> Case:
    return patient(small_grid())


@pytest.fixture(scope="module")
def of_case(case: Case) -> Prediction:
    return predict(case, model=TREES)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Prediction:
    """The sample study by the trees, every path as a string."""
    return predict(str(STUDY), str(tmp_path_factory.mktemp("out")), model=TREES, device="cpu")


class TestImport:
    @pytest.mark.parametrize("use", ["vmat_rt", "vmat_rt.__version__", "vmat_rt.InputError", "dir(vmat_rt)"])
    def test_nothing_heavy_is_loaded_before_it_is_used(self, use: str) -> None:
        program = (
            f"import sys, vmat_rt; {use}\n"
            "heavy = {'torch', 'numpy', 'pydicom', 'SimpleITK', 'scipy', 'lightgbm', 'matplotlib', 'pydantic'}\n"
            "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        )
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)

    @pytest.mark.parametrize("name", vmat_rt.__all__)
    def test_every_public_name_is_there(self, name: str) -> None:
        assert getattr(vmat_rt, name) is not None
        assert name in dir(vmat_rt)

    def test_type_checkers_see_what_is_loaded(self) -> None:
        tree = ast.parse(Path(vmat_rt.__file__).read_text(encoding="utf-8"))
        imported = {
            alias.name: str(node.module)
            for branch in tree.body
            if isinstance(branch, ast.If)
            for node in branch.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        assert imported == vmat_rt._HOMES
        assert {*imported, "__version__"} == set(vmat_rt.__all__)

    def test_a_name_that_is_not_there_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'predictt'"):
            vmat_rt.predictt  # type: ignore[attr-defined]  # noqa: B018


class TestPredictOfACase:
    def test_the_dose_is_that_of_the_model(self, case: Case, of_case: Prediction) -> None:
        dose = as_stored(predict_dose(case, find_bundle("head_neck_70", TREES)).dose)
        np.testing.assert_array_equal(of_case.dose_gy, dose.array)
        assert of_case.dose_gy.dtype == np.float32
        assert (of_case.grid, of_case.spacing_mm, of_case.origin_mm) == (
            dose.grid,
            dose.grid.spacing_mm,
            dose.grid.origin_mm,
        )

    def test_it_says_what_it_is_and_what_made_it(self, of_case: Prediction) -> None:
        assert of_case.notice == NOTICE
        assert (of_case.model.name, of_case.model.kind) == (TREES, "geometric")
        assert [problem.code for problem in of_case.problems] == ["OUTSIDE_TRAINING"], (
            "its PTV is smaller than any learned"
        )
        assert NOTICE in repr(of_case)
        assert NOTICE in of_case._repr_html_()

    def test_structures_and_goals_are_at_hand(self, of_case: Prediction) -> None:
        assert set(of_case.shells) == {"PTV_5600"}
        assert set(of_case.dvhs) == {"PTV_7000", "PTV_5600", "SpinalCord", "Parotid_L", "Parotid_R", "External"}
        d95 = of_case.dvhs["PTV_7000"].value("D95%")
        reported = next(entry for entry in of_case.report.predicted.structures if entry.name == "PTV_7000")
        assert d95 == reported.metrics["D95%"]
        cord = next(goal for goal in of_case.goals["quantec"] if goal.structure == "SpinalCord")
        assert cord.value == of_case.dvhs["SpinalCord"].value("Dmax")

    def test_nothing_is_written(self, of_case: Prediction) -> None:
        assert of_case.folder is None
        assert of_case.files == {}
        assert of_case.report.files == {}

    def test_a_report_is_written_and_says_why_there_is_no_dicom(self, case: Case, tmp_path: Path) -> None:
        made = predict(case, str(tmp_path), model=TREES)
        assert made.folder == tmp_path / case.key
        assert {path.name for path in made.folder.iterdir()} == {"report.html", "report.json", "dvh.csv"}
        assert set(made.files.values()) == set(made.folder.iterdir())
        assert [problem.code for problem in made.problems] == ["OUTSIDE_TRAINING", "NO_DICOM_HEADER"]
        stored = ReportDocument.model_validate_json(made.files["report_json"].read_text(encoding="utf-8"))
        assert stored == made.report
        assert stored.problems[-1].code == "NO_DICOM_HEADER"
        assert len(stored.problems) == len(made.problems)

    def test_the_prescription_of_the_caller_goes_before_the_cases(self, case: Case, of_case: Prediction) -> None:
        made = predict(case, model=TREES, prescription_gy={"PTV_7000": 35.0, "PTV_5600": 28.0}, fractions=20)
        np.testing.assert_allclose(2 * made.dose_gy, of_case.dose_gy, rtol=1e-5, atol=1e-5)
        assert made.report.prescription.fractions == 20

    def test_the_clinical_dose_stands_beside(self, case: Case) -> None:
        clinical = Volume(case.ct.grid, np.full(case.ct.grid.shape, 60.0, np.float32))
        made = predict(replace(case, reference_dose=clinical), model=TREES)
        assert made.others == {"clinical": clinical}
        assert made.report.comparison_with_clinical is not None

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"model": "no_such_model"}, "no model is called no_such_model"),
            ({"protocol": "no_such_protocol"}, "no protocol is called no_such_protocol"),
            ({"device": "gpu"}, "no device is called 'gpu'"),
            ({"prescription_gy": {"PTV_7000": -70.0}}, "not a dose between 0 and 200 Gy"),
            ({"prescription_gy": {"PTV_7000": float("nan")}}, "not a dose between 0 and 200 Gy"),
            ({"prescription_gy": {"Rectum": 70.0}}, "'Rectum' is not a target"),
            ({"fractions": 0}, "not a number of fractions"),
            ({"structures_uid": "1.2"}, "for folders of DICOM"),
            ({"outputs": Outputs(bits=32)}, "for folders of DICOM"),
        ],
        ids=lambda value: value if isinstance(value, str) else "-".join(value),
    )
    def test_a_wrong_argument_is_refused(self, case: Case, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            predict(case, **{"model": TREES, **options})

    def test_a_dose_for_a_target_that_is_not_contoured_is_refused(self, case: Case) -> None:
        with pytest.raises(InputError) as refusal:
            predict(case, model=TREES, prescription_gy={"PTV_6300": 63.0})
        assert [problem.code for problem in refusal.value.problems] == ["TARGET_MISSING"]

    @pytest.mark.parametrize("key", ["", "../elsewhere", "a/b", ".hidden", "..", "a\\b"])
    def test_a_key_that_would_leave_the_folder_is_refused(self, case: Case, key: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="the key of a case names the folder"):
            predict(replace(case, key=key), tmp_path / "out", model=TREES)
        assert not any(tmp_path.iterdir())


class TestPredictOfAStudy:
    def test_what_is_on_disk_is_what_is_in_memory(self, written: Prediction) -> None:
        assert set(written.files) == {"rtdose", "rtplan", "report_html", "report_json", "dvh_csv"}
        assert all(path.is_file() for path in written.files.values())
        stored = read_dose(written.files["rtdose"]).volume
        assert stored.grid.same_as(written.grid)
        np.testing.assert_allclose(stored.array, written.dose_gy, atol=written.dose_gy.max() / 2**16)
        text = written.files["report_json"].read_text(encoding="utf-8")
        assert ReportDocument.model_validate_json(text) == written.report

    def test_none_writes_nothing_and_gives_the_same(self, written: Prediction) -> None:
        before = sorted(STUDY.rglob("*"))
        made = predict(STUDY, model=TREES, device="cpu")
        assert made.files == {}
        assert sorted(STUDY.rglob("*")) == before
        np.testing.assert_array_equal(made.dose_gy, written.dose_gy)
        assert made.report.predicted == written.report.predicted

    def test_dvhs_of_the_written_dose_are_those_of_the_prediction(self, written: Prediction) -> None:
        review = dvh(str(STUDY), str(written.files["rtdose"]), "D95%,Dmean")
        of_prediction = dvh(STUDY, written, ["D95%", "Dmean"])
        for name in ("PTV_7000", "Brainstem"):
            value = written.dvhs[name].value("Dmean")
            assert review[name].value("Dmean") == pytest.approx(value, abs=0.01)
            assert of_prediction[name].value("Dmean") == pytest.approx(value, abs=1e-3)
        assert {goal.structure for goal in review.goals["quantec"]} >= {"SpinalCord", "Brainstem"}

    def test_gamma_takes_files_volumes_and_predictions(self, written: Prediction) -> None:
        clinical = STUDY / "RTDOSE.dcm"
        by_file = gamma(str(clinical), written.files["rtdose"], interpolation_mm=1.0)
        by_value = gamma(written.others["clinical"], written, interpolation_mm=1.0)
        assert by_file.points_evaluated == by_value.points_evaluated > 10_000
        assert by_file.pass_rate_percent == pytest.approx(by_value.pass_rate_percent, abs=0.1)

    def test_a_study_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as refusal:
            predict(str(tmp_path / "none"))
        assert refusal.value.problems[0].code == "NO_FOLDER"

    def test_a_plan_file_that_is_not_there_is_a_wrong_argument(self) -> None:
        with pytest.raises(ConfigError, match=r"there is no file none\.dcm"):
            predict(STUDY, model=TREES, outputs=Outputs(plan="none.dcm"))
