"""Coordinates that no molecule has: atoms in one place, or a drawing instead of a structure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.errors import InputError

#: Atoms nearer than this (Å) are one atom given twice; no two nuclei are ever that near.
COINCIDENT = 0.1

#: The longest bond (Å) of hydrogen to carbon, nitrogen or oxygen; drawings have longer ones.
LONGEST_XH = 1.3

#: Neighbours of a carbon atom are nearer than this (Å).
BONDED = 1.75

#: Structures of fewer atoms are looked at together, so many distances at a time.
FEW, DISTANCES = 100, 2_000_000


def coincident_atoms(pos: Tensor, cell: Tensor | None = None) -> tuple[int, int, float] | None:
    """The two nearest atoms of one structure ``pos`` [num_atoms, 3] (Å), and their distance, if
    they are in the same place; also through the sides of a ``cell`` [1, 3, 3] (Å) that is periodic
    in three directions."""
    if len(pos) < 2:
        return None
    points = pos.detach().cpu().numpy()
    if cell is not None:
        points = _wrapped(points, cell.detach().cpu().double().reshape(3, 3).numpy())
    distance, neighbor = cKDTree(points).query(points, k=2)
    one = int(distance[:, 1].argmin())
    if distance[one, 1] >= COINCIDENT:
        return None
    other = next(int(k) for k in neighbor[one] if k != one)
    return min(one, other), max(one, other), float(distance[one, 1])


def _wrapped(points: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Positions in the cell; those that a little shift would bring to the other side are there."""
    if abs(np.linalg.det(cell)) < 1e-8:
        return points
    fractional = np.linalg.solve(cell.T, points.T).T
    # The origin of the lattice is no special place for atoms now: few lie on the border.
    return np.asarray((fractional + 0.00731) % 1.0 @ cell)


def require_distinct(data: Data, where: str) -> None:
    """Refuse a structure of which two atoms lie in the same place.

    Raises:
        InputError: naming the structure and the two atoms.
    """
    pos = data.pos
    found = coincident_atoms(pos, data.get("cell"))
    if found is not None and not pos.any():
        raise InputError(
            f"{where}: all coordinates are zero; give it coordinates in 3-D first (embed it, for "
            "example with RDKit or Open Babel)"
        )
    if found is not None:
        raise InputError(
            f"{where}: atoms {found[0]} and {found[1]} are {found[2]:.2g} Å apart; remove the one "
            "that is there twice, or give the structure coordinates in 3-D"
        )


def require_three_dimensions(data: Data, where: str) -> None:
    """Refuse a drawing: five atoms or more in one plane, with bonds or neighbours that no planar
    molecule has.

    Raises:
        InputError: naming the structure and how it can be seen.
    """
    points = data.pos.detach().cpu().numpy()
    if len(points) < 5 or data.get("cell") is not None:
        return
    if not (points == points[0]).all(0).any():
        return
    why = _drawn(data.z.cpu().numpy(), points)
    if why:
        raise InputError(
            f"{where}: has no 3-D coordinates (all atoms lie in one plane, and {why}); embed it "
            "first, for example with RDKit or Open Babel"
        )


def _drawn(z: np.ndarray, points: np.ndarray) -> str:
    """Why the atoms of a plane are a drawing, or nothing."""
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    for carbon in np.flatnonzero(z == 6):
        if (distance[carbon] < BONDED).sum() > 3:
            return f"carbon atom {carbon} has more than three neighbours there"
    hydrogens = np.flatnonzero(z == 1)
    nearest = distance[hydrogens].argmin(1)
    light = np.isin(z[nearest], (6, 7, 8))
    bond = distance[hydrogens, nearest]
    if light.any() and (bond[light] > LONGEST_XH).all():
        hydrogen = hydrogens[light][0]
        return f"hydrogen atom {hydrogen} has a bond of {bond[light][0]:.2f} Å"
    return ""


def require_molecules(structures: Sequence[Data], where: str = "structure", first: int = 0) -> None:
    """`require_distinct` and `require_three_dimensions` of many structures, fast; ``first`` is the
    number of the first one.

    Raises:
        InputError: naming the first structure that is at fault.
    """
    groups: dict[int, list[int]] = {}
    suspects: list[int] = []
    for number, data in enumerate(structures):
        few = len(data.pos) < FEW and "cell" not in data
        (groups.setdefault(len(data.pos), []) if few else suspects).append(number)
    for size, members in groups.items():
        one, other = np.triu_indices(size, 1)
        step = max(1, DISTANCES // max(1, len(one)))
        for chunk in (members[start : start + step] for start in range(0, len(members), step)):
            points = np.stack([structures[number].pos.detach().cpu().numpy() for number in chunk])
            squared = np.square(points[:, one] - points[:, other]).sum(2)
            suspect = (squared < (1.01 * COINCIDENT) ** 2).any(1)
            suspect |= (points == points[:, :1]).all(1).any(1)  # one plane
            suspects += [chunk[k] for k in np.flatnonzero(suspect)]
    for number in sorted(suspects):
        require_distinct(structures[number], f"{where} {first + number}")
        require_three_dimensions(structures[number], f"{where} {first + number}")
