"""PaiNN: polarizable atom interaction neural network (Schütt, Unke, Gastegger, ICML 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from schnetgen_pyg.errors import require
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.representations.base import (
    PairRepresentation,
    check_width_and_cutoff,
    last_distance,
)
from schnetgen_pyg.representations.layers import BesselBasis, CosineCutoff, mlp

#: Under the root of the norms of vectors, whose gradient is infinite at zero.
EPSILON = 1e-8


class FilterNetwork(nn.Linear):
    """W e(d) + b of a radial expansion e(d), times the cutoff function f(d): as
    W (e f) + b f it is one product, with f among the inputs."""

    def forward(self, expansion: Tensor) -> Tensor:
        """Expansion times envelope, and the envelope [num_pairs, num_radial + 1], to filters."""
        return expansion @ torch.cat([self.weight, self.bias.unsqueeze(1)], dim=1).T


class MessageBlock(nn.Module):
    """Δs_i = Σ_j a_ij and Δv_i = Σ_j (b_ij r̂_ij + c_ij ∘ v_j), where (a, b, c)_ij is the filter
    of the pair times φ(s_j) (equations 7 and 8, figure 2b)."""

    def __init__(self, hidden_channels: int):
        super().__init__()
        self.phi = mlp([hidden_channels, hidden_channels, 3 * hidden_channels], nn.SiLU)

    def forward(
        self, s: Tensor, v: Tensor | None, weight: Tensor, direction: Tensor, graph: Graph
    ) -> tuple[Tensor, Tensor]:
        """Scalars s [num_nodes, F] and vectors v [num_nodes, 3, F] (``None``: zeros); ``weight``
        and ``direction`` from `PaiNN.filters`."""
        channels = s.shape[1]
        a, b, c = self.phi(s).split(channels, dim=1)
        w_a, w_b, w_c = weight.split(channels, dim=-1)
        delta_s = graph.aggregate(a, w_a)
        delta_v = graph.aggregate_vectors(b, w_b, direction)
        if v is not None:
            delta_v = delta_v + graph.aggregate(c.unsqueeze(1) * v, w_c)
        return delta_s, delta_v


class UpdateBlock(nn.Module):
    """Δs = a_ss + a_sv ∘ ⟨Uv, Vv⟩ and Δv = a_vv ∘ Uv, gates from s and ‖Vv‖ of the same atom
    (equations 9 and 10, figure 2c)."""

    def __init__(self, hidden_channels: int):
        super().__init__()
        self.mix = nn.Linear(hidden_channels, 2 * hidden_channels, bias=False)
        self.gates = mlp([2 * hidden_channels, hidden_channels, 3 * hidden_channels], nn.SiLU)

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """s [num_nodes, F], v [num_nodes, 3, F]."""
        v_v, u_v = self.mix(v).chunk(2, dim=2)
        norm = torch.sqrt(v_v.square().sum(1) + EPSILON)
        a_ss, a_vv, a_sv = self.gates(torch.cat([s, norm], dim=1)).chunk(3, dim=1)
        return a_ss + a_sv * (u_v * v_v).sum(1), a_vv.unsqueeze(1) * u_v


@dataclass(frozen=True)
class PaiNNSettings:
    """Settings of `PaiNN`.

    Attributes:
        hidden_channels: width F of the scalar and of the vector features.
        num_interactions: number of blocks, each a message and an update.
        num_radial: functions sin(nπd/r_c)/d.
        cutoff: radius in Å of the cosine cutoff, or ``None`` for all pairs without one.
        max_distance: r_c of the radial functions in Å; by default the cutoff.
    """

    hidden_channels: int = 128
    num_interactions: int = 3
    num_radial: int = 20
    cutoff: float | None = 5.0
    max_distance: float | None = None

    def __post_init__(self) -> None:
        check_width_and_cutoff(self, without_cutoff=True)
        for name in ("num_interactions", "num_radial"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        last_distance(self)


class PaiNN(PairRepresentation):
    """PaiNN features (the scalar ones) of every node; see `PaiNNSettings`."""

    Settings = PaiNNSettings
    complete_graphs = True
    has_vectors = True

    def __init__(self, settings: PaiNNSettings | None = None, **changes: Any):
        super().__init__(settings, **changes)
        own: PaiNNSettings = self.settings
        cutoff, channels = own.cutoff, own.hidden_channels
        self.parity = (-1,) + (1,) * own.num_interactions
        self.embedding = nn.Embedding(101, channels, padding_idx=0)
        self.expansion = BesselBasis(last_distance(own), own.num_radial)
        self.cutoff_function = None if cutoff is None else CosineCutoff(cutoff)
        #: Distance in Å beyond which `radial` does not change.
        self.radial_stop = cutoff
        blocks = range(own.num_interactions)
        self.filter_networks = nn.ModuleList(
            FilterNetwork(own.num_radial, 3 * channels) for _ in blocks
        )
        self.messages = nn.ModuleList(MessageBlock(channels) for _ in blocks)
        self.updates = nn.ModuleList(UpdateBlock(channels) for _ in blocks)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal embeddings, Xavier-uniform weights, zero biases."""
        self.embedding.reset_parameters()
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def radial(self, distance: Tensor) -> list[Tensor]:
        """Filters of every block for distances [num_pairs] in Å, [num_pairs, 3 hidden_channels]
        each."""
        expansion, envelope = self.expansion(distance), torch.ones_like(distance)
        if self.cutoff_function is not None:
            envelope = self.cutoff_function(distance)
        envelope = envelope.unsqueeze(1)
        expansion = torch.cat([expansion * envelope, envelope], dim=1)
        return [network(expansion) for network in self.filter_networks]

    def pair_filters(self, graph: Graph) -> list[Tensor]:
        """Unit vectors [num_pairs, 3] of the pairs of ``graph``, from the earlier to the later
        atom, and their filters in every block."""
        return [graph.vector / graph.distance.unsqueeze(1), *graph.radial(self.radial)]

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
        return self.scalars_and_vectors(z, graph, filters, extra=extra)[0]

    def scalars_and_vectors(
        self,
        z: Tensor,
        graph: Graph,
        filters: Sequence[Tensor] | None = None,
        *,
        extra: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Scalar features [num_nodes, hidden_channels] and vectors [num_nodes, 3,
        hidden_channels]; arguments as those of `forward`."""
        s = self.embedding(z) if extra is None else self.embedding(z) + extra
        v = None
        direction, *weights = filters or self.filters(graph)
        for message, update, weight in zip(self.messages, self.updates, weights, strict=True):
            delta_s, delta_v = message(s, v, weight, direction, graph)
            s, v = s + delta_s, delta_v if v is None else v + delta_v
            delta_s, delta_v = update(s, v)
            s, v = s + delta_s, v + delta_v
        assert v is not None  # there is at least one block
        return s, v
