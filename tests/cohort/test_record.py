"""What a record says of a case, and what it refuses to say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.cohort.cases import CENTRE, FRAME, IDENTITY, SETTINGS, ellipse, pelvis, record_of
from vmat_rt.case import Case, ContourPlane, Contours, Prescription, Structure
from vmat_rt.cohort.record import CaseOrigin, CaseRecord, describe, prescription_source
from vmat_rt.cohort.settings import Provenance


def origin(**changes: Any) -> CaseOrigin:
    return CaseOrigin(**{"key": "c1", "patient": "p1", "source": "dicom", **changes})


def test_a_record_holds_what_the_case_says() -> None:
    record = record_of(pelvis())
    assert (record.plan_type, record.nodal, record.fractions) == ("sib", False, 28)
    assert record.prescription == {"PTV_7000": 70.0, "PTV_5600": 56.0}
    assert record.gantry_angles_deg == (0.0, 51.5, 200.25)
    assert record.problems == ("FOREIGN_FILES",)


def test_volumes_are_the_closed_form() -> None:
    """Ellipses of 70 corners, 45 mm high: polygon area times height."""
    corners = 35 * np.sin(2 * np.pi / 70)
    record = record_of(pelvis())
    assert record.volumes_cc["PTV_7000"] == pytest.approx(corners * 21 * 25 * 45 / 1000, rel=1e-4)
    assert record.target_volume_cc == record.volumes_cc["PTV_5600"]


def test_nothing_of_the_identity_passes() -> None:
    text = record_of(pelvis()).model_dump_json().casefold()
    assert not [word for word in IDENTITY if word.casefold() in text]


def test_it_comes_back_from_json_as_it_was() -> None:
    record = record_of(pelvis())
    again = CaseRecord.model_validate_json(record.model_dump_json())
    assert again == record
    assert list(again.prescription) == list(record.prescription)
    assert again.prescribed().dose_gy == record.prescription


@pytest.mark.parametrize(
    ("found", "stored"),
    [
        ("plan", "plan"),
        ("plan, protocol default", "mixed"),
        ("protocol default (fractions: plan)", "protocol default"),
        ("OpenKBP", "OpenKBP"),
        ("SIMULATED", "SIMULATED"),
        ("plan of Dr Brown", "other"),
        ("", "other"),
    ],
)
def test_the_source_of_a_prescription_is_one_of_a_few_words(found: str, stored: str) -> None:
    assert prescription_source(found) == stored


@pytest.mark.parametrize(("reach_mm", "nodal"), [(44.0, False), (46.0, True)])
def test_a_target_that_reaches_up_holds_nodes(reach_mm: float, nodal: bool) -> None:
    case = pelvis()
    prime = case.structures["PTV_7000"]
    assert isinstance(prime.shape, Contours)
    top = CENTRE[0] + 21.0
    square = np.array([[0.0, 0.0], [0.0, 30.0], [30.0, 30.0], [30.0, 0.0]])
    planes = tuple(ContourPlane(float(z), (square,)) for z in np.arange(top + reach_mm - 0.5, top, -1.0)[::-1])
    low = Structure("low", "PTV_5600", Contours(planes, 1.0, FRAME))
    case = replace(case, structures={"PTV_7000": prime, "PTV_5600": low})
    assert describe(case, origin()).nodal is nodal
    assert describe(case, origin(nodal=not nodal)).nodal is not nodal


def test_one_level_is_no_boost() -> None:
    case = pelvis()
    only = {name: s for name, s in case.structures.items() if name != "PTV_5600"}
    case = replace(case, structures=only, prescription=Prescription({"PTV_7000": 70.0}, 28, "plan"))
    assert describe(case, origin()).plan_type == "single_level"


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "1.2.840.113619.2.55"},
        {"key": "../../etc"},
        {"patient": "John Smith"},
        {"flags": ("Hip of Mr Smith",)},
        {"provenance": {"series": "1.2.840.113619.2.55.3"}},
        {"provenance": {"scanned": "2024-03-17"}},
        {"provenance": {"scanned": "20240317"}},
        {"provenance": {"folder": "/data/hospital"}},
        {"provenance": {"folder": "C:\\patients"}},
        {"source": "eclipse"},
        {"doctor": "Brown"},
    ],
)
def test_what_could_lead_to_a_person_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        origin(**changes)


@pytest.mark.parametrize("value", ["0.1.0+dirty", "numpy 2.3.1", "PTV 70 Gy in 28", 20260101, 1.5])
def test_versions_seeds_and_numbers_are_allowed(value: str | float) -> None:
    assert origin(provenance={"what": value}).provenance["what"] == value


@pytest.mark.parametrize("command", ["vmat-rt cohort add /data/hospital", "vmat-rt cohort add ~/x", "of 2024-01-31"])
def test_settings_name_no_place_or_day(command: str) -> None:
    with pytest.raises(ValidationError):
        Provenance(data="x", licence="y", simulated=False, command=command)
    assert SETTINGS.provenance.command.startswith("vmat-rt")


def test_structures_are_named_by_protocol_only() -> None:
    case: Case = pelvis()
    case = replace(case, structures={**case.structures, "PTV Smith": Structure("x", "PTV Smith", ellipse("Rectum"))})
    with pytest.raises(ValidationError):
        describe(case, origin())
