"""How often the gate doubts patients that are right: `python tools/gate_figures.py [--cohort OPENKBP] [--simulated N]`.

--cohort: an OpenKBP cohort, as tools/openkbp_cohort.py makes it; its body is where dose may be, not an outline, and is
left out. --simulated: the first N anatomies of the shipped prostate cohort. Printed: cases by code, and the share of
cases with any doubt and with an error.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from vmat_rt.case import Case
from vmat_rt.cohort.store import Cohort
from vmat_rt.gate.examine import examine
from vmat_rt.phantom.anatomy.patient import simulate_patient
from vmat_rt.protocol import load_protocol

SHIPPED_SEED = 1


def read_cohort(folder: Path) -> Iterator[Case]:
    cohort = Cohort.open(folder)
    for record in cohort.records():
        case = cohort.read(record.key)
        yield replace(case, structures={n: s for n, s in case.structures.items() if n != case.body.name})


def simulate(count: int) -> Iterator[Case]:
    for index in range(count):
        yield simulate_patient(SHIPPED_SEED, index).case


def print_figures(name: str, cases: Iterable[Case]) -> None:
    by_code: Counter[str] = Counter()
    number = doubted = refused = 0
    for case in cases:
        problems = examine(case, load_protocol(case.protocol_name).site)
        number += 1
        doubted += bool(problems)
        refused += any(problem.severity == "error" for problem in problems)
        by_code.update({problem.code for problem in problems})
        for problem in problems:
            print(f"  {case.key}: {problem.severity} {problem.code}: {problem.message}", flush=True)
    codes = ", ".join(f"{code} {count}" for code, count in by_code.most_common()) or "none"
    print(f"| {name} | {number} | {doubted} ({100 * doubted / number:.1f} %) | {refused} | {codes} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohort", type=Path)
    parser.add_argument("--simulated", type=int, default=0)
    options = parser.parse_args()
    print("| cases | number | doubted | refused | by code |\n|---|---|---|---|---|")
    if options.cohort is not None:
        print_figures("OpenKBP", read_cohort(options.cohort))
    if options.simulated:
        print_figures("simulated", simulate(options.simulated))


if __name__ == "__main__":
    main()
