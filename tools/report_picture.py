"""Draws docs/report.png, the picture at the top of README.md: a report of the head and neck sample in a browser.

    python tools/report_picture.py [--browser chromium] [--out docs/report.png]

The page is shown 1400 pixels wide and cut below slices and DVH.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
STUDY = ROOT / "sample_data" / "head_neck_openkbp"
PAGE_WIDTH, PICTURE_WIDTH, LARGEST_BYTES = 1400, 1000, 300_000
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]


def photograph(page: Path, browser: str, height: int, out: Path) -> None:
    """The top of a page, PAGE_WIDTH x height, as PNG."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [browser, *FLAGS, f"--user-data-dir={profile}", f"--window-size={PAGE_WIDTH},{height}",
             "--virtual-time-budget=8000", f"--screenshot={out}", page.as_uri()],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--height", type=int, default=1290, help="Where the page is cut, in its pixels.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "report.png")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "vmat_rt.cli", "predict", str(STUDY), "--out", folder]
        subprocess.run(command, check=True, capture_output=True)
        page = next(Path(folder).glob("*/report.html"))
        whole = Path(folder) / "page.png"
        photograph(page, options.browser, options.height, whole)
        picture = Image.open(whole).convert("RGB")
    size = (PICTURE_WIDTH, round(options.height * PICTURE_WIDTH / PAGE_WIDTH))
    small = picture.resize(size, Image.Resampling.LANCZOS).quantize(192, dither=Image.Dither.NONE)
    small.save(options.out, optimize=True)
    bytes_written = options.out.stat().st_size
    if bytes_written > LARGEST_BYTES:
        raise SystemExit(f"{options.out} has {bytes_written} bytes, more than {LARGEST_BYTES}: cut the page higher")
    print(f"{options.out}: {size[0]} x {size[1]} pixels, {bytes_written / 1000:.0f} kB")


if __name__ == "__main__":
    main()
