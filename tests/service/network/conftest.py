"""One study that the tests of the network send; nobody changes it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dicom_phantom import write_study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_study(tmp_path_factory.mktemp("study"), seed="network", plan=True, dose=True, patient="SENTINEL^NAME")
