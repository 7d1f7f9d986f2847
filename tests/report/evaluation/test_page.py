"""The page: complete in itself, says what its numbers are, and never falls over what is not there.

Covers vmat_rt.commands.report, vmat_rt.report.evaluation.curves, vmat_rt.report.evaluation.drawing,
vmat_rt.report.evaluation.sections, vmat_rt.report.evaluation.spread and vmat_rt.report.evaluation.structure_figures.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.cohort.cases import small_cohort
from tests.report.evaluation.folders import EVIL, document, goal, write_evaluation, write_run
from vmat_rt.cli import main
from vmat_rt.errors import ConfigError
from vmat_rt.evaluate.report import Asked, gather, report_evaluations
from vmat_rt.report.evaluation.page import render, write_evaluation_report
from vmat_rt.report.evaluation.sections import Section, write_sections

VOID = {"meta", "img", "br"}


class _Reader(HTMLParser):
    """Every tag closed where it must be; every address that something would be loaded from."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def evaluation(folder: Path, data: str = "procedural", simulated: bool = True) -> Path:
    found = [
        document(
            model, seed, f"c{i}",
            {
                "mae_gy": 1.0 + 0.1 * i + shift, "gamma_global_percent": 99.0 - i, "gamma_target_percent": 97.0 - 2 * i,
                "d95_gap_gy:PTV_7000": -0.5 + 0.2 * i, "mean_gap_gy:Rectum": 0.3 * i, "near_max_gap_gy:Rectum": 0.1,
                "asymmetry_gy:Femur_Head": 0.5 * i, "asymmetry_reference_gy:Femur_Head": 0.4 * i,
            },
            [goal("met", "missed" if i else "met")],
        )
        for model, shift in (("mse", 0.5), ("combined", 0.0))
        for seed in ("42", "123")
        for i in range(6)
    ]  # fmt: skip
    return write_evaluation(folder, found, data=data, simulated=simulated)


def by_name(found: tuple[Section, ...]) -> dict[str, Section]:
    return {section.name: section for section in found}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    root = tmp_path_factory.mktemp("page")
    runs = tuple(write_run(root / f"mse-{seed}", "mse", seed) for seed in (42, 123))
    report_evaluations(Asked((evaluation(root / "e", data=EVIL),), runs), root / "out")
    return (root / "out" / "report.html").read_text(encoding="utf-8"), root / "out"


def test_the_page_needs_nothing_else(page: tuple[str, Path]) -> None:
    reader = _Reader()
    reader.feed(page[0])
    assert not reader.open
    assert not reader.tags & {"script", "link", "iframe", "object"}
    assert reader.loaded
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in reader.loaded)
    assert not re.search(r"url\(|@import", page[0])


def test_texts_of_files_are_escaped(page: tuple[str, Path]) -> None:
    assert EVIL not in page[0]
    assert "&lt;script&gt;" in page[0]


def test_the_notice_and_the_simulation_stand_with_the_numbers(page: tuple[str, Path]) -> None:
    assert "PREDICTED, NOT FOR TREATMENT" in page[0]
    captions = re.findall(r"<caption>(.*?)</caption>", page[0])
    assert captions
    assert all("SIMULATED patients and doses" in caption for caption in captions)
    numbered = re.findall(r"<section id=.*?</h2>", page[0], re.DOTALL)
    assert sum("badge" in heading for heading in numbered) == len(numbered) - 2  # limitations and definitions


def test_every_figure_stands_beside_the_page_in_both_formats(page: tuple[str, Path]) -> None:
    figures = page[1] / "figures"
    names = {path.stem for path in figures.iterdir()}
    assert {"training_curves", "box_plots", "gamma_pass_rates", "goals_1", "goals_2", "asymmetry"} <= names
    for name in names:
        assert (figures / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (figures / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert f"figures/{name}.png" in page[0]


def test_data_of_patients_are_not_called_simulated(tmp_path: Path) -> None:
    material = gather(Asked((evaluation(tmp_path / "e", simulated=False),)))
    assert material.simulated == ""
    assert "SIMULATED" not in render(material, ())


def test_what_is_absent_leaves_a_sentence(tmp_path: Path) -> None:
    single = write_evaluation(tmp_path / "e", [document("unet", "", "c1", {"mae_gy": 1.0})])
    found = by_name(write_sections(gather(Asked((single,)))))
    expected = {
        "results": "more than one seed", "training": "--run", "doses": "--save-dose", "dvh": "doses of the exemplary",
        "gamma": "--no-gamma", "goals": "No planning goal", "asymmetry": "pair", "recurring": "more than one seed",
        "outliers": "Fewer than 5", "comparison": "not tested", "provenance": "--run", "limitations": "--run",
    }  # fmt: skip
    for name, sentence in expected.items():
        assert sentence in " ".join(found[name].absent), name


def test_a_model_that_failed_everywhere_is_reported(tmp_path: Path) -> None:
    nothing = write_evaluation(tmp_path / "e", [document("unet", "42", "c1", {"mae_gy": None, "failed": 1.0})])
    (tmp_path / "out").mkdir()
    written = write_evaluation_report(gather(Asked((nothing,))), tmp_path / "out")
    assert "No metric has a value in any case." in written[0].read_text(encoding="utf-8")


def test_exemplary_doses_are_drawn_from_what_was_saved(tmp_path: Path) -> None:
    cohort = small_cohort(tmp_path / "cohort")
    case = cohort.read("c0001")
    assert case.reference_dose is not None
    found = document("unet", "42", "c0001", {"mae_gy": 1.0})
    found = found.model_copy(update={"case_sha256": cohort.record("c0001").content_sha256})
    folder = write_evaluation(tmp_path / "e", [found])
    asked = Asked((folder,), cohort=str(tmp_path / "cohort"))
    assert "the model is not at hand" in gather(asked).no_pictures

    grid, dose = case.reference_dose.grid, 0.97 * case.reference_dose.array
    place = folder / "cases" / "unet-42" / "c0001.npz"
    np.savez_compressed(place, dose=dose, spacing_mm=np.array(grid.spacing_mm), origin_mm=np.array(grid.origin_mm))
    material = gather(asked)
    assert material.no_pictures == ""
    assert material.exemplars[0].predicted.grid.same_as(grid)
    shown = by_name(write_sections(material))
    assert [d.name for d in shown["doses"].drawings] == ["dose_best"]
    assert [d.name for d in shown["gamma"].drawings] == ["gamma_best"]
    assert "dvh" in [d.name for d in shown["dvh"].drawings]

    place.write_bytes(b"broken")
    assert "cannot be read" in gather(asked).no_pictures


def test_a_case_that_changed_since_is_not_shown(tmp_path: Path) -> None:
    small_cohort(tmp_path / "cohort")
    folder = write_evaluation(tmp_path / "e", [document("unet", "42", "c0001", {"mae_gy": 1.0})])
    material = gather(Asked((folder,), cohort=str(tmp_path / "cohort")))
    assert not material.exemplars
    assert "its content differs" in material.no_pictures


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "e", [document("unet", "", "c1", {"mae_gy": 1.0})])
    with pytest.raises(ConfigError, match="something else"):
        report_evaluations(Asked((folder,)), folder)
    assert (folder / "aggregate.json").is_file()


def test_the_command_says_what_it_wrote_and_what_it_refuses(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "e", [document("unet", "", "c1", {"mae_gy": 1.0})])
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["report", str(folder), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert '"report.html"' in done.output
    again = CliRunner().invoke(main, ["report", str(folder), "--out", str(out)])
    assert again.exit_code == 0, again.output  # an older report is replaced
    unknown = CliRunner().invoke(main, ["report", str(folder), "--out", str(out), "--model", "other"])
    assert unknown.exit_code == 2
    (tmp_path / "empty").mkdir()
    refused = CliRunner().invoke(main, ["report", str(tmp_path / "empty"), "--out", str(out)])
    assert refused.exit_code == 3
    assert "EVALUATION_ABSENT" in refused.output
