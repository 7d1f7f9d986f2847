"""What is said of a cohort: against the cases themselves, and outliers in closed form.

Covers vmat_rt.curation.info.describe, vmat_rt.curation.info.outliers, vmat_rt.curation.info.ranges,
vmat_rt.curation.info.survey and vmat_rt.curation.info.text.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.cohort.cases import SETTINGS, ellipse, pelvis
from tests.system.workers import Deadly
from vmat_rt.case import Case, Structure, Volume
from vmat_rt.cohort.record import CaseOrigin, describe
from vmat_rt.cohort.settings import Provenance
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.info.describe import CohortInfo, _survey_cases, describe_cohort, summarise_values
from vmat_rt.curation.info.outliers import FEWEST, CaseQuantity, find_outliers
from vmat_rt.curation.info.ranges import tabulate_ranges
from vmat_rt.curation.info.survey import SurveyTask
from vmat_rt.curation.info.text import as_text
from vmat_rt.curation.intake.refusals import Refusal, write_refusals
from vmat_rt.errors import ConfigError, Problem
from vmat_rt.geometry.rasterize import structure_fraction, volume_cc
from vmat_rt.metrics.dvh.compute import compute_dvh
from vmat_rt.protocol import load_protocol

CASES = 9


def cases() -> list[Case]:
    """Eight much alike, one that is single level, without a bladder, and whose dose misses the target."""
    vesicles = Structure("sv", "SeminalVes", ellipse("PTV_5600"))
    shifts_mm = [*(0.3 * i for i in range(CASES - 1)), 25.0]
    *alike, odd = (
        replace(case, structures={**case.structures, "SeminalVes": vesicles}) for case in map(pelvis, shifts_mm)
    )
    kept = {name: s for name, s in odd.structures.items() if name not in {"PTV_5600", "Bladder"}}
    return [*alike, replace(odd, structures=kept, protocol_name="prostate_70_28")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("info")
    real = Provenance(data="clinic", licence="none", simulated=False, command="vmat-rt cohort add")
    cohort = Cohort.create(root / "cohort", SETTINGS.model_copy(update={"provenance": real}))
    for i, case in enumerate(cases()):
        flags = ("hip_prosthesis",) if i == 3 else ()
        origin = CaseOrigin(key=f"c{i}", patient=f"p{i // 2}", source="dicom", flags=flags, nodal=i == 2)
        cohort.add(case, describe(case, origin, codes=("VOLUME_UNUSUAL",) if i < 2 else ()))
    no_dose, twice = Problem("NO_DOSE", "m", "r"), Problem("DOSE_SCALE", "m", "r")
    write_refusals(cohort.place, {"k1": Refusal("k1", (no_dose,)), "k2": Refusal("k2", (no_dose, twice))})
    return root


@pytest.fixture(scope="module")
def info(folder: Path) -> CohortInfo:
    return describe_cohort(Cohort.open(folder / "cohort"), folder / "out", workers=2, progress=False)


def test_counts(info: CohortInfo) -> None:
    document = info.document()
    assert document["counts"] == {
        "cases": 9, "patients": 5, "with_dose": 9, "sib": 8, "single_level": 1, "nodal": 1, "flagged": 1, "refused": 3,
        "damaged": 0,
    }  # fmt: skip
    assert document["refused"] == {"NO_DOSE": 2, "DOSE_SCALE": 1}
    assert document["warnings"]["VOLUME_UNUSUAL"] == 2
    assert document["flags"] == {"hip_prosthesis": 1}
    assert document["simulated"] is False
    json.dumps(document, allow_nan=False)


def test_volumes_are_those_of_the_structures_as_read(info: CohortInfo) -> None:
    whole = volume_cc(cases()[0].structures["Bladder"])
    assert info.volumes()["Bladder"] == pytest.approx(summarise_values([whole] * 8), rel=1e-4)
    assert info.volumes()["Rectum"]["n"] == 9


def test_dose_statistics_are_those_of_the_stored_cases(info: CohortInfo, folder: Path) -> None:
    cohort = Cohort.open(folder / "cohort")
    d95 = []
    for record in cohort.records():
        case = cohort.read(record.key)
        assert case.reference_dose is not None
        d95.append(compute_dvh(case.structures["PTV_7000"], case.reference_dose).value("D95%"))
    found = info.dvh()["PTV_7000"]["D95%"]
    assert found["unit"] == "Gy"
    assert found["n"] == 9
    assert found["median"] == pytest.approx(np.median(d95), abs=0.2)  # type: ignore[arg-type]
    assert found["lowest"] == pytest.approx(min(d95), abs=0.2)  # type: ignore[type-var]
    assert info.dvh()["PTV_5600"]["D95%"]["n"] == 8


def test_overlaps_are_parts_of_the_organ(info: CohortInfo) -> None:
    case = cases()[0]
    vesicles, target = (structure_fraction(case.structures[n], case.ct.grid) for n in ("SeminalVes", "PTV_7000"))
    expected = 100 * np.minimum(vesicles, target).sum() / vesicles.sum()
    assert 30 < expected < 60
    assert info.overlaps()["SeminalVes"]["median"] == pytest.approx(expected, abs=2.5)  # of its own grid
    assert info.overlaps()["Rectum"]["highest"] == 0.0


def test_every_goal_has_a_verdict_for_every_case_that_it_concerns(info: CohortInfo) -> None:
    for goal in info.goals():
        total = sum(goal[key] for key in ("met", "missed", "vacuous", "not_evaluable"))
        # The single-level case follows a protocol that does not ask about PTV_5600.
        assert total in (8, 9), goal
    (v50,) = (g for g in info.goals() if g["goal_set"] == "quantec" and g["goal"].startswith("Rectum V50Gy"))
    assert v50["met"] + v50["missed"] == 9


def test_the_odd_case_is_an_outlier_with_its_reason(info: CohortInfo) -> None:
    (d95,) = (o for o in info.outliers if o.quantity == "D95% of PTV_7000")
    assert d95.key == "c8"
    assert d95.z < -3.5
    assert "Gy" in d95.sentence
    assert "below" in d95.sentence
    assert {outlier.key for outlier in info.outliers} == {"c8"}


def test_pictures_and_text(info: CohortInfo, folder: Path) -> None:
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["contact_sheet_1.png", "dvh_fan.png"]
    text = as_text(info)
    assert text.startswith("Cohort pelvis: 9 cases of 5 patients")
    assert "SIMULATED" not in text
    assert "c8: D95% of PTV_7000" in text
    assert "2 NO_DOSE" in text
    assert "Smith" not in text


def test_clinical_ranges_take_the_hotter_femoral_head() -> None:
    protocol = load_protocol("prostate_sib_70_56")
    heads = [{"Femur_Head_L": {"Dmax": 20.0 + i}, "Femur_Head_R": {"Dmax": 40.0 - i}} for i in range(5)]
    (row,) = tabulate_ranges(heads, protocol)
    assert (row.quantity, row.median, row.within) == ("Femoral head maximum", 38.0, True)
    (cold,) = tabulate_ranges([{"Femur_Head_L": {"Dmax": 2.0}}], protocol)
    assert not cold.within
    assert tabulate_ranges(heads, load_protocol("head_neck_70")) == ()


def test_clinical_ranges_say_what_lies_outside(info: CohortInfo) -> None:
    rows = {row.quantity: row for row in info.ranges}
    assert rows["Rectum V50"].n == 9
    for row in rows.values():
        assert row.low is not None
        assert row.high is not None
        assert row.within == (row.low <= row.median <= row.high)
    assert "Femoral head maximum" not in rows  # no case has one


def test_a_damaged_case_is_told_of_and_a_simulated_cohort_says_so(tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path / "c", SETTINGS)
    for key in ("a", "b"):
        case = pelvis()
        cohort.add(case, describe(case, CaseOrigin(key=key, patient=key, source="simulated")))
    chunk = next(path for path in (tmp_path / "c" / "cases" / "a.zarr" / "ct" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-9])
    found = describe_cohort(cohort, None, workers=1, progress=False)
    assert found.counts["damaged"] == 1
    assert [problem["code"] for problem in found.document()["problems"]] == ["CASE_DAMAGED"]
    assert found.dvh()["PTV_7000"]["D95%"]["n"] == 1
    assert "(SIMULATED)" in as_text(found)
    assert found.outliers == ()


def test_a_case_that_kills_its_worker_is_one_that_could_not_be_read(folder: Path) -> None:
    uri = str(folder / "cohort")
    tasks = [SurveyTask(uri, "c0", 10, False), SurveyTask(Deadly(), "c1", 10, False), SurveyTask(uri, "c2", 10, False)]  # type: ignore[arg-type]
    surveys = _survey_cases(tasks, workers=2, progress=False)
    assert [survey.key for survey in surveys] == ["c0", "c1", "c2"]
    assert [survey.problem and survey.problem.code for survey in surveys] == [None, "WORKER_DIED", None]
    assert surveys[1].problem is not None
    assert "Case c1" in surveys[1].problem.message
    assert surveys[2].metrics


def test_a_case_without_dose_and_an_empty_cohort(tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path / "c", SETTINGS)
    assert describe_cohort(cohort, tmp_path / "none", progress=False).counts["cases"] == 0
    assert list((tmp_path / "none").iterdir()) == []
    case = replace(pelvis(), reference_dose=None)
    cohort.add(case, describe(case, CaseOrigin(key="a", patient="a", source="dicom")))
    found = describe_cohort(cohort, tmp_path / "out", progress=False)
    assert found.counts["with_dose"] == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["contact_sheet_1.png"]
    assert json.loads(json.dumps(found.document()))["dvh"] == {}
    with pytest.raises(ConfigError):
        describe_cohort(cohort, None, workers=0)


def quantity(values: list[float], scale: str = "linear", least: float = 0.01) -> CaseQuantity:
    return CaseQuantity("x", "cc", scale, least, {f"k{i}": v for i, v in enumerate(values)})  # type: ignore[arg-type]


def test_modified_z_scores_in_closed_form() -> None:
    """Median 5, MAD 2: 17 lies 0.6745 * 12 / 2 = 4.05 away, 15 only 3.37."""
    values = [1.0, 3.0, 3.0, 5.0, 5.0, 7.0, 7.0, 15.0, 17.0]
    deviations = np.abs(np.array(values) - 5.0)
    assert (np.median(values), np.median(deviations)) == (5.0, 2.0)
    (outlier,) = find_outliers([quantity(values)])
    assert (outlier.key, outlier.value, outlier.median) == ("k8", 17.0, 5.0)
    assert outlier.z == pytest.approx(0.6745 * 12 / 2)


def test_volumes_are_judged_by_their_ratio() -> None:
    """A tenth is as far as tenfold; on a linear scale it would not be seen."""
    values = [90.0, 95.0, 97.0, 100.0, 100.0, 103.0, 105.0, 111.0, 10.0, 1000.0]
    found = {outlier.key: outlier.z for outlier in find_outliers([quantity(values, "logarithmic", 0.05)])}
    assert set(found) == {"k8", "k9"}
    assert found["k8"] == pytest.approx(-found["k9"], rel=0.02)


def test_near_equal_values_and_few_cases_make_no_outliers() -> None:
    assert find_outliers([quantity([70.0] * 9 + [70.1], least=0.3)]) == ()
    assert find_outliers([quantity([1.0] * (FEWEST - 2) + [99.0])]) == ()
    assert len(find_outliers([quantity([1.0] * (FEWEST - 1) + [99.0])])) == 1


def test_statistics_of_a_hundred_and_one() -> None:
    expected = {"n": 101, "median": 50.0, "p10": 10.0, "p90": 90.0, "lowest": 0.0, "highest": 100.0}
    assert summarise_values([float(i) for i in range(101)]) == expected


def test_structures_of_volumes_only(tmp_path: Path) -> None:
    """Voxels as OpenKBP has them, and a structure that no case but one has."""
    case = pelvis()
    mask = np.zeros(case.ct.grid.shape, np.float32)
    mask[10:14, 40:50, 40:60] = 1.0
    bulb = Structure("b", "PenileBulb", Volume(case.ct.grid, mask))
    cohort = Cohort.create(tmp_path / "c", SETTINGS)
    for key, one in (("a", case), ("b", replace(case, structures={**case.structures, "PenileBulb": bulb}))):
        cohort.add(one, describe(one, CaseOrigin(key=key, patient=key, source="dicom")))
    found = describe_cohort(cohort, None, progress=False)
    assert found.volumes()["PenileBulb"]["n"] == 1
    assert found.dvh()["PenileBulb"]["Dmean"]["n"] == 1
