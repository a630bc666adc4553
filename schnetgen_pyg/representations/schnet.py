"""SchNet: continuous-filter convolutions (Schütt et al., NeurIPS 2017; J. Chem. Phys. 148,
241722, 2018)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from schnetgen_pyg.errors import require
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.representations.base import (
    PairRepresentation,
    check_width_and_cutoff,
    last_distance,
)
from schnetgen_pyg.representations.layers import (
    LARGEST_EXPONENT,
    CosineCutoff,
    GaussianSmearing,
    ShiftedSoftplus,
)


class FilterNetwork(nn.Module):
    """Filter of a pair from its distance: two dense layers on a Gaussian expansion.

    The original paper puts a shifted softplus after both layers; PyG after the first only.
    """

    def __init__(self, num_gaussians: int, num_filters: int, last_activation: bool):
        super().__init__()
        self.lin1 = nn.Linear(num_gaussians, num_filters)
        self.lin2 = nn.Linear(num_filters, num_filters)
        self.act = ShiftedSoftplus()
        self.last_activation = last_activation

    def forward(self, expansion: Tensor) -> Tensor:
        """Expansion [num_pairs, num_gaussians] to filters [num_pairs, num_filters]."""
        weight = self.lin2(self.act(self.lin1(expansion)))
        return self.act(weight) if self.last_activation else weight


class CFConv(MessagePassing):
    """Continuous-filter convolution: y_i = Σ_j x_j ∘ W(d_ij), between two dense layers.

    The filters come per unordered pair; the two directed edges of the pair in every partial
    molecule use the same one.
    """

    def __init__(self, hidden_channels: int, num_filters: int):
        super().__init__(aggr="add")
        self.lin1 = nn.Linear(hidden_channels, num_filters, bias=False)
        self.lin2 = nn.Linear(num_filters, hidden_channels)

    def forward(self, x: Tensor, weight: Tensor, graph: Graph) -> Tensor:
        """x [num_nodes, hidden_channels]; ``weight`` from `SchNet.filters`."""
        return self.lin2(graph.aggregate(self.lin1(x), weight, self.convolve))

    def convolve(self, edge_index: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """The sum of the messages of directed edges."""
        total: Tensor = self.propagate(edge_index, x=x, weight=weight)
        return total

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        """Of every edge, with its filter [num_edges, num_filters]."""
        return x_j * weight


class InteractionBlock(nn.Module):
    """Filter network, cfconv, shifted softplus, dense layer."""

    def __init__(
        self, hidden_channels: int, num_filters: int, num_gaussians: int, last_activation: bool
    ):
        super().__init__()
        self.filter_network = FilterNetwork(num_gaussians, num_filters, last_activation)
        self.conv = CFConv(hidden_channels, num_filters)
        self.act = ShiftedSoftplus()
        self.lin = nn.Linear(hidden_channels, hidden_channels)

    def forward(self, x: Tensor, weight: Tensor, graph: Graph) -> Tensor:
        return self.lin(self.act(self.conv(x, weight, graph)))


@dataclass(frozen=True)
class SchNetSettings:
    """Settings of `SchNet`.

    Attributes:
        hidden_channels: width of the features.
        num_filters: width of the filters.
        num_interactions: number of interaction blocks.
        num_gaussians: centres of the distance expansion from 0 to ``max_distance``.
        cutoff: radius in Å of the cosine cutoff, or ``None`` for all pairs without one.
        max_distance: last centre in Å; by default the cutoff.
        original: as the paper of 2017 has it, with a shifted softplus after both filter layers and
            Gaussians exp(−(d − μ)²/spacing); else as PyG, with a linear second layer and
            exp(−(d − μ)²/(2 spacing²)).
    """

    hidden_channels: int = 128
    num_filters: int = 128
    num_interactions: int = 6
    num_gaussians: int = 50
    cutoff: float | None = 10.0
    max_distance: float | None = None
    original: bool = False

    def __post_init__(self) -> None:
        check_width_and_cutoff(self, without_cutoff=True)
        for name, least in (("num_filters", 1), ("num_interactions", 1), ("num_gaussians", 2)):
            require(getattr(self, name) >= least, name, getattr(self, name), f"at least {least}")
        last_distance(self)


class SchNet(PairRepresentation):
    """SchNet features of every node; see `SchNetSettings`."""

    Settings = SchNetSettings
    complete_graphs = True

    def __init__(self, settings: SchNetSettings | None = None, **changes: Any):
        super().__init__(settings, **changes)
        own: SchNetSettings = self.settings
        stop, cutoff, num_gaussians = last_distance(own), own.cutoff, own.num_gaussians
        self.parity = (1,) * own.num_interactions
        self.embedding = nn.Embedding(101, own.hidden_channels, padding_idx=0)
        gamma = (num_gaussians - 1) / stop if own.original else None
        self.expansion = GaussianSmearing(0.0, stop, num_gaussians, gamma)
        self.cutoff_function: CosineCutoff | None
        self.cutoff_function = None if cutoff is None else CosineCutoff(cutoff)
        #: Distance in Å beyond which `radial` does not change: there all Gaussians have ended.
        self.radial_stop = cutoff or stop + math.sqrt(LARGEST_EXPONENT / self.expansion.gamma)
        self.interactions = nn.ModuleList(
            InteractionBlock(own.hidden_channels, own.num_filters, num_gaussians, own.original)
            for _ in range(own.num_interactions)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal embeddings, Xavier-uniform weights, zero biases."""
        self.embedding.reset_parameters()
        for module in self.interactions.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def radial(self, distance: Tensor) -> list[Tensor]:
        """Filters of every block for distances [num_pairs] in Å, [num_pairs, num_filters] each."""
        expansion = self.expansion(distance)
        networks: list[Any] = [block.filter_network for block in self.interactions]
        weights = [network(expansion) for network in networks]
        if self.cutoff_function is not None:
            envelope = self.cutoff_function(distance).unsqueeze(1)
            weights = [weight * envelope for weight in weights]
        return weights

    def pair_filters(self, graph: Graph) -> list[Tensor]:
        """Filters of every block for the pairs of ``graph``, [num_pairs, num_filters] each."""
        return graph.radial(self.radial)

    def forward(
        self,
        z: Tensor,
        graph: Graph,
        filters: Sequence[Tensor] | None = None,
        *,
        extra: Tensor | None = None,
    ) -> Tensor:
        """Features [num_nodes, hidden_channels] of atomic numbers z [num_nodes].

        Args:
            filters: what `filters` gave earlier (a sampler keeps them from step to step).
            extra: added to the embeddings [num_nodes, hidden_channels].
        """
        x = self.embedding(z) if extra is None else self.embedding(z) + extra
        for block, weight in zip(self.interactions, filters or self.filters(graph), strict=True):
            x = x + block(x, weight, graph)
        return x
