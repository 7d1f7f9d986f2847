"""report.html as a reader uses it: it draws, reads the doses under the pointer, scrolls, exports, and sends nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser import Tab, open_browser
from vmat_rt.report.page import write_report
from vmat_rt.report.result import CaseResult

READY = "document.getElementById('viewer').dataset.ready === 'all'"
WIDTH, HEIGHT = 1400, 1000


@pytest.fixture(scope="module")
def opened(result: CaseResult, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tab, Path]]:
    folder = tmp_path_factory.mktemp("report")
    write_report(result, folder)
    with open_browser() as tab:
        tab.show(WIDTH, HEIGHT)
        tab.open(folder / "report.html")
        tab.wait_for(READY)
        yield tab, folder


@pytest.fixture
def tab(opened: tuple[Tab, Path]) -> Tab:
    """The page as it is when it has just been opened."""
    page, folder = opened
    page.show(WIDTH, HEIGHT)
    page.open(folder / "report.html")
    page.wait_for(READY)
    return page


def place_of(tab: Tab, view: str, point: list[float]) -> tuple[float, float]:
    """Where a point (z, y, x) mm is seen in the window, after its pane came into view and to its slice."""
    script = f"""(() => {{
      const viewer = window.reportViewer, pane = viewer.panes.find((p) => p.view === "{view}");
      viewer.moveTo({json.dumps(point)}); viewer.draw();
      pane.canvas.scrollIntoView({{ block: "center" }});
      const box = pane.canvas.getBoundingClientRect();
      const [x, y] = pane.transform.toPixel({json.dumps(point)}[pane.axes.across], {json.dumps(point)}[pane.axes.down]);
      return [box.left + x * box.width / pane.canvas.width, box.top + y * box.height / pane.canvas.height];
    }})()"""
    x, y = tab.run(script)
    return x, y


def read_out(tab: Tab) -> dict[str, str]:
    rows: Any = tab.run(
        "[...document.querySelectorAll('[data-part=readout] div')].map((d) => [d.firstChild.textContent,"
        " d.lastChild.textContent])"
    )
    return dict(rows)


def settle(tab: Tab) -> None:
    tab.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_the_pointer_reads_the_dose_that_the_rtdose_has_there(tab: Tab, result: CaseResult, view: str) -> None:
    """To within half a step of the page's 10 bits, at voxel centres, where nothing is interpolated."""
    grid, dose = result.predicted.dose.grid, result.predicted.dose.array
    highest = max(float(d.dose.array.max()) for d in (result.predicted, *result.others))
    rng = np.random.default_rng(7)
    inside = np.argwhere(dose > 20)
    for z, y, x in inside[rng.integers(len(inside), size=6)]:
        point = [float(grid.axis_mm(axis)[i]) for axis, i in enumerate((z, y, x))]
        normal = {"axial": 0, "coronal": 1, "sagittal": 2}[view]
        tab.run(f"window.reportViewer.set({{cursor: null}}); window.reportViewer.moveTo({point}); 1")
        settle(tab)
        crosshair = float(read_out(tab)["Predicted"].partition(" Gy")[0])
        assert crosshair == pytest.approx(float(dose[z, y, x]), abs=highest / 1023 / 2 + 0.006)
        across, down = place_of(tab, view, point)
        tab.mouse("mouseMoved", across, down)
        settle(tab)
        shown = read_out(tab)
        seen = tab.run("window.reportViewer.state.cursor")
        at = [round(float(v)) for v in grid.index_of(np.array(seen))]
        at[normal] = (z, y, x)[normal]
        assert at == [z, y, x], "the pointer is over this voxel"
        slope = float(np.abs(np.gradient(dose)).max(axis=0)[z, y, x])
        assert float(shown["Predicted"].partition(" Gy")[0]) == pytest.approx(float(dose[z, y, x]), abs=0.05 + slope)


def test_what_is_dark_and_what_is_washed_lies_where_the_patient_is(
    tab: Tab, result: CaseResult, tmp_path: Path
) -> None:
    tab.run("window.reportViewer.set({lines: false, opacity: 1, threshold: 60}); 1")
    hot = place_of(tab, "axial", [12.0, 20.0, -8.0])
    cold = place_of(tab, "axial", [12.0, -60.0, 100.0])
    place_of(tab, "axial", [12.0, 20.0, -8.0])
    settle(tab)
    tab.picture(tmp_path / "view.png")
    pixels = np.asarray(Image.open(tmp_path / "view.png").convert("RGB")).astype(int)

    def colour(at: tuple[float, float]) -> np.ndarray:
        x, y = round(at[0]) + 12, round(at[1]) + 12  # beside the crosshair
        return pixels[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).mean(axis=0)

    assert np.ptp(colour(hot)) > 60, "70 Gy is washed"
    assert np.ptp(colour(cold)) < 8, "5 Gy is bare CT, which is grey"


def test_the_patients_left_is_on_the_right_of_axial_and_coronal_views(tab: Tab) -> None:
    for view in ("axial", "coronal"):
        left, right = (place_of(tab, view, [26.0, 28.0, x])[0] for x in (84.0, -100.0))
        assert left > right
    letters = tab.run("window.reportViewer.panes.map((p) => p.axes.letters.join(''))")
    assert letters == ["RLAP", "RLHF", "APHF"]


def test_wheel_keys_slider_and_drag_reach_every_slice(tab: Tab, result: CaseResult) -> None:
    index = "window.reportViewer.panes[0].index"
    x, y = place_of(tab, "axial", [12.0, 20.0, -8.0])
    start = tab.run(index)
    tab.mouse("mouseWheel", x, y, deltaX=0, deltaY=-100)
    settle(tab)
    assert tab.run(index) == start + 1
    tab.run("window.reportViewer.panes[0].canvas.focus()")
    tab.press("ArrowDown")
    tab.press("PageDown")
    settle(tab)
    assert tab.run(index) == start - 10
    tab.press("End")
    settle(tab)
    last = int(tab.run("Number(window.reportViewer.panes[0].slider.max)"))
    assert tab.run(index) == last
    assert last + 1 == tab.run("window.reportViewer.ct.shape[0]") >= 38, "every slice of the CT that has the patient"
    slider = "window.reportViewer.panes[0].slider"
    tab.run(f"{slider}.value = 5; {slider}.dispatchEvent(new Event('input')); 1")
    settle(tab)
    assert tab.run(index) == 5
    assert "Axial slice 6 of" in tab.run(f"{slider}.getAttribute('aria-valuetext')")
    x, y = place_of(tab, "coronal", [12.0, 20.0, -8.0])
    tab.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
    tab.mouse("mouseMoved", x + 20, y - 30, button="left", buttons=1)
    tab.mouse("mouseReleased", x + 20, y - 30, button="left")
    settle(tab)
    at = tab.run("window.reportViewer.state.at")
    assert at[0] > 12
    assert at[2] > -8


def test_buttons_lead_to_the_places_of_the_full_dose(tab: Tab, result: CaseResult) -> None:
    places = tab.run("window.reportViewer.scene.places")
    assert [p["kind"] for p in places] == ["hottest", "goal", "difference"]
    for place in places:
        tab.run(f"document.querySelector('[data-place={place['kind']}]').click()")
        settle(tab)
        assert tab.run("window.reportViewer.state.at") == pytest.approx(place["at"])
    assert tab.run("window.reportViewer.state.layer.key") == "minus clinical", "the dose that the button speaks of"


def test_every_layer_is_drawn_and_isodoses_can_be_edited(tab: Tab) -> None:
    options = tab.run("[...document.querySelector('[data-part=layer]').options].map((o) => o.value)")
    assert options == [
        "predicted",
        "geometric baseline",
        "clinical",
        "minus geometric baseline",
        "minus clinical",
        "ct",
    ]
    for value in (*options, "predicted"):
        tab.run(
            f"(() => {{ const s = document.querySelector('[data-part=layer]'); s.value = {json.dumps(value)};"
            "s.dispatchEvent(new Event('change')); })()"
        )
        settle(tab)
    levels = (
        "(() => { const i = document.querySelector('[data-part=levels]'); i.value = %s;"
        " i.dispatchEvent(new Event('change'));"
        " return [i.validationMessage, document.querySelector('[data-part=legend]').innerText]; })()"
    )
    assert tab.run(levels % "'90, 40'") == ["", "90 %  63.0 Gy\n40 %  28.0 Gy"]
    assert tab.run(levels % "'much'")[0].startswith("Percentages")
    assert tab.run("window.reportViewer.state.levels") == [90, 40]
    assert not tab.console


def test_a_profile_is_drawn_along_a_line(tab: Tab) -> None:
    x, y = place_of(tab, "axial", [12.0, 20.0, -8.0])
    tab.mouse("mousePressed", x - 60, y, button="left", buttons=1, clickCount=1, modifiers=8)
    tab.mouse("mouseMoved", x + 60, y, button="left", buttons=1, modifiers=8)
    tab.mouse("mouseReleased", x + 60, y, button="left", modifiers=8)
    settle(tab)
    assert tab.run("document.querySelectorAll('[data-part=profile] path[data-key]').length") == 3
    tab.run("window.reportViewer.panes[0].canvas.focus()")
    tab.press("Escape")
    settle(tab)
    assert tab.run("document.querySelector('[data-part=profile]').hidden")


def test_the_dvh_reads_all_curves_under_the_pointer(tab: Tab, result: CaseResult) -> None:
    box = tab.run(
        "(() => { const s = document.querySelector('#dvh svg'); s.scrollIntoView({block: 'center'});"
        " const b = s.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()"
    )
    tab.mouse("mouseMoved", box[0] + 0.6 * box[2], box[1] + 0.5 * box[3])
    settle(tab)
    words = tab.run("document.querySelector('[data-say=reading]').textContent")
    dose = float(words.split()[3])
    rows = tab.run("[...document.querySelectorAll('#dvh tbody tr')].map((r) => r.innerText.trim().split('\\t'))")
    predicted = {row[0].strip(): float(row[1]) for row in rows}
    for name in ("PTV_5600", "Bladder", "Femur_Head_L"):
        dvh = next(d for d in result.predicted.dvhs.values() if d.name == name)
        near = dvh.curve([dose - 0.06, dose + 0.06])
        assert near[1] - 0.2 <= predicted[name] <= near[0] + 0.2


def test_a_structure_is_switched_off_in_chart_and_slices(tab: Tab) -> None:
    count = "document.querySelectorAll('#dvh path[data-key]').length"
    before = tab.run(count)
    tab.run("document.querySelectorAll('#dvh tbody input')[3].click()")
    assert tab.run(count) < before
    assert tab.run("[...window.reportViewer.state.hidden]") == tab.run("[window.reportViewer.scene.structures[3].roi]")
    tab.run("document.querySelector('[name=dvh-volume][value=cc]').click()")
    assert "cc" in tab.run("document.querySelector('#dvh svg').textContent")


def test_chart_and_curves_are_saved_without_a_request(tab: Tab) -> None:
    saved = tab.run("""new Promise((done) => {
      const found = [], make = URL.createObjectURL;
      URL.createObjectURL = (blob) => {
        blob.slice(0, 8).text().then((head) => {
          found.push([blob.type, blob.size, head]);
          if (found.length === 2) done(found);
        });
        return make.call(URL, blob);
      };
      document.querySelector('[data-do=csv]').click(); document.querySelector('[data-do=png]').click();
    })""")
    kinds = {kind: (size, head) for kind, size, head in saved}
    assert kinds["text/csv"][1] == "structur"
    assert kinds["image/png"][1].endswith("PNG\r\n\x1a\n")
    assert kinds["image/png"][0] > 20_000
    assert {url.partition(":")[0] for url in tab.requests} <= {"file", "data", "blob"}


def test_goals_can_be_filtered_and_keep_their_names(tab: Tab) -> None:
    shown = (
        "[...document.querySelectorAll('table.goals tbody tr')].filter((r) => !r.hidden).map((r) => r.dataset.urgency)"
    )
    everything = tab.run(shown)
    tab.run("document.querySelector('[name=goal-filter][value=missed]').click()")
    missed = tab.run(shown)
    assert 0 < len(missed) < len(everything)
    assert set(missed) == {"missed"}
    first = "[...document.querySelectorAll('table.goals tbody tr')].find((r) => !r.hidden).className"
    assert tab.run(first) == "first", "the row that is left names its structure"


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_the_page_without_overflow(tab: Tab, dark: bool) -> None:
    tab.show(390, 844, dark=dark)
    settle(tab)
    assert tab.run("document.documentElement.scrollWidth") == 390
    paper = tab.run("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(int(n) for n in paper[4:-1].split(",")) < 150) == dark


def test_every_control_has_a_name_for_those_who_do_not_see_it(tab: Tab) -> None:
    unnamed = tab.run("""[...document.querySelectorAll('button, input, select, canvas, svg[role]')].filter((e) => {
      const words = e.getAttribute('aria-label') || e.textContent.trim() || [...(e.labels ?? [])].map((l) => l.textContent.trim()).join('');
      return !words; }).map((e) => e.outerHTML.slice(0, 120))""")  # noqa: E501
    assert unnamed == []
    assert tab.run("document.querySelectorAll('.pane canvas[tabindex=\"0\"]').length") == 3


def test_the_printed_page_is_a_pdf_without_controls(tab: Tab, tmp_path: Path) -> None:
    tab.print(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    assert not tab.console
