"""Partial charges of atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch_geometric.utils import scatter

from schnetgen_pyg.targets.atomwise import Atomwise, Features
from schnetgen_pyg.targets.base import Target


class NeutralCharges(Atomwise):
    """scale · readout(x_i) + reference of z_i, less the mean over the structure: they sum to its
    charge, which is zero, as potentials are for neutral structures."""

    def forward(self, features: Features) -> Tensor:
        """[num_atoms], in double precision."""
        return less_mean(super().forward(features), features)


@dataclass(frozen=True)
class Charges(Target):
    """Charges of atoms, by any scheme that the labels are of (Mulliken, Hirshfeld, …).

    Attributes:
        neutral: whether those of a structure sum to zero.
    """

    neutral: bool = True

    def head(self, hidden_channels: int, elements: Sequence[int]) -> nn.Module:
        kind = NeutralCharges if self.neutral else Atomwise
        return kind(self, self.readout(hidden_channels), elements)


def less_mean(values: Tensor, features: Features) -> Tensor:
    """Values of atoms [num_atoms] less the mean of their structure."""
    mean = scatter(values, features.batch, dim_size=features.num_graphs, reduce="mean")
    return values - mean[features.batch]


#: Such as Mulliken's.
CHARGES = Charges("charges", "e", per="atom")
