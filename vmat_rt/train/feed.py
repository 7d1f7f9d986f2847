"""Feed: which case and which part of it each step sees. All follows from the seed, the epoch and the place in it, so
that a run resumes anywhere, and on any number of devices, with the batches that it would have had.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vmat_rt.train.batch import Batch, collate
from vmat_rt.train.examples import Example, Examples
from vmat_rt.train.recipe import PatchSettings

_AHEAD = 3


@dataclass(frozen=True)
class Draw:
    """One element of an epoch: a case and its place in the order."""

    key: str
    seed: int
    epoch: int
    place: int

    def random(self) -> np.random.Generator:
        """For where its patch lies."""
        return np.random.default_rng((self.seed, self.epoch, self.place, 1))

    def generator(self) -> torch.Generator:
        """For its augmentation."""
        state = np.random.SeedSequence((self.seed, self.epoch, self.place, 2)).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state[0]) >> 1)


def epoch_draws(keys: Sequence[str], per_case: int, batch: int, seed: int, epoch: int) -> tuple[Draw, ...]:
    """Every case per_case times in random order; begins anew where the last batch would not be full."""
    repeated = [key for key in keys for _ in range(per_case)]
    order = np.random.default_rng((seed, epoch, 0)).permutation(len(repeated))
    count = steps_an_epoch(len(keys), per_case, batch) * batch
    return tuple(Draw(repeated[order[i % len(order)]], seed, epoch, i) for i in range(count))


def steps_an_epoch(cases: int, per_case: int, batch: int) -> int:
    """Batches in which every case was seen per_case times."""
    return -(-cases * per_case // batch)


class Feed:
    """The batches of an epoch for one of `world` devices, read ahead by threads."""

    def __init__(
        self, examples: Examples, patch: PatchSettings | None, batch: int, rank: int = 0, world: int = 1
    ) -> None:
        self._examples, self._patch = examples, patch
        self._batch, self._rank, self._world = batch, rank, world

    def batches(self, draws: Sequence[Draw], first_step: int = 0) -> Iterator[tuple[Batch, list[torch.Generator]]]:
        """The share of this device in each global batch from first_step on, with a generator a case."""
        share = self._batch // self._world
        starts = range(first_step * self._batch + self._rank * share, len(draws), self._batch)
        parts = [draws[start : start + share] for start in starts]
        with ThreadPoolExecutor(_AHEAD) as pool:
            waiting: list[Future[Batch]] = []
            for index, part in enumerate(parts):
                waiting += [pool.submit(self._read, ahead) for ahead in parts[index + len(waiting) : index + _AHEAD]]
                yield waiting.pop(0).result(), [draw.generator() for draw in part]

    def _read(self, draws: Sequence[Draw]) -> Batch:
        return collate([part_of(self._examples[draw.key], self._patch, draw.random()) for draw in draws])


def part_of(example: Example, patch: PatchSettings | None, random: np.random.Generator) -> Batch:
    """The whole example, or a patch of it, as a batch of one."""
    size = example.dose.shape
    box = tuple(slice(0, n) for n in size)
    if patch is not None:
        start = patch_start(example.dose, patch, random)
        box = tuple(slice(a, a + min(p, n)) for a, p, n in zip(start, patch.shape, size, strict=True))
    structures = example.structures[(slice(None), *box)]
    whole = structures.sum(axis=(1, 2, 3), dtype=np.int64) == example.totals
    present = example.totals > 0
    return Batch(
        array=_tensor(example.array[(slice(None), *box)])[None],
        condition=_tensor(example.condition)[None],
        dose=_tensor(example.dose[box])[None, None],
        body=_tensor(example.body[box])[None, None],
        structures=_tensor(structures)[None],
        present=_tensor(present)[None],
        whole=_tensor(whole & present)[None],
        highest_gy=torch.tensor([example.highest_gy], dtype=torch.float32),
        voxel_mm=torch.tensor([example.spacing_mm], dtype=torch.float32),
        keys=(example.key,),
    )


def patch_start(
    dose: np.ndarray[tuple[int, ...], np.dtype[np.float32]], patch: PatchSettings, random: np.random.Generator
) -> list[int]:
    """First voxel (z, y, x) of a patch within the grid; see PatchSettings for where its middle may lie."""
    last = [max(n - p, 0) for n, p in zip(dose.shape, patch.shape, strict=True)]
    centred = random.random() < patch.centred_share
    anywhere = [int(random.integers(0, free + 1)) for free in last]
    if not centred:
        return anywhere
    high = np.flatnonzero(np.asarray(dose).ravel() > patch.above_percent / 100)
    if not high.size:
        return anywhere
    middle = np.unravel_index(high[random.integers(high.size)], dose.shape)
    return [int(np.clip(m - p // 2, 0, free)) for m, p, free in zip(middle, patch.shape, last, strict=True)]


def _tensor(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Tensor:
    # A copy: pages are read from disk here, in the thread, and torch wants memory that it may write to.
    return torch.from_numpy(np.array(array))
