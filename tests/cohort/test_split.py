"""Sizes, strata, patients and outliers of a split; that it is the same everywhere, and noticed when it is stale."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cohort.cases import pelvis, record_of, small_cohort
from tests.external import REPOSITORY
from vmat_rt.cohort.record import CaseRecord
from vmat_rt.cohort.rounding import allocate, make_exact_fractions, round_by_largest_remainder
from vmat_rt.cohort.split import FILE, PARTS, Splits, make_given_split, split_cohort, stratify
from vmat_rt.errors import ConfigError


def record(number: int, **changes: Any) -> CaseRecord:
    """Case `number` of patient `number`; its target's volume follows no order of its key."""
    fields: dict[str, Any] = {
        "key": f"c{number:03d}",
        "patient": f"p{number:03d}",
        "source": "simulated",
        "protocol": "prostate_sib_70_56",
        "plan_type": "sib",
        "nodal": False,
        "volumes_cc": {"PTV_7000": 60.0 + (number * 37) % 101, "PTV_5600": 100.0 + (number * 53) % 89},
        "prescription": {"PTV_7000": 70.0, "PTV_5600": 56.0},
        "fractions": 28,
        "prescription_source": "SIMULATED",
        "content_sha256": f"{number:064x}",
    }
    return CaseRecord(**{**fields, **changes})


def mixed(count: int) -> list[CaseRecord]:
    """Of ten cases seven are SIB, one of these nodal; of twenty one has a prosthesis."""
    return [
        record(
            n,
            plan_type="sib" if n % 10 < 7 else "single_level",
            nodal=n % 10 == 0,
            flags=("hip_prosthesis",) if n % 20 == 19 else (),
        )
        for n in range(count)
    ]


def parts_of(splits: Splits, seed: int) -> dict[str, tuple[str, ...]]:
    return {part: splits.cases(part, seed) for part in PARTS}  # type: ignore[arg-type]


def test_a_hundred_cases() -> None:
    splits = split_cohort(mixed(100), (42, 123, 456))
    assert splits.cases("outliers") == ("c019", "c039", "c059", "c079", "c099")
    for seed in (42, 123, 456):
        parts = parts_of(splits, seed)
        assert [len(keys) for keys in parts.values()] == [76, 10, 9]
        assert sorted(key for keys in parts.values() for key in keys) == sorted(
            {f"c{n:03d}" for n in range(100)} - {*splits.outliers}
        )
    assert len({splits.cases("test", seed) for seed in (42, 123, 456)}) == 3


def test_locked_means_one_test_set_and_different_training_sets() -> None:
    splits = split_cohort(mixed(100), (42, 123, 456), locked=True)
    assert len({splits.cases("test", seed) for seed in (42, 123, 456)}) == 1
    assert len({splits.cases("train", seed) for seed in (42, 123, 456)}) == 3
    assert splits.cases("test") == splits.cases("test", 42)
    others = split_cohort(mixed(100), (7,), locked=True)
    assert others.cases("test") == splits.cases("test"), "the test set does not depend on the seeds"


def test_a_seed_gives_the_same_split_alone_and_in_company() -> None:
    alone, among = split_cohort(mixed(60), (123,)), split_cohort(mixed(60), (42, 123))
    assert parts_of(alone, 123) == parts_of(among, 123)
    assert alone.cases("train") == alone.cases("train", 123)
    with pytest.raises(ConfigError, match="hold the seeds 42, 123; say which by --seed"):
        among.cases("train")
    with pytest.raises(ConfigError, match="not 5"):
        among.cases("test", 5)


def test_strata_are_kinds_of_plan_and_thirds_of_volume() -> None:
    records = mixed(90)
    strata = stratify({r.patient: [r] for r in records})
    assert {name.partition(" volume")[0] for name in strata} == {"sib local", "sib nodal", "single_level local"}
    assert sorted(patient for members in strata.values() for patient in members) == sorted(r.patient for r in records)
    volume = {r.patient: r.target_volume_cc for r in records}
    for kind in ("sib local", "sib nodal", "single_level local"):
        thirds = [strata[f"{kind} volume {k} of 3"] for k in (1, 2, 3)]
        assert max(map(len, thirds)) - min(map(len, thirds)) <= 1
        for low, high in itertools.pairwise(thirds):
            assert max(volume[p] for p in low) <= min(volume[p] for p in high)


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=10, max_size=120),
    cut=st.tuples(st.integers(10, 45), st.integers(10, 45)),
    locked=st.booleans(),
    seed=st.integers(0, 10**9),
)
def test_every_part_and_stratum_is_within_one_patient(
    kinds: list[tuple[bool, bool]], cut: tuple[int, int], locked: bool, seed: int
) -> None:
    fractions = ((100 - sum(cut)) / 100, cut[0] / 100, cut[1] / 100)
    records = [record(n, plan_type="sib" if sib else "single_level", nodal=no) for n, (sib, no) in enumerate(kinds)]
    splits = split_cohort(records, (seed, seed + 1), fractions, locked=locked)
    strata = stratify({r.patient: [r] for r in records})
    for one in (seed, seed + 1):
        parts = parts_of(splits, one)
        assert sum(map(len, parts.values())) == len({key for keys in parts.values() for key in keys}) == len(records)
        for fraction, keys in zip(fractions, parts.values(), strict=True):
            assert abs(len(keys) - fraction * len(records)) <= 1
            assert keys
            patients = {key.replace("c", "p") for key in keys}
            for members in strata.values():
                assert abs(len(patients & {*members}) - fraction * len(members)) <= 1 + 1e-9


@settings(max_examples=40, deadline=None)
@given(owners=st.lists(st.integers(0, 25), min_size=6, max_size=80), locked=st.booleans(), seed=st.integers(0, 10**6))
def test_a_patient_never_straddles(owners: list[int], locked: bool, seed: int) -> None:
    records = [record(n, patient=f"q{owner}", nodal=n % 3 == 0) for n, owner in enumerate(owners)]
    if len(set(owners)) < 3:
        with pytest.raises(ConfigError, match="3 parts need as many patients"):
            split_cohort(records, (seed,), locked=locked)
        return
    splits = split_cohort(records, (seed,), locked=locked)
    patient = {r.key: r.patient for r in records}
    owned = [{patient[key] for key in keys} for keys in parts_of(splits, seed).values()]
    assert all(owned)
    assert Counter(p for patients in owned for p in patients).most_common(1)[0][1] == 1
    assert {p for patients in owned for p in patients} == set(patient.values())


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(12)))
def test_the_order_of_the_records_does_not_matter(order: list[int]) -> None:
    records = mixed(12)
    assert split_cohort([records[i] for i in order], (1,)) == split_cohort(records, (1,))


def test_a_patient_with_one_outlying_case_stands_apart_whole() -> None:
    records = [*mixed(12), record(50, patient="p003", flags=("rectal_spacer",)), record(51, flags=("nodal_boost",))]
    splits = split_cohort(records, (1,))
    assert splits.outliers == ("c003", "c050")
    assert "c051" in {key for keys in parts_of(splits, 1).values() for key in keys}
    together = split_cohort(records, (1,), outliers_apart=False)
    assert together.outliers == ()
    assert sum(len(keys) for keys in parts_of(together, 1).values()) == len(records)


@pytest.mark.parametrize("count", [3, 4, 5, 6, 9])
def test_small_cohorts_have_one_of_everything(count: int) -> None:
    parts = parts_of(split_cohort([record(n) for n in range(count)], (1,)), 1)
    assert [len(parts["validation"]), len(parts["test"])] == [1, 1]


def test_two_parts_are_enough_when_the_third_is_not_asked_for() -> None:
    splits = split_cohort([record(0), record(1)], (1,), (0.5, 0.0, 0.5))
    assert [len(keys) for keys in parts_of(splits, 1).values()] == [1, 0, 1]


@pytest.mark.parametrize(
    ("seeds", "fractions", "message"),
    [
        ((1, 1), (0.8, 0.1, 0.1), "a seed stands twice"),
        ((), (0.8, 0.1, 0.1), "cannot be made"),
        ((-1,), (0.8, 0.1, 0.1), "cannot be made"),
        ((1,), (0.8, 0.1, 0.2), "add up to 1"),
        ((1,), (0.8, 0.2), "must be three"),
        ((1,), (1.2, -0.1, -0.1), "cannot be made"),
        ((1,), (0.0, 0.5, 0.5), "cannot be made"),
    ],
)
def test_what_cannot_be_split_is_refused(seeds: Any, fractions: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        split_cohort(mixed(10), seeds, fractions)


def test_outliers_do_not_count_as_patients_to_split() -> None:
    records = [record(n, flags=("hip_prosthesis",)) for n in range(5)] + [record(8), record(9)]
    with pytest.raises(ConfigError, match="there are 7, of whom 5 are outliers"):
        split_cohort(records, (1,))


def test_largest_remainders() -> None:
    """Worked by hand: 10.5, 5.25, 5.25 of 21; a tie goes to the first."""
    assert round_by_largest_remainder(21, make_exact_fractions((0.5, 0.25, 0.25))) == (11, 5, 5)
    assert round_by_largest_remainder(95, make_exact_fractions((0.8, 0.1, 0.1))) == (76, 10, 9)
    assert round_by_largest_remainder(5, make_exact_fractions((0.8, 0.1, 0.1))) == (3, 1, 1)
    assert round_by_largest_remainder(2, make_exact_fractions((0.8, 0.1, 0.1))) == (1, 1, 0)
    assert make_exact_fractions((1 / 3, 1 / 3, 1 / 3)) == make_exact_fractions((1, 1, 1))


@settings(max_examples=200, deadline=None)
@given(
    strata=st.lists(st.integers(1, 40), min_size=1, max_size=12), cut=st.tuples(st.integers(5, 45), st.integers(5, 45))
)
def test_tables_add_up_both_ways(strata: list[int], cut: tuple[int, int]) -> None:
    fractions = make_exact_fractions(((100 - sum(cut)) / 100, cut[0] / 100, cut[1] / 100))
    table = allocate(strata, fractions)
    assert [sum(row) for row in table] == strata
    assert tuple(map(sum, zip(*table, strict=True))) == round_by_largest_remainder(sum(strata), fractions)
    if sum(strata) * min(fractions) >= 1:
        for size, row in zip(strata, table, strict=True):
            assert all(abs(cell - size * fraction) <= 1 for cell, fraction in zip(row, fractions, strict=True))


def test_it_is_the_same_in_another_process() -> None:
    """Hash seeds, sets and dictionaries of a process must not matter."""
    program = (
        "from tests.cohort.test_split import mixed\n"
        "from vmat_rt.cohort.split import split_cohort\n"
        "print(split_cohort(mixed(40), (42, 7)).sha256)"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == split_cohort(mixed(40), (42, 7)).sha256


def test_regression_of_a_published_split() -> None:
    """What was drawn on one machine is drawn on all, and by later versions."""
    assert split_cohort(mixed(40), (42, 7)).cases("test", 42) == ("c003", "c028", "c029", "c030")


def test_splits_are_read_as_they_were_written(tmp_path: Path) -> None:
    cohort = small_cohort(tmp_path, ("c1", "c2", "c3"))
    for n, key in enumerate(("c1", "c2", "c3")):
        cohort.add(pelvis(), record_of(pelvis(), key, f"p{n}"), replace=True)
    with pytest.raises(ConfigError, match=r"the cohort has no splits\.yaml"):
        Splits.read(cohort)
    splits = split_cohort(cohort.records(), (42, 7))
    splits.write(cohort)
    assert Splits.read(cohort) == splits
    assert Splits.read(cohort).sha256 == yaml.safe_load((tmp_path / FILE).read_text())["sha256"] == splits.sha256
    cohort.add(pelvis(), record_of(pelvis(), "c4", "p9"))
    assert Splits.read(cohort) == splits, "a case that came later is in no part"
    cohort.add(pelvis(2.0), record_of(pelvis(), "c2", "p2"), replace=True)
    with pytest.raises(ConfigError, match="cases were replaced since"):
        Splits.read(cohort)


@pytest.mark.parametrize("text", ["", "a: [", "sha256: x\n", "- 1\n"])
def test_damaged_splits_are_refused(tmp_path: Path, text: str) -> None:
    cohort = small_cohort(tmp_path)
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match="damaged"):
        Splits.read(cohort)


def test_edited_and_foreign_splits_are_refused(tmp_path: Path) -> None:
    cohort = small_cohort(tmp_path)
    splits = split_cohort(mixed(10), (1,))
    splits.write(cohort)
    with pytest.raises(ConfigError, match="lists cases that the cohort lacks: c000, "):
        Splits.read(cohort)
    path = tmp_path / FILE
    path.write_text(path.read_text().replace("locked: false", "locked: true"))
    with pytest.raises(ConfigError, match="changed after it was written"):
        Splits.read(cohort)


def test_a_given_split_is_kept_for_every_seed(tmp_path: Path) -> None:
    cohort = small_cohort(tmp_path / "cohort", ())
    keys = [f"c{n:04d}" for n in range(5)]
    for key in keys:
        cohort.add(pelvis(), record_of(pelvis(), key, patient=f"p-{key}"))
    make_given_split(cohort, (1, 2), keys[:3], keys[3:]).write(cohort)
    assert Splits.read(cohort).cases("validation", 2) == tuple(keys[3:])
    assert Splits.read(cohort).cases("train", 1) == tuple(keys[:3])
    with pytest.raises(ConfigError, match="every case"):
        make_given_split(cohort, (1,), keys[:2], keys[3:])


def test_a_given_split_may_not_part_a_patients_cases(tmp_path: Path) -> None:
    cohort = small_cohort(tmp_path / "cohort", ("c0001", "c0002"))
    with pytest.raises(ConfigError, match="two parts"):
        make_given_split(cohort, (1,), ["c0001"], ["c0002"])
