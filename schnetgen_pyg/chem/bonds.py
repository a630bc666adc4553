"""What counts as a bond, for single structures, batches and RDKit: atoms closer than 1.15 times the
sum of their covalent radii."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import ase
import numpy as np
import torch
from numpy.typing import ArrayLike
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_dense_batch

from schnetgen_pyg.chem.elements import COVALENT_RADII

#: Bonds are shorter than this times the sum of the covalent radii.
COVALENT_FACTOR = 1.15

#: The same where all atoms are hydrogens: the radius is that of hydrogen in compounds, and H2's
#: bond 1.19 times the sum.
HYDROGEN_FACTOR = 1.3


def connectivity(atoms: ase.Atoms) -> Chem.Mol:
    """RDKit molecule with single bonds between bonded atoms and a conformer; no hydrogens are
    implied."""
    mol = Chem.RWMol()
    for number in atoms.numbers.tolist():
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    conformer = Chem.Conformer(len(atoms))
    conformer.SetPositions(np.ascontiguousarray(atoms.positions))
    mol.AddConformer(conformer)
    if len(atoms) > 1:
        factor = float(_factors(atoms.numbers)[0])
        rdDetermineBonds.DetermineConnectivity(mol, useVdw=True, covFactor=factor)
    return mol.GetMol()


def bond_pairs(mol: Chem.Mol) -> np.ndarray:
    """Atoms of every bond, in RDKit's order [num_bonds, 2]."""
    pairs = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    return np.array(pairs, dtype=int).reshape(-1, 2)


def set_bond_orders(mol: Chem.Mol, orders: Iterable[int], charges: Iterable[int]) -> None:
    """Give bonds their orders and atoms their formal charges (e), in RDKit's order."""
    for bond, order in zip(mol.GetBonds(), orders, strict=True):
        bond.SetBondType(Chem.BondType.values[int(order)])
    for atom, charge in zip(mol.GetAtoms(), charges, strict=True):
        atom.SetFormalCharge(int(charge))


def _factors(numbers: np.ndarray, structure: ArrayLike = 0) -> np.ndarray:
    """What the radius of each atom is multiplied with [num_atoms]."""
    structure = np.broadcast_to(structure, numbers.shape)
    others = np.bincount(structure, numbers != 1)[structure]
    return np.where(others == 0, HYDROGEN_FACTOR, COVALENT_FACTOR)


def bond_reaches(numbers: np.ndarray, structure: ArrayLike = 0) -> np.ndarray:
    """Atoms are bonded that are closer than the sum of their reaches in Å [num_atoms].

    Args:
        numbers: atomic numbers [num_atoms].
        structure: number of the structure that each atom is in [num_atoms], if they are several.
    """
    return _factors(numbers, structure) * np.array(COVALENT_RADII)[numbers]


@lru_cache(maxsize=8)
def _limits(device: torch.device) -> Tensor:
    # In single precision whatever torch's default type is, as it is kept.
    radii = torch.tensor(COVALENT_RADII, dtype=torch.float32, device=device)
    limits = COVALENT_FACTOR * (radii.unsqueeze(1) + radii)
    limits[0], limits[:, 0] = 0.0, 0.0
    return limits


def bond_limits(z: Tensor, other: Tensor) -> Tensor:
    """Distances in Å below which atoms of these types are bonded, by the factor of this
    module, 0 where there is no atom (type 0); shapes broadcast."""
    return _limits(z.device)[z, other]


def batch_adjacency(molecules: Data) -> tuple[Tensor, Tensor]:
    """Which atoms of each molecule are bonded [num_molecules, atoms, atoms], and which of the
    padded places are atoms [num_molecules, atoms]."""
    pos, mask = to_dense_batch(molecules.pos, molecules.batch)
    z, _ = to_dense_batch(molecules.z, molecules.batch)
    near = torch.cdist(pos, pos) < bond_limits(z.unsqueeze(2), z.unsqueeze(1))
    near &= mask.unsqueeze(2) & mask.unsqueeze(1)
    return near & ~torch.eye(z.shape[1], dtype=torch.bool, device=z.device), mask


def connected(bonds: Tensor, there: Tensor) -> Tensor:
    """Whether bonds [molecules, atoms, atoms] connect all atoms that are ``there``
    [molecules, atoms] [molecules]."""
    size = there.shape[1]
    path = (bonds | torch.eye(size, dtype=torch.bool, device=bonds.device)).float()
    for _ in range(size.bit_length()):  # of 1, 2, 4, … bonds
        path = (path @ path).clamp_(max=1.0)
    both = there.unsqueeze(1) & there.unsqueeze(2)
    return ((path > 0) | ~both).flatten(1).all(1)


def adjacency(z: Tensor, pos: Tensor) -> Tensor:
    """Bonds [molecules, atoms, atoms] of equally large molecules z [molecules, atoms]."""
    near = torch.cdist(pos, pos) < bond_limits(z.unsqueeze(2), z.unsqueeze(1))
    return near & ~torch.eye(z.shape[1], dtype=torch.bool, device=z.device)
