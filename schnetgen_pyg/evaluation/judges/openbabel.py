"""Open Babel: its bonds and their orders; every atom has its usual valence, the molecule is one
fragment. Needs the extra ``openbabel``."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import ase
import ase.data
import numpy as np
from scipy.sparse.csgraph import connected_components

from schnetgen_pyg.evaluation.judges.edm import (
    VALENCES,
)


@lru_cache(maxsize=1)
def _openbabel() -> Any:
    try:
        from openbabel import openbabel
    except ImportError:
        return None
    openbabel.obErrorLog.SetOutputLevel(0)
    return openbabel


def openbabel_failure(atoms: ase.Atoms) -> str | None:
    """Empty if valid to Open Babel, else ``valence`` or ``fragments``; ``None`` without it.

    Atoms of elements without a usual valence here are not judged. Open Babel gives nitro groups'
    nitrogen five bonds, which is not its usual valence.
    """
    ob = _openbabel()
    if ob is None:
        return None
    mol = ob.OBMol()
    mol.BeginModify()
    for number, position in zip(atoms.numbers.tolist(), atoms.positions.tolist(), strict=True):
        atom = mol.NewAtom()
        atom.SetAtomicNum(number)
        atom.SetVector(*position)
    mol.EndModify()
    mol.ConnectTheDots()
    mol.PerceiveBondOrders()
    for atom in ob.OBMolAtomIter(mol):
        usual = VALENCES.get(atom.GetAtomicNum())
        if usual is not None and atom.GetExplicitValence() != usual:
            return "valence"
    graph = np.zeros((len(atoms), len(atoms)), dtype=bool)
    for bond in ob.OBMolBondIter(mol):
        graph[bond.GetBeginAtomIdx() - 1, bond.GetEndAtomIdx() - 1] = True
    return "fragments" if connected_components(graph)[0] > 1 else ""
