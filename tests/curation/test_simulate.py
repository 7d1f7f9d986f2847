"""Which patients a simulated cohort holds, whatever the number of processes or a kill; and that it ships whole.

Covers vmat_rt.curation.shipped.
"""

from __future__ import annotations

import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.patience import wait_for
from tests.system.workers import Deadly
from vmat_rt.cohort.dose_code import unpack_dose
from vmat_rt.cohort.place import Place
from vmat_rt.cohort.plan_folder import PlanFolder
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.shipped import _restore_cases, _RestoreTask, pack_cohort, read_shipped, restore_cohort
from vmat_rt.curation.simulate import (
    MOST_REFUSED_IN_A_ROW,
    PlanOutcome,
    SimulationTask,
    make_simulated_settings,
    simulate_case,
    simulate_cohort,
    take_first_accepted,
)
from vmat_rt.errors import ConfigError, InputError, Problem, VmatError
from vmat_rt.geometry.gridded import gridded
from vmat_rt.geometry.model_grid import model_grid
from vmat_rt.phantom.anatomy.patient import hash_anatomy, simulate_patient
from vmat_rt.phantom.planning.acceptance import Bound, PlanMeasures
from vmat_rt.system.processes import run_tasks


def verdict(index: int, accepted: bool, seconds: float = 0.0) -> PlanOutcome:
    time.sleep(seconds)
    return PlanOutcome(str(index), "" if accepted else "too hot")


@given(
    verdicts=st.lists(st.booleans(), max_size=MOST_REFUSED_IN_A_ROW - 1),
    n=st.integers(1, 8),
    at_once=st.integers(1, 6),
    milliseconds=st.lists(st.integers(0, 3), min_size=1, max_size=7),
)
@settings(max_examples=60, deadline=None)
def test_the_cohort_is_the_first_accepted_whatever_ends_first(
    verdicts: list[bool], n: int, at_once: int, milliseconds: list[int]
) -> None:
    verdicts = [*verdicts, *([True] * n)]
    begun: list[int] = []

    def simulate(index: int) -> PlanOutcome:
        return verdict(index, verdicts[index], milliseconds[index % len(milliseconds)] / 1000)

    def simulated(indices: Iterator[int | None]) -> Iterator[PlanOutcome]:
        noted = (index if index is None else begun.append(index) or index for index in indices)
        return (done.result() for done in run_tasks(simulate, noted, at_once, pool=ThreadPoolExecutor))

    outcomes = list(take_first_accepted(simulated, n))
    expected = [index for index, accepted in enumerate(verdicts) if accepted][:n]
    assert sorted(int(outcome.key) for outcome in outcomes if not outcome.refused) == expected
    assert begun == list(range(expected[-1] + 1)), "no index beyond the last accepted one is begun"
    assert len(outcomes) == len(begun)


def at_once(accepted: Callable[[int], bool]) -> Callable[[Iterator[int | None]], Iterator[PlanOutcome]]:
    def simulated(indices: Iterator[int | None]) -> Iterator[PlanOutcome]:
        return (verdict(index, accepted(index)) for index in indices if index is not None)

    return simulated


def test_a_planner_that_accepts_nothing_does_not_run_for_ever() -> None:
    with pytest.raises(VmatError, match=f"{MOST_REFUSED_IN_A_ROW} plans .* too hot"):
        list(take_first_accepted(at_once(lambda _: False), 3))


def test_refusals_between_acceptances_are_no_reason_to_stop() -> None:
    outcomes = list(take_first_accepted(at_once(lambda index: index % 10 == 9), 5))
    assert len(outcomes) == 50


def test_known_outcomes_are_counted_in_their_place_and_not_simulated_again() -> None:
    begun: list[int] = []

    def simulated(indices: Iterator[int | None]) -> Iterator[PlanOutcome]:
        for index in indices:
            if index is not None:
                begun.append(index)
                yield verdict(index, True)

    known = {0: verdict(0, False), 2: verdict(2, True), 3: verdict(3, False)}
    outcomes = list(take_first_accepted(simulated, 3, known.get))
    assert begun == [1, 4]
    assert sorted(int(outcome.key) for outcome in outcomes) == [0, 1, 2, 3, 4]
    begun.clear()
    assert list(take_first_accepted(simulated, 1, {0: verdict(0, True)}.get)) == [verdict(0, True)]
    assert begun == []
    refused = {index: verdict(index, False) for index in range(MOST_REFUSED_IN_A_ROW)}
    with pytest.raises(VmatError, match="too hot"):
        list(take_first_accepted(simulated, 1, refused.get))


def test_what_a_worker_refuses_comes_whole_through_its_pipe() -> None:
    refusal = InputError((Problem("DISK_FULL", "The disk is full.", "Free some."), Problem("CT_GAP", "A gap.", "-")))
    back = pickle.loads(pickle.dumps(refusal))
    assert back.problems == refusal.problems
    assert str(back) == str(refusal)


@pytest.mark.parametrize("uri", ["{tmp}/cohort", "memory://plans/cohort"])
def test_doses_and_refusals_are_kept_beside_a_cohort_anywhere(uri: str, tmp_path: Path) -> None:
    plans = PlanFolder.of(Place.at(uri.format(tmp=tmp_path)))
    assert plans.refused() == {}
    assert not plans.has_dose("sim-1-0000")
    with pytest.raises(ConfigError, match="sim-1-0000"):
        plans.read_dose("sim-1-0000")
    plans.write_dose("sim-1-0000", b"abc")
    plans.refuse("sim-1-0002", 'D95 of "PTV_7000" is 66.2 Gy,\nless than 66.5 Gy')
    plans.refuse("sim-1-0001", "hot")
    assert plans.read_dose("sim-1-0000") == b"abc"
    assert plans.has_dose("sim-1-0000")
    assert plans.refused() == {"sim-1-0001": "hot", "sim-1-0002": 'D95 of "PTV_7000" is 66.2 Gy, less than 66.5 Gy'}
    assert list(plans.refused()) == ["sim-1-0001", "sim-1-0002"]


SEED = 3
SHIPPED = Path(__file__).resolve().parents[2] / "sample_data" / "prostate_cohort"
RUN = """
import sys
from vmat_rt.cohort.store import Cohort
from vmat_rt.curation.simulate import simulate_cohort
if __name__ == "__main__":
    simulate_cohort(Cohort.open(sys.argv[1]), 2, {seed}, workers=1, progress=False)
"""


def empty(folder: Path) -> Cohort:
    """A cohort where an earlier run refused index 0."""
    cohort = Cohort.create(folder, make_simulated_settings("simulated", 2, SEED))
    PlanFolder.of(cohort.place).refuse(f"sim-{SEED}-0000", "PTV_7000 D95 is 60.00 Gy, less than 66.5 Gy.")
    return cohort


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Two real patients with real plans, by two processes."""
    cohort = empty(tmp_path_factory.mktemp("simulated") / "cohort")
    summary = simulate_cohort(cohort, 2, SEED, workers=2, progress=False)
    assert summary.added == (f"sim-{SEED}-0001", f"sim-{SEED}-0002")
    assert list(summary.refused) == [f"sim-{SEED}-0000"]
    return cohort


@pytest.mark.slow
def test_a_case_says_how_it_was_made(simulated: Cohort) -> None:
    record = simulated.record(f"sim-{SEED}-0001")
    assert (record.source, record.prescription_source) == ("simulated", "SIMULATED")
    assert (record.provenance["seed"], record.provenance["index"]) == (SEED, 1)
    assert PlanMeasures.from_numbers(record.provenance).ptv_7000_d95_gy >= 66.5
    assert len(record.gantry_angles_deg) == record.provenance["style_beams"]
    assert record.image_sha256 == hash_anatomy(simulate_patient(SEED, 1).case)
    assert simulated.check() == ()


@pytest.mark.slow
def test_the_stored_dose_is_the_packed_one(simulated: Cohort) -> None:
    """So that a cohort which is restored from packed doses holds the same values."""
    key = f"sim-{SEED}-0001"
    stored = simulated.read(key)
    patient = simulate_patient(SEED, 1)
    packed = unpack_dose(PlanFolder.of(simulated.place).read_dose(key), patient.case.ct.grid.frame_uid)
    placed = gridded(replace(patient.case, reference_dose=packed), model_grid(simulated.settings.grid, patient.case))
    assert stored.reference_dose is not None
    assert placed.reference_dose is not None
    assert np.array_equal(stored.reference_dose.array, placed.reference_dose.array)


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_cohort(simulated: Cohort, tmp_path: Path) -> None:
    cohort = empty(tmp_path / "cohort")
    program = tmp_path / "run.py"
    program.write_text(RUN.format(seed=SEED), encoding="utf-8")
    run = subprocess.Popen([sys.executable, str(program), cohort.place.root])
    wait_for(cohort.keys, 900, run)
    time.sleep(1.0)  # into the second patient
    run.kill()
    assert run.wait() == -signal.SIGKILL
    assert cohort.keys() == (f"sim-{SEED}-0001",)
    summary = simulate_cohort(cohort, 2, SEED, workers=1, progress=False)
    assert summary.kept == (f"sim-{SEED}-0001",)
    assert summary.added == (f"sim-{SEED}-0002",)
    assert cohort.sha256() == simulated.sha256()
    again = simulate_cohort(cohort, 1, SEED, workers=1, progress=False)
    assert (again.kept, again.added) == ((f"sim-{SEED}-0001",), ())


@pytest.mark.slow
def test_a_plan_outside_the_bounds_is_refused_with_its_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = empty(tmp_path / "cohort")
    bounds = (Bound("PTV_7000 D95", "ptv_7000_d95_gy", "Gy", 75.0, None),)
    monkeypatch.setattr("vmat_rt.phantom.planning.acceptance.PLAN_BOUNDS", bounds)
    outcome = simulate_case(SimulationTask(cohort.place.root, PlanFolder.of(cohort.place), SEED, 1))
    assert "less than 75.0 Gy" in outcome.refused
    assert cohort.keys() == ()
    assert not PlanFolder.of(cohort.place).has_dose(f"sim-{SEED}-0001")


@pytest.fixture(scope="module")
def shipped(simulated: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped") / "cohort"
    size = pack_cohort(simulated, folder)
    assert size == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size < 2 * 250_000
    return folder


@pytest.mark.slow
def test_a_shipped_cohort_comes_back_bit_for_bit(simulated: Cohort, shipped: Path, tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path / "cohort", read_shipped(shipped).settings)
    summary = restore_cohort(shipped, cohort, workers=2, progress=False)
    assert summary.restored == simulated.keys()
    assert summary.problems == {}
    assert cohort.records() == simulated.records()
    assert cohort.check() == ()
    again = restore_cohort(shipped, cohort, workers=1, progress=False)
    assert (again.restored, again.kept) == ((), simulated.keys())


@pytest.mark.slow
def test_what_is_not_as_shipped_is_refused_and_the_rest_goes_on(shipped: Path, tmp_path: Path) -> None:
    """One case with another's dose, one whose seed gives somebody else here."""
    folder = tmp_path / "shipped"
    shutil.copytree(shipped, folder)
    first, second = (f"sim-{SEED}-0001", f"sim-{SEED}-0002")
    shutil.copy(folder / "doses" / f"{second}.dose", folder / "doses" / f"{first}.dose")
    text = (folder / "cohort.yaml").read_text(encoding="utf-8")
    (folder / "cohort.yaml").write_text(text.replace("index: 2\n", "index: 3\n"), encoding="utf-8")
    cohort = Cohort.create(tmp_path / "cohort", read_shipped(folder).settings)
    summary = restore_cohort(folder, cohort, workers=2, progress=False)
    assert summary.restored == cohort.keys() == ()
    assert {problem.code for problem in summary.problems.values()} == {"RESTORED_DIFFERS"}
    assert "packed dose" in summary.problems[first].message
    assert "another anatomy" in summary.problems[second].message


@pytest.mark.slow
def test_a_cohort_of_another_grid_is_not_filled(shipped: Path, tmp_path: Path) -> None:
    known = read_shipped(shipped).settings
    other = known.model_copy(update={"grid": known.grid.model_copy(update={"spacing_mm": (3.0, 3.0, 3.0)})})
    with pytest.raises(ConfigError, match="another grid"):
        restore_cohort(shipped, Cohort.create(tmp_path / "cohort", other), progress=False)


@pytest.mark.slow
def test_a_cohort_without_its_packed_doses_cannot_be_shipped(simulated: Cohort, tmp_path: Path) -> None:
    shutil.copytree(simulated.place.root, tmp_path / "cohort")
    shutil.rmtree(tmp_path / "cohort" / "simulated")
    with pytest.raises(ConfigError, match=f"sim-{SEED}-0001"):
        pack_cohort(Cohort.open(tmp_path / "cohort"), tmp_path / "shipped")
    assert not (tmp_path / "shipped").exists()


def test_a_case_that_kills_its_worker_is_one_of_the_problems(tmp_path: Path) -> None:
    case = read_shipped(SHIPPED).cases[0]
    lost = _RestoreTask(tmp_path, "nowhere", case)  # its packed dose is not there
    outcomes = [p for _, p in _restore_cases([lost, _RestoreTask(tmp_path, Deadly(), case)], workers=2, progress=False)]  # type: ignore[arg-type]
    assert sorted(problem.code for problem in outcomes if problem) == ["RESTORED_DIFFERS", "WORKER_DIED"]
    assert all(case.record.key in problem.message for problem in outcomes if problem)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "no cohort.yaml"), ("cases: 1\n", "cannot be read"), ("a: [", "cannot be read")]
)
def test_a_folder_that_is_no_shipped_cohort_is_refused(content: str | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "cohort.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        read_shipped(tmp_path)
