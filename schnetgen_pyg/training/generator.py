"""Training of generators with Lightning: seeded, resumable, logged."""

from __future__ import annotations

import copy
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch import Tensor
from torch.utils.data import DataLoader
from torch_geometric.data import Data

from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.data.batches import BatchSampler, seeded
from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.data.splits import split
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.generator.losses import losses
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.generate import sample
from schnetgen_pyg.storage.provenance import provenance
from schnetgen_pyg.training.callbacks import (
    LAST,
    Checkpoint,
    Export,
    metrics,
)
from schnetgen_pyg.training.trainer import make_trainer, require_choices


@dataclass(frozen=True)
class TrainingConfig:
    """How a generator is trained; the defaults are the paper's where it states them.

    Attributes:
        steps: optimiser steps in all; a larger number continues a finished run.
        batch_size: molecules per step.
        learning_rate: of Adam.
        schedule: of the learning rate: constant, or cosine (to a hundredth at the last step).
        warmup: steps in which the learning rate rises from 0.
        position_noise: largest standard deviation in Å of the noise on placed positions.
        partial_molecules: random partial molecules of each molecule per step; 0 for all.
        hydrogen_steps: random partial molecules of each molecule per step to which a hydrogen is
            added, beside all to which something else is; 0 for all.
        ema_decay: decay of an exponential moving average of the weights; 0 for none.
        gradient_clip: largest norm of the gradient; 0 for no clipping.
        num_validation: structures held out of the data for the validation loss.
        validation_interval: steps between validations.
        num_samples: molecules generated at each validation, for the share of valid ones.
        checkpoint_interval: steps between checkpoints.
        seed: of the split, the batches, the orders and the weights.
        accelerator: Lightning's name: auto, cpu, gpu, …
        devices: Lightning's number of devices, or auto.
        strategy: Lightning's name of how several devices share the work: auto, ddp, …
        precision: Lightning's name; all of them sample in single precision.
    """

    steps: int = 20_000
    batch_size: int = 20
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    position_noise: float = 0.0
    partial_molecules: int = 0
    hydrogen_steps: int = 0
    ema_decay: float = 0.0
    gradient_clip: float = 0.0
    num_validation: int = 100
    validation_interval: int = 1_000
    num_samples: int = 100
    checkpoint_interval: int = 250
    seed: int = 0
    accelerator: str = "auto"
    devices: int | str = "auto"
    strategy: str = "auto"
    precision: Literal["32-true", "64-true", "16-mixed", "bf16-mixed"] = "32-true"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validation_interval", "checkpoint_interval"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in (
            "partial_molecules",
            "hydrogen_steps",
            "gradient_clip",
            "num_validation",
            "num_samples",
            "warmup",
            "position_noise",
            "seed",
        ):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "positive")
        require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "between 0 and 1")
        require_choices(self)


class GeneratorModule(pl.LightningModule):
    """The sum of `schnetgen_pyg.generator.losses.losses`: for the paper's model, its loss."""

    def __init__(self, model: SchNetGen, config: TrainingConfig, formulas: Sequence[Tensor] = ()):
        super().__init__()
        self.model = model
        self.config = config
        self.formulas = formulas

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.config.learning_rate)
        steps, warmup = self.config.steps, self.config.warmup

        def factor(step: int) -> float:
            rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
            if self.config.schedule == "constant":
                return rise
            return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def losses(self, molecules: Data, *seed: int) -> dict[str, Tensor]:
        return losses(
            self.model,
            molecules,
            seeded(self.config.seed, *seed),
            noise=self.config.position_noise,
            num_steps=self.config.partial_molecules,
            num_hydrogen_steps=self.config.hydrogen_steps,
        )

    def training_step(self, molecules: Data, _: int) -> Tensor:
        parts = self.losses(molecules, self.global_step, 2, self.global_rank)
        loss: Tensor = torch.stack(list(parts.values())).sum()
        size = molecules.ptr.numel() - 1
        self.log("loss", loss, prog_bar=True, batch_size=size)
        self.log_dict({f"{name}_loss": value for name, value in parts.items()}, batch_size=size)
        return loss

    def validation_step(self, molecules: Data, index: int) -> None:
        parts = self.losses(molecules, index, 3)
        loss = torch.stack(list(parts.values())).sum()
        size = molecules.ptr.numel() - 1
        self.log("validation_loss", loss, prog_bar=True, batch_size=size, sync_dist=True)
        self.log_dict(
            {f"validation_{name}_loss": value for name, value in parts.items()},
            batch_size=size,
            sync_dist=True,
        )

    def on_validation_batch_end(
        self, outputs: Any, batch: Data, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        # Here, not at the end of the epoch: averaged weights have left by then; nor in the step,
        # whose operations may be of another precision than the sampler's.
        if batch_idx == 0 and self.config.num_samples:
            self.log("valid", self.share_valid(), prog_bar=True, batch_size=1, sync_dist=True)

    def share_valid(self) -> float:
        """Share of valid structures among freshly generated ones of the data's formulas."""
        model = copy.deepcopy(self.model).float()
        chosen = torch.randint(
            len(self.formulas),
            (self.config.num_samples,),
            generator=seeded(self.config.seed, self.global_step, 4),
        )
        counts = Counter(tuple(self.formulas[k].sort().values.tolist()) for k in chosen.tolist())
        done = valid = 0
        for numbers, count in counts.items():
            molecules = sample(model, numbers, count, seed=self.global_step, first=done)
            valid += sum(perceive(atoms).valid for atoms in molecules)
            done += count
        return valid / self.config.num_samples


def _check_continues(out: Path, model: SchNetGen) -> None:
    """Refuse a folder that holds the run of another architecture."""
    if not (out / "model.safetensors").is_file():
        return
    here = asdict(model.config)
    there = asdict(SchNetGen.from_pretrained(out / "model.safetensors").config)
    changed = [name for name in here if here[name] != there[name]]
    if changed:
        raise InputError(
            f"{out}: holds a run with other values of {', '.join(changed)}; use the same ones "
            "to continue it, or another folder"
        )


def _check_elements(model: SchNetGen, data: Sequence[Data]) -> None:
    present = {int(n) for d in data for n in d.z.unique()}
    unseen = sorted(present - set(model.config.elements))
    if unseen:
        raise InputError(
            f"the data hold atomic numbers {unseen}, the model is for "
            f"{list(model.config.elements)}; build it with their union"
        )


def _trainer(config: TrainingConfig, out: Path) -> pl.Trainer:
    callbacks: list[Callback] = []
    if config.ema_decay:
        callbacks.append(EMAWeightAveraging(decay=config.ema_decay))
    callbacks += [
        Export(out / "model.safetensors"),
        Checkpoint(out / LAST, config.checkpoint_interval),
    ]
    return make_trainer(config, out, callbacks, val_check_interval=config.validation_interval)


def _loader(data: Sequence[Data], indices: Sequence[int], sampler: Any) -> DataLoader[Data]:
    return DataLoader(Molecules([data[k] for k in indices]), sampler=sampler, batch_size=None)


def fit(
    model: SchNetGen,
    structures: Any,
    out: str | os.PathLike[str],
    config: TrainingConfig | None = None,
    **changes: Any,
) -> SchNetGen:
    """Train a generator, or continue the run in ``out``.

    A run that was stopped, also by ``kill -9``, continues from its last checkpoint and ends with
    the weights of an uninterrupted one.

    Args:
        model: the generator to train; in a run that continues, its weights are replaced.
        structures: ``Data``, ASE ``Atoms`` or a PyG dataset.
        out: folder of the run: ``model.safetensors``, ``last.ckpt`` and the ``previous.ckpt``
            before it, ``split.json`` (indices of the structures), ``logs/`` (CSV and TensorBoard).
        config: settings; keyword arguments replace its fields.

    Returns:
        the trained generator (with averaged weights, if they are averaged).

    Raises:
        InputError: if the data, the settings or the run in ``out`` do not go together.
    """
    config = replace(config or TrainingConfig(), **changes)
    out = Path(out)
    data = [Data(z=d.z, pos=d.pos) for d in as_data(structures)]
    _check_elements(model, data)
    out.mkdir(parents=True, exist_ok=True)
    _check_continues(out, model)
    trainer = _trainer(config, out)
    # In a single atom there is nothing to place.
    chosen = split(
        data,
        num_validation=config.num_validation,
        seed=config.seed,
        path=out / "split.json",
        min_atoms=2,
    )
    train, validation = chosen["train"], chosen["validation"]
    batches = BatchSampler(len(train), config.batch_size, config.steps, config.seed)
    parts = [list(part) for part in torch.arange(len(validation)).split(100)]
    module = GeneratorModule(model, config, [data[k].z for k in train])
    model.provenance = {"training": asdict(config), "num_training": len(train)} | provenance()
    last = out / LAST
    trainer.fit(
        module,
        _loader(data, train, batches),
        _loader(data, validation, parts) if validation else None,
        weights_only=True,
        ckpt_path=last if last.is_file() else None,
    )
    trained = SchNetGen.from_pretrained(out / "model.safetensors")
    if trainer.is_global_zero and metrics(trainer):
        trained.provenance["metrics"] = metrics(trainer)
        trained.save(out / "model.safetensors")
    return trained
