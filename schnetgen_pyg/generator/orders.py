"""In which order the atoms of a molecule are placed.

An order of a batch is a permutation [num_atoms] of its atoms that keeps each molecule's atoms
in its own range, drawn for all molecules at once. Randomness comes from a generator on the CPU,
so that orders do not depend on the device.

A molecule may begin with a fragment, atoms that are there from the start: those of ``first``
[num_atoms].
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_dense_batch

from schnetgen_pyg.chem.bonds import batch_adjacency

#: How many fragments are all heavy atoms.
ALL_HEAVY = 0.15


def scaffold_first(
    molecules: Data, generator: torch.Generator | None = None, first: Tensor | None = None
) -> Tensor:
    """Random order with all hydrogens after the other atoms (the paper's)."""
    z, batch = molecules.z, molecules.batch
    noise = torch.rand(z.numel(), generator=generator, dtype=torch.float64).to(z.device)
    later = (z == 1) if first is None else (z == 1) + 2.0 * ~first
    return (4.0 * batch + later + noise).argsort()


def grown(
    z: Tensor,
    bonds: Tensor,
    mask: Tensor,
    noise: Tensor,
    there: Tensor | None = None,
    grouped: bool = False,
) -> Tensor:
    """Atoms in a random connected order [molecules, atoms]: heavy ones first, neighbours of placed
    ones before others, and in the end places that have no atom.

    Args:
        z: atomic numbers [molecules, atoms].
        bonds: [molecules, atoms, atoms].
        mask: which are atoms [molecules, atoms].
        noise: uniform numbers for every place [places, molecules, atoms].
        there: atoms that come first [molecules, atoms].
        grouped: the hydrogens of an atom together.
    """
    count, width = z.shape
    rows = torch.arange(count, device=z.device)
    waiting = mask.clone()
    neighbors = torch.zeros_like(mask)  # of the placed atoms
    turn = torch.zeros(count, width, device=z.device)  # earlier atoms have the higher one
    order = []
    for place in range(width):
        # Heavy atoms before hydrogens, neighbours of placed atoms before others.
        score = noise[place] + 2.0 * width * neighbors + 4.0 * width * (z != 1)
        if there is not None:
            score = score + 8.0 * width * there
        if grouped:
            score = score + (bonds * turn.unsqueeze(1)).amax(2) * (z == 1)
        chosen = score.masked_fill(~waiting, -1.0).argmax(1)
        order.append(chosen)
        waiting[rows, chosen] = False
        neighbors |= bonds[rows, chosen]
        turn[rows, chosen] = width - place
    return torch.stack(order, 1)


def _grow(
    molecules: Data,
    generator: torch.Generator | None,
    first: Tensor | None,
    grouped: bool,
) -> Tensor:
    bonds, mask = batch_adjacency(molecules)
    z, _ = to_dense_batch(molecules.z, molecules.batch)
    count, width = z.shape
    noise = torch.rand(width, count, width, generator=generator).to(z.device)
    there = None
    if first is not None:
        there = torch.zeros_like(mask)
        there[mask] = first
    local = grown(z, bonds, mask, noise, there, grouped)
    return (molecules.ptr[:-1].unsqueeze(1) + local)[mask]


def bonded(
    molecules: Data, generator: torch.Generator | None = None, first: Tensor | None = None
) -> Tensor:
    """A random connected order: every atom is bonded to an earlier one, hydrogens come last, in
    random order. Atoms that no bond connects come after those that one does."""
    return _grow(molecules, generator, first, grouped=False)


def bonded_grouped(
    molecules: Data, generator: torch.Generator | None = None, first: Tensor | None = None
) -> Tensor:
    """As `bonded`, with the hydrogens of an atom together, in the order of their atoms."""
    return _grow(molecules, generator, first, grouped=True)


def fragments(molecules: Data, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Atoms that are there from the start [num_atoms] in a share of the molecules: a random
    connected part of the heavy atoms, or all but such a part, so that several are to be joined, or
    all of them; in half of the cases with their hydrogens."""
    bonds, mask = batch_adjacency(molecules)
    z, _ = to_dense_batch(molecules.z, molecules.batch)
    heavy = mask & (z != 1)
    number = heavy.sum(1)
    draw = torch.rand(5, len(z), generator=generator).to(z.device)
    # Heavy atoms in a random connected order: the first of them are such a part.
    order = bonded(molecules, generator)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=z.device) - molecules.ptr[molecules.batch]
    place = torch.zeros_like(z)
    place[mask] = rank
    size = 1 + (draw[0] * (number - 1)).long()
    part = heavy & (place < size.unsqueeze(1))
    kind = draw[1].unsqueeze(1)
    found = torch.where(kind < 0.5, part, heavy & ~part)
    found = torch.where(kind < ALL_HEAVY, heavy, found)
    own = (bonds & found.unsqueeze(1)).any(2) & mask & (z == 1)
    with_hydrogens = (draw[2] < 0.5).unsqueeze(1) & (kind >= ALL_HEAVY)
    found = found | (own & with_hydrogens)
    chosen = (draw[3] < share) & (number > 1)
    return (found & chosen.unsqueeze(1))[mask]


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
