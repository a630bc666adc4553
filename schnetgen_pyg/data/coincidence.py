"""Atoms that lie on top of each other: no molecule, and no number from any network."""

from __future__ import annotations

from scipy.spatial import cKDTree
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.errors import InputError

#: Atoms nearer than this (Å) are one atom given twice; no two nuclei are ever that near.
COINCIDENT = 0.05


def coincident_atoms(pos: Tensor) -> tuple[int, int, float] | None:
    """The two nearest atoms of one structure ``pos`` [num_atoms, 3] (Å), and their distance, if
    they are in the same place."""
    if len(pos) < 2:
        return None
    points = pos.detach().cpu().double().numpy()
    distance, neighbor = cKDTree(points).query(points, k=2)
    one = int(distance[:, 1].argmin())
    if distance[one, 1] >= COINCIDENT:
        return None
    other = next(int(k) for k in neighbor[one] if k != one)
    return min(one, other), max(one, other), float(distance[one, 1])


def require_distinct(data: Data, where: str) -> None:
    """Refuse a structure of which two atoms lie in the same place.

    Raises:
        InputError: naming the structure and the two atoms.
    """
    found = coincident_atoms(data.pos)
    if found is not None:
        raise InputError(
            f"{where}: atoms {found[0]} and {found[1]} are {found[2]:.2g} Å apart; remove the one "
            "that is there twice, or give the structure coordinates in 3-D"
        )
