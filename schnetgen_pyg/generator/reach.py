"""Which structures the rules of valence can never make, and why.

A sampler with these rules (`schnetgen_pyg.SamplingConfig.valence_rules`) bonds every atom to one
that is there, gives none more bonds than its valence and lets bond orders close all shells: what it
learns of other structures, it can never show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_dense_batch

from schnetgen_pyg.chem.bonds import batch_adjacency
from schnetgen_pyg.chem.elements import UNLIMITED, valences
from schnetgen_pyg.chem.pairing import closes
from schnetgen_pyg.data.molecules import Molecules

#: Reasons in the order in which they are looked for.
REASONS = {
    "charge": "with a charge or an open shell, as is said of them",
    "bonds": "with more bonds at an atom than its valence",
    "fragments": "of several fragments",
    "closed shell": "without bond orders that close all shells (ions, radicals, separated charges)",
}

#: Structures that are looked at together.
CHUNK = 512

#: Structures that are named.
NAMED = 3


def out_of_reach(structures: Sequence[Data]) -> dict[str, list[int]]:
    """Numbers of the structures that the rules of valence can never make, by the first of
    `REASONS` that holds.

    Args:
        structures: with ``z`` and ``pos``, and ``charge`` and ``spin_multiplicity`` where they are
            said.
    """
    found: dict[str, list[int]] = {reason: [] for reason in REASONS}
    molecules = Molecules([Data(z=data.z, pos=data.pos) for data in structures])
    for numbers in torch.arange(len(structures)).split(CHUNK):
        wrong = _look(molecules[numbers.tolist()])
        wrong["charge"] = torch.tensor([_is_charged(structures[k]) for k in numbers.tolist()])
        told = torch.zeros(len(numbers), dtype=torch.bool)
        for reason, numbered in found.items():
            numbered += numbers[wrong[reason] & ~told].tolist()
            told |= wrong[reason]
    return {reason: numbered for reason, numbered in found.items() if numbered}


def _is_charged(data: Data) -> bool:
    info = data.get("info") or {}

    def said(name: str, default: int) -> Any:
        value = data.get(name)
        value = info.get(name, default) if value is None else value
        return value if isinstance(value, str) else float(value)

    return said("charge", 0) not in (0, "0") or said("spin_multiplicity", 1) not in (1, "1")


def _look(batch: Data) -> dict[str, Tensor]:
    """For each reason but what is said, which structures of a batch it holds for [num_graphs]."""
    bonds, mask = batch_adjacency(batch)
    z, _ = to_dense_batch(batch.z, batch.batch)
    left = (valences(z) - bonds.sum(2)) * mask
    ruled = ~(mask & (valences(z) == UNLIMITED)).any(1)
    able = ruled & (left >= 0).all(1)
    free = left.clamp(min=0) * able.unsqueeze(1)
    between = bonds & (free > 0).unsqueeze(1) & (free > 0).unsqueeze(2)
    return {
        "bonds": (left < 0).any(1),
        "fragments": _num_fragments(bonds, mask) > 1,
        "closed shell": able & ~closes(free, between),
    }


def _num_fragments(bonds: Tensor, mask: Tensor) -> Tensor:
    """Connected parts of each structure [num_graphs]."""
    count, width = mask.shape
    graph, one, other = (part.numpy() for part in bonds.nonzero().T)
    size = count * width
    ends = (graph * width + one, graph * width + other)
    _, labels = connected_components(coo_matrix(([1] * len(one), ends), shape=(size, size)))
    parts = torch.from_numpy(labels).long().view(count, width)
    graphs = torch.arange(count).repeat_interleave(mask.sum(1))
    each = torch.stack([graphs, parts[mask]]).unique(dim=1)
    return torch.bincount(each[0], minlength=count)


def told(found: dict[str, list[int]], total: int) -> str:
    """In one sentence, how many of ``total`` structures are out of reach, and why."""
    number = sum(map(len, found.values()))
    parts = []
    for reason, numbers in found.items():
        named = ", ".join(map(str, numbers[:NAMED])) + ", …" * (len(numbers) > NAMED)
        several = "s" * (len(numbers) > 1)
        parts.append(f"{len(numbers):,} {REASONS[reason]} (structure{several} {named})")
    share = f"{number:,} of {total:,} structures ({100 * number / total:.1f} %)"
    return f"{share} are such as the rules of valence never make: {'; '.join(parts)}"
