"""A `Graph` that lets every copy of a pair of atoms share what depends on the pair alone.

A molecule and all its partial molecules have the same pairs of atoms at the same distances, so
filters are evaluated once per *unordered pair of the parent molecule* and used by every directed
edge of every partial molecule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from schnetgen_pyg.accelerated import enabled
from schnetgen_pyg.accelerated.padding import DenseLayout, TargetRows
from schnetgen_pyg.accelerated.pair_convolution import pair_sum
from schnetgen_pyg.accelerated.radial_tables import RadialTable
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.graphs.indexing import ranges
from schnetgen_pyg.graphs.matching import check_edges, matched_edges

#: Sums of messages over edges [2, num_edges], of node features and weights of edges.
Convolution = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Graph:
    """Directed edges between nodes that share quantities of unordered pairs.

    The first half of the edges goes from the earlier to the later atom of their pairs, the
    second half back, in the same order of pairs; every pair has an edge. In a periodic cell a
    pair is an atom and an image of another (or of itself), so the same two atoms may form several.
    Pairs may have no edge back (`schnetgen_pyg.graphs.probes`): those are the last in the first
    part, which is then longer than half.

    Attributes:
        distance: of each pair [num_pairs] in Å.
        vector: from the earlier to the later atom of each pair [num_pairs, 3] in Å.
        edge_index: source and target node of each directed edge [2, num_edges] (PyG's flow
            ``source_to_target``).
        edge_pair: pair of each edge [num_edges], ascending in each part.
        dense: the same edges as padded blocks; where it is given the edges are left out.
        table: of the network's radial functions, to be interpolated.
        num_nodes: number of nodes; by default up to the last one with an edge.
        num_forward: edges of the first part; by default half of them.
    """

    distance: Tensor
    vector: Tensor
    edge_index: Tensor | None = None
    edge_pair: Tensor | None = None
    dense: DenseLayout | None = None
    table: RadialTable | None = None
    num_nodes: int | None = None
    num_forward: int | None = None

    @classmethod
    def from_edge_index(
        cls,
        edge_index: Tensor,
        pos: Tensor | None = None,
        *,
        vector: Tensor | None = None,
        num_nodes: int | None = None,
    ) -> Graph:
        """The graph of a user's own edges, in any order.

        Args:
            edge_index: source and target of each directed edge [2, num_edges], every edge once and
                with the one back.
            pos: positions [num_nodes, 3] in Å; or
            vector: from source to target of each edge [num_edges, 3] in Å, which periodic images
                need, and then
            num_nodes: number of nodes.

        Raises:
            InputError: for an edge without the one back, given twice, or from an atom to itself;
                for shapes that do not fit.
        """
        if (pos is None) == (vector is None):
            raise InputError("give either `pos` or the `vector` of every edge")
        if pos is not None:
            num_nodes = len(pos) if num_nodes is None else num_nodes
            require(num_nodes == len(pos), "num_nodes", num_nodes, f"that of `pos`, {len(pos)}")
        elif num_nodes is None:
            raise InputError("`vector` does not tell the number of nodes; give `num_nodes`, too")
        check_edges(edge_index, num_nodes)
        if pos is not None:
            vector = pos[edge_index[1]] - pos[edge_index[0]]
        assert vector is not None
        shape = edge_index.shape[1], 3
        fits = f"of shape [num_edges, 3] = {[*shape]}"
        require(vector.shape == shape, "vector", f"one of shape {[*vector.shape]}", fits)
        there, back = matched_edges(edge_index, vector)
        forth = vector.index_select(0, there)
        pair = torch.arange(len(there), device=vector.device).repeat(2)
        edges = edge_index[:, torch.cat([there, back])]
        return cls(forth.norm(dim=1), forth, edges, pair, num_nodes=num_nodes)

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
    def forward_edges(self) -> int:
        """Number of edges from the earlier to the later atom of their pairs; the edge back of
        number k is number k + ``forward_edges``."""
        return self.edges.shape[1] // 2 if self.num_forward is None else self.num_forward

    @property
    def copied(self) -> bool:
        """Whether pairs occur several times, in several partial molecules, or one way only."""
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
        forth = back = self.vector if vector is None else vector
        if self.copied:
            assert self.edge_pair is not None
            there, home = self.edge_pair.tensor_split([self.forward_edges])
            forth, back = forth.index_select(0, there), back.index_select(0, home)
        return torch.cat([forth, -back])

    @cached_property
    def rows(self) -> TargetRows:
        """The edges into every node as a padded row."""
        target = self.edges[1]
        order = target.argsort()
        counts = torch.bincount(target, minlength=self.num_nodes or 0)
        node, place = ranges(counts)
        width = int(place.max()) + 1 if place.numel() else 0
        slot = torch.empty_like(target).index_copy(0, order, node * width + place)
        return TargetRows((len(counts), width), slot)

    def weights(self, values: Tensor, parity: int = 1) -> Tensor:
        """Values of pairs [num_pairs, channels] as `aggregate` takes them, or with ``parity`` −1
        vectors [num_pairs, 3] as `aggregate_vectors` does."""
        if self.dense is not None:
            return self.dense.spread(values, parity)
        if parity == 1:
            return values
        return self.rows.pad(self.edge_vector(values)).transpose(1, 2)

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

    def aggregate(
        self, x: Tensor, weight: Tensor, convolution: Convolution | None = None
    ) -> Tensor:
        """Σ_j W_ij ∘ x_j over the edges j → i.

        Args:
            x: node features [num_nodes, channels], or several of them
                [num_nodes, copies, channels].
            weight: from `weights`.
            convolution: what sums messages where nothing faster gives the same: a function of
                edges [2, num_edges], ``x`` and the weights of edges.

        Returns:
            the shape of ``x``.
        """
        if self.dense is not None:
            return self.dense.aggregate(x, weight)
        if not self.copied and enabled("pair_convolution"):
            return pair_sum(x, weight, self.edges[:, : weight.shape[0]])
        weight = self.to_edges(weight.unsqueeze(1) if x.dim() == 3 else weight)
        if convolution is not None:
            return convolution(self.edges, x, weight)
        return self.sum_to_targets(self.from_sources(x) * weight, x.shape[0])

    def aggregate_vectors(self, x: Tensor, weight: Tensor, direction: Tensor) -> Tensor:
        """Σ_j r̂_ij ⊗ (W_ij ∘ x_j) over the edges j → i [num_nodes, 3, channels].

        Args:
            x: node features [num_nodes, channels].
            weight, direction: from `weights`, the latter of unit vectors with parity −1.
        """
        if self.dense is not None:
            return self.dense.aggregate_vectors(x, weight, direction)
        return torch.bmm(direction, self.rows.pad(self.weigh(self.from_sources(x), weight)))

    def sum_products(self, a: Tensor, b: Tensor) -> Tensor:
        """Σ_j a_ij ⊗ b_ij over the edges j → i [num_nodes, a, b], of values of edges [num_edges, a]
        and [num_edges, b]."""
        return torch.bmm(self.rows.pad(a).transpose(1, 2), self.rows.pad(b))

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
