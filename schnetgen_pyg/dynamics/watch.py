"""When a trajectory has gone wrong, and why."""

from __future__ import annotations

import ase
import ase.units
import numpy as np
import torch
from scipy.spatial import cKDTree

from schnetgen_pyg.data.coincidence import coincident_atoms
from schnetgen_pyg.dynamics.start import Start

#: Atoms that are nearer than this (Å) have run into each other.
TOO_NEAR = 0.35

#: An atom that is further (Å) from its nearest neighbour than any was at the start has been lost.
LOST = 5.0

#: A structure is too hot at so many times the temperature that was asked for, but not below so
#: many K: one that is not relaxed warms itself.
HOT, LEAST_HOT = 10.0, 5000.0


def hottest(temperature: float) -> float:
    """Temperature (K) beyond which a structure has exploded."""
    return max(HOT * temperature, LEAST_HOT)


def too_hot(temperature: float, limit: float) -> str:
    """The cause, in words."""
    return f"its temperature is {temperature:.0f} K, beyond {limit:.0f} K"


def temperature(kinetic: float, degrees: int) -> float:
    """In K, of a kinetic energy (eV) that so many degrees of freedom share."""
    return 2 * kinetic / (max(degrees, 1) * ase.units.kB)


def _nearest(positions: np.ndarray) -> np.ndarray:
    """Distance (Å) of every atom to its nearest neighbour."""
    return np.asarray(cKDTree(positions).query(positions, k=2)[0][:, 1])


class Distances:
    """Looks at how far apart the atoms of a structure are.

    Args:
        start: the structure at the beginning.
    """

    def __init__(self, start: Start):
        alone = len(start.atoms) < 2 or start.atoms.pbc.any()
        self._furthest = np.inf if alone else LOST + float(_nearest(start.atoms.positions).max())

    def fault(self, atoms: ase.Atoms) -> str | None:
        """Why the structure must not go on, if it must not."""
        positions = atoms.positions
        if not np.isfinite(positions).all():
            return "a position is not finite"
        if len(atoms) < 2:
            return None
        if atoms.pbc.any():
            cell = torch.as_tensor(atoms.cell.array) if atoms.pbc.all() else None
            found = coincident_atoms(torch.as_tensor(positions), cell)
            return None if found is None else _collided(*found)
        nearest = _nearest(positions)
        atom = int(nearest.argmin())
        if nearest[atom] < TOO_NEAR:
            other = int(cKDTree(positions).query(positions[atom], k=2)[1][1])
            return _collided(min(atom, other), max(atom, other), float(nearest[atom]))
        atom = int(nearest.argmax())
        if nearest[atom] > self._furthest:
            return f"atom {atom} is {nearest[atom]:.1f} Å from its nearest neighbour"
        return None


def _collided(one: int, other: int, distance: float) -> str:
    return f"atoms {one} and {other} are {distance:.2g} Å apart"
