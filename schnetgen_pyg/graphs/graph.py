"""A `Graph` that lets every copy of a pair of atoms share what depends on the pair alone.

A molecule and all its partial molecules have the same pairs of atoms at the same distances, so
filters are evaluated once per *unordered pair of the parent molecule* and used by every directed
edge of every partial molecule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from schnetgen_pyg.accelerated.padding import DenseLayout, TargetRows
from schnetgen_pyg.accelerated.pair_convolution import pair_sum
from schnetgen_pyg.accelerated.radial_tables import RadialTable
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.graphs.indexing import ranges


@dataclass(frozen=True)
class Graph:
    """Directed edges between nodes that share quantities of unordered pairs.

    The first half of the edges goes from the earlier to the later atom of their pairs, the
    second half back, in the same order of pairs; every pair has an edge. In a periodic cell a
    pair is an atom and an image of another (or of itself), so the same two atoms may form several.

    Attributes:
        distance: of each pair [num_pairs] in Å.
        vector: from the earlier to the later atom of each pair [num_pairs, 3] in Å.
        edge_index: source and target node of each directed edge [2, num_edges] (PyG's flow
            ``source_to_target``).
        edge_pair: pair of each edge [num_edges], ascending in each half.
        dense: the same edges as padded blocks; where it is given the edges are left out.
        table: of the network's radial functions, to be interpolated.
        target_rows: of `rows`, where they are known.
    """

    distance: Tensor
    vector: Tensor
    edge_index: Tensor | None = None
    edge_pair: Tensor | None = None
    dense: DenseLayout | None = None
    table: RadialTable | None = None
    target_rows: TargetRows | None = None

    def radial(self, function: Callable[[Tensor], list[Tensor]]) -> list[Tensor]:
        """A network's functions of the distances of pairs, from the table where there is one."""
        return function(self.distance) if self.table is None else self.table(self.distance)

    @property
    def edges(self) -> Tensor:
        """``edge_index`` for networks that work on edges.

        Raises:
            InputError: if the graph is in padded blocks.
        """
        if self.edge_index is None:
            raise InputError(
                "this network needs edges, and the graph holds padded blocks; build the graph "
                "with dense=False"
            )
        return self.edge_index

    @property
    def copied(self) -> bool:
        """Whether pairs occur several times, in several partial molecules."""
        return self.edges.shape[1] != 2 * self.distance.shape[0]

    def to_edges(self, values: Tensor) -> Tensor:
        """Values of pairs [num_pairs, …], for each of their edges [num_edges, …]."""
        if self.copied:
            assert self.edge_pair is not None
            return values.index_select(0, self.edge_pair)
        return torch.cat([values, values])

    def edge_vector(self, vector: Tensor | None = None) -> Tensor:
        """Vectors from source to target of every edge [num_edges, 3]; by default in Å, or any
        multiple of ``vector`` [num_pairs, 3]."""
        forth = self.vector if vector is None else vector
        if self.copied:
            assert self.edge_pair is not None
            forth = forth.index_select(0, self.edge_pair[: self.edge_pair.numel() // 2])
        return torch.cat([forth, -forth])

    def rows(self, num_nodes: int) -> TargetRows:
        """The edges into every node as a padded row."""
        if self.target_rows is not None:
            return self.target_rows
        target = self.edges[1]
        order = target.argsort()
        node, place = ranges(torch.bincount(target, minlength=num_nodes))
        width = int(place.max()) + 1 if place.numel() else 0
        slot = torch.empty_like(target).index_copy(0, order, node * width + place)
        return TargetRows((num_nodes, width), slot)

    def from_sources(self, x: Tensor) -> Tensor:
        """Features of nodes [num_nodes, …] at the source of every edge [num_edges, …]."""
        return x.index_select(0, self.edges[0])

    def weigh(self, messages: Tensor, weight: Tensor) -> Tensor:
        """Messages of edges [num_edges, …] times the weights of their pairs [num_pairs, …], which
        are not copied where every pair has one edge each way; trailing shapes broadcast."""
        if self.copied:
            return messages * self.to_edges(weight)
        return (messages.unflatten(0, (2, -1)) * weight).flatten(0, 1)

    def sum_to_targets(self, messages: Tensor, num_nodes: int) -> Tensor:
        """Sums of messages [num_edges, …] over the edges into every node [num_nodes, …]."""
        total = messages.new_zeros(num_nodes, *messages.shape[1:])
        return total.index_add(0, self.edges[1], messages)

    def aggregate(self, x: Tensor, weight: Tensor) -> Tensor:
        """Σ_j W_ij ∘ x_j over the edges j → i.

        Args:
            x: node features [num_nodes, channels], or several of them
                [num_nodes, copies, channels].
            weight: of pairs [num_pairs, channels], or what `DenseLayout.spread` made of it.

        Returns:
            the shape of ``x``.
        """
        if self.dense is not None:
            return self.dense.aggregate(x, weight)
        if not self.copied:
            return pair_sum(x, weight, self.edges[:, : weight.shape[0]])
        if x.dim() == 3:
            weight = weight.unsqueeze(1)
        return self.sum_to_targets(self.weigh(self.from_sources(x), weight), x.shape[0])

    def forces(self, slope: Tensor, num_nodes: int) -> Tensor:
        """Forces [num_nodes, 3] of an energy with these slopes by ``vector`` [num_pairs, 3]."""
        earlier, later = self.edges[:, : slope.shape[0]]
        forces = slope.new_zeros(num_nodes, 3)
        return forces.index_add(0, earlier, slope).index_add(0, later, -slope)

    def stress(self, slope: Tensor, batch: Tensor, cell: Tensor) -> Tensor:
        """Stress [num_graphs, 3, 3] of an energy with these slopes by ``vector`` [num_pairs, 3],
        of structures ``batch`` [num_nodes] in cells [num_graphs, 3, 3]."""
        owner = batch[self.edges[1, : slope.shape[0]]]
        outer = slope.unsqueeze(2) * self.vector.unsqueeze(1)
        strain = torch.zeros_like(cell).index_add(0, owner, outer)
        return strain / torch.linalg.det(cell).abs()[:, None, None]
