"""From positions to a molecule with bond orders, or the reason why there is none.

Convention of validity: bonds are those of `schnetgen_pyg.chem.bonds`; the molecule is one fragment
with a closed-shell Lewis structure (`schnetgen_pyg.chem.lewis`), whose formal charges sum to 0, or
to the charge that the structure states. So nitro groups, N-oxides, sulfones and zwitterions are
valid; RDKit's valences hold. A structure that states unpaired electrons is a radical.
"""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np
from rdkit import Chem, rdBase
from scipy.spatial.distance import pdist

from schnetgen_pyg.chem.bonds import bond_pairs, connectivity, set_bond_orders
from schnetgen_pyg.chem.electrons import stated
from schnetgen_pyg.chem.lewis import lewis_structure, most_neighbors

#: Atoms closer than this (Å) lie on top of each other.
CLASH = 0.5

#: Of those that may be aromatic.
RING_SIZES = (5, 6, 7)


@dataclass(frozen=True)
class Perception:
    """What one structure is, chemically.

    Attributes:
        mol: with explicit hydrogens, bond orders and a conformer, or ``None`` if not valid.
        failure: empty if valid, else ``clash``, ``fragments``, ``valence`` (too many
            neighbours), ``bond orders`` (no closed-shell Lewis structure) or ``radical`` (an odd
            number of electrons).
    """

    mol: Chem.Mol | None
    failure: str = ""

    @property
    def valid(self) -> bool:
        return self.mol is not None


def perceive(atoms: ase.Atoms) -> Perception:
    """Bonds and bond orders of one structure, or the reason why it is not valid; with the
    ``charge`` and ``spin_multiplicity`` in its info.

    Raises:
        InputError: if these cannot be (`schnetgen_pyg.chem.electrons`).
    """
    if (pdist(atoms.positions) < CLASH).any():
        return Perception(None, "clash")
    electrons = stated(atoms)
    charge = electrons.get("charge", 0)
    with rdBase.BlockLogs():
        mol = connectivity(atoms)
        if any(atom.GetDegree() > most_neighbors(atom.GetAtomicNum()) for atom in mol.GetAtoms()):
            return Perception(None, "valence")
        if len(Chem.GetMolFrags(mol)) > 1:
            return Perception(None, "fragments")
        if "spin_multiplicity" in electrons or (int(atoms.numbers.sum()) - charge) % 2:
            return Perception(None, "radical")
        found = _lewis(mol, atoms, charge)
        if found is None or Chem.SanitizeMol(found, catchErrors=True):
            return Perception(None, "bond orders")
        if any(atom.GetNumRadicalElectrons() for atom in found.GetAtoms()):
            return Perception(None, "radical")
        Chem.AssignStereochemistryFrom3D(found)
    return Perception(found)


def _lewis(mol: Chem.Mol, atoms: ase.Atoms, charge: int) -> Chem.Mol | None:
    """The molecule with the bond orders and formal charges of its Lewis structure."""
    bonds = bond_pairs(mol)
    lengths = np.linalg.norm(atoms.positions[bonds[:, 0]] - atoms.positions[bonds[:, 1]], axis=1)
    Chem.GetSymmSSSR(mol)
    rings = [np.array(ring) for ring in mol.GetRingInfo().BondRings() if len(ring) in RING_SIZES]
    found = lewis_structure(atoms.numbers, bonds, lengths, rings, charge)
    if found is None:
        return None
    result = Chem.RWMol(mol)
    set_bond_orders(result, found.orders, found.charges)
    return result.GetMol()
