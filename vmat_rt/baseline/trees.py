"""Regression trees in LightGBM's text format, evaluated without LightGBM, to the last bit as it does and faster.

Features are first replaced by their rank among the thresholds, one byte each. Then every tree sorts a block of rows
down to its leaves, node by node: no jump depends on a row's values, and a block stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vmat_rt.baseline.tree_kernels import BLOCK, descend

_CHUNK: Final = 16 * BLOCK
"""Rows a thread takes at a time."""

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING = {0: "zero", 2: "nan"}
"""Bits 2 and 3 of a node's decision_type: a missing value counts as 0, or goes the node's default way."""


class _Column(NamedTuple):
    """A feature as some nodes see it: missing values go left, go right, or count as 0."""

    feature: int
    missing: str


@dataclass(frozen=True)
class Trees:
    """Parsed trees. Nodes of all trees stand one after another; a child below zero is leaf -child - 1 of `values`."""

    names: tuple[str, ...]
    columns: tuple[_Column, ...]
    edges: tuple[NDArray[np.float64], ...]
    starts: NDArray[np.int32]
    column: NDArray[np.int32]
    rank: NDArray[np.int32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    values: NDArray[np.float64]

    @classmethod
    def parse(cls, text: str) -> Trees:
        """Raises ValueError or KeyError for what is not such a text, and for trees of other kinds than regression."""
        header, *blocks = text.split("\n\nend of trees", 1)[0].split("\nTree=")
        facts = _parse_facts(header)
        names = tuple(facts["feature_names"].split())
        if not facts["objective"].startswith("regression") or "sqrt" in facts["objective"] or facts["num_class"] != "1":
            raise ValueError(f"trees for {facts['objective']} are not read")
        return _join(names, [_parse_facts(block) for block in blocks])

    def predict(self, matrix: NDArray[np.float32], threads: int = 1) -> NDArray[np.float64]:
        """Sum over the trees for each row of matrix (rows, features), whose columns are `names`; NaN is missing."""
        result = np.empty(len(matrix), np.float64)

        def work(first: int) -> None:
            part = slice(first, first + _CHUNK)
            ranks = self._rank_values(matrix[part])
            descend(ranks, self.starts, self.column, self.rank, self.left, self.right, self.values, result[part])

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(0, len(matrix), _CHUNK)))
        return result

    def _rank_values(self, rows: NDArray[np.float32]) -> NDArray[np.unsignedinteger]:
        """(columns, rows): how many of the column's edges a value exceeds, or what sends a missing one its way."""
        most = max((len(edges) for edges in self.edges), default=0)
        ranks = np.empty((len(self.columns), len(rows)), np.uint8 if most < 255 else np.uint16)
        for index, column in enumerate(self.columns):
            values = np.ascontiguousarray(rows[:, column.feature])
            missing = np.isnan(values)
            np.copyto(ranks[index], np.searchsorted(self.edges[column.feature], values), casting="unsafe")
            if missing.any():
                zero = np.searchsorted(self.edges[column.feature], 0.0)
                ranks[index, missing] = {"left": 0, "right": most + 1, "zero": zero}[column.missing]
        return ranks


def _parse_facts(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


@dataclass(frozen=True)
class _Tree:
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    missing: tuple[str, ...]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> _Tree:
        if facts.get("is_linear", "0") != "0" or facts.get("num_cat", "0") != "0":
            raise ValueError("linear trees and categories are not read")
        values = np.array(facts["leaf_value"].split(), np.float64)
        if len(values) == 1:  # no node at all
            none = np.zeros(0, np.int64)
            return cls(none, np.zeros(0), (), none, none, values)
        numbers = {
            name: np.array(facts[name].split(), np.int64)
            for name in ("split_feature", "left_child", "right_child", "decision_type")
        }
        threshold = np.array(facts["threshold"].split(), np.float64)
        missing = tuple(_parse_missing(int(kind)) for kind in numbers["decision_type"])
        tree = cls(numbers["split_feature"], threshold, missing, numbers["left_child"], numbers["right_child"], values)
        tree.check()
        return tree

    def check(self) -> None:
        """Every node but the first and every leaf is the child of one earlier node, so that each descent ends."""
        count = len(self.threshold)
        children = np.concatenate([self.left, self.right])
        expected = np.concatenate([np.arange(-count - 1, 0), np.arange(1, count)])
        if len(self.values) != count + 1 or not np.array_equal(np.sort(children), expected):
            raise ValueError("a tree's nodes do not fit together")
        if any((side[side > 0] <= np.flatnonzero(side > 0)).any() for side in (self.left, self.right)):
            raise ValueError("a tree's nodes do not fit together")


def _parse_missing(kind: int) -> str:
    missing = _MISSING.get(kind >> 2)
    if kind & _CATEGORICAL or missing is None:
        raise ValueError(f"nodes of kind {kind} are not read")
    if missing == "zero":
        return missing
    return "left" if kind & _DEFAULT_LEFT else "right"


def _join(names: tuple[str, ...], blocks: list[dict[str, str]]) -> Trees:
    trees = [_Tree.of(block) for block in blocks]
    feature = _concatenate([tree.feature for tree in trees], np.int64)
    threshold = _concatenate([tree.threshold for tree in trees], np.float64)
    if len(feature) and not 0 <= feature.min() <= feature.max() < len(names):
        raise ValueError("a tree asks for a feature that is not listed")
    missing = [way for tree in trees for way in tree.missing]
    edges = tuple(np.unique(threshold[feature == index]) for index in range(len(names)))
    nodes = [_Column(int(f), way) for f, way in zip(feature, missing, strict=True)]
    columns = tuple(sorted(set(nodes)))
    position = {column: index for index, column in enumerate(columns)}
    rank = [int(np.searchsorted(edges[f], t)) for f, t in zip(feature, threshold, strict=True)]
    children = list(_offset_children(trees))
    return Trees(
        names=names,
        columns=columns,
        edges=edges,
        starts=np.cumsum([0, *(len(tree.feature) for tree in trees)]).astype(np.int32),
        column=np.array([position[node] for node in nodes], np.int32),
        rank=np.array(rank, np.int32),
        left=_concatenate([left for left, _ in children], np.int32),
        right=_concatenate([right for _, right in children], np.int32),
        values=_concatenate([tree.values for tree in trees], np.float64),
    )


def _offset_children(trees: list[_Tree]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Children of each tree as they are counted over all trees."""
    node = leaf = 0
    for tree in trees:
        left, right = (np.where(side >= 0, side + node, side - leaf) for side in (tree.left, tree.right))
        yield left, right
        node, leaf = node + len(tree.feature), leaf + len(tree.values)


def _concatenate(parts: Sequence[NDArray[Any]], kind: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, kind), *parts]).astype(kind)
