"""2-D graphs of many molecules: made once, from which any are taken as a batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data
from torch_geometric.utils import cumsum

from schnetgen_pyg.data.graph_features import GraphBatch, graph_of_smiles
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.graphs.indexing import ranges
from schnetgen_pyg.parallel import Failure, each_in_processes, job_count

#: Molecules that a process gets at a time, fewer than which this one does, and seconds for them.
GROUP, FEW, SECONDS = 200, 2_000, 600.0


class GraphArrays(NamedTuple):
    """What a network needs of a molecule's graph: `schnetgen_pyg.chem.molecular_graphs` has the
    fields.

    Attributes:
        atoms: [num_atoms, fields] (uint8).
        edges: [2, num_edges].
        bonds: [num_edges, fields] (uint8).
    """

    atoms: np.ndarray
    edges: np.ndarray
    bonds: np.ndarray


def graphs_of_smiles(smiles: Sequence[str], jobs: int | None = None) -> list[GraphArrays | str]:
    """Graphs of molecules with their hydrogens, or why there is none.

    Args:
        smiles: of the molecules.
        jobs: processes; by default one per core, for a few molecules this one.
    """
    if len(smiles) < FEW:
        return _found(list(smiles))
    made: list[GraphArrays | str] = [""] * len(smiles)
    for place, found in each_in_processes(
        _found, smiles, size=GROUP, jobs=job_count(jobs), timeout=SECONDS
    ):
        made[place] = f"no graph ({found.reason})" if isinstance(found, Failure) else found
    return made


def _found(smiles: list[str]) -> list[GraphArrays | str]:
    return [_one(text.strip()) for text in smiles]


def _one(text: str) -> GraphArrays | str:
    try:
        graph = graph_of_smiles(text, "")
    except InputError as error:
        return str(error).removeprefix(": ")
    return GraphArrays(graph.atoms.astype(np.uint8), graph.edges, graph.bonds.astype(np.uint8))


class GraphSet(Dataset[Data]):
    """Graphs of molecules, one after the other.

    ``graphs[[5, 2]]`` is a batch with ``x``, ``edge_index``, ``edge_attr``, ``batch``, ``ptr``,
    ``index`` (the numbers) and, where there are labels, ``y``.

    Args:
        graphs: of the molecules.
        labels: of every molecule [num_molecules, …].
    """

    def __init__(self, graphs: Sequence[GraphArrays], labels: Tensor | None = None):
        if not graphs:
            raise InputError("there are no molecules")
        self.x, self.edge_attr, edges = (
            torch.from_numpy(np.concatenate(parts))
            for parts in (
                [one.atoms for one in graphs],
                [one.bonds for one in graphs],
                [one.edges.T for one in graphs],
            )
        )
        self.edges = edges.long()
        self.num_atoms = torch.tensor([len(one.atoms) for one in graphs])
        self.num_edges = torch.tensor([len(one.bonds) for one in graphs])
        self.labels = labels
        self._atom, self._edge = cumsum(self.num_atoms)[:-1], cumsum(self.num_edges)[:-1]

    def __len__(self) -> int:
        return self.num_atoms.numel()

    def elements(self) -> tuple[int, ...]:
        """Atomic numbers of all atoms, each once."""
        return tuple(self.x[:, 0].unique().tolist())

    def unseen(self, elements: Collection[int]) -> dict[int, list[int]]:
        """Numbers of the molecules with each element that is none of these."""
        owner = torch.repeat_interleave(self.num_atoms)
        return {
            z: owner[self.x[:, 0] == z].unique().tolist()
            for z in self.elements()
            if z not in elements
        }

    def __getitem__(self, molecules: Sequence[int]) -> Data:
        """A batch of the molecules with these numbers, in their order."""
        chosen = torch.as_tensor(molecules)
        batch, place = ranges(self.num_atoms[chosen])
        owner, row = ranges(self.num_edges[chosen])
        atom, edge = self._atom[chosen][batch] + place, self._edge[chosen][owner] + row
        ptr = cumsum(self.num_atoms[chosen])
        graph = GraphBatch(
            self.x[atom],
            (self.edges[edge] + ptr[owner].unsqueeze(1)).T.contiguous(),
            self.edge_attr[edge],
            batch,
        )
        labels = {} if self.labels is None else {"y": self.labels[chosen]}
        return Data(**graph._asdict(), ptr=ptr, index=chosen, **labels)
