"""What a hostile or unlucky hospital does to a running service: it goes on, nothing is lost, partial or there twice.

Covers vmat_rt_service.intake.taking, vmat_rt_service.intake.signatures and vmat_rt_service.journal.pause.
"""

from __future__ import annotations

import pytest

from tests.service.conftest import Site
from tests.service.faults import FAULTS
from tests.service.running import CannotMountError, Cost


@pytest.mark.parametrize("fault", FAULTS)
def test_the_service_goes_on(site: Site, fault: str) -> None:
    try:
        cost = FAULTS[fault](site)
    except CannotMountError:
        pytest.skip("this machine does not let us mount what the fault needs")
    assert cost == Cost()
