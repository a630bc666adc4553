"""What makes two structures the same molecule: SMILES, fingerprints, scaffolds."""

from __future__ import annotations

import hashlib

import ase
from rdkit import Chem, rdBase

from schnetgen_pyg.chem.bonds import connectivity
from schnetgen_pyg.chem.perception import Perception, perceive

#: Ways to say that two structures are the same: keys of `describe`. The scaffold is known of every
#: structure, the others of valid ones.
IDENTITIES = ("scaffold", "fingerprint", "smiles", "stereo_smiles")

#: Bytes of a hash. Of 100,000 molecules, 40 bits take one new molecule of ten million for seen.
HASH_BYTES = 5


def hash_of(identity: str) -> int:
    """A number that stands for one of `IDENTITIES`."""
    content = hashlib.blake2b(identity.encode(), digest_size=HASH_BYTES).digest()
    return int.from_bytes(content, "big")


def smiles(mol: Chem.Mol, stereo: bool = False) -> str:
    """Canonical SMILES without explicit hydrogens."""
    return str(Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=stereo))


def has_smiles(mol: Chem.Mol | None, text: str) -> bool:
    """Whether a perceived molecule is what a SMILES says, stereochemistry and isotopes aside; never
    if it is not valid, or RDKit cannot read the SMILES."""
    if mol is None:
        return False
    with rdBase.BlockLogs():
        # Both are read from SMILES, so that nothing of a molecule's history makes a difference.
        read = [Chem.MolFromSmiles(one) for one in (text, smiles(mol))]
        if None in read:
            return False
        for one in read:  # first of all: hydrogens that say how an imine is arranged would stay
            Chem.RemoveStereochemistry(one)
        return len({smiles(one) for one in read}) == 1


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


def describe(atoms: ase.Atoms, perception: Perception | None = None) -> dict[str, str]:
    """Failure (empty if valid), scaffold and rings, and for a valid structure its identities; of
    what was perceived in it, if that is known."""
    perception, heavy = perception or perceive(atoms), skeleton(atoms)
    record = {"failure": perception.failure, "scaffold": _paths(heavy), "rings": rings(heavy)}
    if perception.mol is not None:
        record |= {
            "fingerprint": fingerprint(perception.mol),
            "smiles": smiles(perception.mol),
            "stereo_smiles": smiles(perception.mol, stereo=True),
        }
    return record
