"""Derived UIDs: valid by PS3.5, the same for the same parts, and another for other parts or another order."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from vmat_rt.dicom.write.uids import IMPLEMENTATION_UID, derived_uid

PARTS = st.lists(st.text(max_size=8), min_size=1, max_size=4)


@given(PARTS, PARTS)
def test_uids_are_valid_and_differ_where_the_parts_do(one: list[str], other: list[str]) -> None:
    uid = derived_uid(*one)
    assert UID(uid).is_valid
    assert uid.startswith("2.25.")
    assert (uid == derived_uid(*other)) == (one == other)


def test_the_uuid_is_one_of_version_5() -> None:
    made = uuid.UUID(int=int(IMPLEMENTATION_UID.removeprefix("2.25.")))
    assert (made.version, made.variant) == (5, uuid.RFC_4122)


def test_parts_are_not_run_together() -> None:
    assert derived_uid("ab", "c") != derived_uid("a", "bc")
    assert derived_uid("a", "b") != derived_uid("b", "a")
