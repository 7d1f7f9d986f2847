"""The study and the cohort that ship: in a wheel as `vmat_rt/samples/`, in a checkout as `sample_data/`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vmat_rt.errors import ConfigError

STUDY: Final = "head_neck_openkbp"
COHORT: Final = "prostate_cohort"

_PACKAGE = Path(__file__).resolve().parent.parent
_PLACES = (_PACKAGE / "samples", _PACKAGE.parent / "sample_data")


def sample(name: str) -> Path:
    """The folder of a sample. Raises ConfigError, which says where it can be had, when it was not installed."""
    folder = next((place / name for place in _PLACES if (place / name).is_dir()), None)
    if folder is None:
        raise ConfigError(
            f"the sample {name} is not part of this installation: install the wheel of a release, or take "
            f"sample_data/{name} from https://github.com/vmat-rt/vmat-rt"
        )
    return folder
