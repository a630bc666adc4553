"""Bonds, valences, fingerprints and identity of single structures: pure functions.

Convention of validity: atoms closer than 1.15 times the sum of their covalent radii are bonded;
the molecule is one fragment, neutral, without formal charges and without unpaired electrons, and
every atom has a valence that RDKit allows. It accepts all 6,095 isomers of C7H10O2 in QM9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ase
import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds
from scipy.spatial.distance import pdist

from .structures import InputError

#: Bonds are shorter than this times the sum of the covalent radii.
COVALENT_FACTOR = 1.15
#: The same where all atoms are hydrogens: the radius is that of hydrogen in compounds, and H2's
#: bond 1.19 times the sum.
HYDROGEN_FACTOR = 1.3
#: Ways to say that two structures are the same: keys of `describe`. The scaffold is known of every
#: structure, the others of valid ones.
IDENTITIES = ("scaffold", "fingerprint", "smiles", "stereo_smiles")
#: Atoms closer than this (Å) lie on top of each other.
CLASH = 0.5
#: Most neighbours of an element in a neutral closed-shell molecule.
MAX_NEIGHBORS = {1: 1, 6: 4, 7: 3, 8: 2, 9: 1}
#: RDKit's search for bond orders stops after so many assignments.
MAX_ITERATIONS = 10_000
#: RDKit's covalent radii in Å by atomic number.
COVALENT_RADII = tuple(Chem.GetPeriodicTable().GetRcovalent(number) for number in range(101))


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
        factor = HYDROGEN_FACTOR if (atoms.numbers == 1).all() else COVALENT_FACTOR
        rdDetermineBonds.DetermineConnectivity(mol, useVdw=True, covFactor=factor)
    return mol.GetMol()


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


def smiles(mol: Chem.Mol, stereo: bool = False) -> str:
    """Canonical SMILES without explicit hydrogens."""
    return str(Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=stereo))


def fingerprint(mol: Chem.Mol) -> str:
    """The paper's identity: RDKit's topological fingerprint of the heavy atoms over all paths of
    one to seven bonds, hydrogens ignored; as a hexadecimal string."""
    return _paths(Chem.RemoveHs(mol))


def _paths(mol: Chem.Mol) -> str:
    return str(Chem.RDKFingerprint(mol, minPath=1, maxPath=7).ToBinary().hex())


def skeleton(atoms: ase.Atoms) -> Chem.Mol:
    """The heavy atoms and the bonds between them without orders; it exists for every structure,
    also a broken one."""
    mol = connectivity(atoms[atoms.numbers != 1])
    mol.UpdatePropertyCache(strict=False)
    Chem.GetSSSR(mol)
    return mol


def scaffold(atoms: ase.Atoms) -> str:
    """The fingerprint of the skeleton; as a hexadecimal string."""
    return _paths(skeleton(atoms))


def rings(mol: Chem.Mol) -> str:
    """Sizes of the rings, of the smallest set of them, ascending, such as ``3 6``."""
    return " ".join(map(str, sorted(len(ring) for ring in mol.GetRingInfo().AtomRings())))


def describe(atoms: ase.Atoms) -> dict[str, str]:
    """Failure (empty if valid), scaffold and rings, and for a valid structure its identities."""
    perception, heavy = perceive(atoms), skeleton(atoms)
    record = {"failure": perception.failure, "scaffold": _paths(heavy), "rings": rings(heavy)}
    if perception.mol is not None:
        record |= {
            "fingerprint": fingerprint(perception.mol),
            "smiles": smiles(perception.mol),
            "stereo_smiles": smiles(perception.mol, stereo=True),
        }
    return record


def drawing_tools() -> Any:
    """RDKit's module ``Draw``, which is linked with libraries that servers may lack.

    Raises:
        InputError: where it cannot be loaded.
    """
    try:
        from rdkit.Chem import Draw
    except ImportError as error:
        raise InputError(
            f"RDKit cannot draw here ({error}): it needs X11's libraries (Debian's libxrender1 and "
            "libxext6), also without a screen"
        ) from error
    return Draw
