"""One patient's anatomy put together on the lattice: bones, soft tissue, organs, targets, the CT round it."""

from __future__ import annotations

from dataclasses import dataclass

from vmat_rt.case import FloatArray
from vmat_rt.grid import Grid, Triple
from vmat_rt.phantom.anatomy.bones import HEAD, Bones, build_bones
from vmat_rt.phantom.anatomy.fields import Draws
from vmat_rt.phantom.anatomy.lattice import STEP_MM, Lattice, convert_to_distance
from vmat_rt.phantom.anatomy.organs import Organs, build_organs
from vmat_rt.phantom.anatomy.shapes import Points, common, cone, f32, sphere, union, without
from vmat_rt.phantom.anatomy.soft import SoftTissue, build_nodal_chain, build_peritoneal_space, build_soft
from vmat_rt.phantom.anatomy.targets import build_prostate_target, drop_below_skin, grow
from vmat_rt.phantom.anatomy.traits import BEND, PLACE, Sizes, Traits

NODES_TOP_Z = 112.0
"""About L5/S1 in the reference man."""

SLIVER_MM = 2.5


@dataclass(frozen=True)
class Anatomy:
    """Everything known of one patient on the lattice; what CT and contours are drawn from."""

    key: tuple[int, int]
    traits: Traits
    sizes: Sizes
    lattice: Lattice
    bones: Bones
    soft: SoftTissue
    organs: Organs
    bag: FloatArray
    structures: dict[str, FloatArray]


def build_anatomy(key: tuple[int, int], traits: Traits, sizes: Sizes) -> Anatomy:
    """All fields of one patient."""
    low, high = _measure_extent(sizes, traits)
    lattice = Lattice.bend(low, high, sizes.skeleton, 4.0, Draws(*key, BEND))
    bones = build_bones(lattice, sizes.head_radius / sizes.skeleton)
    soft = build_soft(lattice, sizes, bones.pelvis, key)
    organs = build_organs(lattice, sizes, traits, bones, key)
    targets, bag = _build_targets_and_bag(lattice, traits, sizes, bones, soft, organs)
    structures = {
        **targets,
        "Prostate": organs.prostate,
        "SeminalVes": organs.vesicles,
        "Rectum": organs.rectum,
        "Bladder": organs.bladder,
        "Femur_Head_L": _build_femur_head(lattice, sizes, +1),
        "Femur_Head_R": _build_femur_head(lattice, sizes, -1),
        "Bag_Bowel": bag,
        "PenileBulb": organs.bulb,
        "External": soft.skin,
    }
    return Anatomy(key, traits, sizes, lattice, bones, soft, organs, bag, structures)


def _measure_extent(sizes: Sizes, traits: Traits) -> tuple[Triple, Triple]:
    """Corners of the lattice in the patient's frame, mm."""
    back = 118.0 + 0.25 * sizes.fat_back
    x = sizes.half_width + 20.0
    front = back - 2 * sizes.half_depth / sizes.skeleton
    top = 168.0 if traits.nodal else 122.0
    return (-142.0, (front - 12) * 1.05 - 12, -x), (top, back * 1.05 + 18, x)


def _build_targets_and_bag(
    lattice: Lattice, traits: Traits, sizes: Sizes, bones: Bones, soft: SoftTissue, organs: Organs
) -> tuple[dict[str, FloatArray], FloatArray]:
    high = drop_below_skin(build_prostate_target(organs.prostate), soft.skin)
    box = lattice.box((0, -120, -130), (260, 90, 130))
    ctv = union(organs.prostate, organs.vesicles)
    keep_out = [
        (organs.bladder[box], 2.0),
        (organs.rectum[box], 2.5),
        (bones.all[box], 4.0),
        (soft.vessels[box], 7.5),
        (ctv[box], sizes.margin_low),
    ]
    bag = lattice.build_in(box, lambda p: build_peritoneal_space(p, soft.fascia[box], soft.bulk[box], keep_out))
    if traits.plan_type == "single_level":
        return {"PTV_7000": high}, bag
    low = union(grow(ctv, sizes.margin_low), high)
    if traits.nodal:
        nodes = lattice.build_in(box, lambda p: build_nodal_chain(p, NODES_TOP_Z))
        for field, gap in (
            (bag, 0.0),
            (bones.all, 1.0),
            (organs.bladder, 1.0),
            (organs.rectum, 3.0),
            (soft.bulk, 0.0),
        ):
            nodes = without(nodes, field, gap)
        # Slivers between bone and bladder are not a volume to treat: what is thinner than 2 SLIVER_MM goes.
        low = union(low, grow(nodes + f32(SLIVER_MM), sizes.margin_low + SLIVER_MM))
    return {"PTV_7000": high, "PTV_5600": drop_below_skin(low, soft.skin)}, bag


def _build_femur_head(lattice: Lattice, sizes: Sizes, side: int) -> FloatArray:
    """Ball and beginning of the neck. side +1 is the patient's left (+x)."""
    centre = (HEAD[0], HEAD[1], side * HEAD[2])
    edges = sorted((side * 50.0, side * 135.0))
    box = lattice.box((-40, -40, edges[0]), (40, 40, edges[1]))

    def shape(p: Points) -> FloatArray:
        ball = sphere(p, centre, sizes.head_radius / sizes.skeleton)
        neck = cone(p, (0.0, 0.0, side * 88.0, 17), (-19, 4, side * 113, 15))
        neck = common(neck, (f32(side) * p.x - f32(101)) * f32(0.8) - p.z * f32(0.6))
        return union(ball, neck, 4)

    return lattice.build_in(box, lambda p: convert_to_distance(shape(p)))


def make_ct_grid(scene: Anatomy, frame_uid: str) -> tuple[Grid, Triple]:
    """The CT's grid and where the patient's own origin lies on it in LPS (z, y, x), mm."""
    draws = Draws(*scene.key, PLACE)
    sizes, lattice = scene.sizes, scene.lattice
    shift = (
        round(draws.uniform(-900.0, -300.0), 1),
        round(draws.uniform(-230.0, -110.0), 1),
        round(draws.uniform(4.0, 40.0) * (1 if draws.chance(0.5) else -1), 1),
    )
    z0, y0, x0 = lattice.start_mm
    extent_z = (lattice.shape[0] - 1) * STEP_MM - 12
    extent_y = (lattice.shape[1] - 1) * STEP_MM + 45
    extent_x = (lattice.shape[2] - 1) * STEP_MM + 40
    shape = (int(extent_z / sizes.slice), int(extent_y / sizes.pixel), int(extent_x / sizes.pixel))
    origin = (round(z0 + 6 + shift[0], 3), round(y0 - 10 + shift[1], 3), round(x0 - 20 + shift[2], 3))
    return Grid(shape, (sizes.slice, sizes.pixel, sizes.pixel), origin, frame_uid), shift
