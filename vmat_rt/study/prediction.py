"""Prediction: what a user gets for one study or case, in memory and, where it was written, on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vmat_rt.case import FloatArray, ModelIdentity, Volume
from vmat_rt.errors import Problem
from vmat_rt.grid import Grid, Triple
from vmat_rt.metrics.dvh.compute import Dvh, key_by_structure_name
from vmat_rt.metrics.goals import GoalResult
from vmat_rt.metrics.shells import ShellDvh
from vmat_rt.report.result import CaseResult
from vmat_rt.report.schema import PredictDocument, ReportDocument
from vmat_rt.report.summary import write_summary_html, write_summary_text


@dataclass(frozen=True, repr=False, eq=False)
class Prediction:
    """A predicted dose with all that was measured on it. PREDICTED, NOT FOR TREATMENT.

    result: the case and every dose in full. report: the content of report.json. folder: where the files lie, or None
    when nothing was written. In a notebook it shows itself as a small table.
    """

    result: CaseResult
    report: ReportDocument
    folder: Path | None = None

    @property
    def dose(self) -> Volume:
        """The predicted dose on its grid: array float32 (z, y, x), Gy in total over all fractions."""
        return self.result.predicted.dose

    @property
    def dose_gy(self) -> FloatArray:
        """The array of `dose`: float32 (z, y, x), Gy in total over all fractions; zero outside the body."""
        return self.dose.array

    @property
    def grid(self) -> Grid:
        """Where the voxels of the dose lie, in the frame of reference of the CT."""
        return self.dose.grid

    @property
    def spacing_mm(self) -> Triple:
        """Distance of the dose's voxels, centre to centre, (z, y, x)."""
        return self.grid.spacing_mm

    @property
    def origin_mm(self) -> Triple:
        """Centre of the dose's first voxel, (z, y, x), in LPS."""
        return self.grid.origin_mm

    @property
    def dvhs(self) -> dict[str, Dvh]:
        """The DVH of each mapped structure and of the body, by TG-263 name: `.dvhs["Rectum"].value("V50Gy")`."""
        return key_by_structure_name(self.result.predicted.dvhs)

    @property
    def shells(self) -> dict[str, ShellDvh]:
        """The shells of lower targets, on which their goals are judged: `.shells["PTV_5600"].dvh.value("D2%")`."""
        return dict(self.result.predicted.shells)

    @property
    def goals(self) -> dict[str, tuple[GoalResult, ...]]:
        """What became of each planning goal, by the name of its goal set."""
        return dict(self.result.predicted.goals)

    @property
    def others(self) -> dict[str, Volume]:
        """The doses that stand beside the predicted one, by label: "geometric baseline", "clinical"."""
        return {other.label: other.dose for other in self.result.others}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Warnings: what was found that did not stop the prediction."""
        return self.result.problems

    @property
    def model(self) -> ModelIdentity:
        """The model that made the dose: name, version, hash, what it was trained on, its limits."""
        model = self.result.predicted.model
        assert model is not None  # a predicted dose always has one
        return model

    @property
    def notice(self) -> str:
        """PREDICTED, NOT FOR TREATMENT."""
        return self.report.notice

    @property
    def files(self) -> dict[str, Path]:
        """What was written, by kind ("rtdose", "report_html", ...); empty when nothing was."""
        if self.folder is None:
            return {}
        return {kind: self.folder / name for kind, name in self.report.files.items()}

    def document(self) -> PredictDocument:
        """report.json with the absolute paths of what was written."""
        paths = {kind: str(path.resolve()) for kind, path in self.files.items()}
        return PredictDocument(**self.report.model_dump(mode="json"), paths=paths)

    def summary(self) -> str:
        """A few lines for a person at a terminal."""
        return write_summary_text(self.report, self.files)

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return write_summary_html(self.report)
