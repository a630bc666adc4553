"""DTNN: deep tensor neural network (Schütt, Arbabzadah, Chmiela, Müller, Tkatchenko, Nature
Communications 8, 13890, 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from schnetgen_pyg.errors import require
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.representations.base import Representation, check_width_and_cutoff
from schnetgen_pyg.representations.layers import CosineCutoff, GaussianSmearing


class TensorLayer(nn.Module):
    """v_ij = tanh(W_out[(W_c x_j + b_c) ∘ (W_d g(d_ij) + b_d)]): the tensor product of an atom
    with a distance, factorised (equation 6 of the paper); x_i grows by Σ_j v_ij."""

    def __init__(self, hidden_channels: int, num_factors: int, num_gaussians: int):
        super().__init__()
        self.lin_atom = nn.Linear(hidden_channels, num_factors)
        self.lin_distance = nn.Linear(num_gaussians, num_factors)
        self.lin_out = nn.Linear(num_factors, hidden_channels, bias=False)

    def forward(self, x: Tensor, weight: Tensor, envelope: Tensor | None, graph: Graph) -> Tensor:
        """x [num_nodes, hidden_channels]; ``weight`` [num_pairs, num_factors]."""
        product = graph.weigh(graph.from_sources(self.lin_atom(x)), weight)
        message = torch.tanh(self.lin_out(product))
        if envelope is not None:
            message = message * graph.to_edges(envelope)
        return graph.sum_to_targets(message, x.shape[0])


@dataclass(frozen=True)
class DTNNSettings:
    """Settings of `DTNN`.

    Attributes:
        hidden_channels: width of the features; 30 in the authors' code.
        num_factors: width of the factorised tensor product.
        num_interactions: number of passes.
        num_gaussians: centres of the distance expansion from 0 to ``max_distance``; by default
            one every 0.2 Å.
        cutoff: radius in Å of a cosine cutoff on the messages, which the paper does not have, or
            ``None`` for all pairs without one.
        max_distance: last centre in Å.
    """

    hidden_channels: int = 30
    num_factors: int = 60
    num_interactions: int = 3
    num_gaussians: int = 101
    cutoff: float | None = None
    max_distance: float = 20.0

    def __post_init__(self) -> None:
        check_width_and_cutoff(self, without_cutoff=True)
        for name, least in (("num_factors", 1), ("num_interactions", 1), ("num_gaussians", 2)):
            require(getattr(self, name) >= least, name, getattr(self, name), f"at least {least}")
        require(self.max_distance > 0, "max_distance", self.max_distance, "positive")


class DTNN(Representation):
    """DTNN features of every node: the same tensor layer in every pass; see `DTNNSettings`."""

    Settings = DTNNSettings

    def __init__(self, settings: DTNNSettings | None = None, **changes: Any):
        super().__init__(settings, **changes)
        own: DTNNSettings = self.settings
        cutoff, channels = own.cutoff, own.hidden_channels
        self.embedding = nn.Embedding(101, channels, padding_idx=0)
        self.expansion = GaussianSmearing(0.0, own.max_distance, own.num_gaussians)
        self.cutoff_function = None if cutoff is None else CosineCutoff(cutoff)
        self.interaction = TensorLayer(channels, own.num_factors, own.num_gaussians)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As in the authors' code: σ² = 1/√hidden_channels for the embedding, messages of zero."""
        nn.init.normal_(self.embedding.weight, std=self.hidden_channels**-0.25)
        for layer in (self.interaction.lin_atom, self.interaction.lin_distance):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.interaction.lin_out.weight)

    def forward(self, z: Tensor, graph: Graph, *, extra: Tensor | None = None) -> Tensor:
        """Features [num_nodes, hidden_channels] of atomic numbers z [num_nodes]."""
        weight = self.interaction.lin_distance(self.expansion(graph.distance))
        envelope = None
        if self.cutoff_function is not None:
            envelope = self.cutoff_function(graph.distance).unsqueeze(1)
        x = self.embedding(z) if extra is None else self.embedding(z) + extra
        for _ in range(self.settings.num_interactions):
            x = x + self.interaction(x, weight, envelope, graph)
        return x
