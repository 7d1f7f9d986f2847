"""A small pelvis of water: a few seconds a plan. Rows, columns, slices and spacings all differ."""

from __future__ import annotations

import numpy as np

from tests.phantom.water import ellipsoid
from vmat_rt.case import Case, Prescription, Structure, Volume
from vmat_rt.grid import Grid
from vmat_rt.phantom.planning.style import PlannerStyle

FRAME = "small pelvis"
GRID = Grid((34, 56, 80), (3.0, 3.2, 3.0), (-51.0, -80.0, -118.0), FRAME)
CENTRE = (0.0, 4.0, -2.0)


def small_case(low_target: bool = True) -> Case:
    solids = {
        "External": ellipsoid(GRID, CENTRE, (1e6, 75.0, 105.0)),
        "PTV_7000": ellipsoid(GRID, CENTRE, (20.0, 17.0, 22.0)),
        "Rectum": ellipsoid(GRID, (0.0, 31.0, -2.0), (45.0, 12.0, 12.0)),
        "Bladder": ellipsoid(GRID, (22.0, -14.0, -2.0), (20.0, 20.0, 26.0)),
        "Femur_Head_L": ellipsoid(GRID, (6.0, 4.0, 68.0), (18.0, 18.0, 18.0)),
    }
    if low_target:
        solids["PTV_5600"] = ellipsoid(GRID, (8.0, 8.0, -2.0), (22.0, 20.0, 26.0))
    structures = {name: Structure(name, name, volume) for name, volume in solids.items()}
    ct = np.where(solids["External"].array > 0, 0.0, -1000.0).astype(np.float32)
    doses = {name: gy for name, gy in (("PTV_7000", 70.0), ("PTV_5600", 56.0)) if name in solids}
    return Case(
        key="sim-0-0000",
        ct=Volume(GRID, ct),
        structures=structures,
        body=structures["External"],
        prescription=Prescription(doses, 28, "SIMULATED"),
        protocol_name="prostate_sib_70_56" if low_target else "prostate_70_28",
    )


def plain_style(**changes: float) -> PlannerStyle:
    """Eleven beams, so that plans are quick; every weight 1."""
    numbers: dict[str, float] = {
        "beams": 11,
        "arc_start_deg": 7.0,
        "arc_extent_deg": 360.0,
        "coverage_percent": 96.5,
        "rim_mm": 2.5,
        "hot_spot_gy": 72.5,
        "hot_spot_weight": 1.0,
        "rectum_weight": 1.0,
        "bladder_weight": 1.0,
        "bowel_weight": 1.0,
        "femoral_head_gy": 40.0,
        "ring_weight": 1.0,
        "conformity_weight": 1.0,
        "smoothness": 1.0,
        "target_weight": 1.0,
    }
    return PlannerStyle(**{**numbers, **changes})  # type: ignore[arg-type]
