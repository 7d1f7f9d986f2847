"""Objective: network and losses as one module, so that whatever distributes its gradients sees all parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vmat_rt.nn.crop import body_box
from vmat_rt.nn.unet import UNet
from vmat_rt.train.batch import Batch
from vmat_rt.train.losses import WeightedLosses
from vmat_rt.train.muon import Muon
from vmat_rt.train.recipe import OptimiserSettings


class Objective(nn.Module):
    """forward(a batch's tensors by name) -> (loss, its terms by name). crop: on the box round the bodies only.

    device: where it will be trained. Channels last is what convolutions on a GPU want; on a CPU the gradients of group
    normalisation take 15 times as long in it (torch 2.13, bfloat16).
    """

    def __init__(self, network: UNet, losses: WeightedLosses, crop: bool = False, device: str = "cpu") -> None:
        super().__init__()
        self.crop = crop
        self._layout = torch.contiguous_format if device == "cpu" else torch.channels_last_3d
        if network.settings.residual_channel is not None:
            # A network that corrects a dose starts by leaving it as it is.
            for parameter in network.head.parameters():
                nn.init.zeros_(parameter)
        self.network = network.to(memory_format=self._layout)  # type: ignore[call-overload]
        self.losses = losses

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        batch = Batch(**tensors, keys=())
        if self.crop:
            batch = batch.within(body_box(batch.body[:, 0], 2**self.network.settings.levels))
        array = batch.array.contiguous(memory_format=self._layout)
        predicted = self.network(array, batch.condition)
        # The losses sum over millions of voxels: not in 16 bits.
        with torch.autocast(array.device.type, enabled=False):
            loss: tuple[Tensor, dict[str, Tensor]] = self.losses(predicted.float(), batch)
        return loss


def build_optimiser(objective: Objective, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """AdamW, or Muon where the settings have a matrix_lr, with decay on the network's weights and none on parameters of
    the losses. Each group's `scale` is its lr in units of learning_rate.
    """
    network, losses = list(objective.network.named_parameters()), list(objective.losses.parameters())
    ends = settings.matrix_ends
    matrices = [] if settings.matrix_lr is None else [p for name, p in network if _is_matrix(name, p, ends)]
    taken = {id(p) for p in matrices}
    others = [p for _, p in network if id(p) not in taken]
    plain = {"orthogonal": False, "scale": 1.0}
    groups = [
        {"params": others, "weight_decay": settings.weight_decay, **plain},
        {"params": losses, "weight_decay": 0.0, **plain},
    ]
    if settings.matrix_lr is not None:
        scale = settings.matrix_lr / settings.lr
        decay = settings.weight_decay / scale  # a step shrinks all weights alike
        groups.append({"params": matrices, "weight_decay": decay, "orthogonal": True, "scale": scale})
    kind = torch.optim.AdamW if settings.matrix_lr is None else Muon
    return kind([group for group in groups if group["params"]], lr=settings.lr)


def _is_matrix(name: str, parameter: nn.Parameter, ends: bool) -> bool:
    """Whether Muon is for it: what lies between the condition's embedding and the head, and is neither bias nor gain.

    Without `ends` neither what reads the input channels nor the matrices of FiLM.
    """
    outside = ("embed.", "head.") if ends else ("embed.", "head.", "encoder.0.first.", "encoder.0.shortcut.")
    return parameter.ndim > 1 and not name.startswith(outside) and (ends or ".film." not in name)


def learning_rate(step: int, steps: int, settings: OptimiserSettings) -> float:
    """For step 0 ... steps - 1: linear warm-up, then half a cosine from lr to lowest_lr (Loshchilov & Hutter 2017)."""
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(steps - 1 - settings.warmup, 1)
    return settings.lowest_lr + (settings.lr - settings.lowest_lr) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


@torch.no_grad()
def culprits(objective: Objective, batch: Batch) -> list[str]:
    """A sentence about each case of a batch whose inputs, dose or loss is not finite; to be called as training calls
    the objective, 16 bits and all.
    """
    return [said for i in range(len(batch)) if (said := _fault(objective, batch.case(i)))]


def _fault(objective: Objective, case: Batch) -> str:
    for name, tensor in case.tensors().items():
        wrong = tensor.numel() - int(torch.isfinite(tensor).sum())
        if wrong:
            return f"case {case.keys[0]}: {wrong} values of its {name} are not finite"
    total, terms = objective(case.tensors())
    if torch.isfinite(total):
        return ""
    broken = [name for name, value in terms.items() if not torch.isfinite(value)]
    return f"case {case.keys[0]}: the loss {', '.join(broken) or 'in sum'} is not finite"
