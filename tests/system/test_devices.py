"""Names of devices: those that there are, and others refused with them."""

from __future__ import annotations

import pytest

from vmat_rt.errors import ConfigError
from vmat_rt.system.devices import require_device_name


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:17"])
def test_names_of_devices_pass(name: str) -> None:
    require_device_name(name)


@pytest.mark.parametrize("name", ["", "gpu", "CPU", "cpu:0", "cuda:", "cuda:-1", "cuda:1,2", " cpu", "auto\n"])
def test_other_names_are_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match="there are auto, cpu, cuda and cuda:<number>"):
        require_device_name(name)
