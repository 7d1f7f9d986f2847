"""The JSON that `vmat-rt evaluate` leaves: one document per case, aggregate.json and against_clinical.json.

Names of metrics end in their unit (`mae_gy`, `gamma_global_percent`, `seconds`). One that exists per structure is
called `d95_gap_gy:PTV_7000` in a case's document and in results.csv, and {"d95_gap_gy": {"PTV_7000": ...}} in
aggregate.json. Every gap is predicted minus reference.
`python -m vmat_rt.report.evaluation_schema docs/schema` publishes the schemas.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from vmat_rt.report.quality.entries import Number
from vmat_rt.report.schema import GoalStatus, ProblemEntry, main
from vmat_rt.strict import Strict

SCHEMA_VERSION: Final = 1
CASE_VERSION: Final = 2

SubjectRole = Literal["model", "baseline"]
Worse = Literal["higher", "lower"]


class _Document(Strict):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class SubjectEntry(_Document):
    """One predictor that was evaluated: a bundle, or the bundle of a run; seed is empty for what is not a run.

    label names its folder under cases/. notes: what a reader must know before its numbers. recipe_sha256: of a run's
    recipe, empty for what is not a run.
    """

    label: str
    name: str
    seed: str
    role: SubjectRole
    kind: str
    version: str
    sha256: str
    trained_on: str
    notes: list[str]
    recipe_sha256: str = ""


class StructureResult(_Document):
    """DVH metrics of one structure in both doses: doses in Gy, volumes in the unit that the metric's name says.

    A shell is called `PTV_5600 shell`; outside says of what, `PTV_7000 + 5 mm`, and is empty for all else.
    """

    name: str
    outside: str = ""
    role: Literal["target", "oar"]
    volume_cc: Number
    prescription_gy: float | None
    predicted: dict[str, Number]
    reference: dict[str, Number]


class GoalOutcome(_Document):
    """One planning goal in both doses, as evaluated for this fractionation.

    judged_on: the structure, or its shell in words. arms: of which one suffices; the numbers are then those of the arm
    that decides in each dose. agrees: both are met or both missed; null where one cannot be evaluated or the goal says
    nothing (vacuous): unknown is not agreed. predicted_reason and reference_reason say why.
    """

    goal_set: str
    structure: str
    metric: str
    comparison: Literal["<", "<=", ">", ">="]
    limit: Number
    unit: str
    predicted: Number
    reference: Number
    predicted_status: GoalStatus
    reference_status: GoalStatus
    agrees: bool | None
    judged_on: str = ""
    predicted_reason: str = ""
    reference_reason: str = ""
    arms: list[GoalOutcome] = Field(default=[])


class OpenKbpEntry(_Document):
    """What the challenge's scores pool: dose error, Gy, and |difference| of each DVH metric, Gy, as `D_95 PTV_7000`."""

    dose_error_gy: float
    dvh_errors_gy: dict[str, float]


class MeasuredBy(_Document):
    """What a kept result must share with a new one."""

    version: str
    gamma: bool


class CaseDocument(_Document):
    """cases/<label>/<case>.json: one model on one case. A failed one has problems and neither metrics nor structures.

    seconds: by step. coverage_percent: part of the body's volume for which the model gives a dose.
    """

    schema_version: Literal[2] = CASE_VERSION
    label: str
    model: str
    seed: str
    model_sha256: str
    case: str
    case_sha256: str
    measured_by: MeasuredBy
    status: Literal["done", "failed"]
    problems: list[ProblemEntry]
    metrics: dict[str, Number]
    structures: list[StructureResult]
    goals: list[GoalOutcome]
    openkbp: OpenKbpEntry | None
    coverage_percent: Number
    seconds: dict[str, float]


class MetricSummary(_Document):
    """Over cases; a case that several seeds saw counts once, with its mean.

    sd: over cases. ci95: of the mean, by bootstrap over cases. n: cases with a value. seed_sd: over seeds, of their
    means over the cases that all of them saw. by_seed: mean of each seed over its own cases.
    """

    mean: Number
    sd: Number
    ci95: tuple[float, float] | None
    n: int
    seed_sd: Number
    by_seed: dict[str, Number]


class ModelAggregate(_Document):
    """One model, its seeds pooled. n_failed counts (seed, case) pairs that gave no result."""

    role: SubjectRole
    seeds: list[str]
    n_cases: int
    n_failed: int
    metrics: dict[str, MetricSummary | dict[str, MetricSummary]]


class EvaluatedCohort(_Document):
    """The cohort and the part of it. simulated: no patient's data; say so wherever a number stands."""

    name: str
    protocol: str
    data: str
    licence: str
    simulated: bool
    sha256: str = Field(description="of the contents of the cases that were evaluated")
    split: str


class AggregateDocument(_Document):
    """aggregate.json. cases: label -> the keys that were evaluated."""

    schema_version: Literal[1] = SCHEMA_VERSION
    cohort: EvaluatedCohort
    models: dict[str, ModelAggregate]
    subjects: list[SubjectEntry]
    cases: dict[str, list[str]]
    metric_definitions: dict[str, str]
    notes: list[str]


class PlanFinding(_Document):
    """A metric in which a clinical plan is worse than predicted by more than the model's own spread.

    excess: how much worse than predicted, in unit. expected and spread: mean and SD of the same difference over the
    n_spread cases that tell the model's own error; z = (excess - expected) / (spread * sqrt(1 + 1 / n_spread)).
    """

    rank: int
    model: str
    seed: str
    case: str
    structure: str
    metric: str
    unit: str
    worse: Worse
    clinical: float
    predicted: float
    excess: float
    expected: float
    spread: float
    n_spread: int
    z: float


class AgainstClinicalDocument(_Document):
    """against_clinical.json. spread_from: label -> where the spread of that model comes from."""

    schema_version: Literal[1] = SCHEMA_VERSION
    threshold_z: float
    compared: int = Field(description="number of (case, structure, metric) that could be judged")
    not_judged: int = Field(description="number without a spread or a value")
    spread_from: dict[str, str]
    findings: list[PlanFinding]

    def in_words(self) -> str:
        """How much was judged, and how much of it stands out."""
        left = f"{self.not_judged} more could not be judged, for too few cases tell that spread"
        if not self.compared:
            return f"No value of a plan could be judged: of {self.not_judged}, too few cases tell the model's spread."
        count = f"{len(self.findings)} of {self.compared} values"
        sentence = f"{count} are worse than predicted by more than the model's own spread"
        return f"{sentence}; {left}." if self.not_judged else f"{sentence}."


DOCUMENTS: dict[str, type[BaseModel]] = {
    "evaluation_case": CaseDocument,
    "evaluation_aggregate": AggregateDocument,
    "against_clinical": AgainstClinicalDocument,
}


if __name__ == "__main__":
    main(DOCUMENTS)
