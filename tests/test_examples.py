"""The examples run as they stand in the repository, as a user would start them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.patience import PATIENCE_SECONDS
from vmat_rt.report.schema import NOTICE

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def run(name: str, *arguments: str) -> str:
    """What the example prints. Started somewhere else than in the checkout: it must find its sample by itself."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == {"predict_a_study.py", "compare_doses.py"}
    assert NOTEBOOKS


def test_predict_a_study(tmp_path: Path) -> None:
    printed = run("predict_a_study.py", "--out", str(tmp_path))
    assert printed.startswith(NOTICE)
    d95 = re.search(r"PTV_7000 .* D95% +([0-9.]+) Gy", printed)
    assert d95 is not None
    assert 66 < float(d95[1]) < 73
    assert "reference_code\n" in printed
    for path in re.findall(r"^ +(?:rtdose|report_html) +(.+)$", printed, re.MULTILINE):
        assert Path(path).is_relative_to(tmp_path)
        assert Path(path).is_file()


def test_compare_doses() -> None:
    printed = run("compare_doses.py", "--model", "prostate_geometric")
    assert re.search(r"^PTV_7000 +[0-9.]+ -> [0-9.]+ \([+-][0-9.]+\)", printed, re.MULTILINE)
    rate = re.search(r"gamma 3 % / 3 mm global, above 10 %: ([0-9.]+) % of \d+ points pass", printed)
    assert rate is not None
    assert 50 < float(rate[1]) <= 100


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
class TestNotebook:
    def test_it_is_committed_without_outputs(self, path: Path) -> None:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert code
        assert all(cell.outputs == [] and cell.execution_count is None for cell in code)

    def test_it_runs_from_top_to_bottom(self, path: Path) -> None:
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(notebook, timeout=PATIENCE_SECONDS, resources={"metadata": {"path": str(path.parent)}})
        client.execute()
        outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        shown = [output.data for output in outputs if "data" in output]
        assert any(NOTICE in data.get("text/html", "") for data in shown), "the prediction shows itself"
        assert any("image/png" in data for data in shown), "the figure is drawn"
        volume_cc, mean_gy, v45_percent = ast.literal_eval(shown[-1]["text/plain"])
        assert volume_cc == pytest.approx(10 * 10 * 20 * 0.012)
        assert (mean_gy, v45_percent) == (pytest.approx(50), pytest.approx(100))
