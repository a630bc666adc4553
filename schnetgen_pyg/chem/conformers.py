"""Conformers of RDKit molecules: which are the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdMolAlign

#: Renumberings of a molecule onto itself that are tried.
MATCHES = 1000


def with_conformers(mol: Chem.Mol, positions: Sequence[np.ndarray]) -> Chem.Mol:
    """A copy of the molecule with these conformers, numbered from 0, and no others
    [num_atoms, 3] in Å."""
    result = Chem.Mol(mol)
    result.RemoveAllConformers()
    for number, pos in enumerate(positions):
        conformer = Chem.Conformer(mol.GetNumAtoms())
        conformer.SetPositions(np.ascontiguousarray(pos, dtype=float))
        conformer.SetId(number)
        result.AddConformer(conformer)
    return result


def distances(mol: Chem.Mol) -> np.ndarray:
    """RMSDs of all conformers in Å [num_conformers, num_conformers]: of the atoms other than
    hydrogen, superposed, the least over the symmetries of the molecule (the first `MATCHES`)."""
    number = mol.GetNumConformers()
    bare = Chem.RemoveAllHs(mol, sanitize=False)
    found = np.zeros((number, number))
    if number > 1 and bare.GetNumAtoms() > 1:
        lower = rdMolAlign.GetAllConformerBestRMS(bare, maxMatches=MATCHES)
        found[np.tril_indices(number, -1)] = lower
    found = found + found.T
    return found


def different(mol: Chem.Mol, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """The conformers that are farther than ``threshold`` (Å) from all before them that are, and how
    many each stands for: those that it is the first to be near [num_kept]."""
    number = mol.GetNumConformers()
    if not threshold:
        return np.arange(number), np.ones(number, dtype=np.int64)
    near = distances(mol) < threshold
    kept: list[int] = []
    count: list[int] = []
    for k in range(number):
        same = [place for place, other in enumerate(kept) if near[k, other]]
        if same:
            count[same[0]] += 1
        else:
            kept.append(k)
            count.append(1)
    return np.array(kept, dtype=np.int64), np.array(count, dtype=np.int64)
