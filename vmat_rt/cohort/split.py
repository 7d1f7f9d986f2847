"""Which cases a model is trained, tuned and tested on. Sizes and strata count patients; a patient never straddles.

Strata are plan type (SIB or single level), nodal or not, and the tertile of target volume within these. Patients whose
anatomy is out of the ordinary (OUTLIERS) stand apart: no model is trained on them, and how it does on them is a test of
its own.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final, Literal

import yaml
from pydantic import Field, ValidationError

from vmat_rt.cohort.record import CaseRecord, Sha256
from vmat_rt.cohort.rounding import allocate, make_exact_fractions
from vmat_rt.cohort.settings import Key
from vmat_rt.cohort.store import Cohort, canonical_sha256
from vmat_rt.errors import ConfigError
from vmat_rt.strict import Strict, YamlError, load_yaml, mistakes, reason

FILE: Final = "splits.yaml"
OUTLIERS: Final = frozenset({"hip_prosthesis", "rectal_spacer"})
PARTS: Final = ("train", "validation", "test")
Part = Literal["train", "validation", "test", "outliers"]
Fraction3 = tuple[float, float, float]
_TERTILES: Final = 3


class SplitParameters(Strict):
    """What was asked for. fractions are of train, validation and test.

    locked: one test set for all seeds. outliers_apart: patients with a flag of OUTLIERS are in none of the parts.
    """

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    fractions: tuple[
        Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]
    ]
    locked: bool = False
    outliers_apart: bool = True


class Parts(Strict):
    """The keys of one seed's parts, sorted."""

    train: tuple[Key, ...]
    validation: tuple[Key, ...]
    test: tuple[Key, ...]


class Splits(Strict):
    """The content of splits.yaml. cohort_sha256 covers the contents of the cases that are listed."""

    schema_version: Literal[1] = 1
    parameters: SplitParameters
    cohort_sha256: Sha256
    outliers: tuple[Key, ...]
    seeds: dict[int, Parts]

    @property
    def sha256(self) -> str:
        """Hash everything that the file says."""
        return canonical_sha256(self.model_dump(mode="json"))

    def cases(self, split: Part, seed: int | None = None) -> tuple[str, ...]:
        """Keys, sorted. The seed may be left out where it makes no difference. Raises ConfigError for unknown ones."""
        if split == "outliers":
            return self.outliers
        if seed is None and (len(self.seeds) == 1 or (self.parameters.locked and split == "test")):
            seed = next(iter(self.seeds))
        if seed not in self.seeds:
            known = ", ".join(map(str, self.seeds))
            asked = "say which by --seed" if seed is None else f"not {seed}"
            raise ConfigError(f"the splits hold the seeds {known}; {asked}")
        keys: tuple[str, ...] = getattr(self.seeds[seed], split)
        return keys

    def write(self, cohort: Cohort) -> None:
        """Write splits.yaml of the cohort; an older one is replaced."""
        document = {"sha256": self.sha256, **self.model_dump(mode="json")}
        cohort.place.write_bytes(FILE, yaml.safe_dump(document, sort_keys=False).encode())

    @staticmethod
    def read(cohort: Cohort) -> Splits:
        """Raises ConfigError when there are none, when the file was changed by hand, or when its cases were since."""
        try:
            document = load_yaml(cohort.place.read_bytes(FILE))
            written = document.pop("sha256")
            splits = Splits.model_validate(document)
        except FileNotFoundError:
            raise ConfigError(f"the cohort has no {FILE}; make it with `vmat-rt cohort split`") from None
        except (YamlError, AttributeError, KeyError, TypeError, ValidationError) as error:
            raise ConfigError(
                f"{FILE} is damaged ({reason(error)}); make it again with `vmat-rt cohort split`"
            ) from error
        if splits.sha256 != written:
            raise ConfigError(f"{FILE} was changed after it was written (SHA-256 differs); split again")
        absent = sorted(set(splits._collect_keys()) - set(cohort.keys()))
        if absent:
            raise ConfigError(f"{FILE} lists cases that the cohort lacks: {', '.join(absent)}; split again")
        if cohort.sha256(splits._collect_keys()) != splits.cohort_sha256:
            raise ConfigError(f"cases were replaced since {FILE} was written; split again")
        return splits

    def _collect_keys(self) -> tuple[str, ...]:
        one = next(iter(self.seeds.values()))
        return tuple(sorted((*one.train, *one.validation, *one.test, *self.outliers)))


def split_cohort(
    records: Iterable[CaseRecord],
    seeds: Sequence[int],
    fractions: Fraction3 = (0.8, 0.1, 0.1),
    locked: bool = False,
    outliers_apart: bool = True,
) -> Splits:
    """Split the cases by patient; the same on every machine, whatever the records' order.

    Overall and in every stratum each part is within one patient of its fraction (in a cohort of a few patients a part
    that was asked for gets one at least). Raises ConfigError for fractions that do not add up to 1, repeated seeds or
    fewer patients than parts.
    """
    parameters = _make_parameters(seeds, fractions, locked, outliers_apart)
    records = sorted(records, key=lambda record: record.key)
    patients: dict[str, list[CaseRecord]] = {}
    for record in records:
        patients.setdefault(record.patient, []).append(record)
    apart = {name for name, own in patients.items() if outliers_apart and any(OUTLIERS & {*r.flags} for r in own)}
    parts = sum(fraction > 0 for fraction in parameters.fractions)
    if len(patients) - len(apart) < parts:
        count = f"there are {len(patients)}, of whom {len(apart)} are outliers kept apart"
        raise ConfigError(f"{parts} parts need as many patients; {count}")
    strata = stratify({name: own for name, own in patients.items() if name not in apart})
    return Splits(
        parameters=parameters,
        cohort_sha256=canonical_sha256({record.key: record.content_sha256 for record in records}),
        outliers=tuple(record.key for record in records if record.patient in apart),
        seeds={seed: _draw_parts(strata, parameters, seed, patients) for seed in parameters.seeds},
    )


def make_given_split(
    cohort: Cohort, seeds: Sequence[int], train: Sequence[str], validation: Sequence[str], test: Sequence[str] = ()
) -> Splits:
    """The split that others published: the same parts for every seed.

    Raises ConfigError when a case stands in two parts, is unknown or left over, or a patient straddles.
    """
    listed = [*train, *validation, *test]
    if sorted(listed) != sorted(cohort.keys()):
        raise ConfigError("a given split must name every case of the cohort exactly once")
    part_of = {key: part for part, keys in zip(PARTS, (train, validation, test), strict=True) for key in keys}
    records = {record.key: record for record in cohort.records()}
    pairs = {(records[key].patient, part) for key, part in part_of.items()}
    if len(pairs) != len({patient for patient, _ in pairs}):
        raise ConfigError("a patient stands in two parts of the given split")
    shares = (len(train) / len(listed), len(validation) / len(listed), len(test) / len(listed))
    parts = Parts(train=tuple(sorted(train)), validation=tuple(sorted(validation)), test=tuple(sorted(test)))
    return Splits(
        parameters=_make_parameters(seeds, shares, locked=True, outliers_apart=False),
        cohort_sha256=cohort.sha256(tuple(sorted(listed))),
        outliers=(),
        seeds=dict.fromkeys(seeds, parts),
    )


def stratify(patients: Mapping[str, Sequence[CaseRecord]]) -> dict[str, tuple[str, ...]]:
    """Stratum -> its patients. A patient with several cases is SIB or nodal when one of them is; the largest counts."""
    kinds: dict[str, list[tuple[float, str]]] = {}
    for name, own in patients.items():
        plan = "sib" if any(record.plan_type == "sib" for record in own) else "single_level"
        nodes = "nodal" if any(record.nodal for record in own) else "local"
        volume_cc = max(record.target_volume_cc for record in own)
        kinds.setdefault(f"{plan} {nodes}", []).append((volume_cc, name))
    strata: dict[str, tuple[str, ...]] = {}
    for kind, members in sorted(kinds.items()):
        members.sort()
        ends = [len(members) * k // _TERTILES for k in range(_TERTILES + 1)]
        for k, (first, stop) in enumerate(itertools.pairwise(ends)):
            if stop > first:
                strata[f"{kind} volume {k + 1} of {_TERTILES}"] = tuple(name for _, name in members[first:stop])
    return strata


def _draw_parts(
    strata: Mapping[str, Sequence[str]],
    parameters: SplitParameters,
    seed: int,
    patients: Mapping[str, Sequence[CaseRecord]],
) -> Parts:
    """One seed's parts. Which strata round up is drawn as well; with a locked test set, once for all seeds."""
    salt = "locked" if parameters.locked else str(seed)
    names = _draw_order(strata, salt)
    table = allocate([len(strata[name]) for name in names], make_exact_fractions(parameters.fractions))
    members: dict[str, list[str]] = {part: [] for part in PARTS}
    for name, (_, validation, test) in zip(names, table, strict=True):
        order = _draw_order(strata[name], f"test {salt} {name}")
        rest = _draw_order(order[test:], f"train {seed} {name}")
        members["test"] += order[:test]
        members["validation"] += rest[:validation]
        members["train"] += rest[validation:]
    keys = {part: sorted(r.key for name in own for r in patients[name]) for part, own in members.items()}
    return Parts(train=tuple(keys["train"]), validation=tuple(keys["validation"]), test=tuple(keys["test"]))


def _draw_order(names: Iterable[str], salt: str) -> list[str]:
    """Order names randomly but the same everywhere: by hash, so that no library's generator matters."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{salt}\n{name}".encode()).digest())


def _make_parameters(seeds: Sequence[int], fractions: Fraction3, locked: bool, outliers_apart: bool) -> SplitParameters:
    if len(set(seeds)) != len(seeds):
        raise ConfigError(f"a seed stands twice in {', '.join(map(str, seeds))}")
    if len(fractions) != len(PARTS) or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(
            f"fractions of train, validation and test must be three and add up to 1, not {list(fractions)}"
        )
    try:
        return SplitParameters(seeds=tuple(seeds), fractions=fractions, locked=locked, outliers_apart=outliers_apart)
    except ValidationError as error:
        raise ConfigError(f"the split cannot be made: {mistakes(error)}") from error
