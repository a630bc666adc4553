"""The electronic spatial extent ⟨R²⟩ = Σ_i q_i |r_i − r_c|² (Schütt, Unke, Gastegger, ICML 2021).

r_c is the centre of the nuclear charges, from which Gaussian counts, and with it QM9.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.potentials.targets.atomwise import Atomwise, Features, fit_references
from schnetgen_pyg.potentials.targets.base import Target


def _squares(data: Data) -> Tensor:
    """Squared distances from the centre of one structure [num_atoms] in Å²."""
    pos, weight = data.pos.double().cpu(), data.z.double().cpu().unsqueeze(1)
    return (pos - (weight * pos).sum(0) / weight.sum()).square().sum(1)


class ExtentHead(Atomwise):
    """q_i = scale · readout(x_i) + reference of z_i; see `Atomwise`."""

    reads_positions = True

    def fit(self, structures: Sequence[Data]) -> None:
        """References by least squares, and the scale of what they leave."""
        labels = torch.cat([d[self.target.name].double().reshape(1).cpu() for d in structures])
        squares = [_squares(d) for d in structures]
        self.set_references(fit_references(structures, labels, self.elements, weights=squares))
        known = self.references.cpu()
        pairs = zip(structures, squares, strict=True)
        rest = labels - torch.stack([(known[d.z.cpu()] * square).sum() for d, square in pairs])
        fourth = torch.stack([square.square().sum() for square in squares]).clamp(min=1e-6)
        self.set_scale((rest.square() / fourth).mean().sqrt())

    def correct(self, structures: Sequence[Data], missed: Tensor) -> None:
        squares = [_squares(d) for d in structures]
        self.add_references(fit_references(structures, missed, self.elements, weights=squares))

    def forward(self, features: Features) -> Tensor:
        """[num_graphs], in double precision."""
        y = self.readout(features.x).squeeze(1) * self.scale.to(features.x)
        y = y.to(self.scale.dtype) + self.references[features.z]
        squares = features.centred(features.z.to(features.x)).square().sum(1)
        return features.sum(y * squares)


class Extent(Target):
    """A sum over atoms of charges times squared distances from the centre."""

    def head(self, hidden_channels: int, elements: Sequence[int]) -> nn.Module:
        return ExtentHead(self, self.readout(hidden_channels), elements)


#: As QM9 has it.
R2 = Extent("r2", "bohr²", extensive=None)
