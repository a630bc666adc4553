"""A user's own directed edges, brought together as pairs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from schnetgen_pyg.errors import InputError


def check_edges(edge_index: Tensor, num_nodes: int) -> None:
    """Refuse what are no edges [2, num_edges] between so many nodes."""
    if edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_index.dtype != torch.long:
        raise InputError(
            "`edge_index` must have shape [2, num_edges] and whole numbers (torch.long), got "
            f"{[*edge_index.shape]} of {edge_index.dtype}"
        )
    if edge_index.numel() and not (0 <= int(edge_index.min()) <= int(edge_index.max()) < num_nodes):
        raise InputError(
            f"`edge_index` must name nodes from 0 to {num_nodes - 1}, got {int(edge_index.min())} "
            f"to {int(edge_index.max())}"
        )


def matched_edges(edge_index: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the edges there [num_pairs] and, in the same order, of those back [num_pairs]:
    from the node with the smaller number, or of an image of a node itself from that with the
    larger first coordinate that differs.

    Args:
        edge_index: source and target of directed edges [2, num_edges].
        vector: of each from source to target [num_edges, 3] in Å.

    Raises:
        InputError: for an edge without the one back, given twice, or of no length from a node to
            itself.
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
    for places, rows in keys:
        twice = (np.diff(rows, axis=0) == 0).all(1)
        if twice.any():
            edge = int(places[twice.argmax()])
            raise InputError(
                f"edge {ends[0, edge]} → {ends[1, edge]} is given twice; leave out what is double "
                "(torch_geometric.utils.coalesce)"
            )
    (there, one), (back, other) = keys
    # The two vectors of a pair may be rounded to neighbouring numbers.
    if one.shape != other.shape or (np.abs(one - other) > (0, 0, 1, 1, 1)).any():
        forth = {(a, b) for a, b in one[:, :2].tolist()}
        home = {(a, b) for a, b in other[:, :2].tolist()}
        alone = sorted(forth - home) + [(b, a) for a, b in sorted(home - forth)]
        if alone:
            problem = f"{alone[0][0]} → {alone[0][1]} has none; add it"
        else:
            problem = "some vectors there and back are not opposite; add what lacks"
        raise InputError(
            f"every edge needs the one back, and {problem} (torch_geometric.utils.to_undirected)"
        )
    device = edge_index.device
    return torch.from_numpy(there).to(device), torch.from_numpy(back).to(device)
