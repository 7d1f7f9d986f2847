"""One study predicted as the service is configured: the worker's call and the replay's are the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vmat_rt_service.config import ServiceConfig

if TYPE_CHECKING:
    from vmat_rt.study.prediction import Prediction


def predict_as_configured(config: ServiceConfig, folder: Path, out: Path) -> Prediction:
    """Predict the study of a folder into out/<case>. Raises as `predict_study`."""
    from vmat_rt.protocol import load_protocol
    from vmat_rt.study.choice import StudyChoice
    from vmat_rt.study.outputs import Outputs
    from vmat_rt.study.predict import predict_study

    choice = StudyChoice(
        protocol=load_protocol(config.protocol) if config.protocol else None, deidentified=config.accept_deidentified
    )
    outputs = Outputs(isodose_percent=config.isodose_percent, identify=config.identify)
    return predict_study(folder, out, choice, outputs, config.model, config.device, allow_outside=config.allow_outside)
