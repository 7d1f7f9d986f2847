"""Readiness by reference, on headers alone.

Covers vmat_rt_service.intake.catalogue and vmat_rt_service.intake.headers.
"""

from __future__ import annotations

from vmat_rt_service.intake.catalogue import Catalogue, find_nearest
from vmat_rt_service.intake.headers import Header, References
from vmat_rt_service.intake.readiness import Assessment, Ready, Waiting, assess

Z = (-31.5, -28.5, -25.5, -22.5, -19.5)


def ct(number: int, series: str = "s", frame: str = "f", patient: str = "p", sop: str = "") -> Header:
    return Header("CT", sop=sop or f"{series}{number}", series=series, frames=(frame,), patient=patient, z_mm=Z[number])


def structures(references: References, frame: str = "f", patient: str = "p") -> Header:
    return Header("RTSTRUCT", sop="rs", series="rs", frames=(frame,), patient=patient, references=references)


LISTED = References({"s": tuple(f"s{k}" for k in range(5))}, Z[1:4])
PLANES = References({}, Z[1:4])


def study(folder: str = "/in", count: int = 5, references: References = LISTED) -> dict[str, Header]:
    return {f"{folder}/{k}": ct(k) for k in range(count)} | {f"{folder}/rs": structures(references)}


def only(headers: dict[str, Header]) -> Assessment:
    (found,) = assess(Catalogue(headers))
    return found


def test_every_listed_instance_is_here() -> None:
    verdict = only(study()).verdict
    assert verdict == Ready(("/in/rs", "/in/0", "/in/1", "/in/2", "/in/3", "/in/4"), certain=True)


def test_missing_slices_are_counted_and_placed() -> None:
    headers = study()
    del headers["/in/1"], headers["/in/3"]
    verdict = only(headers).verdict
    assert verdict == Waiting("CT_INCOMPLETE", "waiting for 2 of 5 CT slices (z = -28.5, -22.5 mm)")


def test_z_of_a_missing_slice_comes_from_the_contours_that_name_it() -> None:
    headers = study(count=1, references=References(LISTED.images, Z[:2], {"s1": Z[1], "s2": 7.0, "s3": 8.0, "s4": 9.0}))
    verdict = only(headers).verdict
    assert isinstance(verdict, Waiting)
    assert verdict.sentence == "waiting for 4 of 5 CT slices (z = -28.5, 7, 8, 9 mm)"


def test_nothing_of_the_ct_is_here() -> None:
    verdict = only({"/in/rs": structures(LISTED)}).verdict
    assert verdict == Waiting("NO_CT", "waiting for 5 of 5 CT slices")


def test_without_listed_instances_the_contour_planes_decide() -> None:
    headers = study(references=PLANES)
    verdict = only(headers).verdict
    assert isinstance(verdict, Ready)
    assert not verdict.certain
    del headers["/in/2"]
    headers.pop("/in/3")
    assert only(headers).verdict == Waiting("CT_INCOMPLETE", "waiting for 2 of 3 CT slices (z = -25.5, -22.5 mm)")


def test_instances_that_match_nothing_leave_it_to_the_frame() -> None:
    references = References({"other": ("x", "y")}, Z[1:4])
    verdict = only(study(references=references)).verdict
    assert isinstance(verdict, Ready)
    assert not verdict.certain


def test_planes_between_slices_have_their_slice() -> None:
    references = References({}, tuple(z + 1.4 for z in Z[:4]))
    assert isinstance(only(study(references=references)).verdict, Ready)


def test_a_ct_in_another_frame_is_named() -> None:
    headers = {"/in/rs": structures(LISTED, frame="g"), "/in/0": ct(0, series="t")}
    first = assess(Catalogue(headers))[0].verdict
    assert isinstance(first, Waiting)
    assert first.code == "FRAME_MISMATCH"


def test_two_patients_in_one_folder_do_not_mix() -> None:
    headers = study()
    other = {"a": ct(0, "t", "g", "q"), "b": ct(1, "t", "g", "q")}
    headers |= {f"/in/{name}": header for name, header in other.items()}
    headers["/in/rs2"] = Header(
        "RTSTRUCT", sop="r2", series="r2", frames=("g",), patient="q", references=References({"t": ("t0", "t1", "t2")})
    )
    first, second = assess(Catalogue(headers))
    assert isinstance(first.verdict, Ready)
    assert set(first.verdict.files) == set(study())
    assert isinstance(second.verdict, Waiting)
    assert second.verdict.sentence.startswith("waiting for 1 of 3 CT slices")


def test_of_two_copies_the_nearer_is_taken_and_each_is_a_group() -> None:
    found = assess(Catalogue(study("/in/a") | study("/in/b/deep")))
    assert [set(a.verdict.files) for a in found if isinstance(a.verdict, Ready)] == [
        set(study("/in/a")),
        set(study("/in/b/deep")),
    ]
    assert find_nearest(["/in/a/1", "/in/ab/1"], "/in/ab/rs") == "/in/ab/1"


def test_plans_and_doses_of_the_study_come_along() -> None:
    headers = study() | {
        "/in/own": Header("RTPLAN", sop="pl", patient="p", refers="rs"),
        "/in/foreign": Header("RTPLAN", sop="pm", patient="p", refers="another"),
        "/in/unlinked": Header("RTPLAN", sop="pn", patient="p"),
        "/in/dose": Header("RTDOSE", sop="d", patient="p", frames=("f",), refers="pl"),
        "/in/elsewhere": Header("RTDOSE", sop="e", patient="p", frames=("g",)),
    }
    verdict = only(headers).verdict
    assert isinstance(verdict, Ready)
    assert set(verdict.files) - set(study()) == {"/in/own", "/in/unlinked", "/in/dose"}


def test_what_is_cut_off_is_not_certain_but_goes_to_be_refused() -> None:
    headers = study()
    headers["/in/2"] = Header("CT", whole=False, sop="s2", series="s", frames=("f",), patient="p")
    assert isinstance(verdict := only(headers).verdict, Ready)
    assert not verdict.certain
    headers["/in/2"] = Header("damaged", whole=False)
    assert isinstance(verdict := only(headers).verdict, Ready)
    assert "/in/2" in verdict.files


def test_ct_alone_waits_for_its_rtstruct() -> None:
    headers = study()
    del headers["/in/rs"]
    assert only(headers).verdict == Waiting("NO_STRUCTURES", "waiting for the RTSTRUCT of 5 CT slices")


def test_files_that_may_not_be_read_wait() -> None:
    verdict = only({"/in/x": Header("unreadable", whole=False)}).verdict
    assert isinstance(verdict, Waiting)
    assert verdict.code == "UNREADABLE"
