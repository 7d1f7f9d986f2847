"""Predicted radiotherapy dose from CT and structures. For research and commissioning, not for treatment.

    import vmat_rt

    prediction = vmat_rt.predict("STUDY_DIR", out="OUT")     # a folder of DICOM, or a vmat_rt.Case
    prediction.dvhs["PTV_7000"].value("D95%")                # Gy
    vmat_rt.dvh("STUDY_DIR", "rtdose.dcm")["Rectum"].value("V50Gy")
    vmat_rt.gamma("clinical.dcm", prediction).pass_rate_percent

Names are loaded when they are first used: `import vmat_rt` costs nothing. docs/architecture.md has the rooms below.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # typing's own costs an import; type checkers take any name of this spelling for true
if TYPE_CHECKING:
    from vmat_rt.api import dvh, gamma, predict
    from vmat_rt.case import Case, Prescription, Structure, Volume
    from vmat_rt.errors import ConfigError, GeometryError, InputError, ModelError, Problem, VmatError
    from vmat_rt.grid import Grid
    from vmat_rt.metrics.dvh.compute import Dvh
    from vmat_rt.metrics.gamma.index import GammaResult
    from vmat_rt.study.dose_review import DoseReview
    from vmat_rt.study.outputs import Outputs
    from vmat_rt.study.prediction import Prediction

    __version__: str

__all__ = [
    "Case",
    "ConfigError",
    "DoseReview",
    "Dvh",
    "GammaResult",
    "GeometryError",
    "Grid",
    "InputError",
    "ModelError",
    "Outputs",
    "Prediction",
    "Prescription",
    "Problem",
    "Structure",
    "VmatError",
    "Volume",
    "__version__",
    "dvh",
    "gamma",
    "predict",
]

_HOMES = {
    "Case": "vmat_rt.case",
    "ConfigError": "vmat_rt.errors",
    "DoseReview": "vmat_rt.study.dose_review",
    "Dvh": "vmat_rt.metrics.dvh.compute",
    "GammaResult": "vmat_rt.metrics.gamma.index",
    "GeometryError": "vmat_rt.errors",
    "Grid": "vmat_rt.grid",
    "InputError": "vmat_rt.errors",
    "ModelError": "vmat_rt.errors",
    "Outputs": "vmat_rt.study.outputs",
    "Prediction": "vmat_rt.study.prediction",
    "Prescription": "vmat_rt.case",
    "Problem": "vmat_rt.errors",
    "Structure": "vmat_rt.case",
    "VmatError": "vmat_rt.errors",
    "Volume": "vmat_rt.case",
    "dvh": "vmat_rt.api",
    "gamma": "vmat_rt.api",
    "predict": "vmat_rt.api",
}
"""Where each public name is at home; the imports above say the same to type checkers and editors."""


if not TYPE_CHECKING:  # else type checkers would let every misspelt name pass

    def __getattr__(name: str) -> object:
        """Load a public name from its home when it is first used (PEP 562)."""
        if name == "__version__":
            value = importlib.import_module("importlib.metadata").version("vmat-rt")
        elif name in _HOMES:
            value = getattr(importlib.import_module(_HOMES[name]), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
