"""The energy, with forces and stress, its derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.stored import with_label
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.targets.atomwise import Features, Joined
from schnetgen_pyg.targets.base import Derivative, Target


class Energy(Target):
    """Potential energy in eV: Σ_i (scale · readout(x_i) + reference of z_i)."""

    def spread(self, structures: Sequence[Data], rest: Tensor, sizes: Tensor) -> Tensor:
        """Root mean square of the forces in eV/Å, or without forces as for any sum."""
        known = with_label(structures, "forces")
        if len(known):
            return Joined.of(known, "forces").values["forces"].square().mean().sqrt()
        return super().spread(structures, rest, sizes)

    def errors(
        self, found: Sequence[Tensor], labels: Sequence[Tensor], sizes: Tensor
    ) -> dict[str, float]:
        """In meV, also per atom."""
        error = torch.cat([a.cpu() - b.cpu() for a, b in zip(found, labels, strict=True)]).abs()
        return {
            "energy_mae_mev": 1000 * float(error.mean()),
            "energy_mae_mev_per_atom": 1000 * float((error / sizes).mean()),
        }


class Forces(Derivative):
    """−∂E/∂r [num_atoms, 3] in eV/Å."""

    def of_slope(
        self, slope: Tensor, graph: Graph, features: Features, cell: Tensor | None
    ) -> Tensor:
        return graph.forces(slope, features.z.numel())

    def errors(
        self, found: Sequence[Tensor], labels: Sequence[Tensor], sizes: Tensor
    ) -> dict[str, float]:
        """In meV/Å: mean absolute and root mean square error of the components."""
        error = torch.cat([a.cpu() - b.cpu() for a, b in zip(found, labels, strict=True)])
        return {
            "forces_mae_mev_per_angstrom": 1000 * float(error.abs().mean()),
            "forces_rmse_mev_per_angstrom": 1000 * float(error.square().mean().sqrt()),
        }


class Stress(Derivative):
    """Derivative of the energy by the strain, by the volume [num_graphs, 3, 3] in eV/Å³."""

    def of_slope(
        self, slope: Tensor, graph: Graph, features: Features, cell: Tensor | None
    ) -> Tensor:
        if cell is None or not (torch.linalg.det(cell).abs() > 0).all():
            raise InputError("stress needs a `cell` with a volume for every structure")
        return graph.stress(slope, features.batch, cell)


ENERGY = Energy("energy", "eV")
FORCES = Forces("forces", "eV/Å", per="atom", derivative_of="energy", shape=(3,))
STRESS = Stress("stress", "eV/Å³", extensive=False, derivative_of="energy", shape=(3, 3))
