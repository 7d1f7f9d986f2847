"""Simulated patients into a cohort: anatomy, plan, acceptance, store; in parallel, resumable, the same every time.

The cohort of n cases is the first n indices whose plan is accepted, whatever the number of processes and however often
the run was stopped: an index is begun only while those before it, were they all accepted, would leave room for it.

Beside the cases, in the folder `simulated`, lie the packed dose of each on its plan's own grid and the reasons of every
refused plan. A dose is written before its case, a refusal in one rename: a run that was killed begins again with what
it had not finished.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace

from tqdm import tqdm

from vmat_rt.bundle import GridRule
from vmat_rt.case import Case
from vmat_rt.cohort.dose_code import pack_dose, unpack_dose
from vmat_rt.cohort.plan_folder import PlanFolder
from vmat_rt.cohort.record import CaseOrigin, describe
from vmat_rt.cohort.settings import CohortSettings, Provenance
from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import ConfigError, InputError, ModelError, VmatError
from vmat_rt.phantom.anatomy.patient import Patient, hash_anatomy, simulate_patient
from vmat_rt.phantom.planning.plan import SimulatedPlan, plan_patient
from vmat_rt.system.processes import WorkerDiedError, run_tasks

log = logging.getLogger("vmat_rt")

MOST_REFUSED_IN_A_ROW = 20
"""So many refusals in a row are not bad luck."""

Number = str | int | float


PROTOCOL = "prostate_sib_70_56"
GRID = GridRule(kind="fixed", shape=(96, 160, 192), spacing_mm=(2.5, 2.5, 2.5))
LIMITS = (
    "Learned from simulated patients and plans: procedural anatomy, a pencil-beam dose, ideal fluence without an MLC. "
    "What it gets right of a clinic's patients has not been shown; train again on the clinic's own cohort.",
    "Learned at 70 and 56 Gy (simultaneous boost) and at 70 Gy (single level) in 28 fractions; other levels are scaled "
    "by the highest prescription.",
    "Learned from arcs of 48 to 72 directions about the patient's long axis; few fields or non-coplanar beams were not "
    "seen.",
)


def make_simulated_settings(name: str, n: int, seed: int) -> CohortSettings:
    """Make the settings of a cohort for `simulate_cohort`; single-level cases follow prostate_70_28 within it."""
    provenance = Provenance(
        data="simulated male pelves and arcs of vmat_rt.phantom; no patient",
        licence="Apache-2.0, as vmat-rt",
        simulated=True,
        command=f"vmat-rt cohort simulate --n {n} --seed {seed}",
        limits=LIMITS,
    )
    return CohortSettings(name=name, protocol=PROTOCOL, grid=GRID, provenance=provenance)


@dataclass(frozen=True)
class SimulationSummary:
    """What one run did: keys added now, keys that were there already, why plans were refused (key -> reasons)."""

    added: tuple[str, ...]
    kept: tuple[str, ...]
    refused: Mapping[str, str]


@dataclass(frozen=True)
class SimulationTask:
    """One index of one population, for a worker process."""

    cohort_uri: str
    plans: PlanFolder
    seed: int
    index: int

    @property
    def key(self) -> str:
        """The key that `simulate_patient` gives its case."""
        return f"sim-{self.seed}-{self.index:04d}"


@dataclass(frozen=True)
class PlanOutcome:
    """What came of a task. refused: the reasons in words, empty for a case that is in the cohort. new: in this run."""

    key: str
    refused: str
    seconds: float = 0.0
    new: bool = True


def simulate_cohort(cohort: Cohort, n: int, seed: int, workers: int = 2, progress: bool = True) -> SimulationSummary:
    """Fill the cohort with the first n accepted cases of this seed; those that are there already count.

    Raises ConfigError when n or workers is not a positive number, VmatError when plan after plan is refused or a worker
    dies over one again and again, InputError when the disk is full. What was finished stays, and the next run goes on
    from there.
    """
    if n < 1 or workers < 1:
        raise ConfigError(f"{n} cases by {workers} processes cannot be simulated: both must be 1 or more")
    plans = PlanFolder.of(cohort.place)
    known = _read_known(cohort, plans)
    outcomes: list[PlanOutcome] = []

    def task(index: int) -> SimulationTask:
        return SimulationTask(cohort.place.root, plans, seed, index)

    def simulated(indices: Iterator[int | None]) -> Iterator[PlanOutcome]:
        tasks = (None if index is None else task(index) for index in indices)
        for case in run_tasks(simulate_case, tasks, workers):
            if isinstance(case.error, WorkerDiedError):
                raise case.error.of(case.task.key)
            _note_outcome(case.result(), plans)
            yield case.result()

    with tqdm(total=n, unit="case", disable=None if progress else True) as bar:
        for outcome in take_first_accepted(simulated, n, lambda index: known.get(task(index).key)):
            outcomes.append(outcome)
            bar.update(not outcome.refused)
    cohort.reindex()
    accepted = sorted((o for o in outcomes if not o.refused), key=lambda outcome: outcome.key)
    return SimulationSummary(
        added=tuple(o.key for o in accepted if o.new),
        kept=tuple(o.key for o in accepted if not o.new),
        refused={o.key: o.refused for o in sorted(outcomes, key=lambda outcome: outcome.key) if o.refused},
    )


def take_first_accepted(
    simulated: Callable[[Iterator[int | None]], Iterator[PlanOutcome]],
    n: int,
    known: Callable[[int], PlanOutcome | None] = lambda _: None,
) -> Iterator[PlanOutcome]:
    """Yield outcomes as they come, only of the indices up to the one whose plan is the n-th to be accepted.

    simulated: begins the indices that it takes, and gives their outcomes; None among them stands for an index that may
    begin only when the outcome of an earlier one is given. known: the outcome of an index that needs no simulation.
    """
    tally = _Tally(n, known)
    for outcome in simulated(tally.indices()):
        tally.count(outcome)
        yield from tally.settled()
        yield outcome
        tally.require_acceptances()
    yield from tally.settled()


class _Tally:
    """How many plans were accepted and are at work: an index may begin while n exceeds the two."""

    def __init__(self, n: int, known: Callable[[int], PlanOutcome | None]) -> None:
        self._n, self._known = n, known
        self._accepted = self._begun = self._refused_in_a_row = 0
        self._last_reason = ""
        self._settled: list[PlanOutcome] = []

    def indices(self) -> Iterator[int | None]:
        """Each index that is not known, None while no further may begin."""
        index = 0
        while self._accepted < self._n:
            if self._accepted + self._begun >= self._n:
                yield None
                continue
            outcome = self._known(index)
            if outcome is None:
                self._begun += 1
                yield index
            else:
                self._count(outcome)
                self._settled.append(outcome)
                self.require_acceptances()
            index += 1

    def count(self, outcome: PlanOutcome) -> None:
        """One that was begun has ended."""
        self._begun -= 1
        self._count(outcome)

    def settled(self) -> Iterator[PlanOutcome]:
        """The known outcomes that were passed since the last call."""
        while self._settled:
            yield self._settled.pop(0)

    def require_acceptances(self) -> None:
        """Raises VmatError after MOST_REFUSED_IN_A_ROW refusals."""
        if self._refused_in_a_row >= MOST_REFUSED_IN_A_ROW:
            count, reason = self._refused_in_a_row, self._last_reason
            raise VmatError(f"{count} plans one after another were refused, the last because: {reason}")

    def _count(self, outcome: PlanOutcome) -> None:
        self._accepted += not outcome.refused
        self._refused_in_a_row = self._refused_in_a_row + 1 if outcome.refused else 0
        self._last_reason = outcome.refused


def _read_known(cohort: Cohort, plans: PlanFolder) -> dict[str, PlanOutcome]:
    """What earlier runs settled. A case whose packed dose is lost is not settled: it could not be shipped."""
    stored = {key: "" for key in cohort.keys() if plans.has_dose(key)}  # noqa: SIM118 (a cohort is not a mapping)
    return {key: PlanOutcome(key, reasons, new=False) for key, reasons in {**plans.refused(), **stored}.items()}


def _note_outcome(outcome: PlanOutcome, plans: PlanFolder) -> None:
    log.info("%s %s %.1f s", outcome.key, "refused" if outcome.refused else "simulated", outcome.seconds)
    if outcome.refused:
        plans.refuse(outcome.key, outcome.refused)


def simulate_case(task: SimulationTask) -> PlanOutcome:
    """Patient, plan and, when it is accepted, the packed dose and the case in the cohort."""
    started = time.perf_counter()
    try:
        refused = _simulate_case(task)
    except InputError as refusal:
        if refusal.is_of_the_machine:
            raise
        refused = str(refusal)
    except ModelError as failure:  # a plan that cannot be one; the next run would find the same
        refused = str(failure)
    return PlanOutcome(task.key, refused, time.perf_counter() - started)


def _simulate_case(task: SimulationTask) -> str:
    """Why the plan is refused, or nothing once the case is stored."""
    patient = simulate_patient(task.seed, task.index)
    plan = plan_patient(patient, task.seed)
    if not plan.accepted:
        return " ".join(plan.reasons) or "not accepted"
    packed = pack_dose(plan.dose)
    task.plans.write_dose(task.key, packed)
    case = treat_patient(patient, packed, plan.angles_deg)
    origin = CaseOrigin(
        key=task.key,
        patient=task.key,
        source="simulated",
        image_sha256=hash_anatomy(patient.case),
        flags=patient.traits.flags,
        nodal=patient.traits.nodal,
        provenance={"seed": task.seed, "index": task.index, **plan_numbers(plan)},
    )
    Cohort.open(task.cohort_uri).add(case, describe(case, origin), replace=True)
    return ""


def treat_patient(patient: Patient, packed_dose: bytes, angles_deg: tuple[float, ...]) -> Case:
    """The patient with the dose as it is packed: a cohort that is restored holds the same values as this one."""
    case = patient.case
    dose = unpack_dose(packed_dose, case.ct.grid.frame_uid)
    return replace(case, reference_dose=dose, gantry_angles_deg=angles_deg)


def plan_numbers(plan: SimulatedPlan) -> dict[str, Number]:
    """The planner's style and what the plan measured: style_NAME and plan_NAME."""
    parts = {"style": asdict(plan.style), "plan": asdict(plan.measures)}
    return {
        f"{part}_{name}".lower(): number
        for part, numbers in parts.items()
        for name, number in numbers.items()
        if isinstance(number, str | int | float)
    }
