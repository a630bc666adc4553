"""Index arithmetic of batches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.utils import cumsum


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
