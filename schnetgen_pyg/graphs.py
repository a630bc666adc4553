"""Which atoms see each other: complete or radius graphs that never truncate, and a `Graph`
that lets every copy of a pair of atoms share what depends on the pair alone.

A molecule and all its partial molecules have the same pairs of atoms at the same distances, so
filters are evaluated once per *unordered pair of the parent molecule* and used by every directed
edge of every partial molecule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from ase.neighborlist import primitive_neighbor_list
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import cumsum, to_dense_batch

from .chemistry import COVALENT_FACTOR, COVALENT_RADII
from .layouts import DenseLayout, TargetRows
from .pair_sums import pair_sum
from .radial_tables import RadialTable
from .structures import InputError

try:
    import torch_cluster
except ImportError:
    torch_cluster = None


@lru_cache(maxsize=8)
def _cluster_serves(device: str) -> bool:
    """Whether torch-cluster was built for this kind of device: it may lack CUDA."""
    point = torch.zeros(1, 3, device=device)
    try:
        torch_cluster.radius_graph(point, 1.0, point.new_zeros(1, dtype=torch.long))
    except (RuntimeError, AssertionError):
        return False
    return True


def ranges(counts: Tensor) -> tuple[Tensor, Tensor]:
    """For blocks of ``counts`` entries: the block of each entry and its place in the block."""
    block = torch.repeat_interleave(counts)
    place = torch.arange(block.numel(), device=counts.device) - cumsum(counts)[block]
    return block, place


def complete_pairs(ptr: Tensor) -> Tensor:
    """All unordered pairs of atoms within each molecule.

    Args:
        ptr: first atom of each molecule, and the number of atoms [num_molecules + 1].

    Returns:
        [2, num_pairs] with the later atom first, sorted by it; within a molecule the pair of
        its atoms a > b is at a(a-1)/2 + b.
    """
    molecule, place = ranges(ptr.diff())
    later, rank = ranges(place)
    return torch.stack([later, ptr[molecule[later]] + rank])


def radius_pairs(pos: Tensor, ptr: Tensor, cutoff: float | None) -> Tensor:
    """Unordered pairs of atoms closer than ``cutoff`` (all pairs for ``None``).

    torch-cluster searches where it is installed for the device (with room for every neighbour, so
    nothing is truncated); otherwise all pairs are measured.

    Args:
        pos: positions [num_atoms, 3] in Å.
        ptr: molecule boundaries [num_molecules + 1].
        cutoff: in Å.

    Returns:
        [2, num_pairs] with the later atom first, in the order of `complete_pairs`.
    """
    if cutoff is None:
        return complete_pairs(ptr)
    if torch_cluster is not None and pos.shape[0] > 0 and _cluster_serves(pos.device.type):
        counts = ptr.diff()
        batch = torch.repeat_interleave(counts)
        found = torch_cluster.radius_graph(
            pos.detach(), cutoff, batch, max_num_neighbors=int(counts.max())
        )
        found = found[:, found[0] > found[1]]
        return found[:, (found[0] * pos.shape[0] + found[1]).argsort()]
    pairs = complete_pairs(ptr)
    offset = pos.detach()[pairs[0]] - pos.detach()[pairs[1]]
    return pairs[:, offset.square().sum(1) < cutoff**2]


@lru_cache(maxsize=8)
def _radii(device: torch.device) -> Tensor:
    return torch.tensor(COVALENT_RADII, device=device)


def bond_lengths(z: Tensor, other: Tensor) -> Tensor:
    """Distances in Å below which atoms of these types are bonded, by the convention of
    `schnetgen_pyg.chemistry`; shapes broadcast."""
    radii = _radii(z.device)
    return COVALENT_FACTOR * (radii[z] + radii[other])


def bond_matrix(molecules: Data) -> tuple[Tensor, Tensor]:
    """Which atoms of each molecule are bonded [num_molecules, atoms, atoms], and which of the
    padded places are atoms [num_molecules, atoms]."""
    pos, mask = to_dense_batch(molecules.pos, molecules.batch)
    z, _ = to_dense_batch(molecules.z, molecules.batch)
    near = torch.cdist(pos, pos) < bond_lengths(z.unsqueeze(2), z.unsqueeze(1))
    near &= mask.unsqueeze(2) & mask.unsqueeze(1)
    return near & ~torch.eye(z.shape[1], dtype=torch.bool, device=z.device), mask


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


def _periodic_pairs(pos: Tensor, cell: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """Unordered pairs [2, num_pairs] of one structure and its images, each once, with the number
    of cells [num_pairs, 3] by which the later atom is moved."""
    earlier, later, shift = primitive_neighbor_list(
        "ijS", cell.any(1).tolist(), cell.double().numpy(), pos.double().numpy(), cutoff
    )
    # Both directions were found. Of an atom and its own image the one is kept whose first
    # shift that is not zero is positive.
    ahead = np.sign(shift) @ (4, 2, 1) > 0
    kept = (earlier < later) | ((earlier == later) & ahead)
    pairs = torch.from_numpy(np.stack([later[kept], earlier[kept]])).long()
    return pairs, torch.from_numpy(shift[kept])


def periodic_pairs(
    pos: Tensor, ptr: Tensor, cell: Tensor, cutoff: float | None
) -> tuple[Tensor, Tensor]:
    """Unordered pairs of atoms and of their periodic images closer than ``cutoff``, each once.

    Args:
        pos: positions [num_atoms, 3] in Å.
        ptr: structure boundaries [num_graphs + 1].
        cell: cell vectors as rows [num_graphs, 3, 3] in Å; a row of zeros is a direction
            without periodicity.
        cutoff: in Å.

    Returns:
        [2, num_pairs] with the later atom first (an atom may be its own partner), and the number
        of cells [num_pairs, 3] by which the later atom is moved.

    Raises:
        InputError: without a cutoff, since the pairs have no end.
    """
    if cutoff is None:
        raise InputError(
            "periodic structures have no end of pairs; use a representation with cutoff"
        )
    single = pos.detach().cpu().split(ptr.diff().tolist())
    pairs, shifts = [], []
    for start, p, c in zip(ptr[:-1].tolist(), single, cell.detach().cpu(), strict=True):
        found, shift = _periodic_pairs(p, c, cutoff)
        pairs.append(found + start)
        shifts.append(shift)
    return torch.cat(pairs, 1).to(pos.device), torch.cat(shifts).to(pos)


def neighbor_graph(
    pos: Tensor, ptr: Tensor, cutoff: float | None, cell: Tensor | None = None
) -> Graph:
    """The graph of whole structures, differentiable by ``pos`` and ``cell``.

    Args:
        pos: positions [num_atoms, 3] in Å.
        ptr: structure boundaries [num_graphs + 1].
        cutoff: radius in Å, or ``None`` for complete graphs.
        cell: as for `periodic_pairs`; without it structures are molecules.
    """
    if cell is None or not bool(cell.any()):
        later, earlier = pairs = radius_pairs(pos, ptr, cutoff)
        vector = pos[later] - pos[earlier]
    else:
        pairs, shift = periodic_pairs(pos, ptr, cell, cutoff)
        later, earlier = pairs
        owner = torch.repeat_interleave(ptr.diff())[later]
        vector = pos[later] - pos[earlier] + torch.einsum("pi,pij->pj", shift, cell[owner])
    edge_index = torch.stack([torch.cat([earlier, later]), torch.cat([later, earlier])])
    pair = torch.arange(later.numel(), device=pos.device).repeat(2)
    return Graph(vector.norm(dim=1), vector, edge_index, pair)
