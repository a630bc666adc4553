"""2-D graphs of structures for the condition ``graph``: found once, before a training.

A graph is one row of whole numbers for each atom, so that it travels with its atoms through
batches, orders and files: the number of the atom in its structure, `ATOM_FIELDS`, and for each of
up to `NEIGHBORS` bonds the number of the other atom (-1 for none) and `BOND_FIELDS` from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.molecular_graphs import ATOM_FIELDS, BOND_FIELDS, MolecularGraph
from schnetgen_pyg.chem.molecules import FORMAL_CHARGE, VALENCE, known_or_perceived
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.lewis_structures import FEW, GROUP, SECONDS
from schnetgen_pyg.data.origin import changed
from schnetgen_pyg.data.readers.smiles import parsed
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.parallel import Failure, each_in_processes, job_count

#: Attribute of structures [num_atoms, `WIDTH`].
GRAPH = "graph"
#: Bonds of an atom at most: those of iodine in IF7.
NEIGHBORS = 7
_BOND = 1 + len(BOND_FIELDS)
WIDTH = 1 + len(ATOM_FIELDS) + NEIGHBORS * _BOND


class GraphBatch(NamedTuple):
    """Graphs of several molecules as PyG has them.

    Attributes:
        x: `ATOM_FIELDS` of all atoms [num_atoms, fields].
        edge_index: bonds in both directions [2, num_edges].
        edge_attr: their `BOND_FIELDS` [num_edges, fields].
        batch: molecule of each atom [num_atoms].
    """

    x: Tensor
    edge_index: Tensor
    edge_attr: Tensor
    batch: Tensor

    @classmethod
    def of_graphs(cls, graphs: Sequence[MolecularGraph]) -> GraphBatch:
        """Of molecules, one after the other."""
        sizes = np.array([len(graph) for graph in graphs])
        starts = np.cumsum(sizes) - sizes
        edges = [graph.edges + start for graph, start in zip(graphs, starts, strict=True)]
        return cls(
            torch.from_numpy(np.concatenate([graph.atoms for graph in graphs])),
            torch.from_numpy(np.concatenate(edges, axis=1)),
            torch.from_numpy(np.concatenate([graph.bonds for graph in graphs])),
            torch.arange(len(graphs)).repeat_interleave(torch.from_numpy(sizes)),
        )

    @classmethod
    def of_rows(cls, rows: Tensor, batch: Tensor, ptr: Tensor) -> GraphBatch:
        """Of the rows of a batch, whose atoms may have been brought into another order.

        Args:
            rows: the attribute ``graph`` [num_atoms, `WIDTH`].
            batch, ptr: of the molecules.
        """
        rows = rows.long()
        own, atoms, bonds = rows.split([1, len(ATOM_FIELDS), NEIGHBORS * _BOND], 1)
        place = torch.empty_like(batch)
        place[ptr[batch] + own.squeeze(1)] = torch.arange(len(batch), device=batch.device)
        bonds = bonds.view(len(rows), NEIGHBORS, _BOND)
        target, slot = (bonds[:, :, 0] >= 0).nonzero(as_tuple=True)
        found = bonds[target, slot]
        source = place[ptr[batch[target]] + found[:, 0]]
        return cls(atoms, torch.stack([source, target]), found[:, 1:], batch)


def graph_of_smiles(text: str, where: str = "molecule") -> MolecularGraph:
    """The graph of what a SMILES is, with all its hydrogens; of salts and radicals, too.

    Raises:
        InputError: with what is wrong in it.
    """
    return MolecularGraph.of_mol(Chem.AddHs(parsed(text, where)))


def graph_rows(graph: MolecularGraph) -> np.ndarray:
    """The attribute ``graph`` of a molecule [num_atoms, `WIDTH`] (int16).

    Raises:
        InputError: for an atom with more bonds than `NEIGHBORS`.
    """
    bonds = np.zeros((len(graph), NEIGHBORS, _BOND), dtype=np.int16)
    bonds[:, :, 0] = -1
    slots = np.zeros(len(graph), dtype=int)
    for source, target, row in zip(*graph.edges.tolist(), graph.bonds, strict=True):
        if slots[target] == NEIGHBORS:
            raise InputError(
                f"atom {target} has more than {NEIGHBORS} bonds, and no molecule that is known here"
            )
        bonds[target, slots[target]] = (source, *row)
        slots[target] += 1
    own = np.arange(len(graph), dtype=np.int16)[:, None]
    return np.concatenate([own, graph.atoms.astype(np.int16), bonds.reshape(len(graph), -1)], 1)


def with_graphs(structures: Sequence[Data], jobs: int | None = None) -> list[Data | None]:
    """Copies of structures with ``graph`` [num_atoms, `WIDTH`] (int16), by their Lewis structures
    and the stereochemistry of their positions.

    Args:
        structures: with ``z`` and ``pos`` (Å), and their Lewis structures where they are known
            (``formal_charge`` and ``valence``). Those that have the attribute keep it.
        jobs: processes; by default one per core, for a few structures one.

    Returns:
        the structures, ``None`` where there is no valid molecule.

    Raises:
        InputError: for structures in a file, which keeps no graphs yet.
    """
    if isinstance(structures, StoredStructures):
        raise InputError(
            f"{structures.path}: keeps no 2-D graphs, from which this model learns; read the "
            "structures into memory (list(load(…)))"
        )
    waiting = [k for k, data in enumerate(structures) if data.get(GRAPH) is None]
    jobs = 1 if len(waiting) < FEW else job_count(jobs)
    result: list[Data | None] = list(structures)
    asked = [structures[k] for k in waiting]
    for place, found in each_in_processes(_found, asked, size=GROUP, jobs=jobs, timeout=SECONDS):
        number = waiting[place]
        if found is None or isinstance(found, Failure):
            result[number] = None
        else:
            result[number] = changed(structures[number], **{GRAPH: torch.from_numpy(found)})
    return result


def _found(structures: list[Data]) -> list[np.ndarray | None]:
    return [_one(data) for data in structures]


def _one(data: Data) -> np.ndarray | None:
    bare = Data(z=data.z, pos=data.pos, info=data.get("info") or {})
    for name in (FORMAL_CHARGE, VALENCE, "charge"):
        if data.get(name) is not None:
            bare[name] = data[name]
    mol = known_or_perceived(to_ase(bare)).mol
    return None if mol is None else graph_rows(MolecularGraph.of_mol(mol))
