"""Training of generators with Lightning: seeded, resumable, logged."""

from __future__ import annotations

import json
import math
import os
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EMAWeightAveraging,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torch_geometric.data import Batch, Data
from torch_geometric.utils import cumsum

from .chemistry import perceive
from .generator import SchNetGen
from .graphs import ranges
from .losses import losses
from .sampling import sample
from .structures import InputError, as_data, replacing, require

CHECKPOINT = "last.ckpt"


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
        ema_decay: decay of an exponential moving average of the weights; 0 for none.
        gradient_clip: largest norm of the gradient; 0 for no clipping.
        num_validation: structures held out of the data for the validation loss.
        validation_interval: steps between validations.
        num_samples: molecules generated at each validation, for the share of valid ones.
        checkpoint_interval: steps between checkpoints.
        seed: of the split, the batches, the orders and the weights.
        accelerator: Lightning's name: auto, cpu, gpu, …
        devices: Lightning's number of devices, or auto.
        precision: Lightning's name: 32-true, bf16-mixed, …
    """

    steps: int = 20_000
    batch_size: int = 20
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    position_noise: float = 0.0
    partial_molecules: int = 0
    ema_decay: float = 0.0
    gradient_clip: float = 0.0
    num_validation: int = 100
    validation_interval: int = 1_000
    num_samples: int = 100
    checkpoint_interval: int = 250
    seed: int = 0
    accelerator: str = "auto"
    devices: str = "auto"
    precision: str = "32-true"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validation_interval", "checkpoint_interval"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in (
            "partial_molecules",
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


def seeded(*numbers: int) -> torch.Generator:
    """A generator whose stream is fixed by all the numbers together."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


class Molecules(Dataset[Data]):
    """Structures in one PyG batch, from which any molecules are taken by index arithmetic."""

    def __init__(self, structures: Sequence[Data]):
        whole = Batch.from_data_list(list(structures))
        self.z, self.pos, self.ptr = whole.z, whole.pos, whole.ptr

    def __len__(self) -> int:
        return self.ptr.numel() - 1

    def __getitem__(self, molecules: Sequence[int]) -> Data:
        """A batch of the molecules with these indices."""
        chosen = torch.as_tensor(molecules)
        counts = self.ptr.diff()[chosen]
        batch, place = ranges(counts)
        atom = self.ptr[chosen][batch] + place
        return Data(z=self.z[atom], pos=self.pos[atom], batch=batch, ptr=cumsum(counts))


class BatchSampler(Sampler[list[int]]):
    """Molecules of every training step, a function of the seed and the step alone.

    Each pass over the data is a new permutation. A resumed run begins at its step, and each of
    several processes takes its own share of the batch.
    """

    def __init__(self, num_molecules: int, batch_size: int, num_steps: int, seed: int):
        self.num_molecules = num_molecules
        self.batch_size = min(batch_size, num_molecules)
        self.num_steps = num_steps
        self.seed = seed
        self.start, self.rank, self.world_size = 0, 0, 1

    def __len__(self) -> int:
        return self.num_steps

    def batch(self, step: int) -> list[int]:
        per_pass = math.ceil(self.num_molecules / self.batch_size)
        epoch, place = divmod(step, per_pass)
        order = torch.randperm(self.num_molecules, generator=seeded(self.seed, epoch, 1))
        chosen = order[place * self.batch_size : (place + 1) * self.batch_size]
        if len(chosen) < self.world_size:  # a short last batch: every process needs a molecule
            chosen = chosen.repeat(self.world_size)[: self.world_size]
        return chosen[self.rank :: self.world_size].tolist()

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.num_steps):
            yield self.batch(step)


class GeneratorModule(pl.LightningModule):
    """The sum of `schnetgen_pyg.losses.losses`: for the paper's model, its loss."""

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
        if index == 0 and self.config.num_samples:
            # Here, not at the end of the epoch: averaged weights have left by then.
            self.log("valid", self.share_valid(), prog_bar=True, batch_size=1, sync_dist=True)
        self.log_dict(
            {f"validation_{name}_loss": value for name, value in parts.items()},
            batch_size=size,
            sync_dist=True,
        )

    def share_valid(self) -> float:
        """Share of valid structures among freshly generated ones of the data's formulas."""
        chosen = torch.randint(
            len(self.formulas),
            (self.config.num_samples,),
            generator=seeded(self.config.seed, self.global_step, 4),
        )
        counts = Counter(tuple(self.formulas[k].sort().values.tolist()) for k in chosen.tolist())
        done = valid = 0
        for numbers, count in counts.items():
            molecules = sample(self.model, numbers, count, seed=self.global_step, first=done)
            valid += sum(perceive(atoms).valid for atoms in molecules)
            done += count
        self.model.train()
        return valid / self.config.num_samples


class _Resume(Callback):
    """Tell the batch sampler where the run stands and which process it serves."""

    def __init__(self, sampler: BatchSampler):
        self.sampler = sampler

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.sampler.start = trainer.global_step
        self.sampler.rank, self.sampler.world_size = trainer.global_rank, trainer.world_size


class _ProgressBar(TQDMProgressBar):
    """A bar that knows, also in a run that continues, where it stands and where it ends."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        super().on_train_start(trainer, module)
        bar = self.train_progress_bar
        bar.set_description("Training")
        bar.reset(total=trainer.max_steps)
        bar.initial = bar.n = trainer.global_step


def _metrics(trainer: pl.Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


class _Checkpoint(Callback):
    """The state of the run every so many steps and after the last one.

    Lightning's own would miss the last step, or save it when averaged weights have already
    replaced the trained ones.
    """

    def __init__(self, path: Path, config: TrainingConfig):
        self.path = path
        self.config = config

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        step = trainer.global_step
        if step % self.config.checkpoint_interval == 0 or step == self.config.steps:
            trainer.save_checkpoint(self.path)


class _Export(Callback):
    """Write ``model.safetensors`` (averaged weights, if they are averaged) with a checkpoint."""

    def __init__(self, path: Path):
        self.path = path

    def on_save_checkpoint(
        self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        assert isinstance(module, GeneratorModule)
        if trainer.is_global_zero:
            prefix = "model."
            weights = {
                k[len(prefix) :]: v
                for k, v in checkpoint["state_dict"].items()
                if k.startswith(prefix)
            }
            model = SchNetGen(module.model.config)
            model.load_state_dict(weights)
            model.provenance = module.model.provenance | {
                "step": trainer.global_step,
                "metrics": _metrics(trainer),
            }
            model.save(self.path)


def provenance() -> dict[str, Any]:
    """What a result should be quoted with: time, machine and versions."""
    packages = ("schnetgen_pyg", "torch", "torch-geometric", "lightning")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "versions": {name: version(name) for name in packages}
        | {"python": platform.python_version()},
    }


def split(
    num_structures: int, num_validation: int, seed: int, path: Path | None = None
) -> tuple[list[int], list[int]]:
    """Indices of training and validation structures; kept in ``path`` (JSON) once drawn."""
    if path is not None and path.is_file():
        try:
            saved = json.loads(path.read_text())
            assert {"num_structures", "train", "validation"} <= saved.keys()
        except (ValueError, AssertionError, AttributeError) as error:
            raise InputError(f"{path}: damaged; remove it to draw the split anew") from error
        if saved["num_structures"] != num_structures:
            raise InputError(
                f"{path}: the split is of {saved['num_structures']} structures, the "
                f"data hold {num_structures}; use the same data or another folder"
            )
        return saved["train"], saved["validation"]
    if num_validation >= num_structures:
        raise InputError(
            f"cannot hold out {num_validation} of {num_structures} structures; lower num_validation"
        )
    order = torch.randperm(num_structures, generator=seeded(seed, 0)).tolist()
    train, validation = sorted(order[num_validation:]), sorted(order[:num_validation])
    if path is not None:
        with replacing(path) as temporary:
            temporary.write_text(
                json.dumps(
                    {
                        "num_structures": num_structures,
                        "seed": seed,
                        "train": train,
                        "validation": validation,
                    }
                )
            )
    return train, validation


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
        out: folder of the run: ``model.safetensors``, ``last.ckpt``, ``split.json``, ``logs/``
            (CSV and TensorBoard).
        config: settings; keyword arguments replace its fields.

    Returns:
        the trained generator (with averaged weights, if they are averaged).
    """
    config = replace(config or TrainingConfig(), **changes)
    out = Path(out)
    data = [Data(z=d.z, pos=d.pos) for d in as_data(structures) if d.z.numel() > 1]
    present = {int(n) for d in data for n in d.z.unique()}
    unseen = sorted(present - set(model.config.elements))
    if unseen:
        raise InputError(
            f"the data hold atomic numbers {unseen}, the model is for "
            f"{list(model.config.elements)}; build it with their union"
        )
    out.mkdir(parents=True, exist_ok=True)
    _check_continues(out, model)
    train, validation = split(len(data), config.num_validation, config.seed, out / "split.json")
    sampler = BatchSampler(len(train), config.batch_size, config.steps, config.seed)
    loader = DataLoader(Molecules([data[i] for i in train]), sampler=sampler, batch_size=None)
    held_out = None
    if validation:
        parts = [list(part) for part in torch.arange(len(validation)).split(100)]
        held_out = DataLoader(
            Molecules([data[i] for i in validation]), sampler=parts, batch_size=None
        )
    module = GeneratorModule(model, config, [data[i].z for i in train])
    model.provenance = {"training": asdict(config), "num_training": len(train)} | provenance()
    last = out / CHECKPOINT
    callbacks: list[Callback] = [_Resume(sampler), _ProgressBar(refresh_rate=10)]
    if config.ema_decay:
        callbacks.append(EMAWeightAveraging(decay=config.ema_decay))
    callbacks += [_Export(out / "model.safetensors"), _Checkpoint(last, config)]
    trainer = pl.Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        precision=config.precision,  # type: ignore[arg-type]
        max_steps=config.steps,
        max_epochs=-1,
        gradient_clip_val=config.gradient_clip or None,
        check_val_every_n_epoch=None,
        val_check_interval=config.validation_interval,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        use_distributed_sampler=False,
        callbacks=callbacks,
        logger=[CSVLogger(out, name="logs"), TensorBoardLogger(out, name="logs")],
        default_root_dir=out,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(
        module, loader, held_out, weights_only=True, ckpt_path=last if last.is_file() else None
    )
    trained = SchNetGen.from_pretrained(out / "model.safetensors")
    if trainer.is_global_zero and _metrics(trainer):
        trained.provenance["metrics"] = _metrics(trainer)
        trained.save(out / "model.safetensors")
    return trained
