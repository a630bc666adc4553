"""Valence states: what an atom heavier than hydrogen is in a molecule.

Which states there are the data say: those that occur in the molecules that a model is trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from rdkit import Chem
from torch import Tensor

from schnetgen_pyg.chem.elements import UNLIMITED, VALENCE

#: Stands for the state of an atom of which nothing is known, or of a hydrogen.
UNKNOWN = -1

#: More atoms of an element than any state has as neighbours.
BASE = 16


class ValenceState(NamedTuple):
    """One state.

    Attributes:
        element: atomic number.
        charge: formal charge in e.
        valence: sum of the bond orders.
        hydrogens: neighbours that are hydrogens.
        neighbors: heavier ones.
    """

    element: int
    charge: int
    valence: int
    hydrogens: int
    neighbors: int

    @property
    def unpaired(self) -> int:
        """Bond orders beside the first ones: those of its double and triple bonds."""
        return self.valence - self.hydrogens - self.neighbors


def states_of(mol: Chem.Mol) -> list[ValenceState | None]:
    """The state of every atom of a molecule with explicit hydrogens, ``None`` for hydrogens."""
    kekulized = Chem.Mol(mol)
    Chem.Kekulize(kekulized, clearAromaticFlags=True)
    found: list[ValenceState | None] = []
    for atom in kekulized.GetAtoms():
        if atom.GetAtomicNum() == 1:
            found.append(None)
            continue
        hydrogens = sum(other.GetAtomicNum() == 1 for other in atom.GetNeighbors())
        valence = round(sum(bond.GetBondTypeAsDouble() for bond in atom.GetBonds()))
        charge, neighbors = atom.GetFormalCharge(), atom.GetDegree() - hydrogens
        found.append(ValenceState(atom.GetAtomicNum(), charge, valence, hydrogens, neighbors))
    return found


def usual_states(elements: Iterable[int]) -> tuple[ValenceState, ...]:
    """Every neutral state with the usual valence (`VALENCE`) of the elements that have one."""
    return tuple(
        ValenceState(element, 0, valence, hydrogens, neighbors)
        for element in sorted({*elements} - {1})
        if (valence := VALENCE.get(element))
        for neighbors in range(valence + 1)
        for hydrogens in range(valence + 1 - neighbors)
    )


class StateTable:
    """States by their number, as tensors: those of `UNKNOWN` are zero.

    Attributes:
        states: the states in their order.
        element, charge, valence, hydrogens, neighbors: of every state, and of `UNKNOWN` in the
            last place [num_states + 1].
        most_hydrogens, most_bonds, most_valence: over the states of an element that have heavier
            neighbours, by atomic number [101]; `UNLIMITED` for elements without states, 0
            for none.
        least_charge, most_charge: the same for its charges.

    Args:
        states: in any order.
        device: of the tensors.
    """

    def __init__(self, states: Sequence[Sequence[int]], device: torch.device | None = None):
        self.states = tuple(sorted(ValenceState(*state) for state in {tuple(s) for s in states}))
        rows = torch.tensor([*self.states, (0, 0, 0, 0, 0)], dtype=torch.long, device=device)
        self.element, self.charge, self.valence, self.hydrogens, self.neighbors = rows.T
        self._keys = _key(*rows[:-1].T)
        bonded = rows[:-1][self.neighbors[:-1] > 0]
        element, charge, valence, hydrogens, neighbors = bonded.T

        def of_element(values: Tensor, reduce: str, otherwise: int) -> Tensor:
            result = torch.full((101,), otherwise, device=rows.device)
            return result.scatter_reduce(0, element, values, reduce, include_self=False)

        self.most_hydrogens = of_element(hydrogens, "amax", UNLIMITED)
        self.most_bonds = of_element(hydrogens + neighbors, "amax", UNLIMITED)
        self.most_valence = of_element(valence, "amax", UNLIMITED)
        self.most_hydrogens[1], self.most_bonds[1], self.most_valence[1] = 0, 1, 1
        for most in (self.most_hydrogens, self.most_bonds, self.most_valence):
            most[0] = 0  # no atom
        self.most_charge = of_element(charge, "amax", 0)
        self.least_charge = of_element(charge, "amin", 0)

    def valences(self, z: Tensor, state: Tensor) -> Tensor:
        """Sum of the bond orders of each atom, at most where its state is `UNKNOWN`."""
        return torch.where(state == UNKNOWN, self.most_valence[z], self.valence[state])

    def __len__(self) -> int:
        return len(self.states)

    def index(
        self, z: Tensor, charge: Tensor, valence: Tensor, hydrogens: Tensor, neighbors: Tensor
    ) -> Tensor:
        """Number of the state of each atom; `UNKNOWN` for those that are not in the table.
        All shapes are the same."""
        if not self.states:
            return torch.full_like(z, UNKNOWN)
        key = _key(z, charge, valence, hydrogens, neighbors)
        place = torch.searchsorted(self._keys, key).clamp(max=len(self) - 1)
        return torch.where(self._keys[place] == key, place, UNKNOWN)

    def of_neutral(self, z: Tensor, hydrogens: Tensor, neighbors: Tensor) -> Tensor:
        """The same where bonds alone are known: the usual neutral state with these neighbours."""
        usual = _usual(z.device)[z]
        return self.index(z, torch.zeros_like(z), usual, hydrogens, neighbors)

    def degrees(self) -> dict[int, int]:
        """Most neighbours of each element in a neutral state."""
        found: dict[int, int] = {}
        for state in self.states:
            if not state.charge:
                bonds = state.hydrogens + state.neighbors
                found[state.element] = max(found.get(state.element, 0), bonds)
        return found


def _key(
    z: Tensor, charge: Tensor, valence: Tensor, hydrogens: Tensor, neighbors: Tensor
) -> Tensor:
    """One number for a state, in the order of the states."""
    key = z * BASE + charge + BASE // 2
    for part in (valence, hydrogens, neighbors):
        key = key * BASE + part.clamp(max=BASE - 1)
    return key


@lru_cache(maxsize=8)
def _usual(device: torch.device) -> Tensor:
    return torch.tensor([VALENCE.get(number, 0) for number in range(101)], device=device)


@lru_cache(maxsize=64)
def state_table(states: tuple[tuple[int, ...], ...], device: torch.device) -> StateTable:
    """The table of these states on a device."""
    return StateTable(states, device)
