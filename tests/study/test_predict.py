"""The main line with a network: the same reading, grid and report, with the geometric baseline beside it.

Covers vmat_rt.study.evaluate_dose, vmat_rt.study.outputs, vmat_rt.study.prediction and vmat_rt.study.review.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from vmat_rt.bundle import Bundle, GridRule, Manifest, TrainingSummary
from vmat_rt.errors import ConfigError, InputError, ModelError
from vmat_rt.nn.encode import channels_for
from vmat_rt.nn.network_bundle import NetworkSettings, pack_network
from vmat_rt.nn.unet import UNet, UNetSettings
from vmat_rt.protocol import load_protocol
from vmat_rt.report.schema import ReportDocument
from vmat_rt.study.choice import StudyChoice
from vmat_rt.study.outputs import Outputs
from vmat_rt.study.predict import predict_study

STUDY = Path(__file__).resolve().parents[2] / "sample_data" / "head_neck_openkbp"
STEPS = ["read", "predict", "dvh and goals", "gamma", "write DICOM"]
GEOMETRIC = "head_neck_geometric"


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny network with random weights on a coarse grid: real code, no knowledge."""
    channels = channels_for(load_protocol("head_neck_70"))
    settings = NetworkSettings(unet=UNetSettings(width=4, levels=2, embedding=8), targets=channels.targets)
    torch.manual_seed(5)
    network = UNet(settings.unet, len(channels.names), channels.condition_size).eval()
    training = TrainingSummary(data="none", cases=1, date="-", command="-", hardware="-", licence="-")
    manifest = Manifest(
        schema_version=1,
        name="untrained",
        version="0",
        kind="network",
        protocol="head_neck_70",
        grid=GridRule(kind="fixed", shape=(88, 64, 64), spacing_mm=(4.0, 6.0, 6.0)),
        inputs=channels.names,
        settings=settings.model_dump(mode="json"),
        training=training,
        files={},
    )
    return pack_network(tmp_path_factory.mktemp("bundle"), manifest, network)


def test_a_network_is_reported_beside_the_geometric_baseline(untrained: Bundle, tmp_path: Path) -> None:
    published = predict_study(STUDY, tmp_path, model=str(untrained.folder), device="cpu")
    assert published.folder is not None
    report = json.loads((published.folder / "report.json").read_text())
    assert report["model"]["name"] == "untrained"
    assert report["baseline"]["model"]["kind"] == "geometric"
    assert report["comparison_with_baseline"]["disagrees"], "a network that knows nothing must be flagged"
    assert report["case"]["dose_grid"]["spacing_mm"] == [4.0, 6.0, 6.0]
    assert ReportDocument.model_validate(report) == published.report
    assert list(report["seconds"]) == list(published.result.seconds) == STEPS
    assert list(published.others) == ["geometric baseline", "clinical"]
    assert published.document().paths == {
        kind: str(tmp_path / published.folder.name / name) for kind, name in report["files"].items()
    }


@pytest.mark.parametrize(
    ("outputs", "kinds", "patient"),
    [
        (Outputs(plan=str(STUDY / "RTPLAN.dcm"), identify=True), {"rtdose"}, True),
        (Outputs(isodose_percent=(95.0, 500.0)), {"rtdose", "rtplan", "isodoses"}, False),
    ],
    ids=["attached to a plan, identified", "isodoses"],
)
def test_outputs_are_as_asked_for(outputs: Outputs, kinds: set[str], patient: bool, tmp_path: Path) -> None:
    made = predict_study(STUDY, tmp_path, outputs=outputs, model="head_neck_geometric")
    assert set(made.files) == kinds | {"report_html", "report_json", "dvh_csv"}
    assert (made.report.patient is not None) == patient
    codes = [problem.code for problem in made.problems]
    assert codes == ["ISODOSE_NOT_REACHED"] * len(outputs.isodose_percent[1:])
    assert [problem.code for problem in made.report.problems] == codes


@pytest.mark.parametrize(
    ("doses", "fractions", "messages"),
    [
        ({"PTV_7000": 60.0, "PTV_6300": 54.0, "PTV_5600": 48.0}, 20, ["3 Gy per fraction in 20 fractions"]),
        ({"PTV_7000": 70.0, "PTV_6300": 60.0, "PTV_5600": 56.0}, 35, ["PTV_6300 at 60 Gy is at 85.7 %"]),
    ],
    ids=["other fractions", "another level"],
)
def test_what_the_model_did_not_learn_stands_in_the_report(
    doses: dict[str, float], fractions: int, messages: list[str]
) -> None:
    made = predict_study(STUDY, None, StudyChoice(prescription_gy=doses, fractions=fractions), model=GEOMETRIC)
    found = [problem for problem in made.report.problems if problem.code == "OUTSIDE_TRAINING"]
    assert {problem.severity for problem in found} == {"warning"}
    assert all(words in problem.message for words, problem in zip(messages, found, strict=True))


def test_what_is_far_outside_is_refused_unless_allowed() -> None:
    far = StudyChoice(prescription_gy={"PTV_7000": 70.0, "PTV_6300": 63.0, "PTV_5600": 40.0})
    with pytest.raises(InputError) as refused:
        predict_study(STUDY, None, far, model=GEOMETRIC)
    assert [problem.code for problem in refused.value.problems] == ["OUTSIDE_TRAINING"]
    made = predict_study(STUDY, None, far, model=GEOMETRIC, allow_outside=True)
    told = [(problem.code, problem.severity) for problem in made.report.problems]
    assert told == [("OUTSIDE_TRAINING", "warning"), ("PRESCRIPTION_NAME", "warning")]


def test_a_device_that_is_not_there_is_refused(untrained: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        predict_study(STUDY, tmp_path, model=str(untrained.folder), device="cuda:7")
    assert not any(tmp_path.iterdir())


def test_a_bundle_that_changed_under_its_path_is_refused(untrained: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in untrained.folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    weights = next(copy.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(ModelError, match="SHA-256"):
        predict_study(STUDY, tmp_path / "out", model=str(copy), device="cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["file/out", "file", "a" * 300])
def test_where_results_cannot_go_is_said_before_anything_is_read(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError) as told:
        predict_study(tmp_path / "no such study", tmp_path / place)
    assert [problem.code for problem in told.value.problems] == ["OUTPUT_NOT_WRITABLE"]
