"""A result that all parts of a report are drawn from."""

from __future__ import annotations

import pytest

from tests.report import synthetic
from vmat_rt.report.result import CaseResult


@pytest.fixture(scope="session")
def result() -> CaseResult:
    """A network's prediction with both doses that can stand beside it."""
    return synthetic.result(others=("geometric baseline", "clinical"))
