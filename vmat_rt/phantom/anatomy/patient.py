"""Simulated patients: a procedural male pelvis with contours, as a Case without dose.

`simulate_patient(seed, index)` depends on these two numbers alone. The shapes are signed distances in a reference man,
joined smoothly, scaled and bent per patient; CT and contours sample the same fields. Nothing here is a real person.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from vmat_rt.case import Case, Prescription, Structure, Volume
from vmat_rt.phantom.anatomy.imaging import compute_structure_fractions
from vmat_rt.phantom.anatomy.lattice import Sampler
from vmat_rt.phantom.anatomy.scene import build_anatomy, make_ct_grid
from vmat_rt.phantom.anatomy.tissue import draw_ct
from vmat_rt.phantom.anatomy.traits import Traits, draw_sizes, draw_traits

FRACTIONS = 28
SOURCE = "SIMULATED"


@dataclass(frozen=True)
class Patient:
    """A simulated patient: CT, contours and prescription, and what kind of patient it is."""

    case: Case
    traits: Traits


def simulate_patient(seed: int, index: int) -> Patient:
    """Patient `index` of the population `seed` (both from 0): the same arrays on every machine.

    Structures are fractions in multiples of 1/255 on the CT grid, the CT whole HU. Raises ConfigError when a number is
    negative.
    """
    traits, sizes = draw_traits(seed, index), draw_sizes(seed, index)
    scene = build_anatomy((seed, index), traits, sizes)
    grid, shift = make_ct_grid(scene, f"phantom-{seed}-{index:04d}")
    sampler = Sampler(scene.lattice, grid, shift)
    structures = {
        name: Structure(name, name, Volume(grid, compute_structure_fractions(sampler, field)), number)
        for number, (name, field) in enumerate(scene.structures.items(), start=1)
    }
    sib = traits.plan_type == "sib"
    dose_gy = {"PTV_7000": 70.0, "PTV_5600": 56.0} if sib else {"PTV_7000": 70.0}
    case = Case(
        key=f"sim-{seed}-{index:04d}",
        ct=Volume(grid, draw_ct(scene, sampler, shift)),
        structures=MappingProxyType(structures),
        body=structures["External"],
        prescription=Prescription(MappingProxyType(dose_gy), FRACTIONS, SOURCE),
        protocol_name="prostate_sib_70_56" if sib else "prostate_70_28",
    )
    return Patient(case, traits)


def hash_anatomy(case: Case) -> str:
    """SHA-256 of CT and contours, the same on every machine.

    Hashed are whole HU and whole 255ths, in little-endian order, with names and geometry in whole micrometres; the
    arrays themselves come from correctly rounded element-wise operations only (see fields).
    """
    grid = case.ct.grid
    digest = hashlib.sha256()
    geometry = (*grid.shape, *(round(v * 1000) for v in (*grid.spacing_mm, *grid.origin_mm)))
    digest.update(repr(tuple(int(v) for v in geometry)).encode())
    digest.update(np.rint(case.ct.array).astype("<i2").tobytes())
    for name in sorted(case.structures):
        shape = case.structures[name].shape
        if isinstance(shape, Volume):
            digest.update(name.encode())
            digest.update(np.rint(shape.array * np.float32(255)).astype(np.uint8).tobytes())
    return digest.hexdigest()
