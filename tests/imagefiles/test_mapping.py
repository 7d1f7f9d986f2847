"""The mapping file: what it may say, and a clause for everything that it may not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from vmat_rt.errors import ConfigError
from vmat_rt.imagefiles.mapping import MaskSource, read_mapping, write_proposal

ROOT = Path(__file__).resolve().parents[2]
LEAST = "ct: ct.nii.gz\nstructures: {PTV_7000: ptv.nii.gz}\n"


def read(folder: Path, text: str) -> object:
    path = folder / "mapping.yaml"
    path.write_text(text, encoding="utf-8")
    return read_mapping(path)


def test_the_example_of_the_page_is_read(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "nifti.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    mapping = read(tmp_path, example)
    assert mapping.structures["Rectum"] == MaskSource(file="labels.nii.gz", label=3)  # type: ignore[attr-defined]
    assert mapping.prescription["PTV_7000"] == 70  # type: ignore[attr-defined]


def test_every_file_is_named_once(tmp_path: Path) -> None:
    text = (
        "ct: a/ct.nii.gz\ndose: d.nrrd\nstructures: {Rectum: {file: l.nii, label: 3}, Bladder: {file: l.nii, label: 4}}"
    )
    mapping = read(tmp_path, text)
    assert mapping.files() == ("a/ct.nii.gz", "d.nrrd", "l.nii")  # type: ignore[attr-defined]


def test_a_protocol_file_lies_beside_the_mapping_file(tmp_path: Path) -> None:
    assert read(tmp_path, LEAST + "protocol: site.yaml").protocol == str(tmp_path / "site.yaml")  # type: ignore[attr-defined]
    assert read(tmp_path, LEAST + "protocol: prostate_70_28").protocol == "prostate_70_28"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the key ct is missing"),
        ("- ct", "must be a mapping of keys"),
        ("ct: [", "cannot be read as YAML"),
        ("\x00", "cannot be read as YAML"),
        ("ct: ct.nii.gz", "the key structures is missing"),
        ("ct: ct.nii.gz\nstructures: {}", "structures"),
        (LEAST + "doze: d.nii.gz", r"there is no key doze \(did you mean dose\?\)"),
        (LEAST + "fractions: 2.5", "fractions"),
        (LEAST + "fractions: 0", "fractions"),
        (LEAST + "fractions: 28 fractions", "fractions"),
        (LEAST + "prescription: {PTV_7000: 7000}", "prescription.PTV_7000"),
        (LEAST + "prescription: {PTV_7000: -1}", "prescription.PTV_7000"),
        (LEAST + "prescription: 70", "prescription"),
        (LEAST + "gantry_angles_deg: [360]", "gantry_angles_deg"),
        (LEAST + "ct: again.nii.gz", "the key ct stands twice"),
        ("ct: c.nii\nstructures: {PTV_7000: a.nii, PTV_7000: b.nii}", "the key PTV_7000 stands twice"),
        ("ct: /etc/passwd\nstructures: {PTV_7000: a.nii}", "within the patient's folder"),
        ("ct: ../ct.nii\nstructures: {PTV_7000: a.nii}", "within the patient's folder"),
        ("ct: c.nii\nstructures: {PTV_7000: {file: ../../a.nii}}", "within the patient's folder"),
        ("ct: c.nii\nstructures: {PTV_7000: {file: a.nii, label: 0}}", "label"),
        ("ct: c.nii\nstructures: {PTV_7000: {file: a.nii, label: 1.5}}", "label"),
        ("ct: c.nii\nstructures: {PTV_7000: {file: a.nii, label: 1, segment: x}}", "give label or segment, not both"),
        ("ct: c.nii\nstructures: {PTV_7000: {label: 3}}", "structures.PTV_7000.file"),
        ("ct: c.nii\nstructures: {PTV_7000: 3}", "structures.PTV_7000"),
        ("!!python/object/apply:os.system ['true']", "cannot be read as YAML"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"(?i)mapping file mapping.yaml.*{said}") as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_an_absent_or_endless_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_mapping(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="larger than"):
        read(tmp_path, "#" * (1 << 21))


def test_a_proposal_may_be_written_into_a_file() -> None:
    document = {"ct": "my ct.nii.gz", "structures": {"PTV_7000": "p: t.nii", "Rectum": {"file": "x", "segment": "r"}}}
    line = write_proposal(document)
    assert "\n" not in line
    assert yaml.safe_load(line) == document
