"""Which atoms see each other: complete, radius and periodic graphs that never truncate."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from ase.neighborlist import primitive_neighbor_list
from torch import Tensor

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.graphs.indexing import complete_pairs

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


def _periodic_pairs(pos: Tensor, cell: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """Unordered pairs [2, num_pairs] of one structure and its images, each once, with the number
    of cells [num_pairs, 3] by which the later atom is moved; in an order that does not depend on
    how they were found, so that sums over them have the same last bits."""
    earlier, later, shift = primitive_neighbor_list(
        "ijS", cell.any(1).tolist(), cell.double().numpy(), pos.double().numpy(), cutoff
    )
    # Both directions were found. Of an atom and its own image the one is kept whose first
    # shift that is not zero is positive.
    ahead = np.sign(shift) @ (4, 2, 1) > 0
    kept = (earlier < later) | ((earlier == later) & ahead)
    order = np.lexsort((*shift[kept].T, earlier[kept], later[kept]))
    pairs = torch.from_numpy(np.stack([later[kept], earlier[kept]])[:, order]).long()
    return pairs, torch.from_numpy(shift[kept][order])


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


class Pairs(NamedTuple):
    """Unordered pairs of atoms, or of an atom and a periodic image.

    Attributes:
        ends: the later and the earlier atom [2, num_pairs].
        shift: number of cells by which the later one is moved [num_pairs, 3]; ``None`` for
            molecules.
    """

    ends: Tensor
    shift: Tensor | None

    def vectors(self, pos: Tensor, ptr: Tensor, cell: Tensor | None) -> Tensor:
        """From the earlier to the later atom [num_pairs, 3], differentiable by ``pos`` and
        ``cell``."""
        later, earlier = self.ends
        vector = pos[later] - pos[earlier]
        if self.shift is None:
            return vector
        assert cell is not None
        owner = torch.repeat_interleave(ptr.diff())[later]
        return vector + torch.einsum("pi,pij->pj", self.shift, cell[owner])

    def graph(self, pos: Tensor, ptr: Tensor, cell: Tensor | None) -> Graph:
        """With edges both ways for every pair."""
        vector, (later, earlier) = self.vectors(pos, ptr, cell), self.ends
        edge_index = torch.stack([torch.cat([earlier, later]), torch.cat([later, earlier])])
        pair = torch.arange(later.numel(), device=pos.device).repeat(2)
        return Graph(vector.norm(dim=1), vector, edge_index, pair, num_nodes=pos.shape[0])


def find_pairs(pos: Tensor, ptr: Tensor, cutoff: float | None, cell: Tensor | None) -> Pairs:
    """All pairs of whole structures closer than ``cutoff``; arguments as `neighbor_graph` has
    them."""
    if cell is None or not bool(cell.any()):
        return Pairs(radius_pairs(pos, ptr, cutoff), None)
    return Pairs(*periodic_pairs(pos, ptr, cell, cutoff))


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
    return find_pairs(pos, ptr, cutoff, cell).graph(pos, ptr, cell)
