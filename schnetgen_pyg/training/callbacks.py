"""What a training run does beside its steps: progress, checkpoints, the exported model."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_warn

from schnetgen_pyg.data.batches import BatchSampler
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.storage.atomic import replacing

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


class Resume(Callback):
    """Tell the batch sampler where the run stands and which process it serves."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        sampler = getattr(trainer.train_dataloader, "sampler", None)
        assert isinstance(sampler, BatchSampler)
        sampler.start = trainer.global_step
        sampler.rank, sampler.world_size = trainer.global_rank, trainer.world_size


class ProgressBar(TQDMProgressBar):
    """A bar that knows, also in a run that continues, where it stands and where it ends."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        super().on_train_start(trainer, module)
        bar = self.train_progress_bar
        bar.set_description("Training")
        bar.reset(total=trainer.max_steps)
        bar.initial = bar.n = trainer.global_step


class Checkpoint(Callback):
    """The state of the run every so many steps and after the last one.

    Lightning's own would miss the last step, or save it when averaged weights have already
    replaced the trained ones.
    """

    def __init__(self, path: Path, interval: int):
        self.path = path
        self.interval = interval

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        step = trainer.global_step
        if step % self.interval == 0 or step == trainer.max_steps:
            trainer.save_checkpoint(self.path, weights_only=False)


def _check_sums(path: Path) -> None:
    """Compare a checkpoint, which is a zip archive, with its checksums; torch would not."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"wrong checksum of {damaged}")


class CheckpointFiles(TorchCheckpointIO):
    """Checkpoints on the disk: written beside and renamed, the one before kept.

    Lightning's own are staged in another folder: a kill may leave half a file.
    """

    def __init__(self) -> None:
        super().__init__()
        self.damaged = False

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        path = Path(path)
        content = io.BytesIO()  # torch's own writer would not say that a disk is full
        torch.save(checkpoint, content)
        with replacing(path) as temporary:
            temporary.write_bytes(content.getbuffer())
            if path.is_file() and not self.damaged:
                with replacing(path.with_name(PREVIOUS)) as copy:
                    shutil.copyfile(path, copy)
        self.damaged = False

    def load_checkpoint(
        self, path: str | os.PathLike[str], *args: Any, **options: Any
    ) -> dict[str, Any]:
        """The checkpoint at ``path`` or, with a warning if that is damaged, the one before.

        Raises:
            InputError: if neither can be read.
        """
        failures = []
        for file in (Path(path), Path(path).with_name(PREVIOUS)):
            try:
                _check_sums(file)
                loaded: dict[str, Any] = super().load_checkpoint(file, *args, **options)
            except Exception as error:  # a damaged file makes the reader raise anything
                failures.append(f"{file}: cannot be read ({type(error).__name__}: {error})")
                continue
            if failures:
                self.damaged = True
                rank_zero_warn(
                    f"{failures[0]}; the run continues from {file}, at step {loaded['global_step']}"
                )
            return loaded
        raise InputError(
            f"{'; '.join(failures)}; put an undamaged copy there, or remove these files to train "
            "from the start"
        )


def metrics(trainer: pl.Trainer) -> dict[str, float]:
    """What was logged last, as plain numbers."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


class Export(Callback):
    """Write ``model.safetensors`` (averaged weights, if they are averaged) with a checkpoint."""

    def __init__(self, path: Path):
        self.path = path

    def on_save_checkpoint(
        self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if not trainer.is_global_zero:
            return
        trained = module.model
        assert isinstance(trained, SchNetGen)
        prefix = "model."
        weights = {
            name.removeprefix(prefix): value
            for name, value in checkpoint["state_dict"].items()
            if name.startswith(prefix)
        }
        model = SchNetGen(trained.config)
        model.load_state_dict(weights)
        state = {"step": trainer.global_step, "metrics": metrics(trainer)}
        model.provenance = trained.provenance | state
        model.save(self.path)
