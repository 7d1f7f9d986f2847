"""A small made-up pelvis: every axis different, doses in closed form, names that try to break a page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vmat_rt.case import Case, ContourPlane, Contours, ModelIdentity, Prescription, Structure, Volume
from vmat_rt.errors import Problem, warning
from vmat_rt.grid import Grid
from vmat_rt.metrics.dvh.compute import compute_dvhs
from vmat_rt.metrics.dvh.convergence import Accuracy
from vmat_rt.metrics.goals import check_goals
from vmat_rt.protocol import Protocol
from vmat_rt.report.result import CaseResult, DoseResult
from vmat_rt.report.schema import DoseLabel

FRAME = "1.2.826.0.1.3680043.10.1.1"
EVIL = "<script>alert('roi')</script> & \"Rectum\""
CENTRE = (12.0, 20.0, -8.0)

ELLIPSOIDS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "External": ((0, 0, 0), (200, 95, 150)),
    "PTV_7000": ((0, 0, 0), (26, 24, 30)),
    "PTV_5600": ((14, 6, 0), (38, 30, 36)),
    "Rectum": ((8, 46, 2), (48, 19, 21)),
    "Bladder": ((46, -22, 0), (30, 28, 38)),
    "Femur_Head_L": ((14, 8, 92), (24, 24, 24)),
    "Femur_Head_R": ((14, 8, -92), (24, 24, 24)),
}

PROTOCOL = Protocol.model_validate(
    {
        "schema_version": 1,
        "name": "prostate_sib_70_56",
        "title": "Prostate, 70 Gy with 56 Gy to the nodes, 28 fractions",
        "site": "prostate",
        "fractions": 28,
        "beam_angles": {"step_deg": 10, "count": 36},
        "structures": [
            {"name": "PTV_7000", "role": "target", "required": True, "dose_gy": 70},
            {"name": "PTV_5600", "role": "target", "dose_gy": 56},
            {"name": "Rectum", "role": "oar", "aliases": ["Rektum", EVIL]},
            {"name": "Bladder", "role": "oar"},
            {"name": "Femur_Head_L", "role": "oar"},
            {"name": "Femur_Head_R", "role": "oar"},
            {"name": "PenileBulb", "role": "oar"},
            {"name": "External", "role": "body"},
        ],
        "goal_sets": [
            {
                "name": "quantec",
                "title": "QUANTEC",
                "goals": [
                    {
                        "structure": "Rectum",
                        "metric": f"V{dose}Gy",
                        "comparison": "<",
                        "limit": limit,
                        "unit": "%",
                        "source": "Marks 2010, doi:10.1016/j.ijrobp.2009.07.1695",
                        "alpha_beta_gy": 3,
                        "derived_at_gy_per_fraction": 2,
                    }
                    for dose, limit in ((50, 50), (60, 35), (65, 25), (70, 20), (75, 15))
                ]
                + [
                    {
                        "structure": "Bladder",
                        "metric": "V80Gy",
                        "comparison": "<=",
                        "limit": 15,
                        "unit": "%",
                        "source": "Marks 2010, doi:10.1016/j.ijrobp.2009.07.1695",
                    },
                    {
                        "structure": "PenileBulb",
                        "metric": "Dmean",
                        "comparison": "<",
                        "limit": 50,
                        "unit": "Gy",
                        "source": "Roach 2010",
                    },
                ],
            },
            {
                "name": "reference_code",
                "title": "Reference code's own set",
                "goals": [
                    {
                        "structure": "PTV_7000",
                        "metric": "V100%",
                        "comparison": ">=",
                        "limit": 95,
                        "unit": "%",
                        "source": "Reference code",
                    },
                    {
                        "structure": "PTV_7000",
                        "metric": "Dmax",
                        "comparison": "<=",
                        "limit": 107,
                        "unit": "% of prescription",
                        "source": "Reference code",
                    },
                    {
                        "structure": "Femur_Head_L",
                        "metric": "Dmax",
                        "comparison": "<=",
                        "limit": 50,
                        "unit": "Gy",
                        "source": "Reference code",
                    },
                ],
            },
        ],
    }
)

MODEL = ModelIdentity(
    name="unet-prostate",
    version="1.0",
    kind="network",
    protocol_name=PROTOCOL.name,
    sha256="3b" * 32,
    trained_on="70 cases, procedural pelvis phantoms",
    limits=("Prostate without nodes only.", "Not for patients with hip prostheses."),
    metrics={"dose_score_gy": 2.41, "dvh_score_gy": 1.63},
)
QUICK = Accuracy(dose_percent=2.0, volume_percent=5.0, most_cells=400_000)
BASELINE = replace(MODEL, name="geometric-prostate", kind="geometric", sha256="9c" * 32)


def ellipsoid(name: str, step_mm: float, points: int = 90) -> Contours:
    """An ellipsoid of ELLIPSOIDS as axial contours that do not lie on CT slices."""
    offset, radii = ELLIPSOIDS[name]
    centre = np.add(CENTRE, offset)
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    planes = []
    count = int(radii[0] // step_mm)
    for i in range(-count, count + 1):
        shrink = np.sqrt(1 - (i * step_mm / radii[0]) ** 2)
        if shrink > 0.05:
            y, x = (centre[a] + radii[a] * shrink * f(angles) for a, f in ((1, np.sin), (2, np.cos)))
            planes.append(ContourPlane(float(centre[0] + i * step_mm), (np.stack([y, x], axis=1),)))
    return Contours(tuple(planes), step_mm, FRAME)


def depth(name: str, grid: Grid) -> np.ndarray:
    """Normalised distance from an ellipsoid's centre, 1 on its surface, (z, y, x)."""
    offset, radii = ELLIPSOIDS[name]
    axes = [((grid.axis_mm(a) - CENTRE[a] - offset[a]) / radii[a]) ** 2 for a in range(3)]
    return np.sqrt(axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :])


def dose_on(grid: Grid, scale: float = 1.0, softness: float = 0.12) -> Volume:
    """Two plateaus that fall off softly round the targets, over a bath in the body."""
    high = 71.5 / (1 + np.exp((depth("PTV_7000", grid) - 1.25) / softness))
    low = 57.5 / (1 + np.exp((depth("PTV_5600", grid) - 1.2) / softness))
    bath = 18 * np.exp(-(depth("PTV_5600", grid) ** 2) / 12)
    dose = np.maximum(np.maximum(high, low), bath) * (depth("External", grid) < 1.02) * scale
    return Volume(grid, dose.astype(np.float32))


def ct_on(grid: Grid) -> Volume:
    rng = np.random.default_rng(3)
    hu = np.where(depth("External", grid) <= 1, 20.0, -1000.0)
    hu[depth("External", grid) > 0.9] -= 100 * (depth("External", grid)[depth("External", grid) > 0.9] <= 1)
    for name, value in (("Bladder", 5.0), ("Femur_Head_L", 350.0), ("Femur_Head_R", 350.0), ("Rectum", -20.0)):
        hu[depth(name, grid) < 0.95] = value
    hu += rng.normal(0, 12, grid.shape[1:])
    return Volume(grid, hu.astype(np.float32))


def case(ct_grid: Grid | None = None, contour_step_mm: float = 5.0) -> Case:
    ct_grid = ct_grid or Grid((40, 70, 104), (4.0, 3.0, 3.3), (-66.0, -84.0, -178.0), FRAME)
    found = {"Rectum": EVIL, "PTV_7000": "PTV 70"}
    structures = {
        name: Structure(found.get(name, name), name, ellipsoid(name, contour_step_mm), i)
        for i, name in enumerate(ELLIPSOIDS, start=1)
    }
    unmapped = (
        Structure("<img src=x onerror=alert(2)>", None, ellipsoid("Bladder", contour_step_mm), 90),
        Structure("Isocentre", None, None, 91),
    )
    return Case(
        key="k7f3a91c2",
        ct=ct_on(ct_grid),
        structures={name: s for name, s in structures.items() if name != "External"},
        body=structures["External"],
        prescription=Prescription({"PTV_7000": 70.0, "PTV_5600": 56.0}, 28, "protocol defaults"),
        protocol_name=PROTOCOL.name,
        unmapped=unmapped,
    )


def dose_result(label: DoseLabel, of: Case, dose: Volume, model: ModelIdentity | None) -> DoseResult:
    structures = [*of.structures.values(), of.body]
    dvhs = compute_dvhs(structures, dose, prescription_gy=of.prescription.dose_gy, accuracy=QUICK)
    by_name = {dvh.name: dvh for dvh in dvhs.values() if dvh.name is not None}
    goals = {s.name: check_goals(s, by_name, of.prescription) for s in PROTOCOL.goal_sets}
    return DoseResult(label, dose, dvhs, goals, model)


PROBLEMS: tuple[Problem, ...] = (
    warning("NO_PLAN", "The study has no RTPLAN; the prescription is the protocol's.", "Add the plan, or check it."),
    warning("NAME_ODD", "The ROI <b>odd</b> & co. has no name that is known.", "Give an alias."),
)


def result(
    of: Case | None = None, *, others: tuple[DoseLabel, ...] = (), baseline_scale: float = 0.99, dose_mm: float = 4.0
) -> CaseResult:
    of = of or case()
    low, high = of.ct.grid.bounds_mm
    shape = tuple(int((b - a) // s) for a, b, s in zip(low, high, (dose_mm, dose_mm, dose_mm), strict=True))
    origin = tuple(a + dose_mm / 2 for a in low)
    grid = Grid(shape, (dose_mm,) * 3, origin, FRAME)  # type: ignore[arg-type]
    made: list[DoseResult] = []
    for label in others:
        if label == "clinical":
            coarse = Grid((36, 60, 90), (5.0, 4.0, 4.5), (-70.0, -90.0, -200.0), FRAME)
            made.append(dose_result(label, of, dose_on(coarse, 1.015, 0.09), None))
        else:
            made.append(dose_result(label, of, dose_on(grid, baseline_scale), BASELINE))
    return CaseResult(
        case=of,
        protocol=PROTOCOL,
        predicted=dose_result("predicted", of, dose_on(grid), MODEL),
        others=tuple(made),
        problems=PROBLEMS,
        patient=None,
        seconds={"read": 1.21, "predict": 4.3},
        created="2025-06-01T10:20:30+00:00",
    )
