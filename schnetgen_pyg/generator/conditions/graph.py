"""The 2-D graph of the molecule whose conformers are built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.molecular_graphs import PARITY, MolecularGraph
from schnetgen_pyg.data.graph_features import GRAPH, GraphBatch
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.conditions.base import Condition
from schnetgen_pyg.generator.graph_rules import known_of_graph
from schnetgen_pyg.representations.graph_encoder import GraphEncoder
from schnetgen_pyg.representations.layers import silent_linear

if TYPE_CHECKING:
    from schnetgen_pyg.generator.config import GeneratorConfig
    from schnetgen_pyg.generator.draft import Draft
    from schnetgen_pyg.generator.step import Step

#: Names in ``draft.state.known`` of the encoder's vectors.
ATOMS, MOLECULES = "graph_atoms", "graph_molecules"


def graph_of(conditions: Mapping[str, Condition]) -> GivenGraph | None:
    """Of a model's conditions the one that reads 2-D graphs, if there is any."""
    return next((one for one in conditions.values() if isinstance(one, GivenGraph)), None)


class GivenGraph(Condition):
    """Vectors of a `GraphEncoder`: of the molecule (``partial.graph_molecule``
    [num_graphs, channels]), of the placed atoms (``partial.graph_atoms`` [num_nodes, channels]) and
    of the one that comes (``partial.graph_next`` [num_graphs, channels]).

    A molecule is encoded once for all its partial molecules. In training half of the molecules are
    told as their mirror images, for distances do not tell them apart.
    """

    def __init__(self, config: GeneratorConfig):
        super().__init__(config)
        self.encoder = GraphEncoder(config.encoder)
        widths = self.encoder.channels, config.hidden_channels
        self.molecule, self.atom, self.next = (silent_linear(*widths, bias=False) for _ in range(3))

    def prepare(
        self, partial: Data, molecules: Data, generator: torch.Generator | None = None
    ) -> None:
        rows = molecules.get(GRAPH)
        if rows is None:
            raise InputError(
                f"the model is told the 2-D graph and needs {GRAPH!r} of every molecule; "
                "schnetgen_pyg.data.graph_features.with_graphs finds it"
            )
        owner = torch.repeat_interleave(molecules.ptr.diff())
        found = GraphBatch.of_rows(rows, owner, molecules.ptr)
        if generator is not None:
            turned = torch.rand(molecules.ptr.numel() - 1, generator=generator) < 0.5
            found = _mirrored(found, turned.to(owner.device)[owner])
        atoms, whole = self.vectors(found, molecules, partial, generator)
        partial.graph_atoms, partial.graph_next = atoms[partial.atom], atoms[partial.next_atom]
        partial.graph_molecule = whole[partial.molecule]

    def vectors(
        self,
        graphs: GraphBatch,
        molecules: Data,
        partial: Data,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor]:
        """What the decoder is told of the atoms [num_atoms, channels] and of the molecules
        [num_molecules, channels] in training."""
        found: tuple[Tensor, Tensor] = self.encoder(*graphs)
        return found

    def encode(self, graphs: Sequence[MolecularGraph]) -> tuple[Tensor, Tensor]:
        """Vectors of the atoms of molecules, one after the other [num_atoms, channels], and of the
        molecules [num_molecules, channels]."""
        device = self.molecule.weight.device
        found: tuple[Tensor, Tensor] = self.encoder(
            *(part.to(device) for part in GraphBatch.of_graphs(graphs))
        )
        return found

    def recall(self, partial: Data, draft: Draft) -> None:
        size = len(partial.z) // len(draft.z)
        atoms = known_of_graph(draft, ATOMS)
        partial.graph_atoms = atoms[:, :size].flatten(0, 1)
        partial.graph_next = atoms[:, min(size, atoms.shape[1] - 1)]
        partial.graph_molecule = known_of_graph(draft, MOLECULES)

    def complete(self, partial: Data, molecules: Data) -> None:
        for name in ("graph_atoms", "graph_next", "graph_molecule"):
            if name not in partial:
                raise InputError(
                    f"this model is told the 2-D graph and needs {name!r}, vectors of its encoder; "
                    "schnetgen_pyg.conformers gives them"
                )

    def forward(self, partial: Data) -> Tensor:
        told: Tensor = self.molecule(partial.graph_molecule)
        return told

    def per_atom(self, partial: Data) -> Tensor:
        told: Tensor = self.atom(partial.graph_atoms)
        return told

    def new_atom(self, step: Step) -> Tensor:
        told: Tensor = self.next(step.partial.graph_next)
        return told


def _mirrored(graphs: GraphBatch, turned: Tensor) -> GraphBatch:
    """The same with the parities of some of the atoms [num_atoms] turned over."""
    x = graphs.x.clone()
    parity = x[:, PARITY]
    x[:, PARITY] = torch.where(turned & (parity > 0), 3 - parity, parity)
    return graphs._replace(x=x)
