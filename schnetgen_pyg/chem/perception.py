"""From positions to a molecule with bond orders, or the reason why there is none.

Convention of validity: bonds are those of `schnetgen_pyg.chem.bonds`; the molecule is one fragment,
neutral, without formal charges and without unpaired electrons, and every atom has a valence that
RDKit allows. It accepts all 6,095 isomers of C7H10O2 in QM9.
"""

from __future__ import annotations

from dataclasses import dataclass

import ase
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds
from scipy.spatial.distance import pdist

from schnetgen_pyg.chem.bonds import connectivity
from schnetgen_pyg.chem.elements import MAX_NEIGHBORS

#: Atoms closer than this (Å) lie on top of each other.
CLASH = 0.5


#: RDKit's search for bond orders stops after so many assignments.
MAX_ITERATIONS = 10_000


@dataclass(frozen=True)
class Perception:
    """What one structure is, chemically.

    Attributes:
        mol: with explicit hydrogens, bond orders and a conformer, or ``None`` if not valid.
        failure: empty if valid, else ``clash``, ``fragments``, ``valence`` (too many
            neighbours), ``bond orders`` (no assignment without charges) or ``radical``.
    """

    mol: Chem.Mol | None
    failure: str = ""

    @property
    def valid(self) -> bool:
        return self.mol is not None


def perceive(atoms: ase.Atoms) -> Perception:
    """Bonds and bond orders of one structure, or the reason why it is not valid."""
    if (pdist(atoms.positions) < CLASH).any():
        return Perception(None, "clash")
    with rdBase.BlockLogs():
        mol = connectivity(atoms)
        for atom in mol.GetAtoms():
            if atom.GetDegree() > MAX_NEIGHBORS.get(atom.GetAtomicNum(), 8):
                return Perception(None, "valence")
        if len(Chem.GetMolFrags(mol)) > 1:
            return Perception(None, "fragments")
        try:
            rdDetermineBonds.DetermineBondOrders(
                mol, charge=0, allowChargedFragments=False, maxIterations=MAX_ITERATIONS
            )
        except (ValueError, RuntimeError):
            return Perception(None, "bond orders")
        for atom in mol.GetAtoms():
            if atom.GetNumRadicalElectrons() or atom.GetFormalCharge():
                return Perception(None, "radical")
    return Perception(mol)
