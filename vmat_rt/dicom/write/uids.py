"""UIDs that follow from what they name: the same inputs, model and content give the same UID, on any machine.

A UUID of version 5 (RFC 9562) under the root 2.25 (PS3.5 annex B.2), so no organisation's root is borrowed.
"""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.UUID("6a1ec0de-76d4-5a57-9e2a-1f0c7d05e001")


def derived_uid(*parts: str) -> str:
    """The UID of the thing that `parts` describe, in this order; other parts or another order give another UID."""
    # Each part goes in with its length, so ("ab", "c") and ("a", "bc") differ.
    name = "".join(f"{len(part)}:{part}" for part in parts)
    return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"


IMPLEMENTATION_UID = derived_uid("vmat-rt", "implementation class")
