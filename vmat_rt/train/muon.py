"""Muon: steps of one size in every direction of a filter bank, for networks that have few steps to learn in.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024): the momentum of a weight matrix is
replaced by the nearest matrix whose singular values are all about one, by Newton-Schulz iterations. A convolution is
the matrix (outputs, inputs x kernel).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, overload

import torch
from torch import Tensor

MOMENTUM: Final = 0.95
_ITERATIONS: Final = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315
"""The quintic of the source: fastest for small singular values; they end between about 0.7 and 1.2, not at one."""


class Muon(torch.optim.AdamW):
    """AdamW, but for groups with `orthogonal`: these are stepped along orthogonalised momentum (Nesterov).

    Their lr is the spectral norm of a step, times the square root of rows by columns where a matrix is tall.
    """

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of all groups."""
        every = self.param_groups
        self.param_groups = [group for group in every if not group["orthogonal"]]
        try:
            loss: float | None = super().step(closure)
        finally:
            self.param_groups = every
        for group in every:
            if group["orthogonal"]:
                self._step_matrices(group)
        return loss

    @torch.no_grad()
    def _step_matrices(self, group: dict[str, Any]) -> None:
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                # AdamW looks for a step in every state that it loads.
                state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(weight)}
            state["step"] += 1
            momentum = state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
            ahead = weight.grad.lerp(momentum, MOMENTUM)
            rows = weight.shape[0]
            change = orthogonalised(ahead.reshape(rows, -1))
            tall = max(1.0, rows / change.shape[1]) ** 0.5
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(change.reshape(weight.shape), alpha=-group["lr"] * tall)


def orthogonalised(matrix: Tensor) -> Tensor:
    """The matrix with its singular values, unless they are zero, brought close to one; in single precision.

    Each iteration multiplies it by a polynomial of its own square, which is a small matrix where it is wide: these are
    multiplied first, and the wide one once.
    """
    wide = matrix.float() if matrix.shape[0] <= matrix.shape[1] else matrix.float().T
    x: Tensor = wide / (wide.norm() + 1e-7)
    square = x @ x.T
    factor = one = torch.eye(len(square), dtype=square.dtype, device=square.device)
    for _ in range(_ITERATIONS):
        step = _A * one + _B * square + _C * square @ square
        factor, square = step @ factor, step @ square @ step
    x = factor @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T
