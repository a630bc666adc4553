"""Lightning's trainer, as all runs of this package use it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_warn

from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.training.callbacks import (
    CheckpointFiles,
    ProgressBar,
    Resume,
)

#: Settings of where and how a run computes; Lightning judges them together.
PLACE = ("accelerator", "devices", "strategy", "precision")


def require_choices(config: Any) -> None:
    """Refuse a setting that is none of the names its type lists."""
    for name, kind in get_type_hints(type(config)).items():
        if get_origin(kind) is Literal:
            names, value = get_args(kind), getattr(config, name)
            require(value in names, name, value, f"one of {', '.join(names)}")


def make_trainer(
    config: Any, out: Path, callbacks: Sequence[Callback], **options: Any
) -> pl.Trainer:
    """Lightning's trainer of the runs of this package.

    Args:
        config: a `TrainingConfig`, or another one with the same settings of place and length.
        out: folder of the run.
        callbacks: of the run, in their order; a bar and the resuming come before them.
        options: of Lightning's trainer.
    """
    place = {name: getattr(config, name) for name in PLACE}
    try:
        trainer = pl.Trainer(
            **place,
            **options,
            max_steps=config.steps,
            max_epochs=-1,
            gradient_clip_val=config.gradient_clip or None,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
            use_distributed_sampler=False,
            callbacks=[Resume(), ProgressBar(refresh_rate=10), *callbacks],
            plugins=[CheckpointFiles()],
            logger=[CSVLogger(out, name="logs"), TensorBoardLogger(out, name="logs")],
            default_root_dir=out,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
    except (MisconfigurationException, ImportError, RuntimeError, TypeError, ValueError) as error:
        settings = ", ".join(f"{name}={value!r}" for name, value in place.items())
        raise InputError(
            f"Lightning cannot train with {settings}: {str(error).rstrip('.!')}. Leave them at "
            "their defaults to train on what this machine has"
        ) from error
    plain = torch.backends.cpu.get_cpu_capability() == "AVX2"
    if plain and config.precision == "bf16-mixed" and trainer.strategy.root_device.type == "cpu":
        rank_zero_warn(
            "this processor has no instructions for bfloat16 and imitates them, which can be ten "
            "times slower; train with precision 32-true"
        )
    return trainer
