"""One vector for all conformers of a molecule, from its 2-D graph alone.

The idea is that of "Boltzmann GNN" (arXiv:2312.13110), of which only the abstract could be had: an
encoder of graphs that was trained by the likelihood of a generator of conformers. How it is done
here is our own reading of it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from schnetgen_pyg.data.graph_features import GraphBatch, graph_of_smiles
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.representations.graph_encoder import GraphEncoder
from schnetgen_pyg.storage.models import Stored, read_model, restore, save_model

#: Kinds of files: these, and generators, whose encoders are taken.
KIND, GENERATOR = "graph encoder", "generator"
#: Conditions of generators that read the 2-D graph, and where their weights are.
CONDITIONS = ("graph", "latent")
PREFIX = "conditions.{}.encoder."


@dataclass(frozen=True)
class BoltzmannGNNConfig:
    """Architecture of a `BoltzmannGNN`.

    Attributes:
        layers: a name in `schnetgen_pyg.representations.graph_encoder.GRAPH_LAYERS`.
        channels: width of the vectors.
        num_layers: how many layers.
        elements: atomic numbers of the molecules that it was trained on.
    """

    layers: str = "dmpnn"
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
        """Load a bundled encoder by its name, any file that `save` wrote, or the encoder of a
        generator of conformers from the file of that.

        Raises:
            InputError: if there is no such model, or it has no encoder of graphs.
        """
        return cls._restored(read_model(name_or_path, KIND, GENERATOR))

    @classmethod
    def from_generator(cls, generator: Any) -> BoltzmannGNN:
        """The encoder of a generator of conformers (`SchNetGen` with the condition ``graph`` or
        ``latent``), as a copy.

        The vector of a molecule is what the decoder is told of the whole molecule: the mean over
        the vectors of its atoms. With a latent the prior reads the vectors of these atoms, too.

        Raises:
            InputError: if the generator is told no graphs.
        """
        config, provenance = asdict(generator.config), dict(generator.provenance)
        weights = {name: value.detach().cpu() for name, value in generator.state_dict().items()}
        where = Path(generator.name or "the model")
        return cls._restored(Stored(GENERATOR, where, config, provenance, weights))

    @classmethod
    def _restored(cls, stored: Stored) -> BoltzmannGNN:
        if stored.kind == GENERATOR:
            stored = _of_generator(stored)
        model = restore(stored, lambda settings: cls(BoltzmannGNNConfig(**settings)))
        model.provenance = stored.provenance
        return model.eval()


def _of_generator(stored: Stored) -> Stored:
    """What a file of the encoder alone would hold."""
    known = [name for name in CONDITIONS if name in stored.config.get("conditions", ())]
    if not known:
        raise InputError(
            f"{stored.path}: is a generator that is told no 2-D graphs, and has no encoder of "
            "them; take one of the preset conformers"
        )
    prefix = PREFIX.format(known[0])
    weights = {
        name.removeprefix(prefix): value
        for name, value in stored.weights.items()
        if name.startswith(prefix)
    }
    config = {  # in generators its size is that of a `GraphEncoder` by default, as it is here
        "layers": stored.config["encoder"],
        "elements": tuple(stored.config["elements"]),
    }
    weights = {f"encoder.{name}": value for name, value in weights.items()}
    return Stored(KIND, stored.path, config, {"generator": stored.provenance}, weights)
