"""What a target is: a quantity that is predicted of structures or of their atoms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.errors import require
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.potentials.targets.atomwise import Atomwise, Features
from schnetgen_pyg.representations.layers import mlp


@dataclass(frozen=True)
class Target:
    """A scalar quantity, and the base of all others.

    To add one, register it: ``TARGETS.register("gap", Target("gap", "eV", extensive=False))``. A
    class of one's own overrides what differs: `readout` (another network), `head` (anything from
    the features to the quantity), `loss`, `errors`.

    Attributes:
        name: of the label in the users' ``Data``, of the entry in a `Prediction`, in `TARGETS`.
        unit: of label and prediction, such as ``"eV"``; empty for a number.
        per: whether every graph has one, or every atom.
        extensive: of a graph: sum over its atoms, or mean.
        derivative_of: target that it is a derivative of; such a target has no read-out, it comes
            with the other one.
        shape: of one, for each graph or atom: ``()`` is a scalar, ``(3,)`` a vector.
    """

    name: str
    unit: str = ""
    per: Literal["graph", "atom"] = "graph"
    extensive: bool = True
    derivative_of: str | None = None
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require(self.name.isidentifier(), "the name of a target", repr(self.name), "a plain word")
        require(self.per in ("graph", "atom"), "per", repr(self.per), "'graph' or 'atom'")

    def readout(self, hidden_channels: int) -> nn.Module:
        """From features [num_atoms, hidden_channels] to [num_atoms, 1]: SchNet's (Schütt et al.
        2017), two dense layers, half as wide, with a shifted softplus between them."""
        return mlp([hidden_channels, max(1, hidden_channels // 2), 1])

    def head(self, hidden_channels: int, elements: Sequence[int]) -> nn.Module:
        """A module with ``forward(features)`` (`Features`) → [num_graphs] or [num_atoms];
        ``fit(structures)``, which sets what it takes from the training data; ``fitted``, whether
        that was done; and ``reset_parameters()``."""
        return Atomwise(self, self.readout(hidden_channels), elements)

    def spread(self, structures: Sequence[Data], rest: Tensor, sizes: Tensor) -> Tensor:
        """How much the atoms' contributions differ, which the read-out is multiplied by.

        Args:
            structures: of the training.
            rest: their labels less those of the references: [num_graphs], or [num_atoms].
            sizes: their numbers of atoms [num_graphs].
        """
        if self.per == "graph" and self.extensive:
            return (rest.square() / sizes).mean().sqrt()
        return rest.square().mean().sqrt()

    def loss(self, found: Tensor, label: Tensor, batch: Data) -> Mean:
        """Squared error in unit²; of atoms the mean over the atoms of a graph. Structures without a
        label (NaN) do not count.

        Args:
            found: prediction [num_graphs, …] or [num_atoms, …].
            label: of the same shape.
            batch: with ``batch`` [num_atoms] and ``ptr`` [num_graphs + 1].
        """
        difference, known = _difference(found, label)
        square = difference.square()
        if square.dim() > 1:
            square, known = square.flatten(1).sum(1), known.flatten(1).all(1)
        if self.per == "atom":
            number = scatter(known.long(), batch.batch, dim_size=batch.ptr.numel() - 1)
            square = square / number.clamp(min=1)[batch.batch]
            known = number > 0
        return Mean(square.double().sum(), known.sum())

    def absolute_error(self, found: Tensor, label: Tensor) -> Mean:
        """Mean absolute error of all components that have a label."""
        difference, known = _difference(found.detach(), label)
        return Mean(difference.abs().sum(), known.sum())

    def errors(
        self, found: Sequence[Tensor], labels: Sequence[Tensor], sizes: Tensor
    ) -> dict[str, float]:
        """Errors over many structures, by names that say the unit.

        Args:
            found, labels: of each structure.
            sizes: numbers of atoms [num_graphs].
        """
        flat = [torch.cat([x.reshape(-1).cpu() for x in values]) for values in (found, labels)]
        unit = f" ({self.unit})" if self.unit else ""
        return {f"{self.name}_mae{unit}": float(self.absolute_error(*flat).value)}


class Derivative(Target):
    """A derivative by the vectors between atoms: all that a representation sees of positions."""

    @abstractmethod
    def of_slope(
        self, slope: Tensor, graph: Graph, features: Features, cell: Tensor | None
    ) -> Tensor:
        """From the slope [num_pairs, 3] of the target by ``graph.vector`` to the derivative."""


def _difference(found: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Prediction less label, 0 where there is no label; and where there is one."""
    known = label.isfinite()
    # Zeros before anything is squared: the gradient of what has no label stays finite.
    return torch.where(known, found - label, 0.0), known
