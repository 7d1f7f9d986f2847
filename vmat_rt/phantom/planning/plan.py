"""A simulated arc plan for a simulated patient: style, fluence, dose, normalisation, acceptance.

One VMAT arc is stood in for by ideal fluences at 48 to 72 equally spaced gantry angles: no leaves, no limits of speed
or dose rate, a smoothness term instead. Dose in Gy in total over all fractions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmat_rt.case import AIR_HU, Case, Volume
from vmat_rt.errors import ModelError
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.geometry.rays import list_voxel_points
from vmat_rt.geometry.resample import resample
from vmat_rt.grid import Grid, Triple
from vmat_rt.metrics.dvh.compute import compute_dvh
from vmat_rt.phantom.anatomy.patient import Patient
from vmat_rt.phantom.delivery.engine import DoseEngine, EngineSettings
from vmat_rt.phantom.delivery.machine import load_machine
from vmat_rt.phantom.planning.acceptance import PlanMeasures, list_refusals, measure
from vmat_rt.phantom.planning.fluence import FluenceTask, make_neighbour_steps, optimise
from vmat_rt.phantom.planning.goals import HIGH, HIGH_GY, make_objectives
from vmat_rt.phantom.planning.objectives import Doubles
from vmat_rt.phantom.planning.points import PlanPoints, choose_plan_points, fit_lattice
from vmat_rt.phantom.planning.style import PlannerStyle, draw_style

DOSE_STEP_MM = 4.25
"""Of the plan's dose grid. Read cubically, doses differ from those on 2 mm by 0.2 Gy (root mean square above 20 Gy) and
DVH points by less than 0.1 Gy; packed they cost 0.12 MB."""

DENSITY_STEP_MM = 3.0
ITERATIONS = 60
SMOOTHNESS = 100.0
"""Times the style's: enough that low doses show no spokes, as those of a turning gantry do not."""

ENGINE = EngineSettings(bixel_mm=5.0, margin_mm=6.0)


@dataclass(frozen=True)
class SimulatedPlan:
    """dose: Gy on the plan's own grid, 0 outside the body. reasons say why a plan that is not accepted was refused."""

    dose: Volume
    angles_deg: tuple[float, ...]
    style: PlannerStyle
    measures: PlanMeasures
    accepted: bool
    reasons: tuple[str, ...] = ()


def plan_patient(patient: Patient, seed: int) -> SimulatedPlan:
    """The plan of one planner, whom the seed and the case's key choose; see `plan_until_accepted`."""
    return plan_until_accepted(patient.case, draw_style(seed, patient.case.key, patient.traits))


def plan_until_accepted(case: Case, style: PlannerStyle) -> SimulatedPlan:
    """The plan of this planner; a refused one is made once more, more firmly, and then stands accepted or not."""
    plan = plan_in_style(case, style)
    return plan if plan.accepted else plan_in_style(case, style.make_firmer())


def plan_in_style(case: Case, style: PlannerStyle) -> SimulatedPlan:
    """The plan of this planner for a simulated case."""
    engine = make_engine(case, style)
    weights = find_ideal_fluence(engine, choose_plan_points(case), style)
    grid = fit_lattice(case.ct.grid, DOSE_STEP_MM)
    raw = engine.dose(weights, grid, _find_body(case, grid))
    dose, readable = normalise(case, raw, style.coverage_percent)
    measures = measure(case, readable)
    reasons = list_refusals(measures)
    return SimulatedPlan(dose, style.angles_deg, style, measures, not reasons, reasons)


def find_ideal_fluence(engine: DoseEngine, points: PlanPoints, style: PlannerStyle) -> Doubles:
    """Weights of all bixels, from a flat fluence that gives the high target its dose in the mean."""
    full_turn = style.arc_extent_deg >= 360
    influence = engine.influence(points.points_mm)
    flat = np.ones(engine.bixels)
    flat *= HIGH_GY / float(influence.forward(flat)[points.distance_mm[HIGH] < 0].mean())
    smoothness = SMOOTHNESS * style.smoothness
    task = FluenceTask(influence, make_objectives(points, style), make_neighbour_steps(engine, full_turn), smoothness)
    return optimise(task, flat, ITERATIONS).weights


def normalise(case: Case, dose: Volume, coverage_percent: float) -> tuple[Volume, Volume]:
    """The dose scaled so that coverage_percent of PTV_7000 gets 70 Gy; on its own grid, and cubically on the CT's.

    Raises ModelError when that part of the target gets nothing.
    """
    readable = resample(dose, case.ct.grid, 0.0, "cubic")
    metric = f"D{coverage_percent:.4g}%"
    reached_gy = compute_dvh(case.structures[HIGH], readable, metrics=[metric]).value(metric)
    if not reached_gy:
        raise ModelError(f"{coverage_percent:.4g} % of the high target got no dose, which cannot be scaled")
    scale = np.float32(HIGH_GY / reached_gy)
    return Volume(dose.grid, dose.array * scale), Volume(readable.grid, readable.array * scale)


def make_engine(case: Case, style: PlannerStyle) -> DoseEngine:
    """The beams of the style's arc on the case, isocentre in the middle of all targets together."""
    grid, machine = fit_lattice(case.ct.grid, DENSITY_STEP_MM), load_machine()
    density = machine.electron_density(resample(case.ct, grid, AIR_HU), _find_body(case, grid))
    fractions = [structure_fraction(case.structures[name], grid) for name in case.targets()]
    target = Volume(grid, np.maximum.reduce(fractions))
    return DoseEngine(machine, density, target, _find_centre_mm(target), style.angles_deg, ENGINE)


def _find_body(case: Case, grid: Grid) -> NDArray[np.bool_]:
    return structure_fraction(case.body, grid) >= 0.5


def _find_centre_mm(target: Volume) -> Triple:
    z, y, x = (float(v) for v in list_voxel_points(target.grid, target.array >= 0.5).mean(axis=0))
    return (z, y, x)
