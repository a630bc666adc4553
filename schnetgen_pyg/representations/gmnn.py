"""GM-NN: Gaussian moments in a neural network (Zaverkin, Kästner, J. Chem. Theory Comput. 16,
5410, 2020; Zaverkin, Holzmüller, Steinwart, Kästner, J. Chem. Theory Comput. 17, 6658, 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from schnetgen_pyg.errors import require
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.representations.base import Representation, check_width_and_cutoff
from schnetgen_pyg.representations.layers import LARGEST_EXPONENT, CosineCutoff

#: Scales SiLU so that the output has variance one for normal input.
SWISH_SCALE = 1.6765324703310907
#: Weight of the biases in the NTK parametrisation.
BIAS_SCALE = 0.1


class RadialFunctions(nn.Module):
    """R_s(r) = f_c(r) n_basis^{−½} Σ_k C[Z_j, Z_i, s, k] b_k(r) with Gaussians b_k(r) =
    (2β/π)^¼ exp(−β(μ_k − r)²), β = n_basis²/r_c², on centres
    μ_k = r_min + k(r_c − r_min)/n_basis.

    Args:
        num_radial: radial functions s of every ordered pair of elements.
        num_basis: Gaussians k.
        start, cutoff: first centre r_min and cutoff r_c in Å.
    """

    centers: Tensor

    def __init__(self, num_radial: int, num_basis: int, start: float, cutoff: float):
        super().__init__()
        self.beta = (num_basis / cutoff) ** 2
        self.scale = (2 * self.beta / math.pi) ** 0.25 / math.sqrt(num_basis)
        centers = start + (cutoff - start) / num_basis * torch.arange(num_basis)
        self.register_buffer("centers", centers, persistent=False)
        self.cutoff_function = CosineCutoff(cutoff)
        self.coefficients = nn.Parameter(torch.empty(101, 101, num_radial, num_basis))

    def forward(self, z_j: Tensor, z_i: Tensor, graph: Graph) -> Tensor:
        """[num_edges, num_radial] for elements of sources z_j and of targets z_i [num_edges]."""
        distance = graph.distance.unsqueeze(1)
        exponent = (self.beta * (self.centers - distance).square()).clamp(max=LARGEST_EXPONENT)
        basis = self.scale * self.cutoff_function(distance) * torch.exp(-exponent)
        coefficients = self.coefficients[z_j, z_i]
        return torch.bmm(coefficients, graph.to_edges(basis).unsqueeze(2)).squeeze(2)


class GaussianMoments(nn.Module):
    """Invariants of the moments M^L_s = Σ_j R_s(r_ij) r̂_ij ⊗ … ⊗ r̂_ij (L times), L = 0 … 3
    (table 1 of the paper of 2020; one of each set that a permutation makes equal).

    Attributes:
        num_invariants: 360 for five radial functions.
    """

    pairs: Tensor
    triples: Tensor

    def __init__(self, num_radial: int):
        super().__init__()
        every = torch.arange(num_radial)
        pairs = torch.combinations(every, 2, with_replacement=True).T
        triples = torch.combinations(every, 3, with_replacement=True).T
        self.register_buffer("pairs", pairs, persistent=False)
        self.register_buffer("triples", triples, persistent=False)
        self.num_invariants = (
            num_radial + (3 + 2 * num_radial) * pairs.shape[1] + triples.shape[1] + num_radial**3
        )

    def moments(self, radial: Tensor, graph: Graph, num_nodes: int) -> list[Tensor]:
        """M^L [num_nodes, num_radial, 3, … , 3] for L = 0 … 3."""
        r = graph.edge_vector(graph.vector / graph.distance.unsqueeze(1))
        powers = [torch.ones_like(r[:, :1]), r]
        for _ in range(2):
            powers.append((powers[-1].unsqueeze(2) * r.unsqueeze(1)).flatten(1))
        sums = graph.sum_products(radial, torch.cat(powers, dim=1))
        parts = sums.split([1, 3, 9, 27], dim=2)
        return [part.reshape(*part.shape[:2], *[3] * rank) for rank, part in enumerate(parts)]

    def forward(self, radial: Tensor, graph: Graph, num_nodes: int) -> Tensor:
        """[num_nodes, num_invariants] of ``radial`` [num_edges, num_radial]."""
        m0, m1, m2, m3 = self.moments(radial, graph, num_nodes)
        r, s = self.pairs
        a, b, c = self.triples
        contractions = [
            m0,
            torch.einsum("npi,npi->np", m1[:, r], m1[:, s]),
            torch.einsum("npij,npij->np", m2[:, r], m2[:, s]),
            torch.einsum("npijk,npijk->np", m3[:, r], m3[:, s]),
            torch.einsum("npij,npik,npjk->np", m2[:, a], m2[:, b], m2[:, c]),
            torch.einsum("npi,npj,ntij->npt", m1[:, r], m1[:, s], m2),
            torch.einsum("npijk,npijl,ntkl->npt", m3[:, r], m3[:, s], m2),
            torch.einsum("nrijk,nsij,ntk->nrst", m3, m2, m1),
        ]
        return torch.cat([contraction.flatten(1) for contraction in contractions], dim=1)


class NTKLinear(nn.Linear):
    """W x/√n + 0.1 b with W from a normal distribution and b = 0 at first (equation 8 of the
    paper of 2021)."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight / math.sqrt(self.in_features), BIAS_SCALE * self.bias)


@dataclass(frozen=True)
class GMNNSettings:
    """Settings of `GMNN`.

    Attributes:
        hidden_channels: width of both hidden layers, and of the features.
        num_radial: radial functions of every ordered pair of elements.
        num_basis: Gaussians that they are made of.
        cutoff: radius r_c in Å of the cosine cutoff.
        min_distance: first centre r_min in Å.
    """

    hidden_channels: int = 512
    num_radial: int = 5
    num_basis: int = 7
    cutoff: float = 6.0
    min_distance: float = 0.5

    def __post_init__(self) -> None:
        check_width_and_cutoff(self)
        for name in ("num_radial", "num_basis"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        start = self.min_distance
        require(0 <= start < self.cutoff, "min_distance", start, "from 0 to the cutoff")


class GMNN(Representation):
    """GM-NN features of every node: the last hidden layer of its network; see `GMNNSettings`."""

    Settings = GMNNSettings

    def __init__(self, settings: GMNNSettings | None = None, **changes: Any):
        super().__init__(settings, **changes)
        own: GMNNSettings = self.settings
        self.radial = RadialFunctions(own.num_radial, own.num_basis, own.min_distance, own.cutoff)
        self.descriptor = GaussianMoments(own.num_radial)
        self.lin1 = NTKLinear(self.descriptor.num_invariants, own.hidden_channels)
        self.lin2 = NTKLinear(own.hidden_channels, own.hidden_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform radial coefficients between −1 and 1; NTK parametrisation of the layers."""
        nn.init.uniform_(self.radial.coefficients, -1.0, 1.0)
        self.lin1.reset_parameters()
        self.lin2.reset_parameters()

    def invariants(self, z: Tensor, graph: Graph) -> Tensor:
        """The descriptor of every node [num_nodes, num_invariants]."""
        source, target = graph.edges
        return self.descriptor(self.radial(z[source], z[target], graph), graph, z.numel())

    def forward(self, z: Tensor, graph: Graph, *, extra: Tensor | None = None) -> Tensor:
        """Features [num_nodes, hidden_channels] of atomic numbers z [num_nodes]."""
        x = self.invariants(z, graph)
        for layer in (self.lin1, self.lin2):
            x = SWISH_SCALE * F.silu(layer(x))
        return x if extra is None else x + extra
