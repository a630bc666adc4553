"""The dipole moment, and its length.

μ = Σ_i (μ_i + q_i r_i) (Schütt, Unke, Gastegger, ICML 2021): where a representation has vector
features, atomic dipoles μ_i and latent charges q_i by gated equivariant blocks; else the charges
alone (Unke, Meuwly, J. Chem. Theory Comput. 15, 3678, 2019). All charges of a structure are shifted
by the same amount, so that they sum to zero and its place does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.targets.atomwise import Atomwise, Features, Joined
from schnetgen_pyg.targets.base import Target
from schnetgen_pyg.targets.charges import less_mean
from schnetgen_pyg.targets.gated import GatedReadout


class DipoleHead(Atomwise):
    """Σ_i scale · (μ_i + q_i r_i), or the length of it.

    Args:
        target: a vector, or a scalar for the length.
        readout: features to q_i, or with ``vectors`` to q_i and μ_i.
        elements: atomic numbers the model is for.
        vectors: whether vector features are read.
    """

    reads_positions = True

    def __init__(
        self, target: Target, readout: nn.Module, elements: Sequence[int], vectors: bool = False
    ):
        super().__init__(target, readout, elements)
        self.reads_vectors = vectors

    def fit(self, structures: Sequence[Data]) -> None:
        """The scale, by the lengths of the labels."""
        data = Joined.of(structures, self.target.name)
        squares = data.values[self.target.name].reshape(len(data.sizes), -1).square().sum(1)
        self.set_scale((squares / data.sizes).mean().sqrt())

    def correct(self, structures: Sequence[Data], missed: Tensor) -> None:
        """Nothing: a dipole has no other zero."""

    def forward(self, features: Features) -> Tensor:
        """[num_graphs, 3], or of the length [num_graphs], in double precision."""
        pos = features.centred(torch.ones_like(features.x[:, 0]))
        if self.reads_vectors:
            charge, moment = self.readout(features.x, features.v)
        else:
            charge, moment = self.readout(features.x).squeeze(1), 0.0
        moment = moment + less_mean(charge, features).unsqueeze(1) * pos
        total = features.sum((self.scale.to(moment) * moment).to(self.scale.dtype))
        return total if self.target.shape else torch.linalg.vector_norm(total, dim=1)


class Dipole(Target):
    """A dipole moment [3], or its length."""

    def head(self, hidden_channels: int, elements: Sequence[int]) -> nn.Module:
        return DipoleHead(self, self.readout(hidden_channels), elements)

    def equivariant_head(self, hidden_channels: int, elements: Sequence[int]) -> nn.Module:
        return DipoleHead(self, GatedReadout(hidden_channels), elements, vectors=True)


#: As a vector, in the unit of ASE.
DIPOLE = Dipole("dipole", "e·Å", shape=(3,))
#: Its length, as QM9 has it.
MU = Dipole("mu", "D", extensive=None)
