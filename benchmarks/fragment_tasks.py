"""What is to be completed: scaffolds of molecules, and pairs of fragments to be joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import ase
import networkx as nx
import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem.Scaffolds import MurckoScaffold

from schnetgen_pyg.chem.formulas import FormulaPattern
from schnetgen_pyg.chem.fragments import Fragment
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.chem.molecules import known_or_perceived

#: Heavy atoms of a linker at most, and of what it joins at least.
LONGEST, LEAST = 4, 2


@dataclass(frozen=True)
class Task:
    """What is to be completed.

    Attributes:
        fragment: to begin with.
        known: SMILES of the molecule that it is from.
        heavy: heavy atoms of the whole that are asked for; none where the model draws them.
        chains: what was taken away, as SMILES.
    """

    fragment: Fragment
    known: str
    heavy: int | None = None
    chains: tuple[str, ...] = ()


def scaffold_of(mol: Chem.Mol) -> list[int]:
    """Heavy atoms of the Murcko scaffold; none of a molecule without rings, or that is one."""
    with rdBase.BlockLogs():
        core = MurckoScaffold.GetScaffoldForMol(mol)
    heavy = sum(atom.GetAtomicNum() != 1 for atom in mol.GetAtoms())
    if not 0 < core.GetNumHeavyAtoms() < heavy:
        return []
    found = list(mol.GetSubstructMatch(core))
    return [k for k in found if mol.GetAtomWithIdx(k).GetAtomicNum() != 1]


def side_chains(mol: Chem.Mol, core: Sequence[int]) -> tuple[str, ...]:
    """Groups of heavy atoms beside a core, with the bonds that they hang on; in order."""
    edited = Chem.RWMol(mol)
    with rdBase.BlockLogs():
        Chem.Kekulize(edited, clearAromaticFlags=True)
    inside = {*core}
    for bond in mol.GetBonds():
        ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        own = [k for k in ends if k not in inside]
        if len(own) == 1:
            order = edited.GetBondBetweenAtoms(*ends).GetBondType()
            dummy = edited.AddAtom(Chem.Atom(0))
            edited.AddBond(own[0], dummy, order)
    edited.BeginBatchEdit()
    for index in core:
        edited.RemoveAtom(index)
    edited.CommitBatchEdit()
    pieces = Chem.GetMolFrags(edited.GetMol(), asMols=True)
    heavy = [p for p in pieces if any(a.GetAtomicNum() > 1 for a in p.GetAtoms())]
    return tuple(sorted(smiles(piece) for piece in heavy))


def scaffold_task(atoms: ase.Atoms) -> Task | None:
    """The scaffold of a molecule; none where it has none, or is no valid one."""
    mol = known_or_perceived(atoms).mol
    core = [] if mol is None else scaffold_of(mol)
    if mol is None or not core:
        return None
    beside = [k for k in range(len(atoms)) if k not in core]
    return Task(Fragment.without(atoms, beside), smiles(mol), chains=side_chains(mol, core))


def linkers(mol: Chem.Mol) -> list[tuple[int, ...]]:
    """Connected parts of up to `LONGEST` heavy atoms without which a molecule is two parts of at
    least `LEAST` heavy atoms each."""
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() != 1]
    graph = nx.from_numpy_array(Chem.GetAdjacencyMatrix(mol)).subgraph(heavy)
    found = []
    for size in range(1, LONGEST + 1):
        for part in combinations(heavy, size):
            if not nx.is_connected(graph.subgraph(part)):
                continue
            rest = graph.subgraph({*heavy} - {*part})
            sizes = [len(one) for one in nx.connected_components(rest)]
            if len(sizes) == 2 and min(sizes) >= LEAST:
                found.append(part)
    return found


def linker_task(atoms: ase.Atoms, seed: Sequence[int]) -> Task | None:
    """A molecule without one of its linkers, drawn by a seed; none where it has none."""
    mol = known_or_perceived(atoms).mol
    parts = [] if mol is None else linkers(mol)
    if mol is None or not parts:
        return None
    part = parts[int(np.random.default_rng(seed).integers(len(parts)))]
    heavy = int((atoms.numbers != 1).sum())
    return Task(Fragment.without(atoms, part), smiles(mol), heavy)


def pattern_of(task: Task) -> FormulaPattern | None:
    """What is asked for of the formula."""
    if task.heavy is None:
        return None
    return FormulaPattern({}, heavy=(task.heavy, task.heavy), others=True)
