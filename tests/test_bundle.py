"""Bundles are checked before they are believed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from vmat_rt.bundle import (
    Bundle,
    GridRule,
    Manifest,
    TrainingSummary,
    find_bundle,
    list_installed_bundles,
    load_bundle,
    write_bundle,
)
from vmat_rt.errors import ConfigError, InputError, ModelError
from vmat_rt.learned import Treatment, learned_from
from vmat_rt.system import extras
from vmat_rt.system.extras import MissingExtraError


def _manifest() -> Manifest:
    return Manifest(
        schema_version=1,
        name="test",
        version="1",
        kind="geometric",
        protocol="head_neck_70",
        grid=GridRule(kind="fixed", shape=(8, 9, 10), spacing_mm=(3.0, 2.0, 1.0)),
        inputs=("ct",),
        training=TrainingSummary(
            data="none", cases=1, date="2026-01-01", command="-", hardware="-", licence="-", metrics={"mae_gy": 1.5}
        ),
        files={},
    )


def test_a_bundle_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = write_bundle(tmp_path / "b", _manifest(), {"weights": b"abc"})
    read = load_bundle(tmp_path / "b")
    assert read.manifest == written.manifest
    assert read.read_bytes("weights") == b"abc"
    assert read.identity == written.identity


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", _manifest(), {"weights": b"abc"})
    (bundle.folder / "weights").write_bytes(b"abd")
    with pytest.raises(ModelError, match="SHA-256"):
        bundle.read_bytes("weights")


def test_identity_changes_with_the_weights(tmp_path: Path) -> None:
    one = write_bundle(tmp_path / "1", _manifest(), {"weights": b"abc"})
    two = write_bundle(tmp_path / "2", _manifest(), {"weights": b"abd"})
    assert one.identity.sha256 != two.identity.sha256


def test_unknown_keys_in_a_manifest_are_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", _manifest(), {})
    path = bundle.folder / "bundle.json"
    path.write_text(path.read_text().replace('"name"', '"nmae"'))
    with pytest.raises(ModelError, match="nmae"):
        load_bundle(bundle.folder)


def test_a_protocol_without_a_bundle_is_refused_by_name() -> None:
    with pytest.raises(InputError) as caught:
        find_bundle("no_such_site")
    assert caught.value.problems[0].code == "NO_BUNDLE"
    assert "no bundle for this protocol" in caught.value.problems[0].message


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bundle\.json"):
        find_bundle("head_neck_70", str(tmp_path))


def _install(monkeypatch: pytest.MonkeyPatch, root: Path, *manifests: Manifest) -> None:
    """Bundles as the package would hold them, in a folder of our own."""
    for manifest in manifests:
        write_bundle(root / "bundles" / manifest.name, manifest, {})
    monkeypatch.setattr("vmat_rt.bundle.resources.files", lambda package: root)


def test_a_bundle_serves_the_other_protocols_it_was_trained_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sib = _manifest().model_copy(
        update={"name": "sib", "protocol": "prostate_sib_70_56", "also": ("prostate_70_28",), "default": True}
    )
    _install(monkeypatch, tmp_path, _manifest(), sib)
    assert find_bundle("prostate_sib_70_56").manifest.name == "sib"
    assert find_bundle("prostate_70_28").manifest.name == "sib"
    assert find_bundle("prostate_70_28").identity.protocol_name == "prostate_sib_70_56, prostate_70_28"
    with pytest.raises(InputError, match="no bundle"):
        find_bundle("head_neck_70")


def test_a_bundle_named_after_the_protocol_goes_before_one_that_serves_it_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = _manifest().model_copy(
        update={"name": "a_both", "protocol": "prostate_sib_70_56", "also": ("prostate_70_28",), "default": True}
    )
    own = _manifest().model_copy(update={"name": "b_own", "protocol": "prostate_70_28", "default": True})
    _install(monkeypatch, tmp_path, both, own)
    assert find_bundle("prostate_70_28").manifest.name == "b_own"
    assert find_bundle("prostate_sib_70_56").manifest.name == "a_both"


def test_the_protocols_are_part_of_the_identity(tmp_path: Path) -> None:
    one = write_bundle(tmp_path / "1", _manifest(), {})
    two = write_bundle(tmp_path / "2", _manifest().model_copy(update={"also": ("prostate_70_28",)}), {})
    assert one.identity.sha256 != two.identity.sha256
    assert load_bundle(two.folder).manifest.protocols == ("head_neck_70", "prostate_70_28")


def test_regression_a_bundle_for_one_protocol_keeps_the_identity_it_had_before_also_existed() -> None:
    """A report or RTDOSE written earlier names the same model by the same hash."""
    manifest = _manifest()
    text = json.dumps(manifest.model_dump(mode="json", exclude={"also", "learned"}), sort_keys=True)
    assert Bundle(Path(), manifest).identity.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert Bundle(Path(), manifest).identity.sha256.startswith("ccce707ad22f42a6")


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "_is_installed", lambda package: package != "torch")


@pytest.mark.parametrize(
    ("protocol", "network"),
    [("head_neck_70", "head_neck"), ("prostate_sib_70_56", "prostate"), ("prostate_70_28", "prostate")],
)
@pytest.mark.usefixtures("no_torch")
def test_without_torch_the_geometric_model_stands_in_and_says_so(protocol: str, network: str) -> None:
    chosen = find_bundle(protocol)
    assert chosen.manifest.kind == "geometric"
    assert protocol in chosen.manifest.protocols
    (problem,) = chosen.problems
    assert (problem.code, problem.severity) == ("NETWORK_NOT_INSTALLED", "warning")
    assert f"the network {network} needs torch," in problem.message
    assert chosen.manifest.name in problem.message
    assert "pip install 'vmat-rt[network]'" in problem.remedy


def test_a_network_that_runs_here_says_nothing() -> None:
    chosen = find_bundle("head_neck_70")
    assert chosen.manifest.kind == "network"
    assert chosen.problems == ()


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize("by", ["name", "folder"])
def test_without_torch_a_network_asked_for_by_name_or_folder_is_refused(by: str) -> None:
    folder = next(b.folder for b in list_installed_bundles() if b.manifest.name == "prostate")
    with pytest.raises(MissingExtraError, match=r"The network prostate needs torch: pip install 'vmat-rt\[network\]'"):
        find_bundle("prostate_sib_70_56", "prostate" if by == "name" else str(folder))


@pytest.mark.usefixtures("no_torch")
def test_without_torch_trees_asked_for_by_name_are_no_problem() -> None:
    assert find_bundle("prostate_sib_70_56", "prostate_geometric").problems == ()


@pytest.mark.usefixtures("no_torch")
def test_without_torch_a_protocol_that_has_a_network_only_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = _manifest().model_copy(update={"name": "only", "kind": "network", "default": True})
    _install(monkeypatch, tmp_path, only)
    with pytest.raises(MissingExtraError, match="the network only"):
        find_bundle("head_neck_70")


def test_what_was_learned_is_part_of_the_manifest_and_of_the_identity(tmp_path: Path) -> None:
    learned = learned_from("head and neck", [Treatment({"PTV_7000": 70.0}, {"PTV_7000": 90.0}, 35)])
    without = write_bundle(tmp_path / "1", _manifest(), {})
    knowing = write_bundle(tmp_path / "2", _manifest().model_copy(update={"learned": learned}), {})
    assert load_bundle(knowing.folder).manifest.learned == learned
    assert load_bundle(without.folder).manifest.learned is None
    assert knowing.identity.sha256 != without.identity.sha256


def test_a_manifest_of_before_the_range_was_written_down_is_read(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, _manifest(), {})
    document = json.loads((tmp_path / "bundle.json").read_text())
    del document["learned"]
    (tmp_path / "bundle.json").write_text(json.dumps(document))
    assert load_bundle(tmp_path).identity == bundle.identity
