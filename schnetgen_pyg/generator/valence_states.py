"""The valence state of an atom: how many hydrogens and how many heavier neighbors it will have.

It is a number, 5 · neighbors + hydrogens, both from 0 to 4. What a model has said of it is kept
for every placed atom; hydrogens have none.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.bonds import batch_adjacency
from schnetgen_pyg.chem.elements import valences

NUM_STATES = 25


#: Stands for that of an atom of which nothing is known, or of a hydrogen.
UNKNOWN = NUM_STATES


#: The same for the neighbors, 0 to 4, that an atom waits for.
UNKNOWN_OPEN = 5


def valence_states(molecules: Data) -> Tensor:
    """Valence state of each atom [num_atoms]: 5 · heavier neighbors + hydrogens, each at most 4;
    `UNKNOWN` for hydrogens."""
    bonds, mask = batch_adjacency(molecules)
    hydrogen = torch.zeros_like(mask)
    hydrogen[mask] = molecules.z == 1
    numbers = [(bonds & kind.unsqueeze(1)).sum(2)[mask] for kind in (hydrogen, ~hydrogen)]
    hydrogens, neighbors = (number.clamp(max=4) for number in numbers)
    return (5 * neighbors + hydrogens).masked_fill(molecules.z == 1, UNKNOWN)


def open_neighbors(molecules: Data, partial: Data) -> Tensor:
    """Heavier neighbors that each placed atom with a known state waits for [num_nodes]."""
    bonds, mask = batch_adjacency(molecules)
    heavy = torch.zeros_like(mask)
    heavy[mask] = molecules.z != 1
    to_heavy = (bonds & heavy.unsqueeze(1)).long()
    molecule = partial.molecule[partial.batch]
    local = partial.atom - molecules.ptr[molecule]
    there = to_heavy.cumsum(2)[molecule, local, partial.ptr.diff()[partial.batch] - 1]
    left = (partial.valence_state // 5 - there).clamp(min=0)
    return left.masked_fill(partial.valence_state == UNKNOWN, UNKNOWN_OPEN)


def hidden(partial: Data, state: Tensor, generator: torch.Generator | None) -> Tensor:
    """States of the placed atoms [num_nodes], those of the first few unknown in some partial
    molecules, as in a fragment; in half of those of one atom, whose own is predicted from it."""
    size = partial.ptr.diff()
    noise = torch.rand(2, len(size), generator=generator).to(size.device)
    unknown = (noise[1] * size).long() + 1
    unknown = unknown * (noise[0] < torch.where(size == 1, 0.5, 0.1))
    place = torch.arange(len(partial.z), device=size.device) - partial.ptr[partial.batch]
    return state.masked_fill(place < unknown[partial.batch], UNKNOWN)


def open_places(z: Tensor, bonds: Tensor, state: Tensor) -> Tensor:
    """Heavier neighbors that each placed atom can still have [molecules, atoms]: as many as its
    state says, or where that is unknown as its valence allows.

    Args:
        z, bonds: of the placed atoms [molecules, atoms], [molecules, atoms, atoms].
        state: theirs [molecules, atoms], or `UNKNOWN`.
    """
    to_heavy = (bonds & (z != 1).unsqueeze(1)).sum(2)
    return torch.where(state == UNKNOWN, valences(z) - bonds.sum(2), state // 5 - to_heavy)


def allowed_states(z: Tensor, placed: int, places: Tensor, state: Tensor) -> Tensor:
    """Which states the next atom may have so that the formula can still work out
    [molecules, 25]; all of them where none can.

    Args:
        z: types of all atoms of the formula [molecules, atoms], the placed ones first.
        placed: how many are placed.
        places: their `open_places` [molecules, placed].
        state: of all atoms [molecules, atoms], or `UNKNOWN`.
    """
    number = torch.arange(NUM_STATES, device=z.device)
    hydrogens, neighbors = number % 5, number // 5
    heavy = z != 1
    valence = valences(z) * heavy
    known = heavy & (state != UNKNOWN)
    unknown = (heavy & ~known)[:, :placed]
    last = ~heavy[:, placed + 1 :].any(1, keepdim=True)
    unclaimed = (~heavy[:, placed:]).sum(1) - (state % 5 * known).sum(1)
    unclaimed = unclaimed[:, None] - hydrogens
    later = valence[:, placed + 1 :]
    free = places.clamp(min=0) * heavy[:, :placed]
    free_unknown = (free * unknown).sum(1, keepdim=True)
    allowed = hydrogens + neighbors <= valence[:, placed, None]
    # Hydrogens: those that later atoms cannot have are spoken for.
    room = (later - 1).clamp(min=0).sum(1, keepdim=True) + free_unknown
    allowed &= (unclaimed >= 0) & (unclaimed <= room)
    # Neighbors: later atoms need an open place, and can fill no more than their valences.
    opened = free.sum(1, keepdim=True) + neighbors - 2 * (placed > 0)
    most = (free > 0).sum(1, keepdim=True)  # atoms it can be bonded to at once
    allowed &= (neighbors >= 1) | (heavy.sum(1, keepdim=True) == 1)
    allowed &= torch.where(last, neighbors <= most, opened >= 1)
    closures = (torch.minimum(neighbors, most) - 1).clamp(min=0)
    needed = (opened - 2 * closures).clamp(min=0) + unclaimed - 2 * free_unknown
    allowed &= needed <= later.sum(1, keepdim=True)
    return allowed | ~allowed.any(1, keepdim=True)
