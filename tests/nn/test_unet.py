"""The U-Net: shapes, settings and outputs."""

from __future__ import annotations

import pytest
import torch

from vmat_rt.nn.unet import UNet, UNetSettings, parameter_count

TINY = UNetSettings(width=4, levels=2, embedding=8)


def build(settings: UNetSettings, channels: int = 3, condition_size: int = 5) -> UNet:
    torch.manual_seed(0)
    return UNet(settings, channels, condition_size).eval()


def parameters_by_hand(width: int, levels: int, channels: int, condition_size: int) -> int:
    """The architecture of the module's docstring, counted on paper."""

    def block(a: int, b: int) -> int:
        convolutions = 27 * a * b + b + 27 * b * b + b
        shortcut = 0 if a == b else a * b + b
        return convolutions + 4 * b + shortcut + 257 * 2 * b

    sizes = [width * 2**i for i in range(levels)]
    embedding = (condition_size + 1) * 256 + 257 * 256
    encoder = sum(block(a, b) for a, b in zip([channels, *sizes], sizes, strict=False))
    decoder = sum(block(2 * a, b) for a, b in zip(sizes, [sizes[0], *sizes[:-1]], strict=True))
    return embedding + encoder + block(sizes[-1], sizes[-1]) + decoder + width + 1


@pytest.mark.parametrize(("channels", "condition_size"), [(11, 12), (12, 13), (14, 15), (16, 20)])
def test_the_reference_has_23_7_million_parameters(channels: int, condition_size: int) -> None:
    with torch.device("meta"):
        count = parameter_count(UNet(UNetSettings(), channels, condition_size))
    assert abs(count - 23.7e6) < 0.1e6
    assert count == parameters_by_hand(48, 4, channels, condition_size)


def test_width_and_depth_are_values() -> None:
    with torch.device("meta"):
        wide = UNet(UNetSettings(width=50, levels=3), 12, 13)
    assert wide.settings.channels == (50, 100, 200)
    assert parameter_count(wide) == parameters_by_hand(50, 3, 12, 13)


@pytest.mark.parametrize("size", [(16, 20, 24), (5, 7, 9), (1, 1, 1), (13, 16, 3)])
@pytest.mark.parametrize("settings", [TINY, TINY.model_copy(update={"attention_gates": True, "bottleneck_heads": 4})])
def test_any_size_comes_back_with_its_size(settings: UNetSettings, size: tuple[int, int, int]) -> None:
    network = build(settings)
    with torch.inference_mode():
        output = network(torch.randn(2, 3, *size), torch.randn(2, 5))
    assert output.shape == (2, 1, *size)
    assert torch.isfinite(output).all()


def test_padding_is_only_at_the_far_border() -> None:
    """An odd grid is computed as the same grid with its far border repeated."""
    network = build(TINY)
    x, condition = torch.randn(1, 3, 7, 6, 8), torch.randn(1, 5)
    repeated = torch.cat((x, x[:, :, -1:]), dim=2)
    repeated = torch.cat((repeated, repeated[:, :, :, -1:], repeated[:, :, :, -1:]), dim=3)
    with torch.inference_mode():
        torch.testing.assert_close(network(x, condition), network(repeated, condition)[:, :, :7, :6])


@pytest.mark.parametrize("positive", ["softplus", "clamp"])
def test_output_is_not_negative_at_inference(positive: str) -> None:
    network = build(TINY.model_copy(update={"positive": positive}))
    torch.nn.init.constant_(network.head.bias, -0.2)
    x, condition = torch.randn(1, 3, 8, 8, 8), torch.randn(1, 5)
    assert network(x, condition).min() >= 0
    if positive == "clamp":
        assert network.train()(x, condition).min() < 0  # so that gradients reach voxels without dose


def test_the_condition_changes_nothing_at_first_and_something_once_trained() -> None:
    network = build(TINY)
    x = torch.randn(1, 3, 8, 8, 8)
    low, high = torch.zeros(1, 5), torch.ones(1, 5)
    torch.testing.assert_close(network(x, low), network(x, high))
    for block in (*network.encoder, network.bottleneck, *network.decoder):
        torch.nn.init.normal_(block.film.weight, std=0.1)
    assert (network.train()(x, low) - network.train()(x, high)).abs().max() > 1e-3


def test_every_parameter_gets_a_gradient() -> None:
    settings = TINY.model_copy(update={"attention_gates": True, "bottleneck_heads": 4})
    network = build(settings).train()
    for name, parameter in network.named_parameters():
        if "film" in name or "attention.out" in name:  # they start at zero, and so would block what feeds them
            torch.nn.init.normal_(parameter, std=0.1)
    network(torch.randn(2, 3, 8, 8, 8), torch.randn(2, 5)).square().mean().backward()
    # A convolution's bias before a group normalisation of one channel a group has no effect, so only weights must move.
    idle = [n for n, p in network.named_parameters() if p.grad is None or (p.dim() > 1 and not p.grad.abs().sum() > 0)]
    assert idle == []


def test_a_gate_dampens_the_skips() -> None:
    gated = build(TINY.model_copy(update={"attention_gates": True}))
    assert gated.gates is not None
    assert len(gated.gates) == 2
    skip, below = torch.randn(1, 4, 4, 6, 8), torch.randn(1, 4, 4, 6, 8)
    weight = gated.gates[0](skip, below) / skip
    assert ((weight > 0) & (weight < 1)).all()
    assert torch.allclose(weight[:, :1], weight[:, 1:2], rtol=1e-4)


def test_self_attention_starts_as_the_identity_and_sees_everything() -> None:
    network = build(TINY.model_copy(update={"bottleneck_heads": 4}))
    x = torch.randn(1, 8, 2, 3, 4)
    torch.testing.assert_close(network.attention(x), x)
    torch.nn.init.normal_(network.attention.out.weight)
    changed = x.clone()
    changed[..., 0, 0, 0] += torch.randn(8)
    far = (network.attention(changed) - network.attention(x))[..., 1, 2, 3]
    assert far.abs().max() > 1e-4


def test_a_residual_adds_to_its_channel() -> None:
    network = build(TINY.model_copy(update={"residual_channel": 2}))
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.zeros_(network.head.bias)
    x = torch.rand(1, 3, 6, 7, 9)
    torch.testing.assert_close(network(x, torch.zeros(1, 5)), x[:, 2:3])


def test_settings_that_cannot_be_built_are_refused() -> None:
    with pytest.raises(ValueError, match="5 heads"):
        UNetSettings(bottleneck_heads=5, width=48, levels=1)
    with pytest.raises(ValueError, match="softplus"):
        UNetSettings(residual_channel=0, positive="softplus")
    with pytest.raises(ValueError, match="residual_channel 3"):
        build(TINY.model_copy(update={"residual_channel": 3}))
    with pytest.raises(ValueError, match="extra"):
        UNetSettings.model_validate({"widht": 48})
