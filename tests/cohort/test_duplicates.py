"""Who is one patient: hashes that survive a second export, and chains of evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.cohort.cases import pelvis
from vmat_rt.case import Case, Volume
from vmat_rt.cohort.duplicates import find_shared_images, hash_image, hash_study, join_patients
from vmat_rt.cohort.joining import join_links
from vmat_rt.cohort.record import CaseOrigin, describe


def moved(case: Case) -> Case:
    """The CT elsewhere in another frame, padded otherwise outside and cut at 12 bits, with rounding noise."""
    grid = replace(case.ct.grid, frame_uid="1.2.3", origin_mm=(0.0, 1.0, 2.0))
    hu = np.rint(case.ct.array)
    hu = np.where(hu <= -1000, -2048, hu) + 0.2
    return replace(case, ct=Volume(grid, hu.astype(np.float32)))


def test_an_image_exported_again_is_the_same() -> None:
    case = pelvis()
    whole = replace(case, ct=Volume(case.ct.grid, np.rint(case.ct.array)))
    assert hash_image(moved(whole).ct) == hash_image(whole.ct)


@pytest.mark.parametrize("change", ["voxel", "spacing", "flip"])
def test_another_image_is_another(change: str) -> None:
    ct = pelvis().ct
    array, grid = ct.array.copy(), ct.grid
    if change == "voxel":
        array[5, 40, 50] += 1
    elif change == "spacing":
        grid = replace(grid, spacing_mm=(grid.spacing_mm[0], grid.spacing_mm[1], grid.spacing_mm[2] + 0.02))
    else:
        array = np.ascontiguousarray(array[:, :, ::-1])
    assert hash_image(Volume(grid, array)) != hash_image(ct)


def test_a_study_is_its_dose_structures_and_prescription() -> None:
    case = pelvis()
    image = hash_image(case.ct)
    own = hash_study(case, image)
    assert hash_study(replace(case, key="other", problems=()), image) == own
    dose = case.reference_dose
    assert dose is not None
    rounded = Volume(dose.grid, np.rint(dose.array * 100).astype(np.float32) / 100)
    assert hash_study(replace(case, reference_dose=rounded), image) == own
    hotter = Volume(dose.grid, dose.array * np.float32(1.01))
    fewer = {name: s for name, s in case.structures.items() if name != "Rectum"}
    lower = replace(case.prescription, dose_gy={name: gy - 2 for name, gy in case.prescription.dose_gy.items()})
    others = {
        hash_study(replace(case, reference_dose=hotter), image),
        hash_study(replace(case, reference_dose=None), image),
        hash_study(replace(case, structures=fewer), image),
        hash_study(replace(case, prescription=lower), image),
        hash_study(case, "another image"),
    }
    assert len(others | {own}) == 6


def test_evidence_joins_through_chains_whatever_its_order() -> None:
    links = [("d", "4"), ("a", "1"), ("b", "2"), ("c", "3"), ("b", "1"), ("c", "2"), ("e", "5"), ("e", "4")]
    expected = {"a": "a", "b": "a", "c": "a", "d": "d", "e": "d"}
    for turn in range(len(links)):
        assert join_links(links[turn:] + links[:turn]) == expected


def test_records_of_one_image_share_the_patient() -> None:
    case = pelvis()
    records = [
        describe(case, CaseOrigin(key=f"k{n}", patient=f"p{n}", source="dicom", image_sha256=image))
        for n, image in enumerate(["ab" * 32, "cd" * 32, "ab" * 32, "", ""])
    ]
    assert [record.patient for record in join_patients(records)] == ["p0", "p1", "p0", "p3", "p4"]


def test_only_images_of_several_owners_are_shared() -> None:
    owners = [("i", "k1", "A"), ("i", "k2", "A"), ("j", "k3", "A"), ("j", "k4", "B"), ("", "k5", "A"), ("", "k6", "B")]
    assert find_shared_images(owners) == {"j": frozenset({"k3", "k4"})}
