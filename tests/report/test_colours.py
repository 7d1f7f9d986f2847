"""The order of structures in a report and their colours: targets first and warm, and no two alike while they last."""

from __future__ import annotations

import pytest

from tests.report import synthetic
from vmat_rt.case import Structure
from vmat_rt.protocol import load_protocol
from vmat_rt.report.colours import assign_colours, find_role, list_evaluated_structures, sort_for_report

SIB = load_protocol("prostate_sib_70_56")


def roi(name: str | None, label: str = "") -> Structure:
    return Structure(label or str(name), name, None)


@pytest.mark.parametrize(
    ("name", "role"),
    [("PTV_7000", "target"), ("Rectum", "oar"), ("External", "body"), ("Couch", "other"), (None, "other")],
)
def test_roles_come_from_the_protocol(name: str | None, role: str) -> None:
    assert find_role(name, SIB) == role


def test_targets_fall_by_dose_then_organs_as_the_protocol_lists_them_then_body_then_the_rest() -> None:
    case = synthetic.result().case
    organs = [spec.name for spec in SIB.with_role("oar")]
    wanted = ["PTV_7000", "PTV_5600", *organs, "External", "aa", "zz"]
    shuffled = [roi(None, "zz"), roi("External"), *(roi(name) for name in organs[::-1]), roi(None, "aa")]
    shuffled += [roi("PTV_5600"), roi("PTV_7000")]
    assert [structure.roi_name for structure in sort_for_report(shuffled, case, SIB)] == wanted


def test_the_body_is_evaluated_once_and_last() -> None:
    case = synthetic.result().case
    names = [structure.roi_name for structure in list_evaluated_structures(case, SIB)]
    assert names.count(case.body.roi_name) == 1
    assert names[-1] == case.body.roi_name
    assert set(names) == {s.roi_name for s in case.structures.values()} | {case.body.roi_name}


def test_colours_differ_between_roles_and_repeat_only_when_there_are_no_more() -> None:
    targets = [roi(name) for name in ("PTV_7000", "PTV_5600")]
    organs = [roi(None, f"organ {n}") for n in range(11)]
    colours = assign_colours([*targets, *organs, roi("External")], SIB)
    assert len(set(colours.values())) == 2 + 10 + 1
    assert colours["organ 10"] == colours["organ 0"]
    assert not {colours["PTV_7000"], colours["PTV_5600"]} & {colours[f"organ {n}"] for n in range(11)}
    assert all(len(colour) == 7 and colour.startswith("#") for colour in colours.values())
