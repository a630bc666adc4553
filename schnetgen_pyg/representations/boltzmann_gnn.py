"""One vector for all conformers of a molecule, from its 2-D graph alone.

The idea is that of "Boltzmann GNN" (arXiv:2312.13110), of which only the abstract could be had: an
encoder of graphs that was trained by the likelihood of a generator of conformers. How it is done
here is our own reading of it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from schnetgen_pyg.data.graph_features import GraphBatch, graph_of_smiles
from schnetgen_pyg.representations.graph_encoder import GraphEncoder
from schnetgen_pyg.storage.models import load_model, restore, save_model

#: Kind of these files.
KIND = "graph encoder"


@dataclass(frozen=True)
class BoltzmannGNNConfig:
    """Architecture of a `BoltzmannGNN`.

    Attributes:
        layers: a name in `schnetgen_pyg.representations.graph_encoder.GRAPH_LAYERS`.
        channels: width of the vectors.
        num_layers: how many layers.
        elements: atomic numbers of the molecules that it was trained on.
    """

    layers: str = "gine"
    channels: int = 128
    num_layers: int = 4
    elements: tuple[int, ...] = ()


class BoltzmannGNN(nn.Module):
    """Vectors of molecules [num_molecules, channels] from their 2-D graphs.

    Args:
        config: architecture.

    Example:
        >>> model = BoltzmannGNN.from_pretrained("boltzmann")
        >>> model.from_smiles(["CCO", "c1ccccc1"]).shape
        torch.Size([2, 128])
    """

    def __init__(self, config: BoltzmannGNNConfig | None = None):
        super().__init__()
        self.config = config or BoltzmannGNNConfig()
        self.encoder = GraphEncoder(
            self.config.layers, self.config.channels, self.config.num_layers
        )
        #: What is known about the training; saved with the weights.
        self.provenance: dict[str, Any] = {}

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor | None = None
    ) -> Tensor:
        """Vectors of molecules [num_molecules, channels].

        Args:
            x: `ATOM_FIELDS` of every atom [num_atoms, fields].
            edge_index: bonds in both directions [2, num_edges].
            edge_attr: their `BOND_FIELDS` [num_edges, fields].
            batch: molecule of each atom [num_atoms]; by default all of one.
        """
        told: Tensor = self.encoder(x, edge_index, edge_attr, batch)[1]
        return told

    @torch.no_grad()
    def from_smiles(self, smiles: Sequence[str]) -> Tensor:
        """Vectors of molecules that are given as SMILES [num_molecules, channels].

        Raises:
            InputError: naming the first that RDKit does not read.
        """
        graphs = [graph_of_smiles(text, f"molecule {number}") for number, text in enumerate(smiles)]
        device = next(self.parameters()).device
        told: Tensor = self(*(part.to(device) for part in GraphBatch.of_graphs(graphs)))
        return told

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights and configuration to one safetensors file, atomically."""
        save_model(path, KIND, asdict(self.config), self.provenance, self.state_dict())

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str]) -> BoltzmannGNN:
        """Load a bundled encoder by its name or any file that `save` wrote.

        Raises:
            InputError: if there is no such encoder, or the file is none of this version.
        """
        stored = load_model(name_or_path, KIND, BoltzmannGNNConfig)
        model = restore(stored, lambda settings: cls(BoltzmannGNNConfig(**settings)))
        model.provenance = stored.provenance
        return model.eval()
