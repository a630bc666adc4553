"""Structures that lack hydrogens, as the molecules they consist of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import ase.neighborlist
import networkx as nx
import numpy as np
from rdkit import Chem

from schnetgen_pyg.chem.bonds import bond_reaches
from schnetgen_pyg.chem.fragments import Fragment
from schnetgen_pyg.data.conversion import as_data, check, to_ase
from schnetgen_pyg.data.electrons import electrons
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.data.readers import read
from schnetgen_pyg.data.readers.packed import suffix_of
from schnetgen_pyg.data.readers.sdf import WITH_BONDS, number_in, read_mols
from schnetgen_pyg.errors import InputError

#: Molecules of a structure at most: their random numbers are told apart by that.
MOST = 1000


@dataclass(frozen=True)
class BareStructure:
    """A structure, and its molecules.

    Attributes:
        atoms: as it was given.
        where: what messages call it.
        molecules: connected parts, none of whose atoms is open.
    """

    atoms: ase.Atoms
    molecules: list[Fragment]
    where: str = "structure"

    def with_hydrogens(self, positions: Sequence[np.ndarray]) -> ase.Atoms:
        """The structure with new hydrogens [number, 3] of every molecule after its atoms."""
        new = np.concatenate([np.zeros((0, 3)), *positions])
        hydrogens = ase.Atoms("H" * len(new), new)
        result = self.atoms.copy()
        for name in set(result.arrays) - {"numbers", "positions"}:
            del result.arrays[name]
        result.extend(hydrogens)
        result.positions[: len(self.atoms)] = self.atoms.positions
        result.info["added"] = len(new)
        return result


def read_bare(path: Path) -> list[Any]:
    """The structures of a file as `bare_structure` takes them: with bond orders where it has
    them."""
    return list(read_mols(path)) if suffix_of(path) in WITH_BONDS else read(path)


def bare_structure(source: Any, where: str = "structure") -> BareStructure:
    """The molecules of an RDKit molecule with a conformer, ASE ``Atoms`` or ``Data``.

    Raises:
        InputError: for networks that go on for ever, positions that are none, or bonds that make no
            closed shells.
    """
    if isinstance(source, Chem.Mol):
        return _of_mol(source, where)
    (data,) = as_data(source, where)
    where = named(data, where)
    data = check(data, where)
    atoms = source.copy() if isinstance(source, ase.Atoms) else to_ase(data)
    charge = electrons(data, where).charge
    if atoms.pbc.any():
        whole = [
            Fragment.of_atoms(ase.Atoms(atoms.numbers[numbers], positions), where=where).saturated()
            for numbers, positions in _parts(atoms, where)
        ]
    else:
        bare = ase.Atoms(atoms.numbers, atoms.positions, info={"charge": charge})
        whole = _molecules(Fragment.of_atoms(bare, where=where).saturated())
    if len(whole) > MOST:
        raise InputError(f"{where}: has {len(whole)} molecules, {MOST} at most are completed")
    if charge and len(whole) > 1:
        raise InputError(
            f"{where}: has charge {charge:+d} and {len(whole)} molecules; it does not say which of "
            "them has it: give them one by one"
        )
    return BareStructure(atoms, whole, where)


def _molecules(whole: Fragment) -> list[Fragment]:
    """Its connected parts."""
    number = int(whole.parts.max()) + 1
    if number == 1:
        return [whole]
    return [whole.take(np.flatnonzero(whole.parts == part)) for part in range(number)]


def _of_mol(mol: Chem.Mol, where: str) -> BareStructure:
    if not (mol.GetNumConformers() and (mol.GetConformer().Is3D() or mol.GetNumAtoms() == 1)):
        raise InputError(f"{where}: has no 3-D coordinates; embed it first")
    whole = Fragment.of_mol(mol, where=where).saturated()
    numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    if not all(numbers):
        raise InputError(f"{where}: has dummy atoms (*), which are no atoms; replace them")
    said = mol.GetPropsAsDict(autoConvertStrings=False)
    info = {name: number_in(one) if isinstance(one, str) else one for name, one in said.items()}
    atoms = ase.Atoms(numbers, mol.GetConformer().GetPositions(), info=info)
    return BareStructure(atoms, _molecules(whole), where)


def _parts(atoms: ase.Atoms, where: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Atoms of every connected part of a periodic structure, and their positions in one piece."""
    reach = bond_reaches(atoms.numbers)
    first, second, shift = ase.neighborlist.neighbor_list("ijS", atoms, list(reach))
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(atoms)))
    for one, other, cells in zip(first.tolist(), second.tolist(), shift, strict=True):
        graph.add_edge(one, other, cells=cells)
    found = []
    for component in nx.weakly_connected_components(graph):
        start = min(component)
        cells = {start: np.zeros(3, dtype=int)}
        for one, other in nx.bfs_edges(graph, start):
            cells[other] = cells[one] + graph[one][other]["cells"]
        for one, other, own in graph.subgraph(component).edges(data="cells"):
            if (cells[one] + own != cells[other]).any():
                raise InputError(
                    f"{where}: atoms {one} and {other} belong to a network that goes on from cell "
                    "to cell, and hydrogens are given to molecules; cut one out"
                )
        numbers = np.array(sorted(component))
        offset = np.array([cells[k] for k in numbers.tolist()]) @ atoms.cell.array
        found.append((numbers, atoms.positions[numbers] + offset))
    return sorted(found, key=lambda part: int(part[0][0]))
