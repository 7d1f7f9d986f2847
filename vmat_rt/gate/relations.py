"""Left and right, behind and above: whether structures lie to one another as their names say. Needs no CT.

Which pairs are asked, and that they hold in every patient at hand, is printed by tools/gate_figures.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from vmat_rt.case import Structure
from vmat_rt.errors import Problem, warning
from vmat_rt.gate.centroid import centroid_mm
from vmat_rt.geometry.rasterize import bounds_mm, volume_cc
from vmat_rt.grid import Triple

_SIDE_MM: Final = 5.0
_LONE_SIDE_MM: Final = 20.0
_WITHIN_MM: Final = 2.0


class Relation(NamedTuple):
    """`one` lies `where` of `other`, by the middles of both."""

    one: str
    where: Literal["behind", "above"]
    other: str


RELATIONS: Final[Mapping[str, tuple[Relation, ...]]] = {
    "prostate": (
        Relation("Rectum", "behind", "Bladder"),
        Relation("Rectum", "behind", "Prostate"),
        Relation("Rectum", "behind", "PTV_7000"),
        Relation("Bladder", "above", "PenileBulb"),
        Relation("PTV_7000", "above", "PenileBulb"),
        Relation("SeminalVes", "above", "Prostate"),
    ),
    "head and neck": (
        Relation("SpinalCord", "behind", "Larynx"),
        Relation("SpinalCord", "behind", "Bone_Mandible"),
        Relation("Brainstem", "behind", "Bone_Mandible"),
        Relation("Brainstem", "above", "SpinalCord"),
        Relation("Brainstem", "above", "Larynx"),
        Relation("Brainstem", "above", "Esophagus"),
        Relation("Bone_Mandible", "above", "Larynx"),
        Relation("Larynx", "above", "Esophagus"),
    ),
}
"""Site of the protocol -> what holds in a patient, however he lies: names follow the patient, not the couch."""


def relation_problems(
    structures: Mapping[str, Structure], site: str, body: Structure | None = None, targets: Sequence[str] = ()
) -> tuple[Problem, ...]:
    """Warnings for pairs on the wrong side of each other. structures: by TG-263 name, those with a shape are asked."""
    drawn = {name: structure for name, structure in structures.items() if structure.shape is not None}
    middles = {name: middle for name, one in drawn.items() if (middle := centroid_mm(one)) is not None}
    aims = [drawn[name] for name in targets if name in drawn]
    around = [] if body is None else [body]
    lone = _check_lone_sides(middles, [around, aims])
    nested = _check_prostate_targets(drawn, middles) if site == "prostate" else ()
    return (*_check_sides(middles, [around, aims]), *lone, *_check_orders(middles, site), *nested)


def _check_sides(middles: Mapping[str, Triple], groups: Sequence[list[Structure]]) -> Iterator[Problem]:
    """Pairs called NAME_L and NAME_R: x grows to the patient's left, so the left one has the larger x."""
    for left in middles:
        right = left.removesuffix("_L") + "_R"
        if not left.endswith("_L") or right not in middles:
            continue
        x_left, x_right = middles[left][2], middles[right][2]
        if x_left < x_right - _SIDE_MM:
            message = f"{left} lies {x_right - x_left:.0f} mm to the patient's right of {right}."
            yield warning("SIDES_SWAPPED", message, "Exchange their names, or check the image's orientation.")
        elif _are_on_one_side(groups, x_left, x_right):
            message = f"{left} and {right} lie on one side of the patient, {x_left - x_right:.0f} mm apart."
            yield warning("SIDES_SAME", message, "Check which of the two was contoured twice.")


def _check_lone_sides(middles: Mapping[str, Triple], groups: Sequence[list[Structure]]) -> Iterator[Problem]:
    """A structure of a side whose partner is not drawn, far over on the other side of body and targets both."""
    known = [middle for middle in map(_find_box_middle_x_mm, groups) if middle is not None]
    for name, (_, _, x) in middles.items():
        if not name.endswith(("_L", "_R")) or name[:-1] + ("R" if name.endswith("_L") else "L") in middles:
            continue
        toward = 1 if name.endswith("_L") else -1
        if len(known) == len(groups) and all(toward * (x - middle) < -_LONE_SIDE_MM for middle in known):
            message = (
                f"{name} lies on the patient's {'right' if toward > 0 else 'left'}, {abs(x - known[0]):.0f} mm off."
            )
            yield warning("SIDES_SWAPPED", message, "Check its name, and the image's orientation.")


def _are_on_one_side(groups: Sequence[list[Structure]], x_left: float, x_right: float) -> bool:
    """Of the body's middle and of the targets' middle both: either may be off, by an arm or a lateral target."""
    known = [middle for middle in map(_find_box_middle_x_mm, groups) if middle is not None]
    to_the_left = all(min(x_left, x_right) > middle + _SIDE_MM for middle in known)
    to_the_right = all(max(x_left, x_right) < middle - _SIDE_MM for middle in known)
    return bool(known) and (to_the_left or to_the_right)


def _find_box_middle_x_mm(structures: list[Structure]) -> float | None:
    boxes = [bounds_mm(s) for s in structures if s.shape is not None and volume_cc(s) > 0]
    if not boxes:
        return None
    return (min(low[2] for low, _ in boxes) + max(high[2] for _, high in boxes)) / 2


def _check_orders(middles: Mapping[str, Triple], site: str) -> Iterator[Problem]:
    for one, where, other in RELATIONS.get(site, ()):
        if one not in middles or other not in middles:
            continue
        axis = 0 if where == "above" else 1
        distance_mm = middles[one][axis] - middles[other][axis]
        if distance_mm < 0:
            opposite = "below" if where == "above" else "in front of"
            message = f"{one} lies {-distance_mm:.0f} mm {opposite} {other}; in a patient it lies {where} it."
            remedy = "Check whether names are exchanged, or the structures lie on another image or upside down."
            yield warning("ANATOMY_ORDER", message, remedy)


def _check_prostate_targets(drawn: Mapping[str, Structure], middles: Mapping[str, Triple]) -> Iterator[Problem]:
    """The highest target holds the middle of the prostate, and no lower one lies within it."""
    if "PTV_7000" not in middles:
        return
    low, high = bounds_mm(drawn["PTV_7000"])
    remedy = "Check whether the names of targets and organs are exchanged."
    prostate = middles.get("Prostate")
    if prostate is not None and not all(a < x < b for a, x, b in zip(low, prostate, high, strict=True)):
        yield warning("ANATOMY_ORDER", "The middle of Prostate lies outside PTV_7000.", remedy)
    for name in ("PTV_5600", "PTV_5040"):
        if name in middles:
            lower_low, lower_high = bounds_mm(drawn[name])
            inside = (a + _WITHIN_MM < c for a, c in zip((*low, *lower_high), (*lower_low, *high), strict=True))
            if all(inside):
                message = f"{name} lies wholly within PTV_7000, {_WITHIN_MM:g} mm or more from its bounds."
                yield warning("ANATOMY_ORDER", message, remedy)
