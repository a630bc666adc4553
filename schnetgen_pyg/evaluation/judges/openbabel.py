"""Open Babel: its bonds and their orders; every atom has its usual valence, the molecule is one
fragment. Needs the extra ``openbabel``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ase
import numpy as np
from scipy.sparse.csgraph import connected_components

from schnetgen_pyg.chem.electrons import stated
from schnetgen_pyg.chem.perception import Perception
from schnetgen_pyg.evaluation.judges.base import (
    Entry,
    Judge,
    Record,
    count_unfinished,
    finished,
)
from schnetgen_pyg.evaluation.judges.edm import VALENCES


def openbabel_molecule(atoms: ase.Atoms) -> Any:
    """Open Babel's molecule (``OBMol``) with the bonds and orders that it finds by lengths."""
    from openbabel import openbabel as ob

    ob.obErrorLog.SetOutputLevel(0)
    mol = ob.OBMol()
    mol.BeginModify()
    for number, position in zip(atoms.numbers.tolist(), atoms.positions.tolist(), strict=True):
        atom = mol.NewAtom()
        atom.SetAtomicNum(number)
        atom.SetVector(*position)
    mol.EndModify()
    mol.ConnectTheDots()
    mol.PerceiveBondOrders()
    return mol


def openbabel_failure(atoms: ase.Atoms) -> str:
    """Empty if valid to Open Babel, else ``valence`` or ``fragments``.

    Atoms of elements without a usual valence here are not judged. Open Babel gives nitro groups'
    nitrogen five bonds, which is not its usual valence.
    """
    from openbabel import openbabel as ob

    mol = openbabel_molecule(atoms)
    for atom in ob.OBMolAtomIter(mol):
        usual = VALENCES.get(atom.GetAtomicNum())
        if usual is not None and atom.GetExplicitValence() != usual:
            return "valence"
    graph = np.zeros((len(atoms), len(atoms)), dtype=bool)
    for bond in ob.OBMolBondIter(mol):
        graph[bond.GetBeginAtomIdx() - 1, bond.GetEndAtomIdx() - 1] = True
    return "fragments" if connected_components(graph)[0] > 1 else ""


def judge(atoms: ase.Atoms, _: Perception) -> Entry | None:
    """``failure``, empty if valid to Open Babel; nothing of charged and open-shell structures, as
    it is asked for usual valences."""
    return None if stated(atoms) else {"failure": openbabel_failure(atoms)}


def rows(records: Sequence[Record]) -> dict[str, float]:
    """Share of structures that are valid to Open Babel; what was not finished is not, what has a
    charge or unpaired electrons is not counted."""
    entries = list(finished(records, OPENBABEL.name))
    valid = sum(not entry["failure"] for entry in entries)
    count = len(entries) + count_unfinished(records, OPENBABEL.name)
    return {"Open Babel: valid (%)": 100 * valid / count} if count else {}


OPENBABEL = Judge(
    name="openbabel",
    title="Open Babel",
    judge=judge,
    rows=rows,
    verdict=lambda entry: entry["failure"] or "valid",
    accepts=lambda entry: not entry["failure"],
    about="Its own bonds and orders; every atom has its usual valence, the molecule is one "
    "fragment.",
    module="openbabel",
    extra="openbabel",
)
