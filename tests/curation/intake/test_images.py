"""Folders of NIfTI and NRRD into a cohort: the rules of DICOM intake hold for them.

Covers vmat_rt.curation.intake.entering.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from tests.curation.intake.clinic import RULE, added, states, study
from tests.curation.intake.test_dicom import refused_rows
from tests.imagefiles.exported import export
from vmat_rt.case import Case
from vmat_rt.cli import main
from vmat_rt.cohort.record import CaseRecord
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.intake.images import add_images
from vmat_rt.curation.intake.keys import KeyFile
from vmat_rt.curation.intake.run import IntakeOptions
from vmat_rt.curation.intake.settings import NewCohort
from vmat_rt.curation.intake.summary import IntakeSummary
from vmat_rt.dicom.load import load_case
from vmat_rt.dicom.study import read_study
from vmat_rt.errors import ConfigError, InputError
from vmat_rt.gate.codes import ALLOWABLE
from vmat_rt.protocol import load_protocol

PROTOCOL = load_protocol("prostate_sib_70_56")


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dicom")
    study(folder / "P1", "P1")
    study(folder / "P2", "P2")
    return folder


@pytest.fixture(scope="module")
def exported(dicom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for name in ("P1", "P2"):
        export(case_of(dicom / name), folder / f"Smith-{name}", ".nii.gz", "RAS")
    return folder


@pytest.fixture
def root(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "in"))


def case_of(folder: Path) -> Case:
    return load_case(read_study(folder), PROTOCOL)


def taken(root: Path, cohort: Path, mapping: Path | None = None, **options: object) -> IntakeSummary:
    new = NewCohort() if Cohort.exists(cohort) else NewCohort(grid=RULE)
    chosen = IntakeOptions(new=new, progress=False, allowed=frozenset(ALLOWABLE), **options)  # type: ignore[arg-type]
    return add_images(root, cohort, chosen, mapping)


def by_image(cohort: Path) -> dict[str, CaseRecord]:
    return {record.image_sha256: record for record in Cohort.open(cohort).records()}


def test_images_are_stored_as_their_dicom_studies_are(dicom: Path, root: Path, tmp_path: Path) -> None:
    added(dicom, tmp_path / "a")
    assert states(taken(root, tmp_path / "b")) == [("added",), ("added",)]
    ours, theirs = by_image(tmp_path / "b"), by_image(tmp_path / "a")
    assert ours.keys() == theirs.keys(), "the same images"
    for image, record in ours.items():
        expected = theirs[image]
        assert (record.source, record.prescription, record.fractions) == ("images", expected.prescription, 28)
        assert (record.plan_type, record.prescription_source) == ("sib", "protocol default")
        assert record.ct_slices == expected.ct_slices
        assert {*record.problems} == {*expected.problems} - {"CONTOUR_NOT_CLOSED"}
        assert record.volumes_cc == pytest.approx(expected.volumes_cc, rel=1e-3), "fractions keep volumes"
        case = Cohort.open(tmp_path / "b").read(record.key)
        assert case.structures.keys() == expected.volumes_cc.keys()
        assert case.reference_dose is not None
        assert float(case.reference_dose.array.max()) == pytest.approx(71, abs=0.01)
    assert Cohort.open(tmp_path / "b").settings.provenance.data == "clinical studies, read from NIfTI or NRRD"
    assert not Cohort.open(tmp_path / "b").check()


def test_nothing_of_the_folders_names_is_in_the_cohort(root: Path, tmp_path: Path) -> None:
    (root / "Smith-P2" / "Rectum.nii.gz").rename(root / "Smith-P2" / "Jones rectum.nii.gz")
    assert states(taken(root, tmp_path / "c")) == [("added",), ("refused", "NAME_UNKNOWN")]
    everything = b"".join(path.read_bytes() for path in (tmp_path / "c").rglob("*") if path.is_file())
    for identity in (b"Smith", b"Jones", b"P1", str(tmp_path).encode()):
        assert identity not in everything
    entries = KeyFile(tmp_path / "c.keys.csv").entries().values()
    assert sorted(entry.PatientID for entry in entries) == ["Smith-P1", "Smith-P2"]
    (row,) = refused_rows(tmp_path / "c")
    assert row["remedy"].startswith("Run vmat-rt predict FOLDER --nifti")


def test_a_second_run_goes_on_where_the_first_ended(root: Path, tmp_path: Path) -> None:
    damaged = root / "Smith-P2" / "ct.nii.gz"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-50])
    assert states(taken(root, tmp_path / "c")) == [("added",), ("refused", "IMAGE_UNREADABLE")]
    assert [row["code"] for row in refused_rows(tmp_path / "c")] == ["IMAGE_UNREADABLE"]
    damaged.write_bytes(whole)
    assert states(taken(root, tmp_path / "c")) == [("added",), ("present",)]
    assert refused_rows(tmp_path / "c") == []
    assert states(taken(root, tmp_path / "c", workers=2)) == [("present",), ("present",)]


def test_files_that_changed_are_told_and_taken_anew_on_demand(root: Path, tmp_path: Path) -> None:
    taken(root, tmp_path / "c")
    keys = Cohort.open(tmp_path / "c").keys()
    (root / "Smith-P1" / "Rectum.nii.gz").unlink()
    assert states(taken(root, tmp_path / "c")) == [("present",), ("refused", "STUDY_CHANGED")]
    assert states(taken(root, tmp_path / "c", replace=True)) == [("added",), ("present",)]
    assert Cohort.open(tmp_path / "c").keys() == keys


def test_a_copy_of_a_folder_is_a_duplicate_and_a_dicom_twin_too(dicom: Path, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "Smith-P1", root / "Other")
    assert states(taken(root, tmp_path / "c")) == [("added",), ("added",), ("duplicate", "DUPLICATE_STUDY")]
    summary = added(dicom, tmp_path / "c")
    assert {record.patient for record in Cohort.open(tmp_path / "c").records()} == {
        record.patient for record in Cohort.open(tmp_path / "c").records() if record.source == "images"
    }, "the same images make the same patients, whatever files they came in"
    assert summary.people.patients == 2


def test_a_patient_may_have_several_studies(root: Path, tmp_path: Path) -> None:
    (root / "Brown").mkdir()
    for number, name in enumerate(("Smith-P1", "Smith-P2")):
        shutil.move(root / name, root / "Brown" / str(number))
    taken(root, tmp_path / "c")
    records = Cohort.open(tmp_path / "c").records()
    assert len(records) == 2
    assert len({record.patient for record in records}) == 1


def test_a_folder_of_one_patient_is_a_study(root: Path, tmp_path: Path) -> None:
    assert states(taken(root / "Smith-P1", tmp_path / "c")) == [("added",)]


def test_one_mapping_for_all_and_one_of_its_own(root: Path, tmp_path: Path) -> None:
    for patient in ("Smith-P1", "Smith-P2"):
        for old, new in (("ct", "image"), ("PTV_7000", "boost"), ("dose", "plan")):
            (root / patient / f"{old}.nii.gz").rename(root / patient / f"{new}.nii.gz")
    text = (
        "ct: image.nii.gz\ndose: plan.nii.gz\nprescription: {PTV_7000: 70}\nfractions: 28\n"
        "structures: {PTV_7000: boost.nii.gz, PTV_5600: PTV_5600.nii.gz}\nprotocol: prostate_sib_70_56\n"
    )
    mapping = tmp_path / "map.yaml"
    mapping.write_text(text)
    (root / "Smith-P2" / "mapping.yaml").write_text(text.replace("28", "35"))
    assert {state[0] for state in states(taken(root, tmp_path / "c", mapping))} == {"added"}
    records = Cohort.open(tmp_path / "c").records()
    assert sorted(record.fractions for record in records) == [28, 35]
    assert all("NO_EXTERNAL" in record.problems for record in records)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ct: 3", "MAPPING_INVALID"),
        ("ct: ct.nii.gz\nstructures: {PTV_7000: PTV_7000.nii.gz}\nprotocol: nowhere", "MAPPING_INVALID"),
        ("ct: ct.nii.gz\nstructures: {PTV_7000: PTV_7000.nii.gz}\nprotocol: head_neck_70", "MAPPING_INVALID"),
        ("ct: ct.nii.gz\nstructures: {PTV_7000: PTV_7000.nii.gz, PTV_5600: PTV_5600.nii.gz}", "NO_DOSE"),
        ("ct: none.nii.gz\ndose: dose.nii.gz\nstructures: {PTV_7000: PTV_7000.nii.gz}", "IMAGE_UNREADABLE"),
    ],
)
def test_a_mapping_of_its_own_that_does_not_do_refuses_its_folder_only(
    text: str, code: str, root: Path, tmp_path: Path
) -> None:
    (root / "Smith-P1" / "mapping.yaml").write_text(text)
    refused, kept = sorted(states(taken(root, tmp_path / "c", protocols=(PROTOCOL,))), reverse=True)
    assert kept == ("added",)
    assert refused[0] == "refused"
    assert code in refused


def test_checks_at_entry_hold(root: Path, tmp_path: Path) -> None:
    path = str(root / "Smith-P1" / "dose.nii.gz")
    sitk.WriteImage(sitk.ReadImage(path) / 28, path)
    assert states(taken(root, tmp_path / "c")) == [("added",), ("refused", "DOSE_PER_FRACTION")]


def test_a_patient_without_images_to_use_is_refused_not_passed_over(root: Path, tmp_path: Path) -> None:
    (root / "Smith-P1" / "ct.nii.gz").unlink()
    (root / "notes").mkdir()
    (root / "notes" / "readme.txt").write_text("x")
    assert states(taken(root, tmp_path / "c")) == [("added",), ("refused", "NO_CT")]


def test_what_stops_a_run(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="NO_IMAGES"):
        taken(tmp_path / "empty", tmp_path / "c")
    with pytest.raises(ConfigError, match="cannot be read"):
        taken(root, tmp_path / "c", tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="within the cohort"):
        taken(root, tmp_path / "c", keys=tmp_path / "c" / "keys.csv")
    assert not (tmp_path / "c").exists()


def test_the_command(root: Path, tmp_path: Path) -> None:
    arguments = [
        "cohort",
        "add",
        str(root),
        "--nifti",
        "--cohort",
        str(tmp_path / "c"),
        "--workers",
        "1",
        "--json",
        "--allow",
        "BODY_SITE",
    ]
    result = CliRunner().invoke(main, [*arguments, "--grid", "10x24x30@3.5x3.5x3.5"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["counts"]["added"] == 2
    assert CliRunner().invoke(main, arguments).exit_code == 0
