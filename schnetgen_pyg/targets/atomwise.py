"""Quantities of contributions of atoms: their sum, their mean, or themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from schnetgen_pyg.chem.elements import MAX_ATOMIC_NUMBER
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.data.stored import StoredStructures

if TYPE_CHECKING:
    from schnetgen_pyg.targets.base import Target


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


class Joined(NamedTuple):
    """What heads take from training data, of all structures one after the other.

    Attributes:
        z, batch: atomic number and structure of every atom [num_atoms].
        sizes: atoms of every structure [num_graphs].
        values: of attributes, by their names (float64) [num_atoms or num_graphs, …].
    """

    z: Tensor
    batch: Tensor
    sizes: Tensor
    values: dict[str, Tensor]

    @classmethod
    def of(cls, structures: Sequence[Data], *names: str) -> Joined:
        """Of structures that all have these attributes; those of a file are not read one by one."""
        if isinstance(structures, StoredStructures):
            whole = Molecules(structures.only("z", "pos", *names))[range(len(structures))]
            z, sizes = whole.z, whole.ptr.diff()
            values = {name: whole[name].double() for name in names}
        else:
            z = torch.cat([d.z.cpu() for d in structures])
            sizes = torch.tensor([d.z.numel() for d in structures])
            values = {n: torch.cat([_rows(d[n]) for d in structures]) for n in names}
        return cls(z, torch.repeat_interleave(sizes), sizes, values)

    def each_atom(self) -> Joined:
        """Every atom as a structure of its own."""
        return Joined(self.z, torch.arange(len(self.z)), torch.ones_like(self.z), self.values)

    def sum(self, values: Tensor) -> Tensor:
        """Over the atoms of every structure, [num_atoms, …] to [num_graphs, …]."""
        total = values.new_zeros(len(self.sizes), *values.shape[1:])
        return total.index_add(0, self.batch, values)

    def by_element(self, elements: Sequence[int], weights: Tensor | None = None) -> Tensor:
        """Atoms of each element in every structure, or sums of their weights [num_atoms]:
        [num_graphs, num_elements] (float64)."""
        atoms = (self.z[:, None] == torch.tensor(list(elements))).double()
        return self.sum(atoms if weights is None else weights.double()[:, None] * atoms)


def _rows(value: Tensor) -> Tensor:
    return value.double().cpu() if value.dim() else value.double().cpu().reshape(1)


def least_squares(matrix: Tensor, wanted: Tensor) -> Tensor:
    """The shortest x [num_columns] for which the matrix times x is nearest to what is wanted."""
    wanted = wanted.double().cpu()[:, None]
    return torch.linalg.lstsq(matrix, wanted, driver="gelsd").solution[:, 0]


def fit_references(
    data: Joined, labels: Tensor, elements: Sequence[int], extensive: bool | None = True
) -> tuple[Tensor, Tensor]:
    """Contributions of the elements, by least squares, whose sums (or means) are nearest to the
    labels.

    Where compositions do not tell the elements apart (isomers, say) the shortest solution is taken.

    Args:
        data: of the structures.
        labels: of each structure [num_graphs].
        elements: atomic numbers.
        extensive: sums, or means.

    Returns:
        [num_elements] in the unit of the labels, and what they leave of these [num_graphs] (both
        float64).
    """
    counts = data.by_element(elements)
    if not extensive:
        counts = counts / counts.sum(1, keepdim=True).clamp(min=1)
    found = least_squares(counts, labels)
    return found, labels.double().cpu() - counts @ found


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
        data = Joined.of(structures, target.name)
        sizes, labels = data.sizes, data.values[target.name]
        alone = data.each_atom() if target.per == "atom" else data
        found, rest = fit_references(alone, labels, self.elements, target.extensive)
        self.set_references(found)
        self.set_scale(target.spread(structures, rest, sizes))

    def correct(self, structures: Sequence[Data], missed: Tensor) -> None:
        """Add to the references what brings a trained model nearest to other labels: of other
        elements, or of another level of theory, whose energies have another zero.

        Args:
            structures: of the training, with the label.
            missed: labels less what the model says: [num_graphs, …], or [num_atoms, …].
        """
        data = Joined.of(structures)
        data = data.each_atom() if self.target.per == "atom" else data
        self.add_references(fit_references(data, missed, self.elements, self.target.extensive)[0])

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
