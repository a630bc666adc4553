"""From positions to a molecule with bond orders, or the reason why there is none.

Convention of validity: bonds are those of `schnetgen_pyg.chem.bonds`; the molecule is one fragment,
neutral, without formal charges and without unpaired electrons, and every atom has a valence that
RDKit allows. It accepts all 6,095 isomers of C7H10O2 in QM9. A structure that states a charge is
judged with it: its formal charges sum to that. One that states unpaired electrons is a radical.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ase
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds
from scipy.spatial.distance import pdist

from schnetgen_pyg.chem.bonds import connectivity
from schnetgen_pyg.chem.elements import MAX_NEIGHBORS
from schnetgen_pyg.errors import InputError

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


def stated(atoms: ase.Atoms) -> dict[str, int]:
    """What a structure's info says of its electrons: ``charge`` (e) and ``spin_multiplicity``,
    where they are not those of a neutral closed-shell molecule.

    Raises:
        InputError: if they are no whole numbers, or no multiplicity.
    """
    found = {}
    for name, usual, least in (("charge", 0, -1_000), ("spin_multiplicity", 1, 1)):
        value: Any = atoms.info.get(name, usual)
        try:
            number = int(value)
            whole = number == float(value) and number >= least
        except (TypeError, ValueError, OverflowError):
            whole = False
        if not whole:
            raise InputError(
                f"{atoms.get_chemical_formula()}: {name} must be a whole number, got {value!r}"
            )
        if number != usual:
            found[name] = number
    return found


def perceive(atoms: ase.Atoms) -> Perception:
    """Bonds and bond orders of one structure, or the reason why it is not valid; with the
    ``charge`` and ``spin_multiplicity`` in its info."""
    if (pdist(atoms.positions) < CLASH).any():
        return Perception(None, "clash")
    electrons = stated(atoms)
    charge = electrons.get("charge", 0)
    # An ion may have one neighbour more, such as ammonium.
    most = 1 if charge else 0
    with rdBase.BlockLogs():
        mol = connectivity(atoms)
        for atom in mol.GetAtoms():
            if atom.GetDegree() > MAX_NEIGHBORS.get(atom.GetAtomicNum(), 8) + most:
                return Perception(None, "valence")
        if len(Chem.GetMolFrags(mol)) > 1:
            return Perception(None, "fragments")
        odd = charge and (int(atoms.numbers.sum()) - charge) % 2
        if "spin_multiplicity" in electrons or odd:
            return Perception(None, "radical")
        try:
            rdDetermineBonds.DetermineBondOrders(
                mol,
                charge=charge,
                allowChargedFragments=bool(charge),
                maxIterations=MAX_ITERATIONS,
            )
        except (ValueError, RuntimeError):
            return Perception(None, "bond orders")
        formal = [atom.GetFormalCharge() for atom in mol.GetAtoms()]
        if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
            return Perception(None, "radical")
        if any(formal) if not charge else sum(formal) != charge:
            return Perception(None, "radical" if not charge else "bond orders")
    return Perception(mol)
