"""A small synthetic case with every axis different, as contours or as voxels, and a manifest for its networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vmat_rt.bundle import GridRule, Manifest, TrainingSummary
from vmat_rt.case import Case, ContourPlane, Contours, Prescription, Structure, Volume
from vmat_rt.geometry.rasterize import structure_fraction
from vmat_rt.grid import Grid, Triple
from vmat_rt.nn.encode import Channels
from vmat_rt.nn.network_bundle import NetworkSettings

FRAME = "1.2.3"
CT_GRID = Grid((34, 44, 58), (3.0, 2.2, 1.9), (-180.5, -61.0, -30.25), FRAME)
GRID = Grid((24, 28, 38), (4.0, 3.0, 2.5), (-176.0, -55.0, -22.0), FRAME)
CENTRE_MM: Triple = (-131.0, -14.0, 24.0)
RADIUS_MM = 21.0
CHANNELS = Channels(
    names=(
        "ct",
        "body",
        "prescription",
        "distance:PTV_7000",
        "distance:Femur_Head_L",
        "distance:Femur_Head_R",
        "distance:Rectum",
    ),
    targets=("PTV_7000", "PTV_5600"),
)


def ball(name: str, centre_mm: Triple, radius_mm: float, step_mm: float = 1.0) -> Structure:
    """A sphere as contours every step_mm; a plane's polygon has the area of the circle."""
    count = int(radius_mm / step_mm)
    turn = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    same_area = np.sqrt(2 * np.pi / 180 / np.sin(2 * np.pi / 180))
    planes = []
    for k in range(-count, count + 1):
        radius = same_area * np.sqrt(max(radius_mm**2 - (k * step_mm) ** 2, 0.01))
        polygon = np.stack((centre_mm[1] + radius * np.sin(turn), centre_mm[2] + radius * np.cos(turn)), axis=1)
        planes.append(ContourPlane(centre_mm[0] + k * step_mm, (polygon,)))
    return Structure(name, name, Contours(tuple(planes), step_mm, FRAME))


def box(name: str, low_mm: Triple, high_mm: Triple) -> Structure:
    """A cuboid as contours every 3 mm, from face to face."""
    (z0, y0, x0), (z1, y1, x1) = low_mm, high_mm
    polygon = np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)])
    planes = tuple(ContourPlane(float(z), (polygon,)) for z in np.arange(z0 + 1.5, z1, 3.0))
    return Structure(name, name, Contours(planes, 3.0, FRAME))


def make_case() -> Case:
    """PTV_7000 is a ball inside the larger ball PTV_5600; the femurs differ in size; Rectum is not contoured."""
    z, y, x = CENTRE_MM
    structures = [
        ball("PTV_7000", CENTRE_MM, RADIUS_MM),
        ball("PTV_5600", CENTRE_MM, RADIUS_MM + 7),
        ball("Femur_Head_L", (z, y, x + 26), 9.0),
        ball("Femur_Head_R", (z + 3, y, x - 29), 7.0),
    ]
    body = box("External", (-172.0, -50.0, -18.0), (-86.0, 22.0, 66.0))
    noise = np.random.default_rng(7).normal(0, 30, CT_GRID.shape).astype(np.float32)
    hu = np.where(structure_fraction(body, CT_GRID) > 0.5, noise, np.float32(-1000))
    return Case(
        key="synthetic",
        ct=Volume(CT_GRID, hu),
        structures={structure.roi_name: structure for structure in structures},
        body=body,
        prescription=Prescription({"PTV_7000": 70.0, "PTV_5600": 56.0}, 28, "test"),
        protocol_name="prostate_sib_70_56",
    )


def without(case: Case, *names: str) -> Case:
    return replace(case, structures={n: s for n, s in case.structures.items() if n not in names})


def as_voxels(case: Case, grid: Grid) -> Case:
    """The same case with every structure as area fractions on the grid."""
    voxels = {n: replace(s, shape=Volume(grid, structure_fraction(s, grid))) for n, s in case.structures.items()}
    body = replace(case.body, shape=Volume(grid, structure_fraction(case.body, grid)))
    return replace(case, structures=voxels, body=body)


def manifest(settings: NetworkSettings, channels: Channels = CHANNELS) -> Manifest:
    return Manifest(
        schema_version=1,
        name="tiny",
        version="1",
        kind="network",
        protocol="prostate_sib_70_56",
        grid=GridRule(kind="fixed", shape=GRID.shape, spacing_mm=GRID.spacing_mm),
        inputs=channels.names,
        settings=settings.model_dump(mode="json"),
        training=TrainingSummary(data="synthetic", cases=1, date="", command="", hardware="", licence="Apache-2.0"),
        files={},
    )
