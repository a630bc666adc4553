"""Valence states of placed atoms and of the next one: what is known, what is still open, and which
can still work out.

A state is the number of a row of the model's table (`schnetgen_pyg.chem.valence_states`). What a
model has said of an atom is kept; hydrogens have none.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.bonds import adjacency, batch_adjacency
from schnetgen_pyg.chem.valence_states import UNKNOWN, StateTable

#: Stands for the neighbors, 0 to 4 and more, that an atom waits for, where its state is not known.
UNKNOWN_OPEN = 5


def valence_states(molecules: Data, table: StateTable) -> Tensor:
    """Valence state of each atom [num_atoms]; `UNKNOWN` for hydrogens and for what is not in the
    table.

    Args:
        molecules: with ``formal_charge`` and ``valence`` [num_atoms], the sum of bond orders, of
            their Lewis structures; without them every atom is neutral with its usual valence.
        table: of the model.
    """
    bonds, mask = batch_adjacency(molecules)
    hydrogen = torch.zeros_like(mask)
    hydrogen[mask] = molecules.z == 1
    numbers = [(bonds & kind.unsqueeze(1)).sum(2)[mask] for kind in (hydrogen, ~hydrogen)]
    if molecules.get("valence") is None:
        found = table.of_neutral(molecules.z, *numbers)
    else:
        found = table.index(molecules.z, molecules.formal_charge, molecules.valence, *numbers)
    return found.masked_fill(molecules.z == 1, UNKNOWN)


def settled_states(
    z: Tensor, pos: Tensor, formal_charge: Tensor, valence: Tensor, table: StateTable
) -> Tensor:
    """Valence states of finished molecules by the bonds that they have [molecules, atoms];
    `UNKNOWN` for hydrogens and for what is not in the table. All shapes but that of ``pos``
    [molecules, atoms, 3] are the same."""
    bonds = adjacency(z, pos)
    numbers = [(bonds & kind.unsqueeze(1)).sum(2) for kind in (z == 1, z > 1)]
    return table.index(z, formal_charge, valence, *numbers).masked_fill(z <= 1, UNKNOWN)


def open_neighbors(molecules: Data, partial: Data, table: StateTable) -> Tensor:
    """Heavier neighbors that each placed atom with a known state waits for [num_nodes]."""
    bonds, mask = batch_adjacency(molecules)
    heavy = torch.zeros_like(mask)
    heavy[mask] = molecules.z != 1
    to_heavy = (bonds & heavy.unsqueeze(1)).long()
    molecule = partial.molecule[partial.batch]
    local = partial.atom - molecules.ptr[molecule]
    there = to_heavy.cumsum(2)[molecule, local, partial.ptr.diff()[partial.batch] - 1]
    left = (table.neighbors[partial.valence_state] - there).clamp(0, UNKNOWN_OPEN - 1)
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


def hidden_in_fragments(
    molecules: Data, partial: Data, state: Tensor, generator: torch.Generator | None
) -> Tensor:
    """States of the placed atoms [num_nodes], in half of the molecules that begin with a fragment
    unknown of those of its atoms that other atoms are bonded to: these are open."""
    bonds, mask = batch_adjacency(molecules)
    inside = torch.zeros_like(mask)
    inside[mask] = molecules.fragment
    is_open = (bonds & ~inside.unsqueeze(1)).any(2) & inside
    noise = torch.rand(len(mask), generator=generator).to(state.device)
    unknown = (is_open & (noise < 0.5).unsqueeze(1))[mask]
    return state.masked_fill(unknown[partial.atom], UNKNOWN)


def open_places(
    z: Tensor, bonds: Tensor, state: Tensor, valence: Tensor, table: StateTable
) -> Tensor:
    """Heavier neighbors that each placed atom can still have [molecules, atoms]: as many as its
    state says, or where that is unknown as its valence allows.

    Args:
        z, bonds: of the placed atoms [molecules, atoms], [molecules, atoms, atoms].
        state: theirs [molecules, atoms], or `UNKNOWN`.
        valence: bonds that each can have at most [molecules, atoms].
        table: of the model.
    """
    to_heavy = (bonds & (z != 1).unsqueeze(1)).sum(2)
    known = table.neighbors[state] - to_heavy
    return torch.where(state == UNKNOWN, valence - bonds.sum(2), known)


def allowed_states(
    table: StateTable,
    z: Tensor,
    placed: int,
    places: Tensor,
    state: Tensor,
    charge: Tensor | int = 0,
    there: Tensor | int = 0,
) -> Tensor:
    """Which states the next atom may have so that the formula can still work out
    [molecules, num_states]; all of its element's where none can.

    Args:
        table: of the model.
        z: types of all atoms of the formula [molecules, atoms], the placed ones first; 0 for none.
        placed: how many are placed.
        places: their `open_places` [molecules, placed].
        state: of all atoms [molecules, atoms], or `UNKNOWN`.
        charge: of the molecules, in e [molecules].
        there: hydrogens that each atom has already [molecules, atoms].
    """
    count = len(table)
    hydrogens, neighbors, formal = table.hydrogens[:-1], table.neighbors[:-1], table.charge[:-1]
    own = table.element[:count] == z[:, placed, None]
    heavy = z > 1
    known = heavy & (state != UNKNOWN)
    unknown = (heavy & ~known)[:, :placed]
    later, later_heavy = z[:, placed + 1 :], heavy[:, placed + 1 :]
    last = ~later_heavy.any(1, keepdim=True)
    unclaimed = (z[:, placed:] == 1).sum(1) - ((table.hydrogens[state] - there) * known).sum(1)
    unclaimed = unclaimed[:, None] - hydrogens
    free = places.clamp(min=0) * heavy[:, :placed]
    free_unknown = (free * unknown).sum(1, keepdim=True)
    # Hydrogens: those that later atoms cannot have are spoken for.
    room = (table.most_hydrogens[later] * later_heavy).sum(1, keepdim=True) + free_unknown
    allowed = own & (unclaimed >= 0) & (unclaimed <= room)
    # Neighbors: later atoms need an open place, and can fill no more than their bonds.
    opened = free.sum(1, keepdim=True) + neighbors - 2 * (placed > 0)
    most = (free > 0).sum(1, keepdim=True)  # atoms it can be bonded to at once
    allowed &= (neighbors >= 1) | (heavy.sum(1, keepdim=True) == 1)
    allowed &= torch.where(last, neighbors <= most, opened >= 1)
    closures = (torch.minimum(neighbors, most) - 1).clamp(min=0)
    needed = (opened - 2 * closures).clamp(min=0) + unclaimed - 2 * free_unknown
    allowed &= needed <= (table.most_bonds[later] * later_heavy).sum(1, keepdim=True)
    # Charges: later atoms can make up for no more than theirs.
    missing = (charge - (table.charge[state] * known).sum(1)).unsqueeze(1) - formal
    allowed &= missing <= (table.most_charge[later] * later_heavy).sum(1, keepdim=True)
    allowed &= missing >= (table.least_charge[later] * later_heavy).sum(1, keepdim=True)
    return torch.where(allowed.any(1, keepdim=True), allowed, own)
