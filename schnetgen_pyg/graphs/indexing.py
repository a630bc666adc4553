"""Index arithmetic of batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch_geometric.utils import cumsum

from schnetgen_pyg.errors import InputError


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


def matched_edges(edge_index: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the edges there [num_pairs] and, in the same order, of those back [num_pairs]:
    from the node with the smaller number, or of an image of a node itself from that with the
    larger first coordinate that differs.

    Args:
        edge_index: source and target of directed edges [2, num_edges].
        vector: of each from source to target [num_edges, 3] in Å.

    Raises:
        InputError: for an edge without the one back, or of no length from a node to itself.
    """
    ends = edge_index.cpu().numpy()
    way = np.rint(1e4 * vector.detach().cpu().double().numpy()).astype(np.int64)
    loop = (ends[0] == ends[1]) & (way == 0).all(1)
    if loop.any():
        edge = int(loop.nonzero()[0][0])
        raise InputError(
            f"edge {edge} leads from atom {int(ends[0, edge])} to itself; leave such edges out "
            "(torch_geometric.utils.remove_self_loops)"
        )
    signs = np.sign(way) @ (4, 2, 1)
    ahead = (ends[0] < ends[1]) | ((ends[0] == ends[1]) & (signs > 0))
    there, back = ahead.nonzero()[0], (~ahead).nonzero()[0]
    keys = []
    for places, first, turn in ((there, 0, 1), (back, 1, -1)):
        rows = np.column_stack([ends[first, places], ends[1 - first, places], turn * way[places]])
        order = np.lexsort(rows.T[::-1])
        keys.append((places[order], rows[order]))
    (there, one), (back, other) = keys
    # The two vectors of a pair may be rounded to neighbouring numbers.
    if one.shape != other.shape or (np.abs(one - other) > (0, 0, 1, 1, 1)).any():
        known = {tuple(row) for row in other[:, :2].tolist()}
        alone = [tuple(row) for row in one[:, :2].tolist() if tuple(row) not in known]
        named = f"{alone[0][0]} → {alone[0][1]} has none" if alone else "their vectors differ"
        raise InputError(
            f"every edge needs the one back, and {named}; add them "
            "(torch_geometric.utils.to_undirected)"
        )
    device = edge_index.device
    return torch.from_numpy(there).to(device), torch.from_numpy(back).to(device)
