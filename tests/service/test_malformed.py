"""Malformed studies: each gets its reason, none brings anything down, takes long or takes much memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from tests.dicom_phantom import Drawn, Phantom, contour, cut_short, disc, edited, to_other_patient, write_study
from tests.service.conftest import Site

Spoil = Callable[[Phantom], object]


def _edit(file: Callable[[Phantom], Path], **values: object) -> Spoil:
    def spoil(p: Phantom) -> None:
        with edited(file(p)) as ds:
            for keyword, value in values.items():
                setattr(ds, keyword, value)

    return spoil


def _slice(p: Phantom) -> Path:
    return p.ct_files[5]


def _every_slice(**values: object) -> Spoil:
    def spoil(p: Phantom) -> None:
        for path in p.ct_files:
            with edited(path) as ds:
                for keyword, value in values.items():
                    setattr(ds, keyword, value)

    return spoil


def _wrong_length(p: Phantom) -> None:
    content = bytearray(_slice(p).read_bytes())
    at = content.find(b"\xe0\x7f\x10\x00") + 8
    content[at : at + 4] = (2**31).to_bytes(4, "little")
    _slice(p).write_bytes(content)


def _many_points(p: Phantom) -> None:
    rough = disc(p.grid.centre_mm[1], p.grid.centre_mm[2], 12, 60_000)
    rough += np.random.default_rng(1).normal(0, 4, rough.shape)  # a contour that crosses itself thousands of times
    with edited(p.structures_file) as ds:
        ds.ROIContourSequence[0].ContourSequence = [contour(rough, z) for z in p.rois[0].planes]


def _no_contours(p: Phantom) -> None:
    with edited(p.structures_file) as ds:
        del ds.ROIContourSequence


def _nothing_listed(p: Phantom) -> None:
    with edited(p.structures_file) as ds:
        for name in ("StructureSetROISequence", "ROIContourSequence", "ReferencedFrameOfReferenceSequence"):
            delattr(ds, name)
        del ds.FrameOfReferenceUID


def _bad_numbers(p: Phantom) -> None:
    content = p.structures_file.read_bytes()
    at = content.find(b"\\") + 1
    p.structures_file.write_bytes(content[:at] + b"x" + content[at + 1 :])


def _twice(p: Phantom) -> None:
    with edited(_slice(p), p.ct_files[0].with_name("twice.dcm")) as ds:
        ds.SOPInstanceUID += ".9"


SPOILS: dict[str, Spoil] = {
    "truncated slice": lambda p: cut_short(_slice(p), 900),
    "truncated header": lambda p: _slice(p).write_bytes(_slice(p).read_bytes()[:400]),
    "truncated structures": lambda p: cut_short(p.structures_file, 900),
    "structures of one kilobyte": lambda p: p.structures_file.write_bytes(p.structures_file.read_bytes()[:1000]),
    "wrong length": _wrong_length,
    "another patient's structures": lambda p: to_other_patient(p.structures_file, "OTHER"),
    "another patient's slice": lambda p: to_other_patient(_slice(p), "OTHER"),
    "absurd rows": _every_slice(Rows=65_535, Columns=65_535),
    "no rows": _every_slice(Rows=0),
    "absurd spacing": _every_slice(PixelSpacing=[1e-9, 1e9]),
    "no position": _edit(_slice, ImagePositionPatient=None),
    "tilted": _every_slice(ImageOrientationPatient=[1, 0, 0, 0, 0.8, 0.6]),
    "no contours": _no_contours,
    "refers to nothing": _nothing_listed,
    "a number that is none": _bad_numbers,
    "a slice twice": _twice,
    "a slice far away": _edit(_slice, ImagePositionPatient=[-55.7, -47.3, 1e7]),
    "lossy nonsense": lambda p: _slice(p).write_bytes(_slice(p).read_bytes()[:-2000] + b"\xff" * 2000),
}


def _at_random(seed: int) -> Spoil:
    """Damage one file as a bad disk or a broken copy does: forty bytes changed, or the end missing."""

    def spoil(p: Phantom) -> None:
        generator = np.random.default_rng(seed)
        path = generator.choice([*p.ct_files, p.structures_file, p.structures_file])
        content = bytearray(path.read_bytes())
        if seed % 3 == 0:
            del content[int(generator.integers(200, len(content))) :]
        for place in generator.integers(0, len(content), 40):
            content[place] = int(generator.integers(0, 256))
        path.write_bytes(content)

    return spoil


def test_fifty_malformed_studies_get_their_reasons_and_the_good_one_its_dose(site: Site) -> None:
    spoils = [*SPOILS.values(), *(_at_random(seed) for seed in range(30))]
    for number, spoil in enumerate(spoils):
        study = write_study(site.inbox / f"{number}", seed=f"bad {number}", patient=f"B{number}")
        spoil(study)
    many = write_study(site.inbox / "points", seed="points", patient="MANY")
    _many_points(many)
    write_study(site.inbox / "good", seed="good", patient="GOOD", rois=None)
    lone = Drawn("PTV_7000", 1, {}, "PTV")
    write_study(site.inbox / "zero slices", seed="zero", patient="ZERO", ct=False, rois=(lone,))
    site.reconfigure(patience_minutes=0.0)
    begun = time.monotonic()
    service = site.watch("--once")
    peak = 0
    while service.poll() is None:
        family = [psutil.Process(service.pid), *psutil.Process(service.pid).children()]
        peak = max(peak, *(_memory(process) for process in family))
        time.sleep(0.1)
        assert time.monotonic() - begun < 900
    assert service.returncode == 0
    assert peak < 4e9
    states = site.states()
    assert "failed" not in states
    assert not {"running", "ready", "receiving"} & set(states)
    assert states.count("done") >= 1
    reasons = [json.loads(path.read_text()) for path in site.outbox.glob("refused/*/reason.json")]
    assert len(reasons) == states.count("refused") + states.count("quarantined")
    problems = [problem for reason in reasons for problem in reason["problems"] or [{}]]
    assert all(problem.get("message") and problem.get("remedy") for problem in problems)
    assert len(reasons) + len(site.results()) >= len(SPOILS) + 3
    longest = max(entry.get("seconds", 0) for entry in site.log())
    assert longest < 60


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
