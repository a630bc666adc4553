"""Which molecules each training step sees: a function of the seed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler


def seeded(*numbers: int) -> torch.Generator:
    """A generator whose stream is fixed by all the numbers together."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


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
        self._pass, self._order = -1, torch.empty(0)

    def __len__(self) -> int:
        return self.num_steps

    def batch(self, step: int) -> list[int]:
        per_pass = math.ceil(self.num_molecules / self.batch_size)
        epoch, place = divmod(step, per_pass)
        if epoch != self._pass:  # of a million molecules it takes longer than many a step
            generator = seeded(self.seed, epoch, 1)
            self._pass = epoch
            self._order = torch.randperm(self.num_molecules, generator=generator)
        chosen = self._order[place * self.batch_size : (place + 1) * self.batch_size]
        if len(chosen) < self.world_size:  # a short last batch: every process needs a molecule
            chosen = chosen.repeat(self.world_size)[: self.world_size]
        return chosen[self.rank :: self.world_size].tolist()

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.num_steps):
            yield self.batch(step)
