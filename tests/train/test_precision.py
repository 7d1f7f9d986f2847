"""Precision follows the hardware; layers compute in 16 bits and losses see the dose as it is."""

from __future__ import annotations

import contextlib

import pytest
import torch
from lightning_fabric import Fabric

from tests.train.cohorts import tiny_recipe
from vmat_rt.errors import ConfigError
from vmat_rt.train.precision import precision_plugin, require_true_gradients, settle_precision

HARDWARE = ((), (torch.bfloat16,), (torch.bfloat16, torch.float16), (torch.float16,))
"""The 16-bit types that a device may compute in."""


@pytest.mark.parametrize(
    ("there", "settled"),
    list(zip(HARDWARE, ("32-true", "bf16-mixed", "bf16-mixed", "16-mixed"), strict=True)),
)
def test_precision_is_what_the_hardware_has(
    there: tuple[torch.dtype, ...], settled: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The hardware is stood in for: a test machine has one kind."""
    monkeypatch.setattr("vmat_rt.train.precision.sixteen_bit_types", lambda device: there)
    cpu = torch.device("cpu")
    with caplog.at_level("INFO"):
        assert settle_precision(tiny_recipe(precision="auto"), cpu).precision == settled
    assert f"precision auto: {settled}" in caplog.text
    assert settle_precision(tiny_recipe(precision="32-true"), cpu).precision == "32-true"


@pytest.mark.parametrize(("name", "dtype"), [("bf16-mixed", torch.bfloat16), ("16-mixed", torch.float16)])
@pytest.mark.parametrize("there", HARDWARE)
def test_a_precision_that_is_named_stays_or_is_refused(
    name: str, dtype: torch.dtype, there: tuple[torch.dtype, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmat_rt.train.precision.sixteen_bit_types", lambda device: there)
    with contextlib.nullcontext() if dtype in there else pytest.raises(ConfigError, match="precision=32-true"):
        assert settle_precision(tiny_recipe(precision=name), torch.device("cpu")).precision == name


def test_layers_compute_in_sixteen_bits_and_losses_see_the_dose_as_it_is() -> None:
    """bfloat16 steps by a quarter of a gray near 70 Gy. Emulated here where the processor lacks it."""
    seen: dict[str, torch.dtype] = {}

    class Watched(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv3d(1, 2, 1)

        def forward(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
            hidden = self.layer(tensors["array"])
            seen.update({name: tensor.dtype for name, tensor in tensors.items()}, hidden=hidden.dtype)
            return hidden.float().mean()

    plugin = precision_plugin(tiny_recipe(precision="bf16-mixed"), torch.device("cpu"))
    Fabric(accelerator="cpu", plugins=plugin).setup(Watched())(
        {"array": torch.ones(1, 1, 2, 2, 2), "dose": torch.ones(1)}
    )
    assert seen == {"array": torch.float32, "dose": torch.float32, "hidden": torch.bfloat16}


@pytest.mark.parametrize(
    ("precision", "device", "depth", "refused"),
    [
        ("bf16-mixed", "cpu", 32, True),
        ("bf16-mixed", "cpu", 17, True),
        ("bf16-mixed", "cpu", 48, False),
        ("bf16-mixed", "cuda", 32, False),
        ("32-true", "cpu", 32, False),
    ],
)
def test_wrong_gradients_are_refused(precision: str, device: str, depth: int, refused: bool) -> None:
    with pytest.raises(ConfigError, match="precision=32-true") if refused else contextlib.nullcontext():
        require_true_gradients(precision, device, (depth, 64, 64), levels=4)
