"""Which protocol fits the contoured ROIs."""

from __future__ import annotations

import pytest

from vmat_rt.assembly.required import choose_protocol
from vmat_rt.errors import InputError
from vmat_rt.protocol import BeamAngles, Protocol, StructureSpec


def protocol(*specs: StructureSpec, name: str) -> Protocol:
    angles = BeamAngles(step_deg=40, count=9)
    return Protocol(
        schema_version=1, name=name, title=name, site="x", fractions=35, beam_angles=angles, structures=specs
    )


def _spec(name: str, role: str, required: bool = False) -> StructureSpec:
    return StructureSpec.model_validate({"name": name, "role": role, "required": required})


HEAD = protocol(_spec("PTV_7000", "target", True), _spec("Larynx", "oar"), name="head")
PROSTATE = protocol(_spec("PTV_7000", "target", True), _spec("Rectum", "oar"), _spec("Bladder", "oar"), name="prostate")
BOOST = protocol(
    _spec("PTV_7000", "target", True), _spec("PTV_5600", "target", True), _spec("Rectum", "oar"), name="sib"
)


@pytest.mark.parametrize(
    ("rois", "name"),
    [
        (["PTV_7000", "larynx"], "head"),
        (["PTV_7000", "Rectum", "Bladder"], "prostate"),
        (["PTV_7000", "PTV_5600", "Rectum"], "sib"),
        (["PTV_5600", "Rectum"], "sib"),
    ],
)
def test_the_protocol_that_maps_most_is_chosen(rois: list[str], name: str) -> None:
    assert choose_protocol(rois, [HEAD, PROSTATE, BOOST]).name == name


def test_protocols_that_fit_in_part_and_equally_well_are_unclear() -> None:
    other = BOOST.model_copy(update={"name": "other"})
    with pytest.raises(InputError, match="none has all its targets contoured"):
        choose_protocol(["PTV_5600"], [BOOST, other])


@pytest.mark.parametrize(
    ("rois", "code", "text"),
    [
        (["PTV_7000"], "PROTOCOL_UNCLEAR", "head (1 ROIs), prostate (1 ROIs)"),
        (["Rectum", "GTV"], "TARGET_MISSING", "sib: PTV_7000, PTV_5600"),
        ([], "TARGET_MISSING", "head: PTV_7000"),
    ],
)
def test_an_unclear_protocol_is_refused_with_the_candidates(rois: list[str], code: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        choose_protocol(rois, [HEAD, PROSTATE, BOOST])
    (problem,) = caught.value.problems
    assert problem.code == code
    assert text in problem.message
