"""Folders are known again by their marker, whatever lies at their path meanwhile.

Covers vmat_rt_service.folders.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from vmat_rt.errors import InputError
from vmat_rt_service.config import ServiceConfig, load_config
from vmat_rt_service.disk import find_machine_fault
from vmat_rt_service.folders import Locks
from vmat_rt_service.places import MARKER, REMEMBERED, Places


@pytest.fixture
def config(tmp_path: Path) -> ServiceConfig:
    made = load_config(None, inbox=tmp_path / "in", outbox=tmp_path / "out", state=tmp_path / "state")
    for folder in made.folders.values():
        folder.mkdir()
    return made


def test_folders_are_marked_once_and_known_after_a_restart(config: ServiceConfig) -> None:
    assert Places(config).remember() is None
    markers = {name: (folder / MARKER).read_text() for name, folder in config.folders.items()}
    assert len(set(markers.values())) == 3
    again = Places(config)
    assert again.remember() is None
    assert again.find_changed() is None
    assert markers == {name: (folder / MARKER).read_text() for name, folder in config.folders.items()}


@pytest.mark.parametrize("name", ["inbox", "outbox", "state"])
@pytest.mark.parametrize("what", ["empty", "gone", "another"])
def test_a_folder_that_is_another_one_is_said_until_it_is_back(config: ServiceConfig, name: str, what: str) -> None:
    places = Places(config)
    places.remember()
    folder = config.folders[name]
    aside = folder.with_name("aside")
    folder.rename(aside)
    if what != "gone":
        folder.mkdir()
    if what == "another":
        (folder / MARKER).write_text("0" * 32 + "\n")
    changed = places.find_changed()
    assert changed is not None
    assert changed.code == "FOLDER_CHANGED"
    assert name in changed.message
    with pytest.raises(InputError) as raised:
        places.require()
    assert find_machine_fault(raised.value) == changed
    if what != "gone":
        shutil.rmtree(folder)
    aside.rename(folder)
    assert places.find_changed() is None


def test_a_start_over_a_bare_mount_point_marks_nothing(config: ServiceConfig) -> None:
    Places(config).remember()
    config.outbox.rename(config.outbox.with_name("aside"))
    config.outbox.mkdir()
    assert Places(config).remember() is not None
    assert list(config.outbox.iterdir()) == []


def test_the_remedy_works_where_another_folder_is_meant(config: ServiceConfig) -> None:
    Places(config).remember()
    shutil.rmtree(config.outbox)
    config.outbox.mkdir()
    assert Places(config).remember() is not None
    (config.state / REMEMBERED).unlink()
    assert Places(config).remember() is None


def test_before_the_service_has_begun_nothing_is_asked_of_folders(config: ServiceConfig) -> None:
    assert Places(config).find_changed() is None


def test_the_state_folder_is_its_owners_only_and_the_umask_holds_for_the_others(config: ServiceConfig) -> None:
    for folder in config.folders.values():
        folder.rmdir()
    config.inbox.mkdir()
    before = os.umask(0o027)
    try:
        with Locks(config) as locks:
            assert len(locks.descriptors) == 2
    finally:
        os.umask(before)
    assert stat.S_IMODE(config.state.stat().st_mode) == 0o700
    assert stat.S_IMODE(config.outbox.stat().st_mode) == 0o750
    config.state.chmod(0o755)
    with Locks(config):
        assert stat.S_IMODE(config.state.stat().st_mode) == 0o700


def test_a_bare_mount_point_is_not_even_locked(config: ServiceConfig) -> None:
    Places(config).remember()
    config.outbox.rename(config.outbox.with_name("aside"))
    config.outbox.mkdir()
    with Locks(config) as locks:
        assert list(config.outbox.iterdir()) == []
        assert len(locks.descriptors) == 1
