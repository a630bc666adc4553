"""What EDM calls valid, unique and so on: by its own protocol, which is not ours.

Bonds and their orders by its tables of lengths, then RDKit's sanitisation, which fills up open
valences with implicit hydrogens; of several fragments the largest stands for the molecule
(Hoogeboom et al., ICML 2022, ``qm9/rdkit_functions.py``). So a molecule can be valid without being
stable, connected or complete.
"""

from __future__ import annotations

from collections.abc import Sequence

import ase
from rdkit import Chem, rdBase

from schnetgen_pyg.chem.perception import Perception
from schnetgen_pyg.evaluation.judges.base import (
    Entry,
    Judge,
    Record,
    count_unfinished,
    finished,
)
from schnetgen_pyg.evaluation.judges.edm import bond_orders


def edm_smiles(atoms: ase.Atoms) -> str | None:
    """SMILES of the largest fragment as EDM writes it, empty if that is not valid; ``None`` where
    an element is not in its tables."""
    found = bond_orders(atoms)
    if found is None:
        return None
    mol = Chem.RWMol()
    for number in atoms.numbers.tolist():
        mol.AddAtom(Chem.Atom(number))
    pairs, orders = found
    for first, second, order in zip(*pairs.tolist(), orders.tolist(), strict=True):
        if order:
            mol.AddBond(first, second, Chem.BondType.values[order])
    with rdBase.BlockLogs():
        if Chem.SanitizeMol(mol, catchErrors=True):
            return ""
        fragments = Chem.GetMolFrags(mol, asMols=True)
        return str(Chem.MolToSmiles(max(fragments, key=lambda one: one.GetNumAtoms())))


def judge(atoms: ase.Atoms, _: Perception) -> Entry | None:
    text = edm_smiles(atoms)
    return None if text is None else {"smiles": text}


def rows(records: Sequence[Record]) -> dict[str, float]:
    """Shares of all structures that are valid, and of different valid ones."""
    found = [entry["smiles"] for entry in finished(records, EDM_PROTOCOL.name)]
    count = len(found) + count_unfinished(records, EDM_PROTOCOL.name)
    if not found:
        return {}
    valid = [text for text in found if text]
    return {
        "EDM: valid (%)": 100 * len(valid) / count,
        "EDM: valid and unique (%)": 100 * len(set(valid)) / count,
    }


#: Asked by the benchmarks alone, so it is not registered.
EDM_PROTOCOL = Judge("edm-protocol", "EDM's protocol", judge, rows)
