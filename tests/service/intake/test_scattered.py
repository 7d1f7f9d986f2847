"""De-identified sets in the inbox end predicted or refused with the remedy, and never wait for ever.

Covers vmat_rt_service.work.predicting.
"""

from __future__ import annotations

from tests.dicom_phantom import Phantom, edited, write_study
from tests.service.conftest import Site
from vmat_rt_service.intake.catalogue import Catalogue
from vmat_rt_service.intake.headers import Header, References
from vmat_rt_service.intake.readiness import Ready, Waiting, assess


def with_a_series_for_each_slice(site: Site, seed: str = "per slice") -> Phantom:
    study = write_study(site.inbox, seed=seed)
    for number, path in enumerate(study.ct_files):
        with edited(path) as ds:
            ds.SeriesInstanceUID += f".{number}"
            ds.SOPInstanceUID += f".{number}"  # so that the instances listed are not here either
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return study


def in_another_frame(study: Phantom) -> None:
    for path in study.ct_files:
        with edited(path) as ds:
            ds.FrameOfReferenceUID = "1.2.3.4"
            ds.PatientID = "pseudonym"


def finish(site: Site) -> None:
    site.take_in()
    site.work()


def test_a_series_for_each_slice_is_predicted(site: Site) -> None:
    with_a_series_for_each_slice(site)
    finish(site)
    assert site.states() == ["done"], site.jobs()


def test_uids_that_contradict_each_other_are_refused_with_the_remedy(site: Site) -> None:
    in_another_frame(with_a_series_for_each_slice(site))
    finish(site)
    (job,) = site.jobs()
    assert str(job.state) == "refused"
    reason = (site.outbox / "refused" / job.key / "reason.json").read_text()
    assert "accept_deidentified" in reason


def test_the_remedy_works(site: Site) -> None:
    site.reconfigure(accept_deidentified=True)
    in_another_frame(write_study(site.inbox, seed="remedy"))
    finish(site)
    assert site.states() == ["done"], (site.jobs(), list(site.outbox.rglob("reason.json")))


def ct(number: int, frame: str) -> Header:
    sop, z_mm = f"{frame}{number}", 3.0 * number
    return Header("CT", sop=sop, series="s", frames=(frame,), patient="p", study="st", z_mm=z_mm)


def structures(name: str, frame: str, study: str = "st") -> Header:
    planes = (3.0, 6.0, 9.0)
    return Header(
        "RTSTRUCT", sop=name, series=name, frames=(frame,), patient="p", study=study, references=References({}, planes)
    )


def test_what_another_rtstruct_lies_on_is_not_taken() -> None:
    headers = {f"/in/{k}": ct(k, "f") for k in range(5)}
    headers |= {"/in/rs": structures("rs", "f"), "/in/lost": structures("lost", "g")}
    verdicts = {a.anchor: a.verdict for a in assess(Catalogue(headers))}
    assert isinstance(verdicts["/in/rs"], Ready)
    assert isinstance(verdicts["/in/lost"], Waiting)


def test_slices_that_do_not_cover_the_contours_are_waited_for() -> None:
    headers = {f"/in/{k}": ct(k, "f") for k in range(2)} | {"/in/rs": structures("rs", "g")}
    (verdict,) = [a.verdict for a in assess(Catalogue(headers)) if a.anchor == "/in/rs"]
    assert isinstance(verdict, Waiting)
    assert verdict.code == "FRAME_MISMATCH"
    assert "accept_deidentified" in verdict.as_problem().remedy
