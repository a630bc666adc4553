"""What a training run does beside its steps: progress, validation, checkpoints, the model."""

from __future__ import annotations

import copy
import math
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from tqdm import tqdm

from schnetgen_pyg.data.batches import BatchSampler
from schnetgen_pyg.training.finite import require_finite_run
from schnetgen_pyg.training.module import RunModule

#: Seconds to the first line about a run without a terminal.
LINE = 10.0


class Resume(Callback):
    """Tell the batch sampler where the run stands and which process it serves; and the optimiser
    its learning rate, if that is another one than before."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        sampler = getattr(trainer.train_dataloader, "sampler", None)
        assert isinstance(sampler, BatchSampler)
        sampler.start = trainer.global_step
        sampler.rank, sampler.world_size = trainer.global_rank, trainer.world_size
        assert isinstance(module, RunModule)
        for schedule in trainer.lr_scheduler_configs:
            _set_rate(schedule.scheduler, module.config.learning_rate)


def _set_rate(schedule: Any, rate: float) -> None:
    """A checkpoint brings the learning rate that the run had: give it the one it is to have."""
    (before,) = schedule.base_lrs
    if before == rate:
        return
    schedule.base_lrs = [rate]
    for group in schedule.optimizer.param_groups:
        group["lr"] *= rate / before


class ProgressBar(TQDMProgressBar):
    """A bar that knows, also in a run that continues, where it stands and where it ends."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        super().on_train_start(trainer, module)
        bar = self.train_progress_bar
        bar.set_description("Training")
        bar.reset(total=trainer.max_steps)
        bar.initial = bar.n = trainer.global_step


class ProgressLines(Callback):
    """Where no terminal shows a bar: now and then a line, ever fewer of them."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.start, self.first = time.monotonic(), trainer.global_step
        self.next, self.wait = self.start + LINE, LINE

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        now, step = time.monotonic(), trainer.global_step
        if now < self.next or not trainer.is_global_zero or step == self.first:
            return
        left = (now - self.start) / (step - self.first) * (trainer.max_steps - step)
        found = ", ".join(f"{k} {v:.4g}" for k, v in trainer.progress_bar_metrics.items())
        done, left_text = (tqdm.format_interval(s) for s in (now - self.start, left))
        print(
            f"step {step:,} of {trainer.max_steps:,} after {done}, about {left_text} left: {found}",
            file=sys.stderr,
            flush=True,
        )
        self.wait *= 1.5
        self.next = now + self.wait


class Validation(Callback):
    """Log the errors of a validation, keep the best weights where they are wanted, lower the
    learning rate on a plateau, end the run when it stands.

    Comes before the averaging of weights in the list of callbacks: at the end of a validation the
    averaged ones are still in place.

    Args:
        best: file of the best weights, or nothing.
    """

    def __init__(self, best: Path | None):
        self.path = best
        self.best, self.stale, self.rate = math.inf, 0, 1.0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, RunModule)
        module.rate = self.rate
        self._end(trainer, module)

    def _end(self, trainer: pl.Trainer, module: RunModule) -> None:
        if module.config.patience and self.stale >= module.config.patience:
            trainer.should_stop = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, RunModule)
        errors = module.validation_errors()
        if errors["validation_loss"] < self.best:
            self.best, self.stale = errors["validation_loss"], 0
            if self.path is not None:
                module.model.provenance |= {"step": trainer.global_step, "metrics": errors}
                if trainer.is_global_zero:
                    module.model.save(self.path)
        else:
            self.stale += 1
            plateau = module.config.schedule == "plateau"
            if plateau and self.stale % module.config.plateau_patience == 0:
                self.rate = module.rate = 0.5 * self.rate
        module.log("validation_loss", errors.pop("validation_loss"), prog_bar=True)
        module.log_dict(errors | {"learning_rate": trainer.optimizers[0].param_groups[0]["lr"]})
        self._end(trainer, module)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "stale": self.stale, "rate": self.rate}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.stale = state_dict["best"], state_dict["stale"]
        self.rate = state_dict["rate"]


class Export(Callback):
    """Write the model (with averaged weights, if they are averaged) with every checkpoint."""

    def __init__(self, path: Path):
        self.path = path

    def on_save_checkpoint(
        self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if not trainer.is_global_zero:
            return
        assert isinstance(module, RunModule)
        prefix = "model."
        weights = {
            name.removeprefix(prefix): value
            for name, value in checkpoint["state_dict"].items()
            if name.startswith(prefix)
        }
        model = copy.deepcopy(module.model)
        model.load_state_dict(weights)
        model.provenance |= {"step": trainer.global_step, "metrics": metrics(trainer)}
        model.save(self.path)


class Checkpoint(Callback):
    """The state of the run every so many steps and after the last one; where a validation follows,
    after it, with what it decided.

    Lightning's own would miss the last step, or save it when averaged weights have already
    replaced the trained ones.

    Args:
        path: of the file.
        interval: steps between checkpoints.
        validation_interval: steps between validations.
    """

    def __init__(self, path: Path, interval: int, validation_interval: int):
        self.path, self.interval = path, interval
        self.validation_interval = validation_interval

    def _save(self, trainer: pl.Trainer) -> None:
        step = trainer.global_step
        if step % self.interval == 0 or step == trainer.max_steps or trainer.should_stop:
            assert isinstance(trainer.lightning_module, RunModule)
            require_finite_run(trainer.lightning_module)
            trainer.save_checkpoint(self.path, weights_only=False)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        follows = trainer.global_step % self.validation_interval == 0
        if not (trainer.enable_validation and follows):
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._save(trainer)


def metrics(trainer: pl.Trainer) -> dict[str, float]:
    """What was logged last, as plain numbers."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}
