"""ROI names as clinics write them, and the TG-263 names that they get."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmat_rt.errors import ConfigError
from vmat_rt.naming import alias_table, find_agreed_names, fold, map_names, propose_aliases
from vmat_rt.protocol import StructureSpec, load_protocol

SIB = load_protocol("prostate_sib_70_56")
HEAD_NECK = load_protocol("head_neck_70")


@pytest.mark.parametrize("name", ["PTV_7000", "ptv 7000", "PTV-7000", "Ptv.7000", "PTV(7000)", "ptv__7000 "])
def test_case_and_separators_fold(name: str) -> None:
    assert fold(name) == "ptv7000"


@given(st.sampled_from(sorted(alias_table(SIB))), st.sampled_from([" ", "_", "-", "."]), st.integers(0, 40))
def test_separators_anywhere_do_not_matter(alias: str, separator: str, place: int) -> None:
    spelled = alias[:place].upper() + separator + alias[place:]
    assert map_names([spelled], SIB).names[spelled] == alias_table(SIB)[alias]


@pytest.mark.parametrize(
    ("roi", "name"),
    [
        ("Blase", "Bladder"),
        ("VESSIE", "Bladder"),
        ("Rektum", "Rectum"),
        ("Hüftkopf li.", "Femur_Head_L"),
        ("Tête fémorale droite", "Femur_Head_R"),
        ("Femoral Head, Left", "Femur_Head_L"),
        ("PTV 70 Gy", "PTV_7000"),
        ("PTV70.00Gy", "PTV_7000"),
        ("PTV_50.4", "PTV_5040"),
        ("BODY", "External"),
        ("Außenkontur", "External"),
    ],
)
def test_clinical_names(roi: str, name: str) -> None:
    assert map_names([roi], SIB).names[roi] == name


@pytest.mark.parametrize(
    "roi",
    [
        "Skin",
        "Rectum_PRV",
        "PTV70-Rectum",
        "zRectum",
        "Bladder wall",
        "Bowel",
        "CTV_7000",
        "PTV",
        "PTV50",
        "Femur_L",
        "",
        "_",
    ],
)
def test_look_alikes_are_not_mapped(roi: str) -> None:
    assert map_names([roi], SIB).names[roi] is None


@pytest.mark.parametrize("roi", ["SpinalCord_PRV", "Spinal Canal", "Brainstem PRV 3mm", "Parotids", "Submandibular_L"])
def test_planning_volumes_are_not_organs(roi: str) -> None:
    assert map_names([roi], HEAD_NECK).names[roi] is None


def test_two_rois_of_one_name_are_named() -> None:
    found = map_names(["Blase", "Rectum", "BLADDER"], SIB)
    (problem,) = found.problems
    assert problem.code == "TWO_ROIS_ONE_NAME"
    assert "'Blase'" in problem.message
    assert "'BLADDER'" in problem.message
    assert problem.remedy


def test_one_roi_each_is_no_problem() -> None:
    assert map_names(["Blase", "Rectum", "couch"], SIB).problems == ()


def test_an_alias_of_two_structures_is_refused() -> None:
    specs = [s.model_copy(update={"aliases": (*s.aliases, "Tube")}) for s in SIB.structures[:2]]
    with pytest.raises(ConfigError, match="'Tube' stands for both"):
        alias_table(SIB.model_copy(update={"structures": tuple(specs)}))


def test_proposals_are_guesses_for_what_is_unmapped() -> None:
    proposals = propose_aliases(["Rectumm", "Bladdr", "Couch surface"], SIB)
    assert proposals == {"Rectumm": "Rectum", "Bladdr": "Bladder"}
    assert map_names(["Rectumm"], SIB).names == {"Rectumm": None}


def test_names_on_which_protocols_agree() -> None:
    """An ROI that one protocol knows gets its name; one that two protocols call differently gets none."""
    spec = StructureSpec(name="Parotid_L", role="oar", aliases=("par li", "gland"))
    other = StructureSpec(name="Parotid_R", role="oar", aliases=("gland",))
    first, second = (load_protocol("head_neck_70").model_copy(update={"structures": (one,)}) for one in (spec, other))
    found = find_agreed_names(["PAR-LI", "Gland", "parotid r", "heart"], [first, second])
    assert found == {"PAR-LI": "Parotid_L", "parotid r": "Parotid_R"}


def test_a_target_of_another_dose_is_not_proposed() -> None:
    proposals = propose_aliases(["PTV 60", "PTV 5600 x", "xPTV70"], SIB)
    assert "PTV 60" not in proposals
    assert proposals["PTV 5600 x"] == "PTV_5600"
    assert proposals["xPTV70"] == "PTV_7000"
