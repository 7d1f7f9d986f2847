"""train: recipe + cohort -> run folder. One loop; devices, precision and strategies are Lightning Fabric's."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from vmat_rt.cohort.store import Cohort
from vmat_rt.errors import ConfigError, ModelError
from vmat_rt.nn.device import choose_dtype
from vmat_rt.nn.infer import Plan
from vmat_rt.nn.unet import UNet
from vmat_rt.system.publish import require_writable
from vmat_rt.train.augment import Augmentation
from vmat_rt.train.batch import Batch
from vmat_rt.train.checkpoint import (
    Progress,
    load_checkpoint,
    random_states,
    restore_random_states,
    save_checkpoint,
)
from vmat_rt.train.devices import gathered, is_first_process, make_fabric, training_device
from vmat_rt.train.ema import Average
from vmat_rt.train.feed import Feed, epoch_draws, steps_an_epoch
from vmat_rt.train.losses import build_losses
from vmat_rt.train.material import Material, gather
from vmat_rt.train.objective import Objective, build_optimiser, culprits, learning_rate
from vmat_rt.train.package import package_run
from vmat_rt.train.precision import require_true_gradients, settle_precision
from vmat_rt.train.recipe import Recipe
from vmat_rt.train.run_folder import RunFolder, hardware
from vmat_rt.train.validate import Validator, summarise

log = logging.getLogger("vmat_rt")


def train(
    recipe: Recipe, cohort: Cohort, out: Path, seed: int = 42, devices: int = 1, resume: bool = False
) -> dict[str, Any]:
    """Train, and leave everything in the folder `out`. Returns the content of its summary.json.

    Encoded examples are kept beside it, in `out`/../cache, for other runs. devices: GPUs, or processes where there is
    no GPU, on this machine; under torchrun, as many as it started. Raises ConfigError for a recipe that does not fit
    the cohort or the machine, ModelError when loss or gradient is no longer finite (the last good checkpoint stays).
    """
    folder = RunFolder(out)
    if is_first_process():
        require_writable(out)
        folder.refuse_other_run(resume)
        if resume and not folder.last.exists():
            log.warning("%s holds no checkpoint to go on from: this starts at the first epoch", out)
    recipe = settle_precision(recipe, training_device())
    fabric = make_fabric(recipe, devices)
    material = gather(recipe, cohort, seed, out.parent / "cache")
    recipe = material.recipe
    whole = material.examples[material.train[0]].dose.shape
    # A patch is never larger than the grid that it is cut from.
    shape = tuple(map(min, recipe.patch.shape, whole)) if recipe.patch else whole
    require_true_gradients(recipe.precision, fabric.device.type, shape, recipe.unet.levels)
    fabric.launch()
    _begin(folder, material, fabric)
    try:
        return Training(material, fabric, folder).run()
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"{fabric.device} has too little memory for a share of {recipe.batch // fabric.world_size} in each step: "
            "lower batch, unet.width or patch.shape, or set crop=true or coarsen=2"
        ) from error


def _begin(folder: RunFolder, material: Material, fabric: Fabric) -> None:
    """The first process opens the folder; when it must not, every process says so, and none waits for it."""
    refused: str | None = None
    if fabric.is_global_zero:
        try:
            folder.begin(material, fabric.device, fabric.world_size)
        except ConfigError as error:
            refused = str(error)
    refused = fabric.broadcast(refused)
    if refused is not None:
        raise ConfigError(refused)


class Training:
    """The state of a run, and the loop over it."""

    def __init__(self, material: Material, fabric: Fabric, folder: RunFolder) -> None:
        recipe = material.recipe
        self.material, self.recipe, self.fabric, self.folder = material, recipe, fabric, folder
        torch.manual_seed(material.seed)
        network = UNet(material.network.unet, len(material.channels.names), material.channels.condition_size)
        losses = build_losses(recipe.losses, material.table, recipe.uncertainty)
        self.objective = Objective(network, losses, recipe.crop, fabric.device.type)
        if material.start is not None:
            self.objective.network.load_state_dict(dict(material.start.weights))
        self.raw_optimiser = build_optimiser(self.objective, recipe.optimiser)
        self.model, self.optimiser = fabric.setup(self.objective, self.raw_optimiser)
        self.average = Average(self.objective.network, recipe.ema)
        self.augment = Augmentation(recipe.augmentation, material.channels, material.table)
        self.feed = Feed(material.examples, recipe.patch, recipe.batch, fabric.global_rank, fabric.world_size)
        plan = Plan.of(material.network, material.channels)
        self.validator = Validator(material.examples, material.table, material.network, plan)
        self.progress = Progress()
        self.draws = lambda epoch: epoch_draws(material.train, recipe.per_case, recipe.batch, material.seed, epoch)
        self.steps = steps_an_epoch(len(material.train), recipe.per_case, recipe.batch)
        self.hardware = hardware(fabric.device, fabric.world_size)
        self.board: SummaryWriter | None = None
        if folder.last.exists():
            self.restore()

    def run(self) -> dict[str, Any]:
        """All epochs that are left."""
        done = self.progress.epoch * self.steps + self.progress.step
        if self.fabric.is_global_zero:
            self.board = SummaryWriter(str(self.folder.tensorboard), purge_step=done)
        hidden = None if self.fabric.is_global_zero else True
        with tqdm(total=self.recipe.epochs * self.steps, initial=done, unit="step", disable=hidden) as bar:
            while self.progress.epoch < self.recipe.epochs and not self.out_of_patience:
                self.epoch(bar)
        if self.board is not None:
            self.board.close()
        return self.finish()

    @property
    def out_of_patience(self) -> bool:
        patience = self.recipe.validation.patience
        return patience is not None and self.progress.waited >= patience

    def epoch(self, bar: tqdm[Any]) -> None:
        """The rest of an epoch, its validation and its checkpoint."""
        progress, started = self.progress, time.perf_counter()
        bar.set_description(f"epoch {progress.epoch + 1}/{self.recipe.epochs}")
        self.model.train()
        for batch, generators in self.feed.batches(self.draws(progress.epoch), progress.step):
            loss = self.step(self.augment(batch.to(self.fabric.device), generators))
            progress.step += 1
            bar.update()
            bar.set_postfix(loss=f"{loss:.5f}", refresh=False)
            every = self.recipe.checkpoint_steps
            if every and progress.step % every == 0 and progress.step < self.steps:
                progress.seconds += time.perf_counter() - started
                started = time.perf_counter()
                self.save()
        progress.seconds += time.perf_counter() - started
        self.close_epoch()

    def step(self, batch: Batch) -> float:
        """One update of the weights. Returns the loss, the mean over devices."""
        number = self.progress.epoch * self.steps + self.progress.step
        rate = learning_rate(number, self.recipe.epochs * self.steps, self.recipe.optimiser)
        for group in self.raw_optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        self.objective.losses.done = number / (self.recipe.epochs * self.steps)
        total, terms = self.model(batch.tensors())
        values = self.reduced({"loss": total.detach(), **{f"loss_{name}": value for name, value in terms.items()}})
        if not all(math.isfinite(value) for value in values.values()):
            raise self.not_finite("loss", batch)
        self.fabric.backward(total)
        norm = self.fabric.clip_gradients(
            self.model, self.optimiser, max_norm=self.recipe.optimiser.clip, error_if_nonfinite=False
        )
        # In float16 gradients overflow now and then; its scaler then leaves out the step.
        if self.recipe.precision != "16-mixed" and norm is not None and not torch.isfinite(norm):
            raise self.not_finite("gradient", batch)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.average.update(self.objective.network)
        for name, value in values.items():
            self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(f"step/{name}", value, number)
        return values["loss"]

    def not_finite(self, what: str, batch: Batch) -> ModelError:
        """What to say of it; no weight has been changed. Every device must call this."""
        with self.fabric.autocast():
            found = gathered(self.fabric, culprits(self.objective, batch))
        said = (
            "; ".join(found)
            or f"inputs and losses of the cases {', '.join(gathered(self.fabric, batch.keys))} are, each alone"
        )
        return ModelError(
            f"the {what} is not finite in step {self.progress.step + 1} of epoch {self.progress.epoch + 1}: {said}. "
            "Earlier checkpoints are as they were."
        )

    def reduced(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Mean over devices."""
        stacked = torch.stack([value.float() for value in values.values()])
        if self.fabric.world_size > 1:
            stacked = cast(Tensor, self.fabric.all_reduce(stacked, reduce_op="mean"))
        return dict(zip(values, stacked.tolist(), strict=True))

    def close_epoch(self) -> None:
        """Validate where it is due, note the epoch, keep the best weights, save."""
        progress, settings = self.progress, self.recipe.validation
        number = (progress.epoch + 1) * self.steps - 1
        row = {"epoch": progress.epoch, "lr": self.raw_optimiser.param_groups[0]["lr"]}
        row |= {name: value / self.steps for name, value in progress.sums.items()}
        last = progress.epoch + 1 == self.recipe.epochs
        if last or (progress.epoch + 1) % settings.every == 0:
            metrics = self.validate()
            row |= metrics
            self.judge(metrics)
        row["seconds"] = progress.seconds
        progress.history.append(row)
        progress.epoch, progress.step, progress.sums = progress.epoch + 1, 0, {}
        if self.board is not None:
            for name, value in row.items():
                self.board.add_scalar(f"epoch/{name}", value, number)
            self.board.flush()
            said = ", ".join(f"{name} {value:.5g}" for name, value in row.items() if name != "epoch")
            log.info("epoch %d: %s", progress.epoch, said)
        self.save()

    def validate(self) -> dict[str, float]:
        """Metrics of the averaged weights; every device takes its share of the cases."""
        mine = self.material.validation[self.fabric.global_rank :: self.fabric.world_size]
        device = self.fabric.device
        dtype = choose_dtype(device, "auto")  # as in prediction
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            scores = [self.validator.score(self.average.network, key, device) for key in mine]
        return summarise(gathered(self.fabric, scores))

    def judge(self, metrics: dict[str, float]) -> None:
        """Keep the averaged weights, as a checkpoint and as a bundle, when the chosen metric is the best so far."""
        progress, name = self.progress, self.recipe.validation.metric
        if name not in metrics:
            raise ConfigError(f"no validation case has {name}; there are {', '.join(sorted(metrics))}")
        if progress.best is not None and metrics[name] >= progress.best:
            progress.waited += 1
            return
        progress.best, progress.best_epoch, progress.waited = metrics[name], progress.epoch, 0
        if self.fabric.is_global_zero:
            weights = self.average.network.state_dict()
            save_checkpoint(self.folder.best, {"network": weights, "epoch": progress.epoch, "metrics": metrics})
            package_run(self.folder.bundle, self.material, weights, metrics, self.hardware)

    def save(self) -> None:
        """last.pt, then metrics.csv, by the first device; the others wait."""
        if self.fabric.is_global_zero:
            state = {
                "objective": self.objective.state_dict(),
                "average": self.average.network.state_dict(),
                "updates": self.average.updates,
                "optimiser": self.raw_optimiser.state_dict(),
                "scaler": self.fabric.strategy.precision.state_dict(),
                "progress": asdict(self.progress),
                "random": random_states(),
            }
            save_checkpoint(self.folder.last, state)
            self.folder.write_history(self.progress.history)
        self.fabric.barrier()

    def restore(self) -> None:
        """Go on from last.pt."""
        state = load_checkpoint(self.folder.last)
        self.objective.load_state_dict(state["objective"])
        self.average.network.load_state_dict(state["average"])
        self.average.updates = state["updates"]
        self.raw_optimiser.load_state_dict(state["optimiser"])
        self.fabric.strategy.precision.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])
        restore_random_states(state["random"])

    def finish(self) -> dict[str, Any]:
        """summary.json: how it ended."""
        progress = self.progress
        summary = {
            "recipe": self.recipe.name,
            "seed": self.material.seed,
            "epochs": progress.epoch,
            "stopped": "early" if progress.epoch < self.recipe.epochs else "after all epochs",
            "metric": self.recipe.validation.metric,
            "best": progress.best,
            "best_epoch": progress.best_epoch + 1,
            "validation": next((row for row in progress.history if row["epoch"] == progress.best_epoch), {}),
            "cases": {"train": len(self.material.train), "validation": len(self.material.validation)},
            "steps": progress.epoch * self.steps,
            "seconds": progress.seconds,
            "seconds_a_step": progress.seconds / max(progress.epoch * self.steps, 1),
            "hardware": self.hardware,
        }
        if self.fabric.is_global_zero:
            self.folder.write_summary(summary)
        return summary
