"""Protocols: the packaged ones, those of a site, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from vmat_rt.case import Prescription
from vmat_rt.errors import ConfigError
from vmat_rt.metrics.goals import check_goals, parse_goal_metric
from vmat_rt.naming import alias_table, fold
from vmat_rt.protocol import Protocol, load_protocol, packaged_protocols

OPENKBP = {
    "Brainstem": "Brainstem",
    "SpinalCord": "SpinalCord",
    "RightParotid": "Parotid_R",
    "LeftParotid": "Parotid_L",
    "Esophagus": "Esophagus",
    "Larynx": "Larynx",
    "Mandible": "Bone_Mandible",
    "PTV56": "PTV_5600",
    "PTV63": "PTV_6300",
    "PTV70": "PTV_7000",
}


@pytest.fixture(params=list(packaged_protocols()))
def protocol(request: pytest.FixtureRequest) -> Protocol:
    return load_protocol(request.param)


def test_the_three_are_there() -> None:
    assert list(packaged_protocols()) == ["head_neck_70", "prostate_70_28", "prostate_sib_70_56"]


def test_packaged_protocols_are_sound(protocol: Protocol) -> None:
    assert protocol.fractions in {28, 35}
    assert alias_table(protocol)
    assert protocol.body_name == "External"
    assert [spec.name for spec in protocol.structures if spec.required][0:1] == ["PTV_7000"]
    assert protocol.default_prescription_gy()["PTV_7000"] == 70
    assert protocol.goal_sets[0].name == "quantec"
    for goal_set in (*protocol.goal_sets, *protocol.more_goal_sets):
        for goal in goal_set.single_goals():
            parse_goal_metric(goal)
            assert goal.source
            assert (goal.alpha_beta_gy is None) == (goal.alpha_beta_source == "")


def test_skin_is_nobodys_alias(protocol: Protocol) -> None:
    assert "skin" not in alias_table(protocol)


def test_level_of_each_target_is_its_name(protocol: Protocol) -> None:
    for spec in protocol.with_role("target"):
        assert spec.name == f"PTV_{round(100 * (spec.dose_gy or 0))}"


def test_sib_targets() -> None:
    sib = load_protocol("prostate_sib_70_56")
    assert {s.name: s.required for s in sib.with_role("target")} == {
        "PTV_7000": True,
        "PTV_5600": True,
        "PTV_5040": False,
    }
    assert sib.default_prescription_gy() == {"PTV_7000": 70, "PTV_5600": 56, "PTV_5040": 50.4}
    assert len(sib.beam_angles.angles_deg()) == 36


def test_both_prostate_protocols_name_organs_alike() -> None:
    one, two = load_protocol("prostate_sib_70_56"), load_protocol("prostate_70_28")
    assert one.with_role("oar") == two.with_role("oar")
    assert one.with_role("body") == two.with_role("body")
    assert one.goal_sets[0] == two.goal_sets[0]


def test_openkbp_names_are_known() -> None:
    table = alias_table(load_protocol("head_neck_70"))
    assert {roi: table[fold(roi)] for roi in OPENKBP} == OPENKBP
    assert load_protocol("head_neck_70").beam_angles.angles_deg() == tuple(range(0, 360, 40))


def test_quantec_limits_of_the_prostate() -> None:
    goals = load_protocol("prostate_70_28").goal_sets[0].goals
    found = {(g.structure, g.metric): (g.comparison, g.limit) for g in goals}
    assert found == {
        ("Rectum", "V50Gy"): ("<", 50),
        ("Rectum", "V60Gy"): ("<", 35),
        ("Rectum", "V65Gy"): ("<", 25),
        ("Rectum", "V70Gy"): ("<", 20),
        ("Rectum", "V75Gy"): ("<", 15),
        ("Bladder", "V65Gy"): ("<=", 50),
        ("Bladder", "V70Gy"): ("<=", 35),
        ("Bladder", "V75Gy"): ("<=", 25),
        ("Bladder", "V80Gy"): ("<=", 15),
        ("PenileBulb", "Dmean"): ("<", 50),
        ("Bag_Bowel", "V45Gy[cc]"): ("<", 195),
    }
    assert all(g.alpha_beta_gy == 3 and g.derived_at_gy_per_fraction == 2 for g in goals)


def test_reference_set_is_not_called_quantec() -> None:
    reference = load_protocol("prostate_sib_70_56").goal_sets[1]
    assert reference.name == "reference_code"
    assert "not QUANTEC" in reference.title
    assert all(g.alpha_beta_gy is None for g in reference.goals)


def write(folder: Path, document: dict[str, object]) -> Path:
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_a_site_adds_its_aliases(tmp_path: Path) -> None:
    document = {"extends": "prostate_70_28", "name": "our_clinic", "aliases": {"Rectum": ["Rectum clinic 7"]}}
    site = load_protocol(write(tmp_path, document))
    base = load_protocol("prostate_70_28")
    table = alias_table(site)
    assert site.name == "our_clinic"
    assert table["rectumclinic7"] == "Rectum"
    assert table["blase"] == "Bladder"
    assert set(table) - set(alias_table(base)) == {"rectumclinic7"}
    assert site.goal_sets == base.goal_sets


@pytest.mark.parametrize(
    "document",
    [
        {"extends": "prostate_70_28", "aliases": {"Colon": ["x"]}},
        {"extends": "no_such_protocol"},
        {"extends": "prostate_70_28", "colour": "red"},
        {"schema_version": 2},
    ],
)
def test_a_wrong_protocol_is_refused(tmp_path: Path, document: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        load_protocol(write(tmp_path, document))


def test_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match="head_neck_70, prostate_70_28, prostate_sib_70_56"):
        load_protocol("lung_60")


@pytest.mark.parametrize("name", ["bad.yaml", "absent.yaml"])
def test_not_yaml_and_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "bad.yaml").write_text("a: [1", encoding="utf-8")
    with pytest.raises(ConfigError):
        load_protocol(tmp_path / name)


SITES = {
    "itself": {"own.yaml": "extends: own.yaml"},
    "itself by another way": {"own.yaml": "extends: ./sub/../own.yaml", "sub/x": ""},
    "a circle": {"own.yaml": "extends: b.yaml", "b.yaml": "extends: c.yaml", "c.yaml": "extends: own.yaml"},
    "a long chain": {f"{n or 'own'}.yaml": f"extends: {n + 1}.yaml" for n in range(2000)},
    "a parent in Latin-1": {"own.yaml": "extends: b.yaml", "b.yaml": b"title: M\xfcller"},
    "Latin-1": {"own.yaml": b"title: M\xfcller"},
    "UTF-16": {"own.yaml": "name: x".encode("utf-16")},
    "no text": {"own.yaml": bytes(range(256))},
    "a name without end": {"own.yaml": f"extends: {'x' * 5000}.yaml"},
    "a number without end": {"own.yaml": f"fractions: {'9' * 5000}"},
    "no date": {"own.yaml": "title: 2026-13-45"},
    "names that are none": {"own.yaml": "extends: prostate_70_28\naliases: {Rectum: [x]}\nstructures: [{name: [1]}]"},
}


@pytest.mark.parametrize("files", SITES.values(), ids=SITES.keys())
def test_a_protocol_that_cannot_be_read_is_a_configuration_error_in_a_sentence(
    tmp_path: Path, files: dict[str, str | bytes]
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as told:
        load_protocol(tmp_path / "own.yaml")
    assert told.value.exit_code == 2
    assert len(str(told.value)) < 600


def test_a_file_is_extended_from_beside_it(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("extends: prostate_70_28\naliases: {Bladder: [Blase]}\n")
    (tmp_path / "own.yaml").write_text("extends: site.yaml\naliases: {Bladder: [Harnblase]}\n")
    (bladder,) = [spec for spec in load_protocol(tmp_path / "own.yaml").structures if spec.name == "Bladder"]
    assert bladder.aliases[-2:] == ("Blase", "Harnblase")


def test_a_site_chooses_the_goal_sets_that_are_judged(tmp_path: Path) -> None:
    site = load_protocol(write(tmp_path, {"extends": "prostate_sib_70_56", "judge": ["chhip", "quantec"]}))
    assert [goal_set.name for goal_set in site.goal_sets] == ["chhip", "quantec"]
    assert {goal_set.name for goal_set in site.more_goal_sets} == {"reference_code", "coverage"}
    assert "V40Gy" in site.goal_metrics()


def test_a_goal_set_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="no goal set is called 'rtog'; there are quantec, reference_code, coverage, chhip"
    ):
        load_protocol(write(tmp_path, {"extends": "prostate_70_28", "judge": ["rtog"]}))


def test_a_set_on_request_is_not_judged_by_default() -> None:
    assert "chhip" not in [goal_set.name for goal_set in load_protocol("prostate_70_28").goal_sets]


def test_only_targets_have_shells(tmp_path: Path) -> None:
    base = load_protocol("prostate_70_28").model_dump(mode="json")
    base["structures"][3]["shell_margin_mm"] = 5
    with pytest.raises(ConfigError, match="Rectum is not a target, so it cannot have shell_margin_mm"):
        load_protocol(write(tmp_path, base))


def test_a_mistake_in_an_arm_is_named(tmp_path: Path) -> None:
    goals = [{"either": [{"structure": "Rectum", "metric": "Dmax"}, {"structure": "Rectum"}]}]
    document = {"extends": "prostate_70_28", "goal_sets": [{"name": "n", "title": "t", "goals": goals}]}
    with pytest.raises(ConfigError, match=r"either\.0\.comparison is missing"):
        load_protocol(write(tmp_path, document))


def test_an_arm_of_an_unknown_structure_is_refused(tmp_path: Path) -> None:
    arms = [
        {"structure": s, "metric": "Dmax", "comparison": "<", "limit": 1, "unit": "Gy", "source": "x"} for s in "AB"
    ]
    document = {"extends": "prostate_70_28", "goal_sets": [{"name": "n", "title": "t", "goals": [{"either": arms}]}]}
    with pytest.raises(ConfigError, match="structures that the protocol lacks: A, B"):
        load_protocol(write(tmp_path, document))


def test_cord_and_brainstem_are_converted_where_the_plan_gives_more_per_fraction() -> None:
    """In 20 fractions: 50 Gy with alpha/beta 0.87 (BED 164.9) is 45.6 Gy, 54 Gy with 2 (BED 108) 48.7 Gy."""
    quantec = load_protocol("head_neck_70").goal_sets[0]
    for fractions, cord, stem in ((20, 45.6, 48.7), (35, 50, 54)):
        results = check_goals(quantec, {}, Prescription({"PTV_7000": 70.0}, fractions, "test"))
        limits = {result.structure: result.limit for result in results if result.metric == "Dmax"}
        assert limits == {"SpinalCord": pytest.approx(cord, abs=0.05), "Brainstem": pytest.approx(stem, abs=0.05)}
        assert {result.converted for result in results if result.metric == "Dmax"} == {fractions == 20}
