"""The shell of a target: what of it lies outside of every target with a higher prescription, grown by a margin.

In a simultaneous integrated boost many clinics draw the lower target with the higher one inside it. Its hottest part is
then the higher target, so that an upper limit, D2 % or HI of the whole says nothing of how the lower dose was given.
The shell is the same whether a clinic's lower target holds the higher one or leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from vmat_rt.case import Structure, Volume
from vmat_rt.geometry.margins.cut import outside_grown
from vmat_rt.metrics.dvh.compute import Dvh, compute_dvhs
from vmat_rt.metrics.dvh.convergence import Accuracy
from vmat_rt.metrics.grammar import Metric
from vmat_rt.protocol import Protocol


@dataclass(frozen=True)
class Shell:
    """The shell of `target`: outside of the targets `outside`, grown by margin_mm. All by TG-263 name.

    structure has the label as its ROI name, no TG-263 name, and no shape where nothing of the target is left.
    """

    target: str
    outside: tuple[str, ...]
    margin_mm: float
    structure: Structure

    @property
    def label(self) -> str:
        """`PTV_5600 outside PTV_7000 + 5 mm`."""
        return self.structure.roi_name

    @property
    def outside_in_words(self) -> str:
        """`PTV_7000 + 5 mm`."""
        names = " and ".join(self.outside)
        return f"{names} + {self.margin_mm:g} mm" if self.margin_mm else names


@dataclass(frozen=True)
class ShellDvh:
    """A shell and its DVH in one dose; the DVH's reason says where nothing of the target is left."""

    shell: Shell
    dvh: Dvh


def find_shells(
    structures: Iterable[Structure], prescription_gy: Mapping[str, float], protocol: Protocol
) -> tuple[Shell, ...]:
    """The shells of the targets that the protocol gives a margin, in its order.

    structures: those of the case; targets among them are known by their TG-263 name. prescription_gy says which target
    is the higher; a target without a higher one that is contoured is its own shell and left out.
    """
    contoured = {s.name: s for s in structures if s.name is not None and s.shape is not None}
    targets = {name: dose for name, dose in prescription_gy.items() if name in contoured}
    shells = []
    for target, margin_mm in protocol.shell_margins_mm().items():
        higher = [name for name, dose in targets.items() if dose > targets.get(target, float("inf"))]
        if higher:
            outside = tuple(sorted(higher, key=lambda name: -targets[name]))
            shells.append(_cut_shell(contoured[target], [contoured[name] for name in outside], outside, margin_mm))
    return tuple(shells)


def compute_shell_dvhs(
    shells: Iterable[Shell],
    dose: Volume,
    metrics: Iterable[Metric | str],
    prescription_gy: Mapping[str, float],
    accuracy: Accuracy | None = None,
) -> dict[str, ShellDvh]:
    """Their DVHs by target; relative metrics refer to the target's own prescription. Errors as in compute_dvhs."""
    shells = tuple(shells)
    own = {shell.label: prescription_gy[shell.target] for shell in shells}
    structures = [shell.structure for shell in shells]
    dvhs = compute_dvhs(structures, dose, metrics=metrics, prescription_gy=own, accuracy=accuracy)
    return {
        shell.target: ShellDvh(shell, _explain_empty(shell, dvh))
        for shell, dvh in zip(shells, dvhs.values(), strict=True)
    }


def _cut_shell(target: Structure, higher: list[Structure], outside: tuple[str, ...], margin_mm: float) -> Shell:
    shape = outside_grown(target, higher, margin_mm)
    shell = Shell(str(target.name), outside, margin_mm, Structure("", None, shape))
    return replace(shell, structure=Structure(f"{target.name} outside {shell.outside_in_words}", None, shape))


def _explain_empty(shell: Shell, dvh: Dvh) -> Dvh:
    if shell.structure.shape is not None:
        return dvh
    return replace(dvh, reason=f"it lies wholly within {shell.outside_in_words}")
