"""RDKit molecules of structures that say which bonds they have.

A generator knows what it has built: every atom's formal charge and sum of bond orders. They travel
with the structure as arrays, and with its bonds they are its bond orders: nothing is perceived.
"""

from __future__ import annotations

import ase
import numpy as np
from rdkit import Chem, rdBase

from schnetgen_pyg.chem.bonds import bond_pairs, connectivity, set_bond_orders
from schnetgen_pyg.chem.pairing import pair
from schnetgen_pyg.chem.perception import Perception, perceive
from schnetgen_pyg.errors import InputError

#: Arrays [num_atoms] of formal charges (e) and of sums of bond orders.
FORMAL_CHARGE, VALENCE = "formal_charge", "valence"


def to_rdkit(atoms: ase.Atoms, where: str = "") -> Chem.Mol:
    """The molecule with bond orders, formal charges, stereochemistry, explicit hydrogens and its
    conformer: as it was generated, or else as it is perceived.

    Args:
        atoms: with arrays ``formal_charge`` and ``valence`` [num_atoms] of a generator, or without.
        where: what messages call it, instead of its formula.

    Raises:
        InputError: if it is no valid molecule.
    """
    found = known_or_perceived(atoms)
    if found.mol is None:
        raise InputError(
            f"{where or atoms.get_chemical_formula()}: is no valid molecule ({found.failure}), so "
            "that its bond orders are not known; correct it (schnetgen_pyg.evaluate finds the "
            "valid ones of many)"
        )
    return found.mol


def known_or_perceived(atoms: ase.Atoms) -> Perception:
    """What a structure says of itself or, where it says nothing or its bonds are others by now,
    what is perceived."""
    known = _known(atoms) if {FORMAL_CHARGE, VALENCE} <= atoms.arrays.keys() else None
    return perceive(atoms) if known is None else Perception(known)


def _known(atoms: ase.Atoms) -> Chem.Mol | None:
    with rdBase.BlockLogs():
        mol = Chem.RWMol(connectivity(atoms))
        bonds = bond_pairs(mol)
        left = atoms.arrays[VALENCE] - np.bincount(bonds.ravel(), minlength=len(atoms))
        orders = pair(left, bonds)
        if orders is None or len(Chem.GetMolFrags(mol)) > 1:
            return None
        set_bond_orders(mol, orders + 1, atoms.arrays[FORMAL_CHARGE])
        if Chem.SanitizeMol(mol, catchErrors=True):
            return None
        if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
            return None
        Chem.AssignStereochemistryFrom3D(mol)
        return mol.GetMol()
