"""`vmat-rt compare` as it is typed: a table, a document, and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vmat_rt.cli import main
from vmat_rt.metrics.statistics.results_file import ResultRow, write_results


def written(path: Path, model: str, offset: float) -> Path:
    values = [4.0, 4.4, 3.9, 5.1, 4.7, 4.2, 4.9, 5.4]
    write_results(path, [ResultRow(model, "", f"case_{n}", "mae_gy", v + offset) for n, v in enumerate(values)])
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def test_a_table_names_models_and_means(tmp_path: Path) -> None:
    result = run(written(tmp_path / "a.csv", "geometric", 0), written(tmp_path / "b.csv", "network", -1))
    assert result.exit_code == 0
    for word in ("geometric", "network", "mae_gy", "4.575", "3.575"):
        assert word in result.output


def test_the_document_holds_the_paired_test(tmp_path: Path) -> None:
    result = run(written(tmp_path / "a.csv", "geometric", 0), written(tmp_path / "b.csv", "network", -1), "--json")
    found = json.loads(result.stdout)
    assert found["schema_version"] == 1
    assert found["tests"]["network"]["mae_gy"]["p_value"] == pytest.approx(2 / 2**8)


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("absent.csv",), 2), (("bad.csv",), 3)])
def test_what_cannot_be_compared_has_its_exit_code(
    arguments: tuple[str, ...], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text("model,case\n")
    assert run(*arguments).exit_code == code
