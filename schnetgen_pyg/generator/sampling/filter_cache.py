"""Filters of placed pairs, kept from step to step."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from schnetgen_pyg.accelerated.radial_tables import RadialTable
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.representations import PairRepresentation

if TYPE_CHECKING:
    from schnetgen_pyg.generator.model import SchNetGen


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

    def add(self, graph: Graph, absent: Tensor) -> list[Tensor]:
        """Evaluate the pairs listed in ``graph``, which are all those of places that are new;
        return the filters of all placed pairs, zero for places without an atom, which are
        ``absent`` [molecules, places]."""
        assert graph.dense is not None
        network = self.model.representation
        assert isinstance(network, PairRepresentation)
        weights = network.pair_filters(replace(graph, table=self.table))
        molecules, _, width = graph.dense.shape
        if not self.blocks:
            shape = self.num_atoms, molecules, self.num_atoms
            self.blocks = [weight.new_empty(*shape, weight.shape[1]) for weight in weights]
            for block in self.blocks:
                block.diagonal(dim1=0, dim2=2).zero_()
        later, earlier = graph.dense.place.view(2, molecules, -1)[:, 0]
        gone = absent[:, later] | absent[:, earlier]
        padded = bool(gone.any())
        for block, weight, parity in zip(self.blocks, weights, network.parity, strict=True):
            weight = weight.view(molecules, -1, weight.shape[1])  # sorted by the later atom
            if padded:
                weight.masked_fill_(gone.unsqueeze(2), 0.0)
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
