"""RDKit, strict: what this package calls valid (`schnetgen_pyg.chem.perception`).

It is always asked, and its entry is the record itself: the others' entries are added to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import ase

from schnetgen_pyg.chem.identity import describe
from schnetgen_pyg.chem.perception import Perception
from schnetgen_pyg.evaluation.judges.base import Entry, Judge, Record


def judge(atoms: ase.Atoms, perception: Perception) -> Entry:
    """``failure``, identities and rings (`describe`), and ``num_atoms``."""
    return {**describe(atoms, perception), "num_atoms": len(atoms)}


def rows(records: Sequence[Record]) -> dict[str, float]:
    """Share of valid structures."""
    valid = sum(not record["failure"] for record in records)
    return {"valid (%)": 100 * valid / max(len(records), 1)}


RDKIT = Judge(
    name="rdkit",
    title="RDKit, strict",
    judge=judge,
    rows=rows,
    about="One neutral fragment without formal charges or unpaired electrons, bonds by covalent "
    "radii: what this page calls valid.",
)
