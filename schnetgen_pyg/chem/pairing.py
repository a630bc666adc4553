"""Whether valences that single bonds leave open can be paired into double and triple bonds.

An atom with k open valences is k nodes, joined to those of every atom it is bonded to: the question
is whether this graph has a perfect matching (Edmonds, Canad. J. Math. 17, 449, 1965), which is
answered exactly for any size. What is forced, an atom with one partner left, is paired first.
"""

from __future__ import annotations

from itertools import product

import networkx as nx
import numpy as np
import torch
from torch import Tensor

#: A bond gets no more than so many orders beside its first.
MOST = 2


def pair(
    left: np.ndarray,
    bonds: np.ndarray,
    preference: np.ndarray | None = None,
    perfect: bool = True,
) -> np.ndarray | None:
    """Orders beside the first of every bond [num_bonds], or ``None`` if there is no way.

    Args:
        left: open valences of each atom [num_atoms].
        bonds: bonded pairs of atoms [num_bonds, 2].
        preference: of several ways the one with the largest sum of these over the orders is taken
            [num_bonds]; without, any.
        perfect: whether all open valences must be paired; if not, none of any atom may be more
            than `MOST`, and what is not preferred (below 0) stays open.
    """
    if perfect and (left.sum() % 2 or (left < 0).any()):
        return None
    open_bonds = [
        (bond, first, second)
        for bond, (first, second) in enumerate(bonds.tolist())
        if left[first] and left[second]
    ]
    graph = nx.Graph()
    graph.add_nodes_from(
        (atom, k) for atom, count in enumerate(left.tolist()) for k in range(count)
    )
    for bond, first, second in open_bonds:
        weight = 0.0 if preference is None else float(preference[bond])
        ends = [[(atom, k) for k in range(left[atom])] for atom in (first, second)]
        if min(left[first], left[second]) <= MOST:
            graph.add_edges_from(product(*ends), bond=bond, orders=1.0, weight=weight)
            continue
        # No more orders than allowed: each is a path of three edges, whose middle one is taken
        # where the order is not.
        for k in range(MOST):
            middle = ("bond", bond, k, 0), ("bond", bond, k, 1)
            graph.add_edge(*middle, weight=0.0)
            for near, side in zip(ends, middle, strict=True):
                edges = ((node, side) for node in near)
                graph.add_edges_from(edges, bond=bond, orders=0.5, weight=weight / 2)
    raised = np.zeros(len(bonds))
    matching = nx.max_weight_matching(graph, maxcardinality=perfect)
    if perfect and 2 * len(matching) != graph.number_of_nodes():
        return None
    for first, second in matching:
        edge = graph[first][second]
        if "bond" in edge:
            raised[edge["bond"]] += edge["orders"]
    return raised.astype(int)


def closes(left: Tensor, bonds: Tensor) -> Tensor:
    """Whether open valences [molecules, atoms] can be paired along the bonds there are
    [molecules, atoms, atoms]: exact, at any size [molecules]."""
    left = left.clone()
    able = (left >= 0).all(1) & (left.sum(1) % 2 == 0)
    rows = able.nonzero().squeeze(1)
    while len(rows):
        part = left[rows]
        partners = bonds[rows] & (part > 0).unsqueeze(1) & (part > 0).unsqueeze(2)
        number = partners.sum(2).masked_fill(part == 0, MOST + 9)
        fewest, atom = number.min(1)
        one = fewest == 1
        able[rows[fewest == 0]] = False
        rest = (part > 0).any(1) & (fewest > 1)
        for row in rows[rest].tolist():
            ends = (bonds[row] & (left[row] > 0).unsqueeze(0)).triu(1).nonzero()
            able[row] = pair(left[row].cpu().numpy(), ends.cpu().numpy()) is not None
        rows, atom, partners = rows[one], atom[one], partners[one]
        here = torch.arange(len(rows), device=rows.device)
        other = partners[here, atom].int().argmax(1)
        orders = left[rows, atom]
        left[rows, atom] = 0
        left[rows, other] -= orders
        dead = (left[rows, other] < 0) | (orders > MOST)
        able[rows[dead]] = False
        rows = rows[~dead]
    return able
