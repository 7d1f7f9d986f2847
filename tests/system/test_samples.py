"""Samples are found in a checkout and in an installed wheel, and their absence is a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmat_rt.errors import ConfigError
from vmat_rt.system import samples
from vmat_rt.system.samples import COHORT, STUDY, sample


@pytest.mark.parametrize(("name", "file"), [(STUDY, "RTSTRUCT.dcm"), (COHORT, "cohort.yaml")])
def test_a_checkout_has_its_samples(name: str, file: str) -> None:
    assert (sample(name) / file).is_file()


def test_one_that_is_absent_says_where_it_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_PLACES", (tmp_path,))
    with pytest.raises(ConfigError, match=r"https://github\.com/vmat-rt/vmat-rt"):
        sample(COHORT)
