"""Graphs of atoms and of probes, which see the atoms and are not seen."""

from __future__ import annotations

import torch
from torch import Tensor

from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.graphs.neighbors import neighbor_graph


def probe_graph(pos: Tensor, points: Tensor, cutoff: float | None) -> Graph:
    """Edges among atoms both ways, and from atoms to probes one way; none between probes.

    So a network gives the atoms the features that they have without probes, and every probe those
    that it has as the only one.

    Args:
        pos: positions of the atoms [num_atoms, 3] in Å, the first nodes.
        points: of the probes [num_points, 3] in Å, the nodes after them.
        cutoff: in Å; ``None``: all pairs.
    """
    num_atoms = len(pos)
    among = neighbor_graph(pos, torch.tensor([0, num_atoms], device=pos.device), cutoff)
    apart = torch.cdist(points, pos, compute_mode="donot_use_mm_for_euclid_dist")
    near = torch.ones_like(apart, dtype=torch.bool) if cutoff is None else apart < cutoff
    probe, atom = near.nonzero().T
    there, back = among.edges.chunk(2, dim=1)
    edges = torch.cat([there, torch.stack([atom, num_atoms + probe]), back], dim=1)
    num_pairs, num_forward = there.shape[1], there.shape[1] + len(atom)
    pair = torch.arange(num_forward, device=pos.device)
    vector = torch.cat([among.vector, points[probe] - pos[atom]])
    return Graph(
        torch.cat([among.distance, apart[probe, atom]]),
        vector,
        edges,
        torch.cat([pair, pair[:num_pairs]]),
        num_nodes=num_atoms + len(points),
        num_forward=num_forward,
    )
