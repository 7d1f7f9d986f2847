"""Studies as clinics export them: images of their own, a dose that fits its prescription, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from tests.dicom_phantom import Drawn, Phantom, ct_slice, disc, dose, phantom_hu, save, write_study
from vmat_rt.bundle import GridRule
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.intake.dicom import add_studies
from vmat_rt.curation.intake.run import IntakeOptions
from vmat_rt.curation.intake.settings import NewCohort
from vmat_rt.curation.intake.summary import IntakeSummary
from vmat_rt.gate.codes import ALLOWABLE
from vmat_rt.grid import Grid

OF_PHANTOMS = {"VOLUME_UNUSUAL", "CONTENTS_UNUSUAL", "ANATOMY_ORDER", "PRESCRIPTION_ASSUMED", *ALLOWABLE}
RULE = GridRule(kind="fixed", shape=(10, 24, 30), spacing_mm=(3.5, 3.5, 3.5))


def study(
    folder: Path,
    name: str,
    *,
    image: str | None = None,
    dose_gy: Callable[[Grid], NDArray[np.float32]] | None = None,
    edit_dose: Callable[[FileDataset], None] | None = None,
    **options: object,
) -> Phantom:
    """A study whose UIDs come from `name`, its CT from `image` (by default its own), with plan and dose."""
    phantom = write_study(folder, **{"seed": name, "patient": name, "plan": True, "ct": False, **options})  # type: ignore[arg-type]
    phantom = replace(
        phantom,
        hu=image_of(image or name, phantom.grid),
        dose_gy=(dose_gy or plateau_gy)(phantom.grid).astype(np.float32),
    )
    (folder / "CT").mkdir(exist_ok=True)
    for k, path in enumerate(phantom.ct_files):
        save(ct_slice(phantom, k), path)
    dataset = dose(phantom)
    if edit_dose is not None:
        edit_dose(dataset)
    save(dataset, phantom.dose_file)
    return phantom


def image_of(name: str, grid: Grid) -> NDArray[np.float32]:
    random = np.random.default_rng(list(name.encode()))
    return np.clip(phantom_hu(grid) + random.integers(-20, 20, grid.shape), -1000, 2000).astype(np.float32)


def plateau_gy(grid: Grid) -> NDArray[np.float32]:
    """71 Gy over PTV_7000, 58 Gy over PTV_5600, 8 Gy elsewhere."""
    y, x = (grid.axis_mm(axis) - grid.centre_mm[axis] for axis in (1, 2))
    radius = np.hypot(y[:, None] + 3, x - 4)
    plane = np.where(radius < 15, 71.0, np.where(radius < 22, 58.0, 8.0))
    return np.broadcast_to(plane, grid.shape).astype(np.float32)


def scaled_gy(factor: float) -> Callable[[Grid], NDArray[np.float32]]:
    return lambda grid: np.float32(factor) * plateau_gy(grid)


def as_beam(dataset: FileDataset) -> None:
    """An edit of a dose: that of one beam, as it says."""
    dataset.DoseSummationType = "BEAM"


def femur_heads(grid: Grid, x_left_mm: float, x_right_mm: float) -> tuple[Drawn, Drawn]:
    """Both heads at these x, from the middle; x grows to the patient's left."""
    z = [float(v) for v in grid.axis_mm(0)[4:7]]
    _, y, x = grid.centre_mm
    return (
        Drawn("Femur_Head_L", 11, {v: [disc(y, x + x_left_mm, 6)] for v in z}),
        Drawn("Femur_Head_R", 12, {v: [disc(y, x + x_right_mm, 6)] for v in z}),
    )


def added(root: Path, cohort: Path, **options: object) -> IntakeSummary:
    """Intake in this process, onto a small grid. The phantoms are ten centimetres wide, which the gate has to allow."""
    new = NewCohort() if Cohort.exists(cohort) else NewCohort(grid=RULE)
    chosen = IntakeOptions(new=new, progress=False, allowed=frozenset(ALLOWABLE), **options)  # type: ignore[arg-type]
    return add_studies(root, cohort, chosen)


def states(summary: IntakeSummary) -> list[tuple[str, ...]]:
    """State and codes of each study, sorted; what the gate says of phantoms as such is left out."""
    return sorted((o.state, *sorted({p.code for p in o.problems} - OF_PHANTOMS)) for o in summary.outcomes)
