"""Bonds, angles, torsions and distances of many structures at once; RMSD with symmetry.

Atoms of all structures are numbered through. Lengths are in Å, angles in degrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.spatial.distance import pdist

from schnetgen_pyg.chem.bonds import bond_reaches, connectivity
from schnetgen_pyg.chem.perception import perceive

Floats = NDArray[np.float64]


Integers = NDArray[np.int64]


#: Renumberings of a molecule onto itself that are tried.
MAX_SYMMETRIES = 10_000


@dataclass(frozen=True)
class Atoms:
    """All atoms of some structures, and every pair of atoms of the same structure.

    Attributes:
        numbers: atomic numbers [num_atoms].
        positions: [num_atoms, 3].
        structure: of each atom [num_atoms].
        pairs: [2, num_pairs], the smaller number first.
        distance: of each pair [num_pairs].
    """

    numbers: Integers
    positions: Floats
    structure: Integers
    pairs: Integers
    distance: Floats

    def bonds(self) -> Integers:
        """Bonded pairs [2, num_bonds], by the convention of `schnetgen_pyg.chem.bonds`."""
        reaches = bond_reaches(self.numbers, self.structure)
        return self.pairs[:, self.distance <= reaches[self.pairs].sum(0)]


def collect(structures: Sequence[ase.Atoms]) -> Atoms:
    """Atoms and pairs of some structures."""
    sizes = np.array([len(atoms) for atoms in structures], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    triangles = {size: np.stack(np.triu_indices(size, 1)) for size in set(sizes.tolist())}
    pairs = [triangles[len(a)] + start for a, start in zip(structures, starts, strict=True)]
    distances = [pdist(atoms.positions) for atoms in structures]
    empty = np.empty(0)
    return Atoms(
        np.concatenate([empty, *(atoms.numbers for atoms in structures)]).astype(np.int64),
        np.concatenate([np.empty((0, 3)), *(atoms.positions for atoms in structures)]),
        np.repeat(np.arange(len(sizes)), sizes),
        np.concatenate([np.empty((2, 0)), *pairs], axis=1).astype(np.int64),
        np.concatenate([empty, *distances]),
    )


def _ranges(counts: Integers) -> Integers:
    """0…count−1 for every count, one after another."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _neighbors(bonds: Integers, num_atoms: int) -> tuple[Integers, Integers, Integers]:
    """Atoms at both ends of each directed bond, sorted by the first, and where each begins."""
    first, second = np.concatenate([bonds, bonds[::-1]], axis=1)
    order = np.argsort(first, kind="stable")
    counts = np.bincount(first, minlength=num_atoms)
    return first[order], second[order], np.concatenate([[0], np.cumsum(counts)])


def angles(bonds: Integers, num_atoms: int) -> Integers:
    """Bonded triples [3, num_angles], the apex in the middle."""
    apex, end, start = _neighbors(bonds, num_atoms)
    place = np.arange(apex.size)
    later = start[apex + 1] - place - 1
    one = np.repeat(place, later)
    other = one + 1 + _ranges(later)
    return np.stack([end[one], apex[one], end[other]])


def torsions(bonds: Integers, num_atoms: int) -> Integers:
    """Bonded chains of four different atoms [4, num_torsions]."""
    _, end, start = _neighbors(bonds, num_atoms)
    degree = np.diff(start)
    j, k = bonds
    which = np.repeat(np.arange(j.size), degree[j])
    i = end[start[j[which]] + _ranges(degree[j])]
    again = np.repeat(np.arange(which.size), degree[k[which]])
    last = end[start[k[which[again]]] + _ranges(degree[k[which]])]
    i, which = i[again], which[again]
    different = (i != k[which]) & (last != j[which]) & (i != last)
    return np.stack([i, j[which], k[which], last])[:, different]


def lengths(positions: Floats, bonds: Integers) -> Floats:
    return np.asarray(np.linalg.norm(positions[bonds[0]] - positions[bonds[1]], axis=1))


def angle_values(positions: Floats, triples: Integers) -> Floats:
    """0…180°."""
    a, b, c = positions[triples]
    u, v = a - b, c - b
    across = np.linalg.norm(np.cross(u, v), axis=1)
    return np.degrees(np.arctan2(across, (u * v).sum(1)))


def torsion_values(positions: Floats, chains: Integers) -> Floats:
    """−180…180°, 0 where the ends are on the same side (IUPAC's sign)."""
    a, b, c, d = positions[chains]
    axis = c - b
    n, m = np.cross(b - a, axis), np.cross(axis, d - c)
    y = (np.cross(n, m) * axis).sum(1) / np.maximum(np.linalg.norm(axis, axis=1), 1e-12)
    return np.degrees(np.arctan2(y, (n * m).sum(1)))


def _superposed(before: Floats, after: Floats) -> Floats:
    """Least RMSD of each ``before[k]`` on ``after`` by translation and proper rotation (Kabsch)."""
    before = before - before.mean(1, keepdims=True)
    after = after - after.mean(0)
    left, size, right = np.linalg.svd(before.transpose(0, 2, 1) @ after)
    size[:, 2] *= np.sign(np.linalg.det(left @ right))
    square = (before**2).sum((1, 2)) + (after**2).sum() - 2 * size.sum(1)
    return np.sqrt(np.maximum(square, 0) / len(after))


def symmetries(mol: Chem.Mol, heavy: bool = False) -> Integers:
    """Renumberings of a molecule onto itself [num_symmetries, num_atoms], identity first; the
    first `MAX_SYMMETRIES` that RDKit finds.

    Args:
        mol: with explicit hydrogens.
        heavy: of the atoms other than hydrogen only, in the order of their numbers; they keep
            their numbers of hydrogens.
    """
    if heavy:
        kept = [a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() != 1]
        edited = Chem.RWMol(mol)
        for atom in edited.GetAtoms():
            # RDKit compares isotopes, which stand for the numbers of hydrogens here.
            hydrogens = sum(n.GetAtomicNum() == 1 for n in atom.GetNeighbors())
            atom.SetIsotope(1 + hydrogens)
        for index in reversed(range(mol.GetNumAtoms())):
            if index not in kept:
                edited.RemoveAtom(index)
        mol = edited.GetMol()
    found = mol.GetSubstructMatches(mol, uniquify=False, maxMatches=MAX_SYMMETRIES)
    identity = np.arange(mol.GetNumAtoms())[None]
    return np.concatenate([identity, np.array(found, dtype=np.int64).reshape(-1, identity.size)])


def rmsd(before: ase.Atoms, after: ase.Atoms, heavy: bool = False) -> float:
    """Root mean square distance after the best superposition, over the symmetries of ``before``.

    Atoms come in the same order. Symmetries are those of the perceived molecule, or where it is
    not valid of its bonds without their orders.

    Args:
        heavy: superpose and compare the atoms other than hydrogen only.
    """
    mol = perceive(before).mol or connectivity(before)
    kept = np.flatnonzero(before.numbers != 1) if heavy else np.arange(len(before))
    if not kept.size:
        return float("nan")
    numbering = symmetries(mol, heavy)
    return float(_superposed(before.positions[kept][numbering], after.positions[kept]).min())


def changes(before: ase.Atoms, after: ase.Atoms) -> dict[str, float]:
    """Mean and largest absolute change of the bonds (Å), angles and torsions (°) that ``before``
    has. A torsion about atoms in a line (beyond 170°) is left out."""
    start = collect([before])
    bonds = start.bonds()
    triples, chains = angles(bonds, len(before)), torsions(bonds, len(before))
    for pos in (before.positions, after.positions):
        bent = [angle_values(pos, chains[ends]) < 170 for ends in ([0, 1, 2], [1, 2, 3])]
        chains = chains[:, bent[0] & bent[1]]
    result: dict[str, float] = {}
    for name, values, atoms in (
        ("bonds", lengths, bonds),
        ("angles", angle_values, triples),
        ("torsions", torsion_values, chains),
    ):
        change = np.abs(values(after.positions, atoms) - values(before.positions, atoms))
        if name == "torsions":
            change = np.minimum(change, 360 - change)
        if change.size:
            result |= {f"{name}_mean": float(change.mean()), f"{name}_max": float(change.max())}
    return result
