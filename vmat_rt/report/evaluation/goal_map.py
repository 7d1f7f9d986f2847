"""The goal-compliance heat map: each goal in each case, and whether both doses say the same of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from vmat_rt.report.evaluation.drawing import INK, SOFT, Drawing, Style, finish, make_figure
from vmat_rt.report.evaluation.pooled import Model, order_seeds
from vmat_rt.report.evaluation_schema import GoalOutcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Verdict = Literal["agree pass", "agree fail", "false pass", "false fail", "not judged"]
VERDICTS: Final[dict[Verdict, tuple[str, str, str]]] = {
    "agree pass": ("#cfe3f1", "", "both doses meet the goal"),
    "agree fail": ("#5b8db8", "–", "both doses miss it"),
    "false pass": ("#D55E00", "▲", "predicted meets it, reference misses it"),
    "false fail": ("#F0C05A", "▽", "predicted misses it, reference meets it"),
    "not judged": ("#f1f3f5", "", "not evaluable or without meaning in one of them"),
}
"""Colour, symbol and meaning."""
_COMPARISONS: Final = {"<": "<", "<=": "≤", ">": ">", ">=": "≥"}
_MOST_MARKED: Final = 70
_MOST_NAMED: Final = 50


@dataclass(frozen=True)
class GoalMap:
    """verdicts: goal -> (seed, case) -> verdict. Goals are (goal set, text), in the order of the sets."""

    model: str
    pairs: tuple[tuple[str, str], ...]
    verdicts: dict[tuple[str, str], dict[tuple[str, str], Verdict]]

    def counts(self, goal: tuple[str, str]) -> Counter[Verdict]:
        return Counter(self.verdicts[goal].values())

    @property
    def total(self) -> Counter[Verdict]:
        return sum((self.counts(goal) for goal in self.verdicts), Counter())


def judge_goal(goal: GoalOutcome) -> Verdict:
    """False pass: the prediction promises what the reference dose does not keep."""
    if goal.agrees is None:
        return "not judged"
    if goal.agrees:
        return "agree pass" if goal.predicted_status == "met" else "agree fail"
    return "false pass" if goal.predicted_status == "met" else "false fail"


def build_goal_map(model: Model) -> GoalMap | None:
    """None where no case has a goal."""
    verdicts: dict[tuple[str, str], dict[tuple[str, str], Verdict]] = {}
    for pair, document in sorted(model.documents.items()):
        for goal in document.goals:
            verdicts.setdefault((goal.goal_set, describe_goal(goal)), {})[pair] = judge_goal(goal)
    if not verdicts:
        return None
    sets = list(dict.fromkeys(name for name, _ in verdicts))
    ordered = dict(sorted(verdicts.items(), key=lambda item: sets.index(item[0][0])))
    return GoalMap(
        model.name,
        tuple(sorted({pair for of_goal in verdicts.values() for pair in of_goal}, key=_order_by_seed)),
        ordered,
    )


def _order_by_seed(pair: tuple[str, str]) -> tuple[int, str, str]:
    """Seeds as numbers, then cases."""
    return *order_seeds(pair[0]), pair[1]


def describe_goal(goal: GoalOutcome) -> str:
    """`Rectum V70Gy < 15 %`, as evaluated; of a goal on a shell `PTV_5600 shell D2% ≤ 59.92 Gy`."""
    if goal.arms:
        described = [describe_goal(arm) for arm in goal.arms]
        asked = {text.removeprefix(f"{arm.structure} ") for arm, text in zip(goal.arms, described, strict=True)}
        return f"{goal.structure} {asked.pop()}" if len(asked) == 1 else " or ".join(described)
    limit = "?" if goal.limit is None else f"{goal.limit:.4g}"
    part = "" if goal.judged_on in {"", goal.structure} else " shell"
    return f"{goal.structure}{part} {goal.metric} {_COMPARISONS[goal.comparison]} {limit} {goal.unit}"


def draw_goal_map(goals: GoalMap, name: str, style: Style) -> Drawing:
    """Goals down, cases across, seed by seed. Symbols tell what colours tell."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    kinds = list(VERDICTS)
    codes = np.array(
        [[kinds.index(of.get(pair, "not judged")) for pair in goals.pairs] for of in goals.verdicts.values()]
    )
    rows, columns = codes.shape
    named = columns <= _MOST_NAMED
    figure = make_figure(0.24 * rows + (1.9 if named else 1.3))
    axes = figure.subplots()
    colours = ListedColormap([VERDICTS[kind][0] for kind in kinds])
    axes.imshow(codes, cmap=colours, norm=BoundaryNorm(np.arange(len(kinds) + 1) - 0.5, len(kinds)), aspect="auto")
    axes.set_yticks(range(rows), [text for _, text in goals.verdicts], fontsize=7.5)
    cases = [case for _, case in goals.pairs]
    axes.set_xticks(range(columns) if named else [], cases if named else [], rotation=90, fontsize=7)
    _draw_grid(axes, rows, columns)
    if columns <= _MOST_MARKED:
        for row, column in zip(*np.nonzero(codes), strict=True):
            symbol = VERDICTS[kinds[codes[row, column]]][1]
            colour = "white" if kinds[codes[row, column]] in {"agree fail", "false pass"} else INK
            axes.text(column, row, symbol, ha="center", va="center", fontsize=7, color=colour)
    _divide(axes, goals)
    _draw_key(figure, kinds)
    what = "case" if named else f"{columns} predictions, in the order of their keys"
    axes.set_xlabel(what, fontsize=8.5, color=INK)
    caption = f"{goals.model}: goals (by goal set, on the right) in {columns} predictions (by seed, on top)."
    return finish(figure, name, caption, style)


def _draw_grid(axes: Axes, rows: int, columns: int) -> None:
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2 if columns < 100 else 0.3)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _divide(axes: Axes, goals: GoalMap) -> None:
    """Lines between goal sets and between seeds, with their names at the edges."""
    sets = [name for name, _ in goals.verdicts]
    seeds = [seed for seed, _ in goals.pairs]
    for name in dict.fromkeys(sets):
        first, count = sets.index(name), sets.count(name)
        axes.axhline(first - 0.5, color=SOFT, linewidth=1)
        middle = first + (count - 1) / 2
        turned = 90 if 0.24 * count > 0.075 * len(name) else 0
        text = name.replace("_", " ")
        axes.text(len(seeds) - 0.4, middle, text, rotation=turned, va="center", fontsize=7.5, color=SOFT)
    for seed in dict.fromkeys(seeds):
        first, count = seeds.index(seed), seeds.count(seed)
        axes.axvline(first - 0.5, color=INK, linewidth=1.2)
        if seed:
            axes.text(first + (count - 1) / 2, -0.6, f"seed {seed}", ha="center", va="bottom", fontsize=8, color=INK)


def _draw_key(figure: object, kinds: list[Verdict]) -> None:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    assert isinstance(figure, Figure)
    patches = [
        Patch(facecolor=VERDICTS[kind][0], edgecolor=SOFT, linewidth=0.5, label=f"{kind} {VERDICTS[kind][1]}".strip())
        for kind in kinds
    ]
    figure.legend(handles=patches, loc="outside upper left", ncols=len(patches), frameon=False, fontsize=8.5)
