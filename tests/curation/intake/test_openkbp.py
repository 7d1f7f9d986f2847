"""OpenKBP's published layout into a cohort."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.external import shared_folder
from vmat_rt.cohort.openkbp import make_openkbp_case, read_csv_patient
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.intake.openkbp import add_openkbp, add_openkbp_cases, open_openkbp_cohort
from vmat_rt.errors import ConfigError, InputError


@pytest.fixture(scope="module")
def samples() -> Path:
    return shared_folder("openkbp/csv_sample")


def test_the_samples_are_added_as_they_are(samples: Path, tmp_path: Path) -> None:
    root = tmp_path / "provided-data"
    shutil.copytree(samples / "pt_143", root / "train-pats" / "pt_143")
    shutil.copytree(samples / "pt_201", root / "validation-pats" / "pt_201")
    (root / "validation-pats" / "pt_201" / "dose.csv").unlink()
    summary = add_openkbp(root, tmp_path / "c", progress=False)
    assert [(o.key, o.state) for o in summary.outcomes] == [("pt_143", "added"), ("pt_201", "refused")]
    assert summary.refused == {"NO_DOSE": 1}
    cohort = Cohort.open(tmp_path / "c")
    stored = cohort.read("pt_143")
    whole = make_openkbp_case(read_csv_patient(samples / "pt_143"), "pt_143")
    assert stored.reference_dose is not None
    assert whole.reference_dose is not None
    assert float(np.abs(stored.reference_dose.array - whole.reference_dose.array).max()) <= 0.001 + 1e-6
    assert cohort.record("pt_143").source == "openkbp"
    (root / "validation-pats" / "pt_201").rename(tmp_path / "aside")
    assert [o.state for o in add_openkbp(root, tmp_path / "c", progress=False).outcomes] == ["present"]


def test_patients_of_any_reader_are_taken(samples: Path, tmp_path: Path) -> None:
    cohort = open_openkbp_cohort(tmp_path / "c")
    patient = read_csv_patient(samples / "pt_143")
    summary = add_openkbp_cases([("pt-1", patient), ("pt-2", vars(patient))], cohort)
    assert [outcome.state for outcome in summary.outcomes] == ["added", "added"]
    records = cohort.records()
    assert len({record.patient for record in records}) == 1, "one image is one patient"


def test_no_patient_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="OPENKBP_FILE"):
        add_openkbp(tmp_path, tmp_path / "c", progress=False)
    assert not (tmp_path / "c").exists()


def test_damaged_tables_are_refused_by_name(samples: Path, tmp_path: Path) -> None:
    shutil.copytree(samples / "pt_143", tmp_path / "in" / "pt_143")
    (tmp_path / "in" / "pt_143" / "PTV70.csv").write_text(",data\nnot a number,\n")
    summary = add_openkbp(tmp_path / "in", tmp_path / "c", progress=False)
    assert summary.refused == {"OPENKBP_FILE": 1}
    assert summary.nothing_usable


def test_it_goes_into_no_cohort_of_another_site(samples: Path, tmp_path: Path) -> None:
    from tests.cohort.cases import SETTINGS

    Cohort.create(tmp_path / "c", SETTINGS)
    with pytest.raises(ConfigError, match="OpenKBP"):
        add_openkbp(samples, tmp_path / "c", progress=False)
