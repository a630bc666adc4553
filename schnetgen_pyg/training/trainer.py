"""One run with Lightning: seeded, resumable, logged."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Data

from schnetgen_pyg.data.batches import BatchSampler
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.storage.alone import alone
from schnetgen_pyg.storage.settings import as_json, differences
from schnetgen_pyg.training.callbacks import (
    Checkpoint,
    Export,
    ProgressBar,
    ProgressLines,
    Resume,
    Validation,
)
from schnetgen_pyg.training.checkpoints import LAST, MODEL, SPLIT, CheckpointFiles
from schnetgen_pyg.training.config import RunConfig
from schnetgen_pyg.training.fine_tuning import flat
from schnetgen_pyg.training.module import RunModule

#: Settings of where and how a run computes; Lightning judges them together.
PLACE = ("accelerator", "devices", "strategy", "precision")

#: Settings that say how long a run is.
LENGTHS = ("steps", "epochs")


def make_trainer(config: RunConfig, out: Path, keep: Literal["last", "best"]) -> pl.Trainer:
    """Lightning's trainer of all runs of this package.

    Args:
        config: of the run.
        out: folder of the run.
        keep: whose weights become the model: the last ones', or those of the best validation.

    Raises:
        InputError: where Lightning cannot train with these settings.
    """
    interval = config.validation_interval
    if keep == "best":  # there must be one
        interval = min(interval, config.steps)
    seen = sys.stdout.isatty()
    bar = ProgressBar(refresh_rate=10) if seen else ProgressLines()
    callbacks: list[Callback] = [Resume(), bar]
    callbacks.append(Validation(out / MODEL if keep == "best" else None))
    if config.ema_decay:
        callbacks.append(EMAWeightAveraging(decay=config.ema_decay))
    if keep == "last":
        callbacks.append(Export(out / MODEL))
    callbacks.append(Checkpoint(out / LAST, config.checkpoint_interval, interval))
    options: dict[str, Any] = {name: getattr(config, name) for name in PLACE} | {
        "max_steps": config.steps,
        "max_epochs": -1,
        "gradient_clip_val": config.gradient_clip or None,
        "check_val_every_n_epoch": None,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 10,
        "use_distributed_sampler": False,
        "callbacks": callbacks,
        "plugins": [CheckpointFiles()],
        "logger": [CSVLogger(out, name="logs"), TensorBoardLogger(out, name="logs")],
        "default_root_dir": out,
        "enable_model_summary": False,
        "enable_progress_bar": seen,
        "enable_checkpointing": False,
        "val_check_interval": interval,
        "inference_mode": False,  # forces are derivatives, also in a validation
    }
    trainer = _lightning(options)
    if isinstance(trainer.strategy, DDPStrategy) and config.strategy in ("auto", "ddp"):
        # The last vectors of PaiNN, say, enter no energy: DDP would wait for their gradients.
        trainer = _lightning(options | {"strategy": "ddp_find_unused_parameters_true"})
    plain = torch.backends.cpu.get_cpu_capability() == "AVX2"
    if plain and config.precision == "bf16-mixed" and trainer.strategy.root_device.type == "cpu":
        rank_zero_warn(
            "this processor has no instructions for bfloat16 and imitates them, which can be ten "
            "times slower; train with precision 32-true"
        )
    return trainer


def _lightning(options: dict[str, Any]) -> pl.Trainer:
    try:
        return pl.Trainer(**options)
    except (MisconfigurationException, ImportError, RuntimeError, TypeError, ValueError) as error:
        settings = ", ".join(f"{name}={options[name]!r}" for name in PLACE)
        raise InputError(
            f"Lightning cannot train with {settings}: {str(error).rstrip('.!')}. Leave them at "
            "their defaults to train on what this machine has"
        ) from error


def run(
    trainer: pl.Trainer,
    module: RunModule,
    train: Any,
    validation: Any,
    validation_batch: int = 100,
    sampler: BatchSampler | None = None,
) -> None:
    """Train, or continue the run in the trainer's folder.

    Every process validates all of the validation set.

    Args:
        trainer: from `make_trainer`.
        module: the model in training.
        train: structures to train on, or a `Dataset` that gives batches of them by their numbers.
        validation: the same of those held out.
        validation_batch: of these at a time.
        sampler: of the structures of each step; by default each is seen once in every pass.

    Raises:
        InputError: if another process trains in this folder.
    """
    config = module.config
    sampler = sampler or BatchSampler(len(train), config.batch_size, config.steps, config.seed)
    chunks = [part.tolist() for part in torch.arange(len(validation)).split(validation_batch)]
    last = Path(trainer.default_root_dir) / LAST
    mode = module.model.training
    module.model.train()
    held_out = None
    if len(validation):
        held_out = DataLoader(_in_batches(validation), sampler=chunks, batch_size=None)
    held = alone(last.with_name(SPLIT)) if trainer.is_global_zero else None
    try:
        trainer.fit(
            module,
            DataLoader(_in_batches(train), sampler=sampler, batch_size=None),
            held_out,
            weights_only=True,
            ckpt_path=last if last.is_file() else None,
        )
    finally:
        module.model.train(mode)
        if held is not None:
            held.close()


def _in_batches(structures: Any) -> Dataset[Data]:
    return structures if isinstance(structures, Dataset) else Molecules(structures)


def check_continues(out: Path, model: Any, config: Any) -> None:
    """Refuse a folder that holds the run of another architecture, and warn of one that was trained
    with other settings: what has been trained stays as it is.

    Args:
        out: folder of the run.
        model: to train.
        config: how, a dataclass; with more ``steps`` or ``epochs`` a run is meant to go on.

    Raises:
        InputError: naming the settings that differ.
    """
    if not (out / MODEL).is_file():
        return
    known = type(model).from_pretrained(out / MODEL)
    _tell_of_other_settings(out, known.provenance.get("training", {}), asdict(config))
    here, there = flat(model.config), flat(known.config)
    changed = sorted(n for n in here.keys() | there.keys() if here.get(n) != there.get(n))
    if changed:
        raise InputError(
            f"{out}: holds a run with other values of {', '.join(changed)}; use the same ones "
            "to continue it, or another folder"
        )


def _tell_of_other_settings(out: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    kept = {name: value for name, value in before.items() if name in now and name not in PLACE}
    for name in LENGTHS:
        if now.get(name, 0) >= kept.get(name, 0):
            kept.pop(name, None)
    if told := differences(as_json(kept), as_json({name: now[name] for name in kept})):
        rank_zero_warn(
            f"{out}: holds a run with other settings ({', '.join(told)}); what it has trained "
            "stays as it is, and the new ones are for the steps that are left, if any. For another "
            "run name another folder"
        )
