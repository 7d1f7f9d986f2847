"""Size and speed of report.html in Chromium: first picture, all layers, long tasks while scrolling through all slices.

    python benchmarks/report_page.py [STUDY or report.html ...] [--repeats 3] [--pictures FOLDER]

Predicts each study (by default those of sample_data; a report.html is taken as it is) with the model of its site and
opens the report without a window and without a GPU. Times are those of the browser's clock from the start of the
navigation; long tasks (over 50 ms) are those of its own PerformanceObserver.
--pictures also saves the page at 1400 pixels, on a phone, in the dark and as it is printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.browser import Tab, open_browser

ROOT = Path(__file__).resolve().parent.parent
STUDIES = [ROOT / "sample_data" / name for name in ("prostate_simulated", "head_neck_openkbp")]
READY = "document.getElementById('viewer').dataset.ready === 'all'"
OBSERVE = """
window.longTasks = [];
new PerformanceObserver((list) => { for (const task of list.getEntries()) longTasks.push(task.duration); })
  .observe({entryTypes: ["longtask"]});
"""
SCROLL = """(async () => {
  longTasks.length = 0;
  const frames = [];
  for (const pane of window.reportViewer.panes) {
    for (let index = 0; index <= Number(pane.slider.max); index++) {
      pane.goTo(index);
      const start = performance.now();
      await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
      frames.push(performance.now() - start);
    }
  }
  await new Promise((done) => setTimeout(done, 100));
  frames.sort((a, b) => a - b);
  return {slices: frames.length, median: frames[frames.length >> 1], longest: frames.at(-1),
          long: longTasks.length, worst: Math.max(0, ...longTasks)};
})()"""
MARKS = "Object.fromEntries(performance.getEntriesByType('mark').map((m) => [m.name, m.startTime]))"


def predict(study: Path, out: Path) -> Path:
    """report.html of a study, in a process of its own."""
    command = [sys.executable, "-m", "vmat_rt.cli", "predict", str(study), "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return next(out.glob("*/report.html"))


def measure(tab: Tab, page: Path, repeats: int) -> None:
    """Print the medians of one page."""
    print(f"\n{page.parent.name}/{page.name}: {page.stat().st_size / 1e6:.2f} MB")
    runs = []
    for _ in range(repeats):
        tab.open(page)
        tab.wait_for(READY)
        marks, busy = tab.run(MARKS), tab.measure_busy_seconds()
        runs.append(
            (marks["first-picture"], marks["all-layers"], tab.run(SCROLL), busy, tab.measure_busy_seconds() - busy)
        )
    middle = len(runs) // 2
    first, everything = (sorted(run[i] for run in runs)[middle] for i in (0, 1))
    scroll = sorted((run[2] for run in runs), key=lambda found: float(found["worst"]))[middle]
    busy = sorted(run[3] for run in runs)[middle]
    print(f"first picture {first:.0f} ms, all layers {everything:.0f} ms (median of {repeats})")
    print(f"the page's own thread computed for {1000 * busy:.0f} ms until all layers were there")
    each = 1000 * sorted(run[4] for run in runs)[middle] / scroll["slices"]
    print(f"one slice takes {each:.0f} ms of that thread")
    frames = f"frame {scroll['median']:.0f} ms, at most {scroll['longest']:.0f} ms"
    tasks = f"{scroll['long']} tasks over 50 ms, the longest {scroll['worst']:.0f} ms"
    print(f"scrolling through {scroll['slices']} slices: {frames}; {tasks}")


def photograph(tab: Tab, page: Path, folder: Path) -> None:
    """Save the page in four ways."""
    folder.mkdir(parents=True, exist_ok=True)
    views = {"desktop": (1400, 1180, False), "dark": (1400, 1180, True), "phone": (390, 844, False)}
    for name, (width, height, dark) in views.items():
        tab.show(width, height, dark=dark, scale=2 if name == "phone" else 1)
        tab.open(page)
        tab.wait_for(READY)
        time.sleep(0.3)
        tab.picture(folder / f"report_{name}.png")
    tab.show(1400, 1180)
    tab.print(folder / "report_printed.pdf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", type=Path, default=STUDIES, metavar="STUDY")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open_browser() as tab:
        for number, study in enumerate(options.studies):
            page = study if study.suffix == ".html" else predict(study, Path(folder) / str(number))
            tab.show(1400, 1000)
            tab.run_before(OBSERVE)
            measure(tab, page, options.repeats)
            if options.pictures:
                photograph(tab, page, options.pictures / page.parent.name)


if __name__ == "__main__":
    main()
