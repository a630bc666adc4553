"""What is kept of molecules under construction."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from schnetgen_pyg.accelerated.radial_tables import RadialTable
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.valence_states import UNKNOWN
from schnetgen_pyg.graphs.graph import Graph


@dataclass(frozen=True)
class StepRecord:
    """What the model said at one step.

    Attributes:
        distance_log_prob: of the distances to the new atom [count, size, bins], before any
            temperature; with a focus, given the one in ``focus``.
        focus_log_prob: that each placed atom is the focus [count, size], with temperature and
            valence rules; ``None`` for models without.
        focus: by which atom the new one was most probably placed [count], or ``None``.
    """

    distance_log_prob: Tensor
    focus_log_prob: Tensor | None = None
    focus: Tensor | None = None


@dataclass(frozen=True)
class State:
    """Molecules under construction, with the same number of atoms.

    Attributes:
        z: atomic numbers in the order of placement [count, atoms].
        pos: positions in Å [count, atoms, 3].
        environment: as far as the model has said [count, atoms], or `UNKNOWN`.
        log_prob: of all draws so far [count].
    """

    z: Tensor
    pos: Tensor
    environment: Tensor
    log_prob: Tensor

    @classmethod
    def start(cls, z: Tensor, pos: Tensor) -> State:
        return cls(z, pos, torch.full_like(z, UNKNOWN), pos.new_zeros(len(z)))

    def rows(self, rows: Tensor | slice) -> State:
        """Some of them: a copy, or a view where they are a slice."""
        return State(*(part[rows] for part in vars(self).values()))

    def to(self, device: torch.device) -> State:
        return State(*(part.to(device) for part in vars(self).values()))

    def write(self, rows: Tensor, other: State) -> None:
        for mine, its in zip(vars(self).values(), vars(other).values(), strict=True):
            mine[rows] = its.to(mine.device)


class FilterCache:
    """What the representation knows of all placed pairs, kept from step to step as padded
    blocks [neighbors, molecules, atoms, channels]."""

    def __init__(self, model: SchNetGen, num_atoms: int):
        self.model, self.num_atoms = model, num_atoms
        self.blocks: list[Tensor] = []
        #: Of so many atoms all pairs are known.
        self.known = 0

    @cached_property
    def table(self) -> RadialTable | None:
        return self.model.filter_table()

    def rows(self, rows: Tensor | slice) -> FilterCache:
        """That of some of the molecules: a copy, or a view where they are a slice."""
        some = copy.copy(self)
        some.blocks = [block[:, rows] for block in self.blocks]
        return some

    def forget(self) -> None:
        self.blocks, self.known = [], 0

    def make_room(self, num_atoms: int) -> None:
        """For the pairs of so many atoms; without it there, all pairs are forgotten."""
        if num_atoms > self.num_atoms:
            self.num_atoms = num_atoms
            self.forget()

    def add(self, graph: Graph) -> list[Tensor]:
        """Evaluate the pairs listed in ``graph``, which are all those of atoms that are new;
        return the filters of all placed pairs."""
        assert graph.dense is not None
        network = self.model.representation
        weights = network.pair_filters(replace(graph, table=self.table))
        molecules, _, width = graph.dense.shape
        if not self.blocks:
            shape = self.num_atoms, molecules, self.num_atoms
            self.blocks = [weight.new_empty(*shape, weight.shape[1]) for weight in weights]
            for block in self.blocks:
                block.diagonal(dim1=0, dim2=2).zero_()
        for block, weight, parity in zip(self.blocks, weights, network.parity, strict=True):
            weight = weight.view(molecules, -1, weight.shape[1])  # sorted by the later atom
            start = 0
            for place in range(self.known, width):
                new = weight[:, start : start + place]
                block[:place, :, place] = new.transpose(0, 1)
                block[place, :, :place] = new if parity == 1 else parity * new
                start += place
        self.known = width
        return [block[:width, :, :width] for block in self.blocks]

    def replace(self, place: Tensor, last: int) -> None:
        """Forget the atoms at ``place`` [count]; the ones at ``last`` come there, and those after
        it are forgotten too."""
        rows = torch.arange(len(place), device=place.device)
        for block in self.blocks:
            block[place, rows] = block[last].clone()
            block[:, rows, place] = block[:, :, last]
        self.known = min(self.known, last)
