"""Files of a run's state that survive kills, damage and full disks."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_warn

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.storage.atomic import replacing

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
MODEL, SPLIT = "model.safetensors", "split.json"


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
