"""Networks packed and unpacked; bundles that are damaged or do not fit are refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.nn.cases import CHANNELS, manifest
from vmat_rt.bundle import MANIFEST, Bundle, load_bundle, write_bundle
from vmat_rt.errors import ModelError
from vmat_rt.nn.network_bundle import WEIGHTS, NetworkSettings, pack_network, unpack_network
from vmat_rt.nn.scene import Normalisation
from vmat_rt.nn.unet import UNet, UNetSettings
from vmat_rt.nn.windows import Window

SETTINGS = NetworkSettings(
    unet=UNetSettings(width=4, levels=2, embedding=8),
    targets=CHANNELS.targets,
    window=Window(patch=(16, 16, 16), overlap=(8, 8, 8)),
)


def tiny_network() -> UNet:
    torch.manual_seed(3)
    return UNet(SETTINGS.unet, len(CHANNELS.names), CHANNELS.condition_size).eval()


def repacked(folder: Path, weights: bytes) -> Bundle:
    """The tiny bundle with other bytes as its weights, their hash as listed."""
    return write_bundle(folder, manifest(SETTINGS), {WEIGHTS: weights})


def test_round_trip_gives_bit_equal_output(tmp_path: Path) -> None:
    network = tiny_network()
    pack_network(tmp_path, manifest(SETTINGS), network)
    loaded = unpack_network(load_bundle(tmp_path))
    assert loaded.settings == SETTINGS
    assert loaded.channels == CHANNELS
    x, condition = torch.randn(1, len(CHANNELS.names), 9, 10, 11), torch.randn(1, CHANNELS.condition_size)
    with torch.inference_mode():
        assert torch.equal(network(x, condition), loaded.unet(x, condition))
    assert not any(parameter.requires_grad for parameter in loaded.unet.parameters())


def test_half_precision_halves_the_file_and_keeps_the_output(tmp_path: Path) -> None:
    network = tiny_network()
    whole = pack_network(tmp_path / "whole", manifest(SETTINGS), network)
    half = pack_network(tmp_path / "half", manifest(SETTINGS), network, half=True)
    assert len(half.read_bytes(WEIGHTS)) < 0.65 * len(whole.read_bytes(WEIGHTS))
    loaded = unpack_network(half).unet
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    x, condition = torch.randn(1, len(CHANNELS.names), 9, 10, 11), torch.randn(1, CHANNELS.condition_size)
    torch.testing.assert_close(loaded(x, condition), network(x, condition), atol=2e-3, rtol=0)


def test_normalisation_travels_in_the_manifest(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"normalisation": Normalisation(hu_window=(-200.0, 300.0), absent=-3.0)})
    pack_network(tmp_path, manifest(settings), tiny_network())
    document = json.loads((tmp_path / MANIFEST).read_text())
    assert document["settings"]["normalisation"]["absent"] == -3.0
    assert unpack_network(load_bundle(tmp_path)).channels.normalisation.hu_window == (-200.0, 300.0)


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


@pytest.mark.parametrize("by", ["pickle", "torch"])
def test_a_pickle_is_refused_and_never_run(tmp_path: Path, by: str) -> None:
    mark = tmp_path / "executed"
    file = tmp_path / "evil"
    if by == "pickle":
        file.write_bytes(pickle.dumps(Trap(str(mark))))
    else:
        torch.save({"weights": Trap(str(mark))}, file)
    with pytest.raises(ModelError, match="not a safetensors file"):
        unpack_network(repacked(tmp_path / "bundle", file.read_bytes()))
    assert not mark.exists()


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    pack_network(tmp_path, manifest(SETTINGS), tiny_network())
    file = tmp_path / WEIGHTS
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    file.write_bytes({"cut": content[:-100], "empty": b"", "flipped": content}[damage])
    with pytest.raises(ModelError, match="SHA-256"):
        unpack_network(load_bundle(tmp_path))


@pytest.mark.parametrize("keep", [0, 7, 100, -100])
def test_a_file_cut_before_packing_is_refused(tmp_path: Path, keep: int) -> None:
    whole = pack_network(tmp_path / "whole", manifest(SETTINGS), tiny_network()).read_bytes(WEIGHTS)
    with pytest.raises(ModelError, match="not a safetensors file"):
        unpack_network(repacked(tmp_path / "cut", whole[:keep]))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    weights = tiny_network().state_dict()

    def refused(change: dict[str, torch.Tensor | None], match: str) -> None:
        altered = {**weights, **change}
        content = safetensors.torch.save({k: v for k, v in altered.items() if v is not None})
        with pytest.raises(ModelError, match=match):
            unpack_network(repacked(tmp_path, content))

    refused({"head.weight": None}, r"1 are missing \(head.weight\)")
    refused({"tail": torch.zeros(1)}, r"1 too many \(tail\)")
    refused({"head.bias": torch.zeros(2)}, r"head.bias has shape \(2,\), the network needs \(1,\)")
    refused({"head.bias": torch.tensor([float("nan")])}, "head.bias holds values that are not finite")
    refused({"head.bias": torch.tensor([1])}, "head.bias holds values that are not finite")


@pytest.mark.parametrize(
    "settings",
    [{}, {**manifest(SETTINGS).settings, "widow": None}, {**manifest(SETTINGS).settings, "unet": {"width": -1}}],
    ids=["none", "unknown key", "impossible value"],
)
def test_settings_that_no_network_has_are_refused(tmp_path: Path, settings: dict[str, object]) -> None:
    changed = manifest(SETTINGS).model_copy(update={"settings": settings})
    with pytest.raises(ModelError, match="tiny"):
        unpack_network(write_bundle(tmp_path, changed, {WEIGHTS: b""}))


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    good = manifest(SETTINGS)
    with pytest.raises(ModelError, match="geometric"):
        unpack_network(write_bundle(tmp_path, good.model_copy(update={"kind": "geometric"}), {WEIGHTS: b""}))
    with pytest.raises(ModelError, match="prior"):
        pack_network(tmp_path, good.model_copy(update={"inputs": ("ct", "prior")}), tiny_network())
    with pytest.raises(ModelError, match="needs"):
        pack_network(tmp_path, good.model_copy(update={"inputs": ("ct",)}), tiny_network())


def test_weights_too_large_for_16_bits_are_refused(tmp_path: Path) -> None:
    network = tiny_network()
    torch.nn.init.constant_(network.head.bias, 1e5)
    with pytest.raises(ModelError, match="not finite"):
        pack_network(tmp_path, manifest(SETTINGS), network, half=True)
