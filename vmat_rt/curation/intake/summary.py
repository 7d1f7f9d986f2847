"""What came of an intake, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vmat_rt.curation.intake.entering import StudyOutcome
from vmat_rt.curation.intake.people import People
from vmat_rt.gate.codes import CHECKS

SCHEMA_VERSION: Final = 1
_SHOWN: Final = 20


@dataclass(frozen=True)
class IntakeSummary:
    """outcomes: of every study of this run. cases: in the cohort now. people: what is known of their patients."""

    cohort: str
    outcomes: tuple[StudyOutcome, ...]
    cases: int
    people: People

    @property
    def counts(self) -> Mapping[str, int]:
        states = Counter(outcome.state for outcome in self.outcomes)
        return {
            "studies": len(self.outcomes),
            "added": states["added"],
            "present": states["present"],
            "duplicates": states["duplicate"],
            "refused": states["refused"],
            "cases_in_cohort": self.cases,
            "patients_in_cohort": self.people.patients,
            "patients_joined": self.people.joined,
        }

    @property
    def checks(self) -> Mapping[str, int]:
        """Studies of this run that each check at entry found something in, also where it found nothing."""
        counts = _count_codes(self.outcomes)
        return {code: self.people.shared if code == "DUPLICATE_IMAGE" else counts[code] for code in CHECKS}

    @property
    def refused(self) -> Mapping[str, int]:
        """Refused studies by code, the commonest first; a study with several codes counts in each."""
        return dict(_count_codes(o for o in self.outcomes if o.state == "refused").most_common())

    @property
    def nothing_usable(self) -> bool:
        """Whether there were studies and none of them is in the cohort."""
        return all(outcome.state == "refused" for outcome in self.outcomes)

    def document(self) -> dict[str, Any]:
        """For --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "cohort": self.cohort,
            "counts": dict(self.counts),
            "checks": dict(self.checks),
            "refused": dict(self.refused),
            "problems": [
                {"key": outcome.key, "state": outcome.state, **problem.as_dict()}
                for outcome in self.outcomes
                for problem in outcome.problems
            ],
        }

    def text(self) -> str:
        """For a person at a terminal."""
        c = self.counts
        lines = [
            f"{c['studies']} studies: {c['added']} added, {c['present']} there already, {c['duplicates']} duplicates, "
            f"{c['refused']} refused",
            f"{self.cohort} holds {c['cases_in_cohort']} cases of {c['patients_in_cohort']} patients",
        ]
        lines += ["checks at entry:"] + [f"  {number:6d}  {code}" for code, number in self.checks.items()]
        if self.refused:
            lines += ["refused (see refused.csv):"] + [f"  {n:6d}  {code}" for code, n in self.refused.items()]
            refused = [outcome for outcome in self.outcomes if outcome.state == "refused"]
            lines += [f"  {o.key}: {o.problems[0]}" for o in refused[:_SHOWN] if o.problems]
            if len(refused) > _SHOWN:
                lines.append(f"  ... and {len(refused) - _SHOWN} more")
        return "\n".join(lines)


def _count_codes(outcomes: Iterable[StudyOutcome]) -> Counter[str]:
    return Counter(code for outcome in outcomes for code in {problem.code for problem in outcome.problems})
