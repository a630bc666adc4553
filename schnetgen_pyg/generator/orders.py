"""In which order the atoms of a molecule are placed.

An order of a batch is a permutation [num_atoms] of its atoms that keeps each molecule's atoms
in its own range, drawn for all molecules at once. Randomness comes from a generator on the CPU,
so that orders do not depend on the device.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_dense_batch

from schnetgen_pyg.chem.bonds import batch_adjacency


def scaffold_first(molecules: Data, generator: torch.Generator | None = None) -> Tensor:
    """Random order with all hydrogens after the other atoms (the paper's)."""
    z, batch = molecules.z, molecules.batch
    noise = torch.rand(z.numel(), generator=generator, dtype=torch.float64).to(z.device)
    return (2.0 * batch + (z == 1) + noise).argsort()


def _grow(molecules: Data, generator: torch.Generator | None, grouped: bool) -> Tensor:
    bonds, mask = batch_adjacency(molecules)
    z, _ = to_dense_batch(molecules.z, molecules.batch)
    count, width = z.shape
    noise = torch.rand(width, count, width, generator=generator).to(z.device)
    rows = torch.arange(count, device=z.device)
    waiting = mask.clone()
    neighbors = torch.zeros_like(mask)  # of the placed atoms
    turn = torch.zeros(count, width, device=z.device)  # earlier atoms have the higher one
    order = []
    for place in range(width):
        # Heavy atoms before hydrogens, neighbours of placed atoms before others.
        score = noise[place] + 2.0 * width * neighbors + 4.0 * width * (z != 1)
        if grouped:
            score = score + (bonds * turn.unsqueeze(1)).amax(2) * (z == 1)
        chosen = score.masked_fill(~waiting, -1.0).argmax(1)
        order.append(chosen)
        waiting[rows, chosen] = False
        neighbors |= bonds[rows, chosen]
        turn[rows, chosen] = width - place
    local = torch.stack(order, 1)
    return (molecules.ptr[:-1].unsqueeze(1) + local)[mask]


def bonded(molecules: Data, generator: torch.Generator | None = None) -> Tensor:
    """A random connected order: every atom is bonded to an earlier one, hydrogens come last, in
    random order. Atoms that no bond connects come after those that one does."""
    return _grow(molecules, generator, grouped=False)


def bonded_grouped(molecules: Data, generator: torch.Generator | None = None) -> Tensor:
    """As `bonded`, with the hydrogens of an atom together, in the order of their atoms."""
    return _grow(molecules, generator, grouped=True)


#: Orders by the name that a configuration gives.
ORDERS = {
    "scaffold_first": scaffold_first,
    "bonded": bonded,
    "bonded_grouped": bonded_grouped,
}


def reorder(molecules: Data, order: Tensor) -> Data:
    """The batch with its atoms in ``order``; per-molecule ranges stay where they are."""
    result = copy.copy(molecules)
    for name, value in molecules.to_dict().items():
        if name not in ("batch", "ptr") and molecules.is_node_attr(name):
            result[name] = value[order]
    return result
