"""Small files of our own are whole and sorted, and hashes are those of hashlib."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from vmat_rt_service.files import hash_file, write_json


@pytest.mark.parametrize("size", [0, 1, 3_000_001])
def test_the_hash_is_that_of_the_content(tmp_path: Path, size: int) -> None:
    content = bytes(n % 251 for n in range(size))
    (tmp_path / "a").write_bytes(content)
    assert hash_file(tmp_path / "a") == hash_file(str(tmp_path / "a")) == hashlib.sha256(content).hexdigest()


def test_a_document_comes_back_and_equal_ones_are_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, None], "a": "ü"})
    write_json(tmp_path / "b.json", {"a": "ü", "b": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": "ü", "b": [1, None]}
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
