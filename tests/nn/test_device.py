"""Which device a network runs on."""

from __future__ import annotations

import logging

import pytest
import torch

from vmat_rt.errors import ConfigError
from vmat_rt.nn.device import bounded_threads, choose_device, choose_dtype, sixteen_bit_types
from vmat_rt.system.cores import usable_cores


def test_cpu_is_always_there() -> None:
    assert choose_device("cpu") == torch.device("cpu")


def test_a_device_that_is_missing_is_refused() -> None:
    missing = torch.cuda.device_count()
    with pytest.raises(ConfigError, match=f"has {missing} CUDA devices"):
        choose_device(f"cuda:{missing}")


@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:x", "cuda:-1", "", "CPU", "cpu:0", "mps", "cuda:0 "])
def test_an_unknown_word_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no device is called"):
        choose_device(text)


def test_auto_says_what_it_took(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "vmat_rt"):
        device = choose_device("auto")
    assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert str(device) in caplog.text


def test_a_cpu_computes_in_float32_unless_told() -> None:
    cpu = torch.device("cpu")
    assert choose_dtype(cpu, "auto") == torch.float32
    with pytest.raises(ConfigError, match="float16"):
        choose_dtype(cpu, "float16")


def test_bfloat16_is_computed_where_the_processor_has_it_and_refused_elsewhere() -> None:
    cpu = torch.device("cpu")
    assert choose_dtype(cpu, "float32") == torch.float32
    if torch.bfloat16 in sixteen_bit_types(cpu):
        assert choose_dtype(cpu, "bfloat16") == torch.bfloat16
    else:
        with pytest.raises(ConfigError, match="bfloat16; use float32"):
            choose_dtype(cpu, "bfloat16")


def test_threads_are_bounded_and_put_back() -> None:
    before = torch.get_num_threads()
    with bounded_threads(None):
        assert torch.get_num_threads() <= usable_cores()
    with bounded_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
