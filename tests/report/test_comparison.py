"""Doses compared in a report."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.report import synthetic
from vmat_rt.case import Case, ModelIdentity, Volume
from vmat_rt.grid import Grid
from vmat_rt.report.comparison import compare, compute_body_error_gy
from vmat_rt.report.result import CaseResult
from vmat_rt.report.schema import ComparisonEntry, DoseLabel

WHOLE = Grid((100, 60, 86), (4.2, 4.0, 4.0), (-198.0, -100.0, -180.0), synthetic.FRAME)


def flat(gy: float, grid: Grid = WHOLE) -> Volume:
    return Volume(grid, np.full(grid.shape, gy, np.float32))


@pytest.fixture(scope="module")
def case() -> Case:
    return synthetic.case()


def test_constant_doses_differ_by_their_difference(case: Case) -> None:
    mae, compared = compute_body_error_gy(case, flat(40.0), flat(37.5))
    assert mae == pytest.approx(2.5)
    assert compared == 100


@pytest.mark.parametrize("spacing", [1.5, 9.0])
def test_other_grids_finer_or_coarser(case: Case, spacing: float) -> None:
    shape = tuple(round(n * s / spacing) + 8 for n, s in zip(WHOLE.shape, WHOLE.spacing_mm, strict=True))
    origin = tuple(o - 3 * spacing for o in WHOLE.origin_mm)
    other = Grid(shape, (spacing,) * 3, origin, synthetic.FRAME)  # type: ignore[arg-type]
    mae, compared = compute_body_error_gy(case, flat(40.0), flat(41.0, other))
    assert mae == pytest.approx(1.0, abs=1e-4)
    assert compared == 100


def test_only_what_both_doses_cover_is_compared(case: Case) -> None:
    half = WHOLE.crop((0, 0, 0), (50, 60, 86))
    mae, compared = compute_body_error_gy(case, flat(40.0), flat(44.0, half))
    assert mae == pytest.approx(4.0)
    # The body's centre lies at z = 12 mm, where slice 50 begins: the ellipsoid is cut in the middle.
    assert compared == pytest.approx(50, abs=1)


def test_doses_that_do_not_meet_have_no_error(case: Case) -> None:
    away = replace(WHOLE, origin_mm=(5000.0, 0.0, 0.0))
    assert compute_body_error_gy(case, flat(40.0), flat(40.0, away)) == (None, 0.0)


def compared(case: Case, mine: Volume, theirs: Volume, label: DoseLabel = "geometric baseline") -> ComparisonEntry:
    model: ModelIdentity | None = synthetic.MODEL
    base = CaseResult(
        case=case,
        protocol=synthetic.PROTOCOL,
        predicted=synthetic.dose_result("predicted", case, mine, model),
        others=(synthetic.dose_result(label, case, theirs, None),),
        problems=(),
        patient=None,
        seconds={},
        created=None,
    )
    return compare(base, base.others[0])


@pytest.mark.parametrize(("shift", "flagged"), [(2.7, {"PTV_5600": False}), (2.9, {"PTV_5600": True})])
def test_a_target_is_flagged_beyond_five_percent_of_its_own_prescription(
    case: Case, shift: float, flagged: dict[str, bool]
) -> None:
    entry = compared(case, flat(60.0), flat(60.0 - shift))
    gaps = {gap.name: gap for gap in entry.structures}
    assert gaps["PTV_5600"].d95_gap_gy == pytest.approx(shift, abs=1e-4)
    assert gaps["PTV_5600"].disagrees is flagged["PTV_5600"]
    assert gaps["PTV_7000"].disagrees is False, "3.5 Gy are 5 % of 70 Gy"
    assert gaps["Rectum"].d95_gap_gy is None
    assert gaps["Rectum"].mean_gap_gy == pytest.approx(shift, abs=1e-4)
    assert gaps["Rectum"].near_max_gap_gy == pytest.approx(shift, abs=1e-4)
    assert entry.disagrees is flagged["PTV_5600"]


@pytest.mark.parametrize(("extra", "flagged"), [(6.9, False), (7.1, True)])
def test_an_organ_is_flagged_beyond_ten_percent_of_the_highest_prescription(
    case: Case, extra: float, flagged: bool
) -> None:
    theirs = flat(30.0)
    theirs.array[synthetic.depth("Femur_Head_L", WHOLE) < 1.6] += extra
    entry = compared(case, flat(30.0), theirs)
    gaps = {gap.name: gap for gap in entry.structures}
    assert gaps["Femur_Head_L"].mean_gap_gy == pytest.approx(-extra, abs=1e-3)
    assert gaps["Femur_Head_L"].disagrees is flagged
    assert gaps["Femur_Head_R"].disagrees is False
    assert entry.disagrees is flagged
