"""Protocol: what a disease site calls its structures, what it prescribes and what it asks of a plan.

A protocol is a YAML file, packaged (`vmat_rt/protocols`) or a site's own. A site's file may say
`extends: prostate_sib_70_56` and add aliases only; every other key then comes from the packaged one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from vmat_rt.errors import ConfigError, listed, shortened
from vmat_rt.strict import Strict, checked, load_mapping, read_text

_MOST_PARENTS = 8
_LONGEST_NAME = 160


class StructureSpec(Strict):
    """One structure that the protocol knows. aliases are matched whole, after folding case and separators.

    shell_margin_mm: goals of this target are judged on its shell, the part that lies outside of the targets with a
    higher prescription grown by this margin.
    """

    name: str
    role: Literal["target", "oar", "body"]
    required: bool = False
    dose_gy: float | None = Field(None, gt=0, description="default prescription of a target, Gy in total")
    shell_margin_mm: float | None = Field(None, ge=0, le=50)
    aliases: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _only_targets_are_prescribed(self) -> StructureSpec:
        for key in ("dose_gy", "shell_margin_mm"):
            if getattr(self, key) is not None and self.role != "target":
                raise ValueError(f"{self.name} is not a target, so it cannot have {key}")
        return self


class Goal(Strict):
    """One planning goal: `metric` of `structure` compared with `limit`.

    metric follows the grammar of vmat_rt.metrics.grammar (`D95%`, `V70Gy`, `V45Gy[cc]`, `Dmean`). Dose levels and dose
    limits hold at derived_at_gy_per_fraction; where the plan fractionates otherwise and alpha_beta_gy is given they are
    converted through EQD2; alpha_beta_source says whose value that is. A dose limit may be a percentage of the
    structure's (or the highest) prescription. part: "whole" judges a target whole though the protocol gives it a shell.
    """

    structure: str
    metric: str
    comparison: Literal["<", "<=", ">", ">="]
    limit: float
    unit: Literal["Gy", "%", "cc", "% of prescription"]
    source: str
    alpha_beta_gy: float | None = Field(None, gt=0)
    alpha_beta_source: str = ""
    derived_at_gy_per_fraction: float | None = Field(None, gt=0)
    part: Literal["as the structure says", "whole"] = "as the structure says"
    note: str = ""

    @property
    def structures(self) -> tuple[str, ...]:
        """The structure, as an EitherGoal has several."""
        return (self.structure,)

    @model_validator(mode="after")
    def _conversion_needs_both(self) -> Goal:
        if (self.alpha_beta_gy is None) != (self.derived_at_gy_per_fraction is None):
            raise ValueError(
                f"{self.structure} {self.metric}: give alpha_beta_gy and derived_at_gy_per_fraction together"
            )
        return self


class EitherGoal(Strict):
    """One goal with arms of which one suffices, such as one of two parotids."""

    either: tuple[Goal, ...] = Field(min_length=2)
    note: str = ""

    @property
    def structures(self) -> tuple[str, ...]:
        """The arms' structures, each once."""
        return tuple(dict.fromkeys(arm.structure for arm in self.either))

    @property
    def structure(self) -> str:
        """The arms' structures in words: `Parotid_L or Parotid_R`."""
        return " or ".join(self.structures)


def _kind_of_goal(value: object) -> str:
    """Which schema a goal as read from YAML is held against."""
    either = "either" in value if isinstance(value, dict) else isinstance(value, EitherGoal)
    return "either" if either else "goal"


AnyGoal = Annotated[Annotated[Goal, Tag("goal")] | Annotated[EitherGoal, Tag("either")], Discriminator(_kind_of_goal)]


class GoalSet(Strict):
    """Goals of one origin; `name` is the key, `title` what a report prints."""

    name: str
    title: str
    goals: tuple[AnyGoal, ...]

    def single_goals(self) -> Iterator[Goal]:
        """Every goal, an EitherGoal arm by arm."""
        for goal in self.goals:
            yield from goal.either if isinstance(goal, EitherGoal) else (goal,)


class BeamAngles(Strict):
    """Equally spaced gantry angles (IEC 61217, degrees) that stand for the treatment where no plan says better."""

    first_deg: float = 0.0
    step_deg: float = Field(gt=0)
    count: int = Field(gt=0)

    def angles_deg(self) -> tuple[float, ...]:
        return tuple((self.first_deg + i * self.step_deg) % 360.0 for i in range(self.count))


class Protocol(Strict):
    """A disease site's structures, prescription, beams and goals.

    goal_sets are judged; more_goal_sets only where they are asked for by name, in `judge` or with --goals.
    """

    schema_version: Literal[1]
    name: str
    title: str
    site: str
    fractions: int = Field(gt=0)
    beam_angles: BeamAngles
    structures: tuple[StructureSpec, ...]
    goal_sets: tuple[GoalSet, ...] = ()
    more_goal_sets: tuple[GoalSet, ...] = ()
    judge: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique_and_goals_known(self) -> Protocol:
        names = [spec.name for spec in self.structures]
        if len(set(names)) != len(names):
            raise ValueError("a structure name stands twice")
        sets = (*self.goal_sets, *self.more_goal_sets)
        if len({goal_set.name for goal_set in sets}) != len(sets):
            raise ValueError("a goal set's name stands twice")
        unknown = {goal.structure for goal_set in sets for goal in goal_set.single_goals()} - set(names)
        if unknown:
            raise ValueError(f"goals name structures that the protocol lacks: {', '.join(sorted(unknown))}")
        return self

    def choose_goal_sets(self, names: Iterable[str]) -> Protocol:
        """The same protocol with these goal sets judged, in this order. Raises ConfigError that lists what there is."""
        known = {goal_set.name: goal_set for goal_set in (*self.goal_sets, *self.more_goal_sets)}
        names = tuple(dict.fromkeys(names))
        for name in names:
            if name not in known:
                there = listed(list(known), 8) or "none"
                raise ConfigError(
                    f"protocol {_shorten(self.name)}: no goal set is called {_shorten(name)!r}; there are {there}"
                )
        rest = tuple(goal_set for name, goal_set in known.items() if name not in names)
        chosen = tuple(known[name] for name in names)
        return self.model_copy(update={"goal_sets": chosen, "more_goal_sets": rest, "judge": names})

    def shell_margins_mm(self) -> dict[str, float]:
        """Targets whose goals are judged on their shell: name -> margin, mm."""
        return {spec.name: spec.shell_margin_mm for spec in self.structures if spec.shell_margin_mm is not None}

    def with_role(self, role: str) -> tuple[StructureSpec, ...]:
        """The specs of one role, in file order."""
        return tuple(spec for spec in self.structures if spec.role == role)

    @property
    def body_name(self) -> str:
        """TG-263 name of the patient outline."""
        return next((spec.name for spec in self.with_role("body")), "External")

    def goal_metrics(self) -> tuple[str, ...]:
        """The metrics that its goals ask for, as written, in file order."""
        return tuple(goal.metric for goal_set in self.goal_sets for goal in goal_set.single_goals())

    def default_prescription_gy(self) -> dict[str, float]:
        """Targets with a default dose: name -> Gy."""
        return {spec.name: spec.dose_gy for spec in self.with_role("target") if spec.dose_gy is not None}


def packaged_protocols() -> Iterator[str]:
    """Names of the protocols that ship with the package, sorted."""
    folder = resources.files("vmat_rt") / "protocols"
    yield from sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_protocol(name_or_path: str | Path) -> Protocol:
    """A packaged protocol by name, or a site's own YAML by path. Raises ConfigError that says what is wrong."""
    protocol = checked(Protocol, _read_document(name_or_path), f"protocol {_shorten(name_or_path)}")
    return protocol.choose_goal_sets(protocol.judge) if protocol.judge else protocol


def _read_document(name_or_path: str | Path, below: tuple[str, ...] = ()) -> dict[str, Any]:
    """One protocol with everything that it extends. below: those that lead to it."""
    document = _read_yaml(name_or_path)
    if "extends" not in document:
        return document
    named = _shorten(name_or_path)
    parent = document["extends"]
    if not isinstance(parent, str):
        raise ConfigError(f"protocol {named}: extends names one protocol, not {_shorten(repr(parent))}")
    chain = (*below, _identify(name_or_path))
    place = _find_parent(parent, name_or_path)
    if _identify(place) in chain:
        raise ConfigError(f"protocol {named}: extends leads back to {_shorten(parent)}")
    if len(chain) >= _MOST_PARENTS:
        raise ConfigError(f"protocol {named}: more than {_MOST_PARENTS} protocols extend one another")
    return _extend_document(document, _read_document(place, chain), named)


def _find_parent(parent: str, child: str | Path) -> str | Path:
    """A file that is named relative to the one that extends it is looked for beside that one first."""
    if _is_file_name(parent) and _is_file_name(child):
        beside = Path(child).parent / parent
        if _is_file(beside):
            return beside
    return parent


def _identify(name_or_path: str | Path) -> str:
    """One word for one protocol, however it is spelt."""
    return os.path.realpath(name_or_path) if _is_file_name(name_or_path) else str(name_or_path)


def _is_file_name(name_or_path: str | Path) -> bool:
    return Path(name_or_path).suffix in {".yaml", ".yml"}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or no name at all
        return False


def _shorten(name: str | Path) -> str:
    return shortened(str(name), _LONGEST_NAME)


def _read_yaml(name_or_path: str | Path) -> dict[str, Any]:
    named = _shorten(name_or_path)
    if _is_file_name(name_or_path):
        path = Path(name_or_path)
        if not _is_file(path):
            raise ConfigError(f"there is no protocol file {named}")
        text = read_text(path, f"protocol file {named}")
    else:
        packaged = resources.files("vmat_rt") / "protocols" / f"{name_or_path}.yaml"
        if str(name_or_path) not in packaged_protocols():
            known = ", ".join(packaged_protocols())
            raise ConfigError(f"no protocol is called {named}; there are {known}, or give a .yaml file")
        text = packaged.read_text(encoding="utf-8")
    return load_mapping(text, f"protocol {named}")


def _extend_document(document: dict[str, Any], parent: dict[str, Any], named: str) -> dict[str, Any]:
    """The parent's document with this one's keys on top; `aliases` are added to the parent's structures."""
    more_aliases = document.get("aliases") or {}
    if not isinstance(more_aliases, dict) or not all(isinstance(names, list) for names in more_aliases.values()):
        raise ConfigError(f"protocol {named}: aliases are a list of ROI names per structure, such as Bladder: [Blase]")
    more_aliases = dict(more_aliases)
    own = {key: value for key, value in document.items() if key not in {"extends", "aliases"}}
    merged = {**parent, **own}
    structures = merged.get("structures")
    for spec in structures if isinstance(structures, list) else ():
        if isinstance(spec, dict) and isinstance(name := spec.get("name"), str):  # the schema says what else is wrong
            added = more_aliases.pop(name, [])
            aliases = spec.get("aliases") or []
            spec["aliases"] = [*aliases, *added] if isinstance(aliases, list) else aliases
    if more_aliases:
        unknown = listed([str(name) for name in more_aliases])
        raise ConfigError(f"protocol {named}: aliases for structures that the protocol lacks: {unknown}")
    return merged
