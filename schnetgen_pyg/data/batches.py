"""Which molecules each training step sees: a function of the seed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
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
        chosen = self.structures(step, chosen)
        if len(chosen) < self.world_size:  # a short last batch: every process needs a molecule
            chosen = chosen.repeat(self.world_size)[: self.world_size]
        return chosen[self.rank :: self.world_size].tolist()

    def structures(self, step: int, molecules: Tensor) -> Tensor:
        """Numbers of the structures that stand for the molecules of a step."""
        return molecules

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.num_steps):
            yield self.batch(step)


class EnsembleSampler(BatchSampler):
    """The same of molecules that have several conformers: each pass sees every molecule once, as
    one of its conformers, which is drawn by its weight.

    Args:
        ensembles: numbers of the conformers of each molecule.
        weights: of all structures, none of them negative; those of a molecule count relative to
            each other [num_structures].
    """

    def __init__(
        self,
        ensembles: Sequence[Sequence[int]],
        weights: Tensor,
        batch_size: int,
        num_steps: int,
        seed: int,
    ):
        super().__init__(len(ensembles), batch_size, num_steps, seed)
        self.ensembles = [torch.tensor(one) for one in ensembles]
        self.weights = weights.double()

    def structures(self, step: int, molecules: Tensor) -> Tensor:
        generator = seeded(self.seed, step, 5)
        own = [self.ensembles[number] for number in molecules.tolist()]
        drawn = [torch.multinomial(self.weights[one], 1, generator=generator) for one in own]
        return torch.cat([one[place] for one, place in zip(own, drawn, strict=True)])
