"""RDKit, strict: what this package calls valid (`schnetgen_pyg.chem.perception`).

It is always asked, and its entry is the record itself: the others' entries are added to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import ase

from schnetgen_pyg.chem.identity import describe
from schnetgen_pyg.chem.perception import Perception
from schnetgen_pyg.evaluation.judges.base import Entry, Judge, Record

#: The ceiling of other figures, where structures of real molecules state their SMILES: what is
#: missing to 100 is not the model's.
OWN_SMILES = "own SMILES, of those that state one (%)"


def judge(atoms: ase.Atoms, perception: Perception) -> Entry:
    """``failure``, identities and rings (`describe`), ``num_atoms`` and ``formal_charges``, the
    number of atoms that have one."""
    charged = 0
    if perception.mol is not None:
        charged = sum(bool(atom.GetFormalCharge()) for atom in perception.mol.GetAtoms())
    entry = describe(atoms, perception) | {"num_atoms": len(atoms)}
    return entry | {"formal_charges": charged} if charged else entry


def rows(records: Sequence[Record]) -> dict[str, float]:
    """Share of valid structures, of those that need formal charges for it, and of those that get
    the SMILES back which they state; the last two if there are any."""
    total = max(len(records), 1)
    valid = sum(not record["failure"] for record in records)
    charged = sum(bool(record.get("formal_charges")) for record in records)
    found = {"valid (%)": 100 * valid / total}
    if charged:
        found["valid, with formal charges (%)"] = 100 * charged / total
    own = [record["own_smiles"] for record in records if "own_smiles" in record]
    if own:
        found[OWN_SMILES] = 100 * sum(own) / len(own)
    return found


RDKIT = Judge(
    name="rdkit",
    title="RDKit, strict",
    judge=judge,
    rows=rows,
    about="One neutral fragment without unpaired electrons, bonds by covalent radii; formal "
    "charges sum to zero: what this page calls valid.",
)
