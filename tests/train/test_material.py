"""What a recipe's network needs of its channels."""

from __future__ import annotations

import pytest

from tests.train.cohorts import tiny_recipe
from vmat_rt.errors import ConfigError
from vmat_rt.nn.encode import channels_for
from vmat_rt.protocol import load_protocol

PROTOCOL = load_protocol("prostate_sib_70_56")


def test_a_residual_needs_a_clamped_output() -> None:
    from vmat_rt.train.material import network_settings

    channels = channels_for(PROTOCOL, ("prior",))
    recipe = tiny_recipe(prior={})
    assert network_settings(recipe, channels).unet.residual_channel == len(channels.names) - 1
    wrong = tiny_recipe(prior={}, unet={"width": 2, "levels": 1, "positive": "softplus"})
    with pytest.raises(ConfigError, match="clamp"):
        network_settings(wrong, channels)
