"""Which structures a run trains on, and which of them each step sees: functions of the seed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import Dataset, Sampler
from torch_geometric.data import Batch, Data
from torch_geometric.utils import cumsum

from .graphs import ranges
from .structures import InputError, replacing


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


def identity(structures: Sequence[Data]) -> str:
    """SHA-256 of the types and positions of structures, in their order."""
    digest = hashlib.sha256()
    for data in structures:
        digest.update(data.z.cpu().numpy().tobytes())
        digest.update(data.pos.cpu().numpy().tobytes())
    return digest.hexdigest()


def split(
    structures: Sequence[Data], num_validation: int, seed: int, path: Path | None = None
) -> tuple[list[int], list[int]]:
    """Indices of training and validation structures; kept in ``path`` (JSON) once drawn.

    They count all of the ``structures``, but single atoms, in which there is nothing to place,
    are in neither list.

    Raises:
        InputError: if there are too few structures, or ``path`` is a split of other ones.
    """
    usable = [index for index, data in enumerate(structures) if data.z.numel() > 1]
    if len(usable) < len(structures):
        rank_zero_warn(
            f"{len(structures) - len(usable)} of {len(structures)} structures are single atoms "
            "and are left out: there is nothing to place in them"
        )
    if path is not None and path.is_file():
        train, validation = saved_split(path, structures, "train", "validation")
        return train, validation
    if not usable:
        raise InputError("no structure has two atoms or more: there is nothing to train on")
    if num_validation >= len(usable):
        raise InputError(
            f"cannot hold out {num_validation} of {len(usable)} structures; lower num_validation"
        )
    order = torch.randperm(len(usable), generator=seeded(seed, 0)).tolist()
    drawn = [usable[place] for place in order]
    train, validation = sorted(drawn[num_validation:]), sorted(drawn[:num_validation])
    if path is not None:
        save_split(path, structures, seed, train=train, validation=validation)
    return train, validation


def save_split(path: Path, structures: Sequence[Data], seed: int, **parts: list[int]) -> None:
    """Keep which of the structures are in which part, for `saved_split`."""
    record = {"num_structures": len(structures), "data": identity(structures), "seed": seed}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record | parts))


def saved_split(path: Path, structures: Sequence[Data], *names: str) -> list[list[int]]:
    """The parts of these names of the split in ``path``, which must be of these structures."""
    try:
        saved = json.loads(path.read_text())
        number, *parts = (saved[name] for name in ("num_structures", *names))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged; remove it to draw the split anew") from error
    if number != len(structures):
        raise InputError(
            f"{path}: the split is of {number} structures, the data hold {len(structures)}; use "
            "the same data or another folder"
        )
    # A file of an earlier version says no more than the number.
    if "data" in saved and saved["data"] != identity(structures):
        raise InputError(
            f"{path}: the split is of as many structures, but of other ones (types, positions or "
            "order differ); use the same data or another folder"
        )
    return parts
