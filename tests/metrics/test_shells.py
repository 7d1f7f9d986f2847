"""Shells of targets: concentric balls in a linear dose, in closed form, drawn with the boost inside or left out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from tests.geometry.margins.test_cut import CENTRE, ball
from tests.geometry.shapes import FRAME
from vmat_rt.case import Prescription, Structure, Volume
from vmat_rt.grid import Grid
from vmat_rt.metrics.dvh.compute import compute_dvhs
from vmat_rt.metrics.goals import check_goal_sets
from vmat_rt.metrics.shells import Shell, ShellDvh, compute_shell_dvhs, find_shells
from vmat_rt.protocol import Protocol

GRID = Grid((60, 60, 60), (2.0, 2.0, 2.0), tuple(c - 59.0 for c in CENTRE), FRAME)  # type: ignore[arg-type]
BASE_GY, SLOPE = 60.0, 0.5
DOSE_GY = {"PTV_7000": 70.0, "PTV_6300": 63.0, "PTV_5600": 56.0}


def linear_dose() -> Volume:
    line = BASE_GY + SLOPE * (GRID.axis_mm(2) - CENTRE[2])
    return Volume(GRID, np.broadcast_to(line, GRID.shape).astype(np.float32))


def target(name: str, radius: float, inner: float = 0.0) -> Structure:
    return Structure(f"roi {name}", name, ball(radius, 2.5, inner=inner).shape)


def protocol(margin_mm: float | None, part: str = "as the structure says") -> Protocol:
    goals = [
        {"structure": "PTV_5600", "metric": m, "comparison": c, "limit": v, "unit": "% of prescription", "source": "x"}
        | {"part": part}
        for m, c, v in (("D2%", "<=", 125), ("D98%", ">=", 85), ("Dmax", "<=", 130))
    ]
    specs = [{"name": name, "role": "target", "dose_gy": dose} for name, dose in DOSE_GY.items()]
    for spec in specs[1:]:
        spec["shell_margin_mm"] = margin_mm
    return Protocol.model_validate(
        {
            "schema_version": 1, "name": "p", "title": "t", "site": "head and neck", "fractions": 35,
            "beam_angles": {"step_deg": 40, "count": 9}, "structures": specs,
            "goal_sets": [{"name": "g", "title": "g", "goals": goals}],
        }
    )  # fmt: skip


def shell_of(structures: list[Structure], margin_mm: float = 5.0, name: str = "PTV_5600") -> ShellDvh:
    doses = {str(s.name): DOSE_GY[str(s.name)] for s in structures}
    shells = find_shells(structures, doses, protocol(margin_mm))
    return compute_shell_dvhs(shells, linear_dose(), ("D2%", "D50%", "D98%", "HI", "V62Gy"), doses)[name]


def share_beyond(mm: float, outer: float, inner: float) -> float:
    """Share of the shell between two radii with x above mm: difference of spherical caps."""

    def cap(radius: float) -> float:
        t = float(np.clip(mm, -radius, radius))
        return np.pi * (radius - t) ** 2 * (2 * radius + t) / 3

    return (cap(outer) - cap(inner)) / (4 / 3 * np.pi * (outer**3 - inner**3))


def dose_at(share: float, outer: float, inner: float) -> float:
    mm = brentq(lambda x: share_beyond(x, outer, inner) - share, -outer, outer)
    return BASE_GY + SLOPE * float(mm)


@pytest.mark.parametrize("hole", [0.0, 20.0], ids=["contains the boost", "leaves the boost out"])
@pytest.mark.parametrize("margin_mm", [3.0, 5.0])
def test_metrics_of_the_shell_are_those_between_two_balls(margin_mm: float, hole: float) -> None:
    found = shell_of([target("PTV_7000", 20), target("PTV_5600", 35, hole)], margin_mm)
    dvh, radii = found.dvh, (35.0, 20.0 + margin_mm)
    assert found.shell.label == f"PTV_5600 outside PTV_7000 + {margin_mm:g} mm"
    assert dvh.volume_cc == pytest.approx(4 / 3 * np.pi * (radii[0] ** 3 - radii[1] ** 3) / 1000, rel=0.012)
    for percent in (2, 50, 98):
        assert dvh.value(f"D{percent}%") == pytest.approx(dose_at(percent / 100, *radii), abs=0.12)
    assert dvh.value("V62Gy") == pytest.approx(100 * share_beyond(2 / SLOPE, *radii), abs=0.4)
    low, middle, high = (dose_at(share, *radii) for share in (0.98, 0.5, 0.02))
    assert dvh.value("HI") == pytest.approx((high - low) / middle, abs=0.004)
    assert dvh.value("D98%[%]") == pytest.approx(100 * low / 56, abs=0.3)


def test_each_of_three_levels_is_cut_by_all_above_it() -> None:
    """63 less 70; 56 less both, of which the larger decides."""
    structures = [target("PTV_7000", 10), target("PTV_6300", 22), target("PTV_5600", 36)]
    middle, low = shell_of(structures, name="PTV_6300"), shell_of(structures)
    assert middle.shell.outside == ("PTV_7000",)
    assert low.shell.outside == ("PTV_7000", "PTV_6300")
    assert low.shell.label == "PTV_5600 outside PTV_7000 and PTV_6300 + 5 mm"
    for found, radii in ((middle, (22.0, 15.0)), (low, (36.0, 27.0))):
        whole_cc = 4 / 3 * np.pi * (radii[0] ** 3 - radii[1] ** 3) / 1000
        assert found.dvh.volume_cc == pytest.approx(whole_cc, rel=0.015)
        assert found.dvh.value("D2%") == pytest.approx(dose_at(0.02, *radii), abs=0.12)


def test_which_target_is_higher_follows_the_prescription_not_the_protocol() -> None:
    structures = [target("PTV_7000", 20), target("PTV_5600", 35)]
    names = {shell.target for shell in find_shells(structures, {"PTV_7000": 50.0, "PTV_5600": 56.0}, protocol(5))}
    assert names == set()
    assert find_shells(structures, {"PTV_7000": 56.0, "PTV_5600": 56.0}, protocol(5)) == ()
    assert find_shells(structures[1:], {"PTV_7000": 70.0, "PTV_5600": 56.0}, protocol(5)) == ()
    assert find_shells(structures, DOSE_GY, protocol(None)) == ()
    (shell,) = find_shells(structures, DOSE_GY, protocol(5))
    assert isinstance(shell, Shell)


def test_goals_are_judged_on_the_shell_and_show_the_whole() -> None:
    """Of the whole D2 % is far above 125 % of 56 Gy where the boost sits; of the shell it is not."""
    structures = [target("PTV_7000", 20), target("PTV_5600", 35)]
    r = np.sqrt(
        sum((GRID.axis_mm(a).reshape([-1 if i == a else 1 for i in range(3)]) - CENTRE[a]) ** 2 for a in range(3))
    )
    dose = Volume(GRID, np.where(r < 23, 76.0, 57.0).astype(np.float32))
    doses = {"PTV_7000": 70.0, "PTV_5600": 56.0}
    prescription = Prescription(doses, 35, "test")
    for part, judged in (("as the structure says", "PTV_5600 outside PTV_7000 + 5 mm"), ("whole", "PTV_5600")):
        asked = protocol(5.0, part)
        metrics = asked.goal_metrics()
        dvhs = compute_dvhs(structures, dose, metrics=metrics, prescription_gy=doses)
        shells = compute_shell_dvhs(find_shells(structures, doses, asked), dose, metrics, doses)
        hot, cold, _ = check_goal_sets(asked, dvhs.values(), prescription, shells)["g"]
        assert hot.judged_on == cold.judged_on == judged
        assert (hot.structure, hot.limit) == ("PTV_5600", pytest.approx(70.0))
        if part == "whole":
            assert (hot.value, hot.whole_value, hot.status) == (pytest.approx(76, abs=0.1), None, "missed")
        else:
            assert (hot.value, hot.status) == (pytest.approx(57, abs=0.1), "met")
            assert hot.whole_value == pytest.approx(76, abs=0.1)
            assert hot.as_dict()["whole_value"] == hot.whole_value


def test_a_target_within_the_grown_one_cannot_be_judged() -> None:
    structures = [target("PTV_7000", 20), target("PTV_5600", 23)]
    doses = {"PTV_7000": 70.0, "PTV_5600": 56.0}
    shells = compute_shell_dvhs(find_shells(structures, doses, protocol(5)), linear_dose(), ("D2%",), doses)
    dvhs = compute_dvhs(structures, linear_dose(), prescription_gy=doses)
    goals = check_goal_sets(protocol(5), dvhs.values(), Prescription(doses, 35, "test"), shells)["g"]
    assert {goal.status for goal in goals} == {"not evaluable"}
    assert all("lies wholly within PTV_7000 + 5 mm" in goal.reason for goal in goals)
    assert all(goal.whole_value is not None for goal in goals)
