"""What a simulation keeps beside the cases: packed doses, and the reasons of refused plans in the order of the keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmat_rt.cohort.place import Place
from vmat_rt.cohort.plan_folder import FOLDER, REFUSED, PlanFolder
from vmat_rt.errors import ConfigError


def test_doses_come_back_and_an_absent_one_is_named(tmp_path: Path) -> None:
    folder = PlanFolder.of(Place.at(tmp_path))
    assert not folder.has_dose("c1")
    folder.write_dose("c1", b"packed")
    assert folder.has_dose("c1")
    assert folder.read_dose("c1") == b"packed"
    with pytest.raises(ConfigError, match="packed dose of case c2"):
        folder.read_dose("c2")


def test_reasons_are_kept_by_key_whatever_they_hold(tmp_path: Path) -> None:
    folder = PlanFolder.of(Place.at(tmp_path))
    assert folder.refused() == {}
    folder.refuse("c2", 'hot, "very"\n hot')
    folder.refuse("c1", "cold")
    folder.refuse("c2", "D95 too low; 3 cc too hot")
    assert folder.refused() == {"c1": "cold", "c2": "D95 too low; 3 cc too hot"}
    lines = (tmp_path / FOLDER / REFUSED).read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["key", "c1", "c2"]
    folder.refuse("c3", 'hot, "very"\n hot')
    assert PlanFolder.of(Place.at(tmp_path)).refused()["c3"] == 'hot, "very" hot'
