"""The JSON that others build on: report.json of `predict`, and the documents of `inspect` and `dvh`.

Every document carries schema_version; it grows when a reader of the old form would be misled. Unknown keys are errors.
A number that does not exist is null, never NaN. `python -m vmat_rt.report.schema docs/schema` publishes the schemas.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from vmat_rt.report.band_entries import BandsEntry
from vmat_rt.report.quality.entries import DoseQuality, GammaRate, Number
from vmat_rt.strict import Strict

SCHEMA_VERSION: Final = 2
NOTICE: Final = "PREDICTED, NOT FOR TREATMENT"

DoseLabel = Literal["predicted", "geometric baseline", "clinical"]
GoalStatus = Literal["met", "missed", "not evaluable", "vacuous"]


Indices = tuple[int, int, int]
Millimetres = tuple[float, float, float]


class _Document(Strict):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class ProblemEntry(_Document):
    """One thing wrong with the input. An "error" stopped the job, a "warning" did not."""

    code: str
    message: str
    remedy: str
    severity: Literal["error", "warning"]


class PrescriptionEntry(_Document):
    """Dose per target, Gy in total over all fractions, and where it was found."""

    dose_gy: dict[str, float]
    fractions: int
    source: str


class ModelEntry(_Document):
    """The model that made a dose. metrics are those of its own validation, as its bundle states them."""

    name: str
    version: str
    kind: str
    protocol: str
    sha256: str
    trained_on: str
    limits: list[str]
    metrics: dict[str, Number]


class StructureMetrics(_Document):
    """DVH metrics of one ROI: doses in Gy, volumes in the unit that the metric's name says (% unless [cc])."""

    roi_name: str
    name: str | None = Field(description="TG-263 name, or null for an ROI that the protocol does not know")
    volume_cc: Number
    covered_percent: Number = Field(description="part of the volume that lies within the dose grid")
    metrics: dict[str, Number]
    reason: str = Field(description="why there are no metrics, or what may leave some null; empty where nothing does")


class ShellMetrics(StructureMetrics):
    """DVH metrics of a target's shell: what of it lies outside of the targets `outside`, grown by margin_mm; roi_name
    says this in words.
    """

    target: str
    outside: list[str]
    margin_mm: float


class GoalEntry(_Document):
    """One planning goal as stated by its source, as evaluated for this fractionation, and what came out.

    value and limit_evaluated are in unit_evaluated. converted says that a dose was taken from
    derived_at_gy_per_fraction to this plan's fractions through EQD2 with alpha_beta_gy. judged_on is the structure or
    the shell of it that the value belongs to; whole_value the same metric of the whole structure where they differ. A
    goal with arms is met where one of them is; its numbers are those of the arm that decides.
    """

    goal_set: str
    structure: str
    metric_stated: str
    metric_evaluated: str
    comparison: Literal["<", "<=", ">", ">="]
    limit_stated: float
    unit_stated: str
    limit_evaluated: Number
    unit_evaluated: str
    converted: bool
    value: Number
    status: GoalStatus
    reason: str
    source: str
    note: str
    alpha_beta_gy: float | None
    alpha_beta_source: str
    derived_at_gy_per_fraction: float | None
    judged_on: str
    whole_value: Number
    arms: list[GoalEntry]


class GoalSetEntry(_Document):
    """A set of goals of one origin."""

    name: str
    title: str


class DoseEntry(_Document):
    """One dose of the case: what made it, its DVH metrics and its goals."""

    label: DoseLabel
    model: ModelEntry | None
    structures: list[StructureMetrics]
    shells: list[ShellMetrics]
    goals: list[GoalEntry]


class StructureGap(_Document):
    """Predicted minus other dose of one structure, Gy. d95_gap_gy exists for targets only."""

    roi_name: str
    name: str | None
    role: str
    mean_gap_gy: Number
    near_max_gap_gy: Number = Field(description="difference of D0.03cc")
    d95_gap_gy: Number
    disagrees: bool


class ComparisonEntry(_Document):
    """The predicted dose against another one. mae_body_gy is over the voxels of the body that both cover."""

    against: DoseLabel
    mae_body_gy: Number
    compared_body_percent: Number
    structures: list[StructureGap]
    disagrees: bool
    action_levels: str


class StructureEntry(_Document):
    """One ROI of the structure set."""

    roi_name: str
    name: str | None
    contours: int
    volume_cc: Number


class CtEntry(_Document):
    """Geometry of the CT, ordered (z, y, x)."""

    shape: Indices
    spacing_mm: Millimetres


class CaseEntry(_Document):
    """The study without identity; key is a stable name that says nothing of the patient."""

    key: str
    ct: CtEntry
    dose_grid: CtEntry


class ProtocolEntry(_Document):
    """The disease site's protocol."""

    name: str
    title: str
    goal_sets: list[GoalSetEntry]


class ReportDocument(_Document):
    """report.json."""

    schema_version: Literal[2] = SCHEMA_VERSION
    notice: Literal["PREDICTED, NOT FOR TREATMENT"] = NOTICE
    title: str = Field(description="site and prescription of this case, not of the protocol")
    created: str | None
    case: CaseEntry
    patient: dict[str, str] | None
    protocol: ProtocolEntry
    prescription: PrescriptionEntry
    model: ModelEntry | None
    problems: list[ProblemEntry]
    structures_mapped: list[StructureEntry]
    structures_unmapped: list[StructureEntry]
    predicted: DoseEntry
    baseline: DoseEntry | None
    clinical: DoseEntry | None
    comparison_with_clinical: ComparisonEntry | None
    comparison_with_baseline: ComparisonEntry | None
    bands: BandsEntry | None = Field(default=None, description="null where the model was not calibrated")
    quality: list[DoseQuality]
    gamma: list[GammaRate] = Field(description="of the predicted dose against the clinical one; empty without it")
    files: dict[str, str] = Field(description="what was written, by kind, relative to the folder of report.json")
    software: dict[str, str]
    seconds: dict[str, float]


class PredictDocument(ReportDocument):
    """The JSON of `vmat-rt predict`: report.json, and where the files were written."""

    paths: dict[str, str]


class InspectedCt(CtEntry):
    """The CT of a study."""

    patient_position: str | None


class InspectedStudy(_Document):
    """What is in one study. complete: CT and RTSTRUCT are whole and fit; problems say what a prediction lacks."""

    case: str
    ct: InspectedCt | None
    structures: list[StructureEntry]
    prescription: PrescriptionEntry | None
    problems: list[ProblemEntry]
    complete: bool
    proposed_aliases: dict[str, str] = Field({}, description="guesses for a person to confirm: ROI name -> TG-263 name")


class InspectDocument(_Document):
    """The JSON of `vmat-rt inspect`."""

    schema_version: Literal[1] = 1
    studies: list[InspectedStudy]


class DvhDocument(_Document):
    """The JSON of `vmat-rt dvh`."""

    schema_version: Literal[2] = SCHEMA_VERSION
    structures: list[StructureMetrics]
    shells: list[ShellMetrics] = Field(default=[])
    goals: list[GoalEntry]
    problems: list[ProblemEntry] = Field(default=[])


DOCUMENTS: dict[str, type[_Document]] = {
    "report": ReportDocument,
    "predict": PredictDocument,
    "inspect": InspectDocument,
    "dvh": DvhDocument,
}


def read_json_schema(name: str) -> str:
    """The published JSON schema of one document, as text. Raises KeyError for a name not in DOCUMENTS."""
    return write_schema_text(DOCUMENTS[name])


def write_schema_text(model: type[BaseModel]) -> str:
    """The JSON schema of a document, as it is published."""
    schema = model.model_json_schema(mode="serialization")
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(described, indent=2) + "\n"


def publish_schemas(folder: Path, documents: Mapping[str, type[BaseModel]] = DOCUMENTS) -> tuple[Path, ...]:
    """Write `<name>.schema.json` for every document."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, model in documents.items():
        path = folder / f"{name}.schema.json"
        path.write_text(write_schema_text(model), encoding="utf-8")
        paths.append(path)
    return tuple(paths)


def main(documents: Mapping[str, type[BaseModel]]) -> None:
    """Publish the schemas in the folder that the command line names."""
    for written in publish_schemas(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schema"), documents):
        print(written)


if __name__ == "__main__":
    main(DOCUMENTS)
