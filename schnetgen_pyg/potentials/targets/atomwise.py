"""Quantities of contributions of atoms: their sum, their mean, or themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from schnetgen_pyg.chem.elements import MAX_ATOMIC_NUMBER

if TYPE_CHECKING:
    from schnetgen_pyg.potentials.targets.base import Target


class Features(NamedTuple):
    """What a head may use of a batch.

    Attributes:
        x: features of the representation [num_atoms, hidden_channels].
        z: atomic numbers [num_atoms].
        batch: structure of each atom [num_atoms], ascending.
        num_graphs: number of structures.
        pos: positions [num_atoms, 3] in Å, of structures that are not periodic, for heads that say
            ``reads_positions``.
        v: vector features [num_atoms, 3, hidden_channels], for heads that say ``reads_vectors``.
    """

    x: Tensor
    z: Tensor
    batch: Tensor
    num_graphs: int
    pos: Tensor | None = None
    v: Tensor | None = None

    def sum(self, values: Tensor) -> Tensor:
        """Over the atoms of every structure, [num_atoms, …] to [num_graphs, …]."""
        total = values.new_zeros(self.num_graphs, *values.shape[1:])
        return total.index_add(0, self.batch, values)

    def centred(self, weight: Tensor) -> Tensor:
        """Positions [num_atoms, 3] from the mean of their structure, with weights [num_atoms]."""
        assert self.pos is not None
        centre = self.sum(weight.unsqueeze(1) * self.pos) / self.sum(weight).unsqueeze(1)
        return self.pos - centre[self.batch]


def sums_by_element(
    structures: Sequence[Data], elements: Sequence[int], weights: Sequence[Tensor] | None = None
) -> Tensor:
    """Atoms of each element in every structure, or sums of their weights (float64).

    Args:
        structures: with ``z``.
        elements: atomic numbers.
        weights: of the atoms of each structure; by default 1.

    Returns:
        [num_graphs, num_elements].
    """
    known = torch.tensor(list(elements))
    found = [(d.z.cpu()[:, None] == known).double() for d in structures]
    if weights is None:
        return torch.stack([atoms.sum(0) for atoms in found])
    return torch.stack([w.double() @ atoms for w, atoms in zip(weights, found, strict=True)])


def least_squares(matrix: Tensor, wanted: Tensor) -> Tensor:
    """The shortest x [num_columns] for which the matrix times x is nearest to what is wanted."""
    wanted = wanted.double().cpu()[:, None]
    return torch.linalg.lstsq(matrix, wanted, driver="gelsd").solution[:, 0]


def fit_references(
    structures: Sequence[Data],
    labels: Tensor,
    elements: Sequence[int],
    extensive: bool | None = True,
) -> Tensor:
    """Contributions of the elements, by least squares, whose sums (or means) are nearest to the
    labels.

    Where compositions do not tell the elements apart (isomers, say) the shortest solution is taken.

    Args:
        structures: with ``z``.
        labels: of each structure [num_graphs].
        elements: atomic numbers.
        extensive: sums, or means.

    Returns:
        [num_elements] in the unit of the labels, float64.
    """
    counts = sums_by_element(structures, elements)
    if not extensive:
        counts = counts / counts.sum(1, keepdim=True).clamp(min=1)
    return least_squares(counts, labels)


class Atomwise(nn.Module):
    """Σ_i (scale · readout(x_i) + reference of z_i), its mean, or the summands.

    Args:
        target: says which.
        readout: features [num_atoms, hidden_channels] to [num_atoms, 1].
        elements: atomic numbers that have references.
    """

    references: Tensor
    scale: Tensor
    #: Whether it takes positions (of structures without cells), and vector features.
    reads_positions = False
    reads_vectors = False

    def __init__(self, target: Target, readout: nn.Module, elements: Sequence[int]):
        super().__init__()
        self.target, self.readout, self.elements = target, readout, tuple(elements)
        # Energies of atoms are large: single precision would leave errors of some meV.
        references = torch.zeros(MAX_ATOMIC_NUMBER + 1, dtype=torch.float64)
        self.register_buffer("references", references)
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def reset_parameters(self) -> None:
        """Weights as those of a new read-out; references zero, scale 1."""
        for module in self.readout.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()
        self.references.zero_()
        self.scale.fill_(1.0)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Atomwise:
        """Buffers such as references and scale stay in double precision where there is one."""
        exact = {n: b for n, b in self.named_buffers(recurse=False) if b.dtype == torch.float64}
        super()._apply(fn, recurse)
        for name, value in exact.items():
            moved = getattr(self, name)
            if moved.device.type != "mps":
                setattr(self, name, value.to(moved.device))
        return self

    @property
    def fitted(self) -> bool:
        """Whether `fit` was called, or weights were loaded."""
        return bool(self.references.any()) or float(self.scale) != 1.0

    def set_references(self, values: Tensor) -> None:
        """Of the elements [num_elements]; of others they are zero."""
        self.references.zero_()
        self.add_references(values)

    def add_references(self, values: Tensor) -> None:
        """To those of the elements [num_elements]."""
        self.references[list(self.elements)] += values.to(self.references)

    def set_scale(self, scale: Tensor) -> None:
        """What the read-out is multiplied by. Data without any spread would make a model that
        cannot learn: for them it is 1."""
        self.scale.fill_(scale if scale > 1e-6 else 1.0)

    def fit(self, structures: Sequence[Data]) -> None:
        """References and scale of structures that have the label."""
        target = self.target
        sizes = torch.tensor([d.z.numel() for d in structures])
        labels = torch.cat([d[target.name].reshape(-1).double().cpu() for d in structures])
        elements = list(self.elements)
        alone = structures
        if target.per == "atom":  # each a structure of one atom
            alone = [Data(z=z) for z in torch.cat([d.z for d in structures]).unsqueeze(1)]
        self.set_references(fit_references(alone, labels, elements, target.extensive))
        summed = torch.stack([self.references[d.z].sum() for d in alone]).cpu()
        if target.per == "graph" and not target.extensive:
            summed = summed / sizes
        self.set_scale(target.spread(structures, labels - summed, sizes))

    def correct(self, structures: Sequence[Data], missed: Tensor) -> None:
        """Add to the references what brings a trained model nearest to other labels: of other
        elements, or of another level of theory, whose energies have another zero.

        Args:
            structures: of the training, with the label.
            missed: labels less what the model says: [num_graphs], or [num_atoms].
        """
        alone = structures
        if self.target.per == "atom":
            alone = [Data(z=z) for z in torch.cat([d.z for d in structures]).unsqueeze(1)]
        self.add_references(fit_references(alone, missed, self.elements, self.target.extensive))

    def forward(self, features: Features) -> Tensor:
        """[num_graphs], or of atoms [num_atoms], in double precision."""
        x, z, batch, size = features[:4]
        y = self.readout(x).squeeze(1) * self.scale.to(x)
        reference = self.references[z]
        if self.target.per == "atom":
            return y.to(reference) + reference
        total = y.new_zeros(size).index_add(0, batch, y).to(reference)
        total = total + reference.new_zeros(size).index_add(0, batch, reference)
        if not self.target.extensive:
            total = total / scatter(torch.ones_like(reference), batch, dim_size=size).clamp(min=1)
        return total
