"""The electronic spatial extent ``⟨R²⟩ = Σ_i (q_i |r_i − r_c|² + t_i)``, r_c the centre of
mass.

The first term is that of Schütt, Unke, Gastegger (ICML 2021). The second, a constant of the
element, is what the electrons of an atom have about their own nucleus.
"""

from __future__ import annotations

from collections.abc import Sequence

import ase.data
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.targets.atomwise import (
    Atomwise,
    Features,
    Joined,
    least_squares,
)
from schnetgen_pyg.targets.base import Target


class ExtentHead(Atomwise):
    """q_i = scale · readout(x_i) + reference of z_i; see `Atomwise`."""

    reads_positions = True

    masses: Tensor
    own: Tensor

    def __init__(self, target: Target, readout: nn.Module, elements: Sequence[int]):
        super().__init__(target, readout, elements)
        masses = torch.tensor(ase.data.atomic_masses[: len(self.references)])
        self.register_buffer("masses", masses, persistent=False)
        #: t of every element.
        self.register_buffer("own", torch.zeros_like(self.references))

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.own.zero_()

    def fit(self, structures: Sequence[Data]) -> None:
        """q and t of the elements by least squares, and the scale of what they leave."""
        self.references.zero_()
        self.own.zero_()
        labels = Joined.of(structures, self.target.name).values[self.target.name]
        rest, fourth = self._fit(structures, labels.reshape(-1))
        self.set_scale((rest.square() / fourth.clamp(min=1e-6)).mean().sqrt())

    def correct(self, structures: Sequence[Data], missed: Tensor) -> None:
        self._fit(structures, missed)

    def _fit(self, structures: Sequence[Data], labels: Tensor) -> tuple[Tensor, Tensor]:
        """Add what is nearest to the labels; what it leaves of them, and sums of the fourth powers
        of distances [num_graphs]."""
        data, elements = Joined.of(structures, "pos"), list(self.elements)
        pos, mass = data.values["pos"], self.masses.cpu().double()[data.z].unsqueeze(1)
        centre = data.sum(mass * pos) / data.sum(mass)
        squares = (pos - centre[data.batch]).square().sum(1)
        matrix = torch.cat([data.by_element(elements, squares), data.by_element(elements)], dim=1)
        found = least_squares(matrix, labels)
        charges, own = found.chunk(2)
        self.add_references(charges)
        self.own[elements] += own.to(self.own)
        return labels.double().cpu() - matrix @ found, data.sum(squares.square())

    def forward(self, features: Features) -> Tensor:
        """[num_graphs], in double precision."""
        y = self.readout(features.x).squeeze(1) * self.scale.to(features.x)
        y = y.to(self.scale.dtype) + self.references[features.z]
        pos = features.centred(self.masses[features.z].to(features.x))
        return features.sum(y * pos.square().sum(1) + self.own[features.z])


class Extent(Target):
    """A sum over atoms of charges times squared distances from the centre."""

    def head(self, hidden_channels: int, elements: Sequence[int]) -> nn.Module:
        return ExtentHead(self, self.readout(hidden_channels), elements)


#: As QM9 has it.
R2 = Extent("r2", "bohr²", extensive=None)
