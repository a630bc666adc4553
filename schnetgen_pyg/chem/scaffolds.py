"""Bemis–Murcko scaffolds: rings and what links them."""

from __future__ import annotations

from rdkit import Chem, rdBase
from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles


def murcko_scaffold(mol: Chem.Mol) -> str:
    """SMILES of the Bemis–Murcko scaffold (J. Med. Chem. 39, 2887, 1996) without stereochemistry,
    as RDKit has it; empty for a molecule without rings."""
    with rdBase.BlockLogs():
        return str(MurckoScaffoldSmiles(mol=Chem.RemoveHs(mol), includeChirality=False))
