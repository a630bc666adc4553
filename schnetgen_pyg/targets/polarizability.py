"""The polarizability tensor.

α = Σ_i (a_i 1 + ν_i ⊗ r_i + r_i ⊗ ν_i) with scalars a_i and vectors ν_i by gated equivariant blocks
(Schütt, Unke, Gastegger, ICML 2021), positions from the centre of mass. As they are,
fragments that are far apart add up where they are alike.
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
    fit_references,
)
from schnetgen_pyg.targets.base import Target
from schnetgen_pyg.targets.gated import GatedReadout


def _isotropic(tensors: Tensor) -> Tensor:
    """A third of the trace [num_graphs]."""
    return tensors.diagonal(dim1=1, dim2=2).mean(1)


class PolarizabilityHead(Atomwise):
    """As above, a_i = scale · its read-out + reference of z_i; see `Atomwise`."""

    reads_positions = reads_vectors = True

    masses: Tensor

    def __init__(self, target: Target, readout: nn.Module, elements: Sequence[int]):
        super().__init__(target, readout, elements)
        masses = torch.tensor(ase.data.atomic_masses[: len(self.references)])
        self.register_buffer("masses", masses, persistent=False)

    def fit(self, structures: Sequence[Data]) -> None:
        """References of the isotropic part, and the scale."""
        data = Joined.of(structures, self.target.name)
        labels = _isotropic(data.values[self.target.name])
        found, rest = fit_references(data, labels, self.elements)
        self.set_references(found)
        self.set_scale((rest.square() / data.sizes).mean().sqrt())

    def correct(self, structures: Sequence[Data], missed: Tensor) -> None:
        super().correct(structures, _isotropic(missed))

    def forward(self, features: Features) -> Tensor:
        """[num_graphs, 3, 3], in double precision."""
        scalar, vector = self.readout(features.x, features.v)
        pos = features.centred(self.masses[features.z].to(features.x))
        mixed = vector.unsqueeze(2) * pos.unsqueeze(1)
        tensor = (self.scale.to(mixed) * (mixed + mixed.mT)).to(self.scale.dtype)
        scalar = (self.scale.to(scalar) * scalar).to(self.scale.dtype)
        scalar = scalar + self.references[features.z]
        return features.sum(tensor + torch.diag_embed(scalar.unsqueeze(1).expand(-1, 3)))


class Polarizability(Target):
    """A polarizability [3, 3], symmetric; ``alpha`` is a third of its trace."""

    needs_vectors = True

    def equivariant_head(self, hidden_channels: int, elements: Sequence[int]) -> nn.Module:
        return PolarizabilityHead(self, GatedReadout(hidden_channels), elements)


POLARIZABILITY = Polarizability("polarizability", "bohr³", shape=(3, 3))
