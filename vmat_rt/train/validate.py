"""Validation: whole cases through the averaged weights and the code that predicts, against their clinical dose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from vmat_rt.case import Case, FloatArray, Volume
from vmat_rt.errors import ModelError
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.metrics.dose_error import compute_d95_gaps_gy, compute_dose_error
from vmat_rt.metrics.openkbp_score import OpenKbpRegions, PatientScore, combine_scores, score_patient
from vmat_rt.nn.infer import Plan, finished_gy, run_network
from vmat_rt.nn.network_bundle import NetworkSettings
from vmat_rt.nn.scene import INSIDE
from vmat_rt.train.batch import StructureTable
from vmat_rt.train.examples import Examples


class CaseScore(dict[str, float]):
    """Numbers of one case; an OpenKBP patient's also as `openkbp`, since that score pools over patients."""

    key: str
    openkbp: PatientScore | None = None


class Validator:
    """Scores a network on cases of a cohort, at the cohort's grid."""

    def __init__(self, examples: Examples, table: StructureTable, settings: NetworkSettings, plan: Plan) -> None:
        self._examples, self._table = examples, table
        self._settings, self._plan = settings, plan

    @torch.no_grad()
    def score(self, network: nn.Module, key: str, device: torch.device) -> CaseScore:
        """Predict one case and compare. The network must be in evaluation mode."""
        case = self._examples.cohort.read(key)
        dose = Volume(case.ct.grid, self._predicted(network, key, case, device))
        score = case_score(case, dose, self._table)
        score.key = key
        if self._examples.cohort.record(key).source == "openkbp":
            score.openkbp = openkbp_score(case, dose.array, self._table)
        return score

    def _predicted(self, network: nn.Module, key: str, case: Case, device: torch.device) -> FloatArray:
        example = self._examples[key]
        x = torch.from_numpy(np.array(example.array))[None].to(device).float()
        condition = torch.from_numpy(example.condition)[None].to(device)
        output: Tensor = run_network(network, x, condition, self._plan)
        relative = np.ascontiguousarray(output[0, 0].float().cpu().numpy())
        prior_gy = self._examples.prior_gy(key)
        try:
            return finished_gy(relative, example.encoded(), case, case.ct.grid, self._settings, prior_gy)
        except ModelError as error:
            raise ModelError(f"case {key}: {error}") from error


def case_score(case: Case, dose: Volume, table: StructureTable) -> CaseScore:
    """Mean absolute error in the body, Gy, and each prescribed target's D95% gap (predicted minus clinical), Gy."""
    assert case.reference_dose is not None
    error = compute_dose_error(case.reference_dose, dose, structure_fraction(case.body, dose.grid))
    targets = {name: case.structures[name] for name in case.targets() if name in table.names}
    gaps = compute_d95_gaps_gy(targets, case.reference_dose, dose)
    score = CaseScore({f"d95_gap_gy:{name}": gap for name, gap in gaps.items() if gap is not None})
    if error is not None:
        score["mae_gy"] = error.mae_gy
    return score


def openkbp_score(case: Case, dose_gy: FloatArray, table: StructureTable) -> PatientScore:
    """The challenge's scores of one patient, whose body is OpenKBP's mask of possible dose."""
    assert case.reference_dose is not None
    grid = case.ct.grid
    masks = {
        role: {
            name: structure_fraction(case.structures[name], grid) >= INSIDE
            for name, own in zip(table.names, table.roles, strict=True)
            if own == role and name in case.structures
        }
        for role in ("oar", "target")
    }
    possible = structure_fraction(case.body, grid) >= INSIDE
    regions = OpenKbpRegions(possible, masks["oar"], masks["target"], float(np.prod(grid.spacing_mm)))
    return score_patient(dose_gy, case.reference_dose.array, regions)


def summarise(scores: Sequence[CaseScore]) -> dict[str, float]:
    """Means over cases, in the order of their keys; d95_abs_gap_gy over all targets of all cases."""
    ordered = sorted(scores, key=lambda score: score.key)
    names = sorted({name for score in ordered for name in score})
    means = {name: float(np.mean([score[name] for score in ordered if name in score])) for name in names}
    gaps = [abs(value) for score in ordered for name, value in score.items() if name.startswith("d95_gap_gy:")]
    if gaps:
        means["d95_abs_gap_gy"] = float(np.mean(gaps))
    patients = [score.openkbp for score in ordered if score.openkbp is not None]
    if patients:
        combined = combine_scores(patients)
        means["openkbp_dose_score"] = combined.dose_score_gy
        if combined.dvh_score_gy is not None:
            means["openkbp_dvh_score"] = combined.dvh_score_gy
    return means
