"""A status server over a journal with a job in every state, open to this machine or behind a token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.pages import TOKEN, Served, configured, fill, serve
from vmat_rt_service.config import ServiceConfig
from vmat_rt_service.journal.jobs import Job, Journal
from vmat_rt_service.journal.states import State


@pytest.fixture
def filled(tmp_path: Path) -> tuple[ServiceConfig, dict[State, Job]]:
    config = configured(tmp_path)
    journal = Journal(config.journal)
    jobs = fill(config, journal)
    journal.close()
    return config, jobs


@pytest.fixture
def served(filled: tuple[ServiceConfig, dict[State, Job]]) -> Iterator[Served]:
    yield from serve(filled[0])


@pytest.fixture
def guarded(filled: tuple[ServiceConfig, dict[State, Job]]) -> Iterator[Served]:
    web = filled[0].web.model_copy(update={"token": TOKEN})
    yield from serve(filled[0].model_copy(update={"web": web}))
