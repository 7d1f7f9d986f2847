"""Studies with one thing wrong, drawn at random: each is read, warned about or refused, and nothing else.

`benchmarks/fuzz_studies.py` does the same by thousands through the command line.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.dicom_phantom import Drawn, Phantom, disc, write_study
from tests.dicom_phantom.mutations import EDITS, FILES, mutate
from vmat_rt.errors import InputError, Problem
from vmat_rt.report.schema import InspectDocument
from vmat_rt.study.choice import AS_FOUND
from vmat_rt.study.inspection import as_text, inspect_folder

pytestmark = pytest.mark.filterwarnings("ignore")
SEEDS = range(120)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Phantom:
    rois = tuple(
        Drawn(name, number, {z: [disc(-36.0, -42.0, radius)] for z in (-28.5, -25.5)})
        for number, (name, radius) in enumerate({"PTV_7000": 4.0, "PTV_5600": 6.0, "BODY": 9.0}.items(), 1)
    )
    return write_study(tmp_path_factory.mktemp("base"), plan=True, dose=True, shape=(4, 12, 14), rois=rois)


def inspected(study: Path) -> tuple[InspectDocument | None, tuple[Problem, ...]]:
    try:
        return inspect_folder(study, AS_FOUND), ()
    except InputError as refusal:
        return None, refusal.problems


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mutated_study_is_read_warned_about_or_refused(phantom: Phantom, tmp_path: Path, seed: int) -> None:
    study = tmp_path / "study"
    shutil.copytree(phantom.folder, study)
    mutate(study, seed)
    document, problems = inspected(study)
    if document is None:
        assert problems
        assert all(problem.code.isupper() and problem.remedy for problem in problems)
    else:
        assert as_text(document)


def test_the_seeds_do_every_kind_of_thing(phantom: Phantom, tmp_path: Path) -> None:
    kinds = set()
    for seed in SEEDS:
        study = tmp_path / str(seed)
        shutil.copytree(phantom.folder, study)
        kinds.add(mutate(study, seed))
    assert len(kinds) >= 0.8 * (len(EDITS) + len(FILES))
