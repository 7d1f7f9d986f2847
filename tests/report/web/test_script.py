"""The modules of the viewer: they join to one script that loads nothing, and node's runner finds them right."""

from __future__ import annotations

import json
import re
import subprocess
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap, to_hex

from tests.external import program
from vmat_rt.grid import Grid
from vmat_rt.report.web import script
from vmat_rt.report.web.packing import pack_volume, unpack_codes
from vmat_rt.report.web.script import bundle_script, read_module

HERE = Path(__file__).parent
MODULES = sorted(file.name for file in resources.files("vmat_rt.report.web").iterdir() if file.name.endswith(".mjs"))


def test_the_script_holds_every_module_once_and_imports_nothing() -> None:
    text = bundle_script("main.mjs")
    assert sorted(re.findall(r"^// (\w+\.mjs)$", text, re.MULTILINE)) == MODULES
    assert not re.search(r"^\s*(import|export)\b", text, re.MULTILINE)
    assert text.index("// volume.mjs") < text.index("// profile.mjs") < text.index("// main.mjs")


def test_the_script_runs_as_node_reads_it(tmp_path: Path) -> None:
    place = tmp_path / "script.js"
    place.write_text(bundle_script("main.mjs"), encoding="utf-8")
    subprocess.run([program("node"), "--check", str(place)], check=True)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_reaches_nothing_outside_of_the_page(name: str) -> None:
    text = read_module(name).replace("http://www.w3.org/2000/svg", "")
    for word in ("http", "fetch(", "XMLHttpRequest", "WebSocket", "sendBeacon", "EventSource", "eval(", "Function(",
                 "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "localStorage", "document.cookie",
                 "window.open", "webgl"):  # fmt: skip
        assert word not in text, word
    assert len(text.splitlines()) <= 300


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    written: dict[str, str] = {}
    monkeypatch.setattr(script, "read_module", lambda name: written[name])
    bundle_script.cache_clear()
    return written


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        ('import { b } from "./two.mjs";\nconst a = 1;\n', "export const a = 2;\n", "a is declared in"),
        ('import { b } from "./two.mjs";\n', 'import { a } from "./one.mjs";\n', "import each other"),
        ('import b from "./two.mjs";\n', "", "another form"),
        ('import { b } from "./two.mjs";\n', "export default 3;\n", "another form"),
        ("const text = '</script>';\n", "", "end its own script"),
    ],
)
def test_modules_that_cannot_be_joined_are_refused(
    modules: dict[str, str], first: str, second: str, complaint: str
) -> None:
    modules.update({"one.mjs": first, "two.mjs": second})
    with pytest.raises(ValueError, match=complaint):
        bundle_script("one.mjs")


def test_colour_scales_are_those_of_matplotlib() -> None:
    found = dict(re.findall(r'(\w+): "([0-9a-f ]{111})"', read_module("colours.mjs")))
    gamma = LinearSegmentedColormap.from_list("gamma", ["#0072B2", "#F7F7F7", "#D55E00"])
    maps = {"turbo": "turbo", "viridis": "viridis", "difference": "RdBu_r", "gamma": gamma}
    for name, colours in maps.items():
        scale = colormaps[colours] if isinstance(colours, str) else colours
        assert found[name] == " ".join(to_hex(scale(i / 15))[1:] for i in range(16))


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.test.mjs")))
def test_modules_pass_under_node(name: str, tmp_path: Path) -> None:
    """PACKED_VOLUME holds a volume that Python packed, with gaps, for JavaScript to read."""
    rng = np.random.default_rng(4)
    grid = Grid((3, 4, 7), (3.0, 2.0, 2.0), (-4.0, 1.0, 2.0), "")
    array = rng.uniform(0, 4000, grid.shape).astype(np.float32)
    array[rng.uniform(size=grid.shape) < 0.2] = np.nan
    packed = pack_volume(grid, array, 0.1, 0.0)
    content = {"description": packed.describe("x"), "data": packed.data, "codes": unpack_codes(packed).ravel().tolist()}
    (tmp_path / "packed.json").write_text(json.dumps(content))
    environment = {"PATH": "/usr/bin:/bin", "PACKED_VOLUME": str(tmp_path / "packed.json")}
    run = subprocess.run(
        [program("node"), "--test", str(HERE / name)], capture_output=True, text=True, check=False, env=environment
    )
    assert run.returncode == 0, run.stdout[-3000:]
    assert "# pass 0" not in run.stdout
