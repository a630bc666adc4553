"""A model of properties of molecules from their 2-D graphs: an encoder and a read-out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.data.graph_sets import GraphSet, graphs_of_smiles
from schnetgen_pyg.data.labelled_graphs import GraphTarget
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNN, BoltzmannGNNConfig
from schnetgen_pyg.storage.models import load_model, restore, save_model

#: Kind of these files.
KIND = "graph model"

#: Rates of a class that a read-out starts from, at most and at least.
RATES = (0.001, 0.999)


@dataclass(frozen=True)
class GraphModelConfig(BoltzmannGNNConfig):
    """Architecture of a `GraphModel`: that of its encoder, and what is predicted.

    Attributes:
        targets: columns of the table that it was trained on.
    """

    targets: tuple[GraphTarget, ...] = ()

    def encoder(self) -> BoltzmannGNNConfig:
        """The part that is the encoder's."""
        names = [one.name for one in fields(BoltzmannGNNConfig)]
        return BoltzmannGNNConfig(**{name: getattr(self, name) for name in names})


class GraphModel(nn.Module):
    """Properties [num_molecules, num_targets] of molecules from their 2-D graphs.

    The read-out is a perceptron with one hidden layer. It reads the vector of the encoder, which is
    a mean over atoms, and the same times the number of atoms (over the mean of the training), so
    that it can tell what adds up as well as what does not.

    Args:
        config: architecture.

    Example:
        >>> model = GraphModel.from_pretrained("runs/logS/model.safetensors")
        >>> model.predict(["CCO", "c1ccccc1"])
        {'logS': array([ 0.93, -1.71])}
    """

    mean: Tensor
    std: Tensor
    size: Tensor
    classes: Tensor

    def __init__(self, config: GraphModelConfig):
        super().__init__()
        if not config.targets:
            raise InputError("targets: there are none; name at least one")
        self.config = config
        self.encoder = BoltzmannGNN(config.encoder())
        channels, number = config.channels, len(config.targets)
        self.readout = nn.Sequential(
            nn.Linear(2 * channels, channels), nn.SiLU(), nn.Linear(channels, number)
        )
        self.register_buffer("mean", torch.zeros(number, dtype=torch.float64))
        self.register_buffer("std", torch.ones(number, dtype=torch.float64))
        self.register_buffer("size", torch.ones((), dtype=torch.float64))
        classes = torch.tensor([one.classify for one in config.targets])
        self.register_buffer("classes", classes, persistent=False)
        #: What is known about the training; saved with the weights.
        self.provenance: dict[str, Any] = {}

    @property
    def targets(self) -> tuple[GraphTarget, ...]:
        """What is predicted, in the order of the columns of `forward`."""
        return self.config.targets

    def fit_statistics(self, labels: Tensor, num_atoms: Tensor) -> None:
        """Take mean and standard deviation of the columns, rates of classes and the mean size.

        Args:
            labels: of the training [num_molecules, num_targets], NaN where there is none.
            num_atoms: of its molecules [num_molecules].

        Raises:
            InputError: naming a column of which the training has no labels, or one class only.
        """
        for place, target in enumerate(self.targets):
            known = labels[:, place][labels[:, place].isfinite()].double()
            if not len(known) or (target.classify and bool((known == known[0]).all())):
                what = f"is {float(known[0]):g} in all" if len(known) else "is empty in all"
                raise InputError(
                    f"{target.name}: {what} molecules of the training part; give more labels, or "
                    "another split or seed"
                )
            mean, std = known.mean(), known.std(correction=0)
            if target.classify:
                mean, std = torch.logit(mean.clamp(*RATES)), torch.ones(())
            self.mean[place], self.std[place] = mean, std if std > 1e-12 else 1.0
        self.size.fill_(num_atoms.double().mean())

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor | None = None
    ) -> Tensor:
        """Properties [num_molecules, num_targets] (float64): numbers in the units of their columns,
        and probabilities of classes.

        Args:
            x: `ATOM_FIELDS` of every atom [num_atoms, fields].
            edge_index: bonds in both directions [2, num_edges].
            edge_attr: their `BOND_FIELDS` [num_edges, fields].
            batch: molecule of each atom [num_atoms]; by default all of one.
        """
        batch = x.new_zeros(len(x), dtype=torch.long) if batch is None else batch
        vector = self.encoder(x, edge_index, edge_attr, batch)
        atoms = torch.bincount(batch, minlength=len(vector)).unsqueeze(1)
        told = self.readout(torch.cat([vector, vector * (atoms / self.size).to(vector)], 1))
        told = told.double() * self.std + self.mean
        return torch.where(self.classes, told.sigmoid(), told)

    @torch.no_grad()
    def predict_graphs(self, graphs: Any, batch_size: int = 256) -> Tensor:
        """`forward` of all molecules of a `GraphSet` or of a part of it, so many at a time; on the
        CPU."""
        require(batch_size >= 1, "batch_size", batch_size, "at least 1")
        device, mode = self.mean.device, self.training
        self.eval()
        found = []
        for chosen in torch.arange(len(graphs)).split(batch_size):
            part = graphs[chosen.tolist()].to(device)
            found.append(self(part.x, part.edge_index, part.edge_attr, part.batch).cpu())
        self.train(mode)
        return torch.cat(found)

    def predict(self, smiles: Sequence[str], batch_size: int = 256) -> dict[str, np.ndarray]:
        """Properties of molecules by the names of their columns, each [num_molecules].

        Args:
            smiles: of the molecules.
            batch_size: of these at a time.

        Raises:
            InputError: naming the first that cannot be read.
        """
        smiles = [smiles] if isinstance(smiles, str) else list(smiles)
        made = graphs_of_smiles(smiles)
        for number, why in enumerate(made):
            if isinstance(why, str):
                raise InputError(f"molecule {number}: {why}")
        graphs = GraphSet([one for one in made if not isinstance(one, str)])
        warn_of_unseen(
            graphs, self.config.elements, [f"molecule {number}" for number in range(len(smiles))]
        )
        found = self.predict_graphs(graphs, batch_size)
        return {one.name: found[:, place].numpy() for place, one in enumerate(self.targets)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights and configuration to one safetensors file, atomically."""
        save_model(path, KIND, asdict(self.config), self.provenance, self.state_dict())

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str]) -> GraphModel:
        """Load a model from the file that `save` wrote.

        Raises:
            InputError: if there is no such model, or the file is none of this version.
        """
        stored = load_model(name_or_path, KIND, GraphModelConfig)
        model = restore(stored, lambda settings: cls(_config(settings)))
        model.provenance = stored.provenance
        return model.eval()


def warn_of_unseen(graphs: GraphSet, elements: Collection[int], where: Sequence[str]) -> None:
    """Warn of molecules with elements that are none of these.

    Args:
        graphs: of the molecules.
        elements: of the training.
        where: what messages call each molecule.
    """
    for element, molecules in graphs.unseen(elements).items():
        more = f", as have {len(molecules) - 1} more" if len(molecules) > 1 else ""
        warnings.warn(
            f"{where[molecules[0]]}: has {hill_formula([element])}, which the training had not"
            f"{more}; do not trust what is predicted there",
            stacklevel=3,
        )


def _config(settings: Mapping[str, Any]) -> GraphModelConfig:
    targets = tuple(GraphTarget(**one) for one in settings["targets"])
    return GraphModelConfig(**(dict(settings) | {"targets": targets}))
