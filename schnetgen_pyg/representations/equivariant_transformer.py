"""Equivariant Transformer of TorchMD-NET (Thölke, De Fabritiis, ICLR 2022)."""

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


class ExpNormalSmearing(nn.Module):
    """f_c(d) exp(−β(exp(−αd) − μ_k)²) with α = 5 Å/r_c per Å, centres μ_k from exp(−r_c/Å) to 1 and
    widths β as in PhysNet (equation 2)."""

    means: Tensor

    def __init__(self, cutoff: float, num_rbf: int):
        super().__init__()
        start = math.exp(-cutoff)
        self.alpha = 5.0 / cutoff
        self.beta = (2 / num_rbf * (1 - start)) ** -2
        self.register_buffer("means", torch.linspace(start, 1.0, num_rbf), persistent=False)
        self.cutoff_function = CosineCutoff(cutoff)

    def forward(self, distance: Tensor) -> Tensor:
        """[…] distances to [… , num_rbf]."""
        distance = distance.unsqueeze(-1)
        exponent = self.beta * (torch.exp(-self.alpha * distance) - self.means).square()
        return self.cutoff_function(distance) * torch.exp(-exponent.clamp(max=LARGEST_EXPONENT))


@dataclass(frozen=True)
class Attending:
    """The edges that attention runs over: those of the graph and every atom to itself.

    Attributes:
        source, target: nodes [num_edges + num_nodes].
        row: of each edge in what is evaluated for pairs and, last, for the distance zero.
        direction: unit vectors from source to target, zero for an atom to itself [… , 3].
        envelope: cutoff function of pairs and of zero [num_pairs + 1, 1].
        expansion: radial functions of pairs and of zero [num_pairs + 1, num_rbf].
    """

    source: Tensor
    target: Tensor
    row: Tensor
    direction: Tensor
    envelope: Tensor
    expansion: Tensor


class NeighborEmbedding(nn.Module):
    """x_i = W[embedding(z_i) ‖ Σ_j embedding'(z_j) ∘ W_F e(d_ij) f_c(d_ij)] (equations 3, 4)."""

    def __init__(self, hidden_channels: int, num_rbf: int):
        super().__init__()
        self.embedding = nn.Embedding(101, hidden_channels)
        self.distance_proj = nn.Linear(num_rbf, hidden_channels)
        self.combine = nn.Linear(2 * hidden_channels, hidden_channels)

    def forward(
        self, z: Tensor, x: Tensor, expansion: Tensor, envelope: Tensor, graph: Graph
    ) -> Tensor:
        """x [num_nodes, hidden_channels]; expansion and envelope of pairs."""
        weight = self.distance_proj(expansion) * envelope
        return self.combine(torch.cat([x, graph.aggregate(self.embedding(z), weight)], dim=1))


class EquivariantAttention(nn.Module):
    """One layer: distances modulate keys and values, attention weights go through SiLU instead of
    a softmax, and values carry scalar and vector features (equations 5 to 11, figure 2)."""

    def __init__(self, hidden_channels: int, num_rbf: int, num_heads: int, vector_cutoff: bool):
        super().__init__()
        self.num_heads = num_heads
        self.vector_cutoff = vector_cutoff
        self.layernorm = nn.LayerNorm(hidden_channels)
        self.q_proj = nn.Linear(hidden_channels, hidden_channels)
        self.k_proj = nn.Linear(hidden_channels, hidden_channels)
        self.v_proj = nn.Linear(hidden_channels, 3 * hidden_channels)
        self.o_proj = nn.Linear(hidden_channels, 3 * hidden_channels)
        self.vec_proj = nn.Linear(hidden_channels, 3 * hidden_channels, bias=False)
        self.dk_proj = nn.Linear(num_rbf, hidden_channels)
        self.dv_proj = nn.Linear(num_rbf, 3 * hidden_channels)

    def heads(self, x: Tensor) -> Tensor:
        """[… , channels] to [… , num_heads, channels / num_heads]."""
        return x.unflatten(-1, (self.num_heads, -1))

    def messages(self, x: Tensor, vec: Tensor, edges: Attending) -> tuple[Tensor, Tensor]:
        """Sums of scalar and of vector messages, of the shapes of x and vec."""
        q, k, v = self.heads(self.q_proj(x)), self.heads(self.k_proj(x)), self.v_proj(x)
        dk = self.heads(F.silu(self.dk_proj(edges.expansion)))
        dv = F.silu(self.dv_proj(edges.expansion))
        if self.vector_cutoff:
            dv = dv * edges.envelope
        attention = (q[edges.target] * k[edges.source] * dk[edges.row]).sum(-1, keepdim=True)
        attention = F.silu(attention)
        if not self.vector_cutoff:
            attention = attention * edges.envelope[edges.row].unsqueeze(1)
        values = self.heads(v.index_select(0, edges.source) * dv.index_select(0, edges.row))
        scalar, along, radial = values.chunk(3, dim=2)
        scalar = (scalar * attention).flatten(1)
        along, radial = along.flatten(1).unsqueeze(1), radial.flatten(1).unsqueeze(1)
        vector = vec.index_select(0, edges.source) * along + edges.direction.unsqueeze(2) * radial
        delta_x = torch.zeros_like(x).index_add(0, edges.target, scalar)
        return delta_x, torch.zeros_like(vec).index_add(0, edges.target, vector)

    def forward(self, x: Tensor, vec: Tensor, edges: Attending) -> tuple[Tensor, Tensor]:
        """Changes of x [num_nodes, F] and vec [num_nodes, 3, F]."""
        x = self.layernorm(x)
        u1, u2, u3 = self.vec_proj(vec).chunk(3, dim=2)
        y, delta_vec = self.messages(x, vec, edges)
        o1, o2, o3 = self.o_proj(y).chunk(3, dim=1)
        return (u1 * u2).sum(1) * o2 + o3, u3 * o1.unsqueeze(1) + delta_vec


@dataclass(frozen=True)
class EquivariantTransformerSettings:
    """Settings of `EquivariantTransformer`; the defaults are the authors' for QM9. For MD17 they
    take 128 channels, 6 layers and 32 radial functions.

    Attributes:
        hidden_channels: width F of the scalar and of the vector features.
        num_layers: attention layers.
        num_rbf: radial functions.
        num_heads: heads, a divisor of ``hidden_channels``.
        cutoff: radius in Å of the cosine cutoff.
        vector_cutoff: the cutoff function multiplies all values, so that the energy is continuous;
            as published (False) it multiplies the attention weights, and vectors jump there.
    """

    hidden_channels: int = 256
    num_layers: int = 8
    num_rbf: int = 64
    num_heads: int = 8
    cutoff: float = 5.0
    vector_cutoff: bool = True

    def __post_init__(self) -> None:
        check_width_and_cutoff(self)
        for name in ("num_layers", "num_rbf"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        divides = self.num_heads >= 1 and self.hidden_channels % self.num_heads == 0
        expected = f"a divisor of hidden_channels = {self.hidden_channels}"
        require(divides, "num_heads", self.num_heads, expected)


class EquivariantTransformer(Representation):
    """Equivariant Transformer features (the scalar ones) of every node; see
    `EquivariantTransformerSettings`."""

    Settings = EquivariantTransformerSettings
    has_vectors = True

    def __init__(self, settings: EquivariantTransformerSettings | None = None, **changes: Any):
        super().__init__(settings, **changes)
        own: EquivariantTransformerSettings = self.settings
        cutoff, channels, num_rbf = own.cutoff, own.hidden_channels, own.num_rbf
        self.embedding = nn.Embedding(101, channels, padding_idx=0)
        self.expansion = ExpNormalSmearing(cutoff, num_rbf)
        self.cutoff_function = CosineCutoff(cutoff)
        self.neighbor_embedding = NeighborEmbedding(channels, num_rbf)
        self.attention_layers = nn.ModuleList(
            EquivariantAttention(channels, num_rbf, own.num_heads, own.vector_cutoff)
            for _ in range(own.num_layers)
        )
        self.out_norm = nn.LayerNorm(channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal embeddings, Xavier-uniform weights, zero biases."""
        for module in self.modules():
            if isinstance(module, nn.Embedding | nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def attending(self, graph: Graph, num_nodes: int) -> Attending:
        """The graph's edges and one from every atom to itself."""
        source, target = graph.edges
        node = torch.arange(num_nodes, device=source.device)
        zero = torch.full_like(node, graph.distance.numel())
        pair = torch.arange(graph.distance.numel(), device=source.device)
        direction = graph.edge_vector(graph.vector / graph.distance.unsqueeze(1))
        distance = torch.cat([graph.distance, graph.distance.new_zeros(1)])
        return Attending(
            torch.cat([source, node]),
            torch.cat([target, node]),
            torch.cat([graph.to_edges(pair), zero]),
            torch.cat([direction, direction.new_zeros(num_nodes, 3)]),
            self.cutoff_function(distance).unsqueeze(1),
            self.expansion(distance),
        )

    def forward(self, z: Tensor, graph: Graph, *, extra: Tensor | None = None) -> Tensor:
        """Features [num_nodes, hidden_channels] of atomic numbers z [num_nodes]."""
        return self.scalars_and_vectors(z, graph, extra=extra)[0]

    def scalars_and_vectors(
        self, z: Tensor, graph: Graph, *, extra: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Scalar features [num_nodes, hidden_channels] and vectors [num_nodes, 3,
        hidden_channels]; arguments as those of `forward`."""
        edges = self.attending(graph, z.numel())
        x = self.embedding(z) if extra is None else self.embedding(z) + extra
        x = self.neighbor_embedding(z, x, edges.expansion[:-1], edges.envelope[:-1], graph)
        vec = x.new_zeros(x.shape[0], 3, x.shape[1])
        for layer in self.attention_layers:
            delta_x, delta_vec = layer(x, vec, edges)
            x, vec = x + delta_x, vec + delta_vec
        return self.out_norm(x), vec
