"""What a target is: a quantity that is predicted of structures or of their atoms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.representations.layers import mlp
from schnetgen_pyg.targets.atomwise import Atomwise, Features, Joined, fit_references


@dataclass(frozen=True)
class Target:
    """A scalar quantity, and the base of all others.

    To add one, register it: ``TARGETS.register("gap", Target("gap", "eV", extensive=False))``. A
    class of one's own overrides what differs: `readout` (another network), `head` (anything from
    the features to the quantity), `equivariant_head` (the same from scalar and vector features),
    `loss`, `errors`.

    Attributes:
        name: of the label in the users' ``Data``, of the entry in a `Prediction`, in `TARGETS`.
        unit: of label and prediction, such as ``"eV"``; empty for a number.
        per: whether every graph has one, or every atom.
        extensive: of a graph: sum over its atoms (it adds up over fragments that are far apart), or
            mean (it does not); ``None`` is neither, such as the length of a vector.
        derivative_of: target that it is a derivative of; such a target has no read-out, it comes
            with the other one.
        shape: of one, for each graph or atom: ``()`` is a scalar, ``(3,)`` a vector.
    """

    name: str
    unit: str = ""
    per: Literal["graph", "atom"] = "graph"
    extensive: bool | None = True
    derivative_of: str | None = None
    shape: tuple[int, ...] = ()

    #: What is logged in training, after the name.
    measure: ClassVar[str] = "mae"
    #: Whether it takes vector features.
    needs_vectors: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _require_free(self.name)
        require(self.per in ("graph", "atom"), "per", repr(self.per), "'graph' or 'atom'")

    def readout(self, hidden_channels: int) -> nn.Module:
        """From features [num_atoms, hidden_channels] to [num_atoms, 1]: SchNet's (Schütt et al.
        2017), two dense layers, half as wide, with a shifted softplus between them."""
        return mlp([hidden_channels, max(1, hidden_channels // 2), 1])

    def head(self, hidden_channels: int, elements: Sequence[int]) -> nn.Module:
        """A module with ``forward(features)`` (`Features`) → [num_graphs] or [num_atoms];
        ``fit(structures)``, which sets what it takes from the training data; ``fitted``, whether
        that was done; and ``reset_parameters()``. It may say ``reads_positions``: then it is for
        structures without cells."""
        return Atomwise(self, self.readout(hidden_channels), elements)

    def equivariant_head(self, hidden_channels: int, elements: Sequence[int]) -> nn.Module:
        """The same for a representation that has vector features, which a head gets that says
        ``reads_vectors``."""
        return self.head(hidden_channels, elements)

    def check_label(self, label: Tensor, place: str) -> None:
        """Refuse a label of a structure that cannot be (NaN is none).

        Raises:
            InputError: naming the structure by ``place``.
        """

    def variance(self, structures: Sequence[Data], elements: Sequence[int]) -> float:
        """What the loss is divided by where targets are trained together, so that their units do
        not decide: the mean square, in unit², of what the elements alone leave unexplained; of a
        vector its own, of a tensor the deviation from the mean.

        Args:
            structures: of the training, with the label in its full shape.
            elements: atomic numbers of the model.
        """
        data = Joined.of(structures, self.name)
        labels = data.values[self.name]
        if self.shape:
            middle = labels.mean(0) if len(self.shape) > 1 else 0.0
            found = (labels - middle).flatten(1).square().sum(1).mean()
        elif self.extensive is None:
            found = labels.var(correction=0)
        else:
            alone = data.each_atom() if self.per == "atom" else data
            found = fit_references(alone, labels, elements, self.extensive)[1].square().mean()
        return float(found) if found > 1e-12 else 1.0

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

    def measured(self, found: Tensor, label: Tensor) -> Mean:
        """What is logged in training: the mean absolute error of all components that have a
        label."""
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
        return {f"{self.name}_mae{unit}": float(self.measured(*flat).value)}


class Derivative(Target):
    """A derivative by the vectors between atoms: all that a representation sees of positions."""

    @abstractmethod
    def of_slope(
        self, slope: Tensor, graph: Graph, features: Features, cell: Tensor | None
    ) -> Tensor:
        """From the slope [num_pairs, 3] of the target by ``graph.vector`` to the derivative."""


def _require_free(name: str) -> None:
    """Refuse a name of a target that modules or ``Data`` use for something else."""
    taken = name != "y" and (hasattr(nn.ModuleDict, name) or hasattr(Data, name))
    if not name or taken or "." in name:
        why = "has another meaning in torch or PyG" if name else "is empty"
        why = "holds a dot" if "." in name else why
    elif any(part in name for part in ("index", "batch")) or name == "face":
        why = "would be counted up over a batch by PyG, as indices are"
    else:
        return
    raise InputError(
        f"the name of a target: {name!r} {why}; give the label another name "
        f"(keys={{'my_label': {name!r}}}, --keys my_label={name})"
    )


def _difference(found: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Prediction less label, 0 where there is no label; and where there is one."""
    known = label.isfinite()
    # Zeros before anything is squared: the gradient of what has no label stays finite.
    return torch.where(known, found - label, 0.0), known
