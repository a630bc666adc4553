"""DimeNet++: directional message passing (Gasteiger, Groß, Günnemann, ICLR 2020; Gasteiger, Giri,
Margraf, Günnemann, NeurIPS workshop 2020), with the blocks of torch_geometric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import spherical_jn
from torch import Tensor, nn
from torch_geometric.nn.models import dimenet
from torch_geometric.utils import cumsum

from schnetgen_pyg.errors import require
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.graphs.indexing import ranges
from schnetgen_pyg.representations.base import Representation, check_width_and_cutoff


def triplets(graph: Graph, num_nodes: int) -> tuple[Tensor, Tensor]:
    """All edges k → j, and the edge j → i that each of them leads to; without the way back, where
    k is i itself (an image of i in a periodic cell is another atom).

    Returns:
        places of k → j and of j → i among the edges [num_triplets] each.
    """
    source, target = graph.edges
    counts = torch.bincount(target, minlength=num_nodes)
    to_node = target.argsort()
    edge_ji, place = ranges(counts[source])
    edge_kj = to_node[cumsum(counts)[source[edge_ji]] + place]
    onward = (edge_kj - edge_ji).abs() != graph.forward_edges
    return edge_kj[onward], edge_ji[onward]


def bessel_zeros(num_degrees: int, num_zeros: int) -> np.ndarray:
    """The first positive zeros of the spherical Bessel functions [num_degrees, num_zeros]: those
    of one degree lie between those of the degree below, and for degree 0 at nπ."""
    zeros = np.pi * np.arange(1, num_degrees + num_zeros)
    table = [zeros[:num_zeros]]
    for degree in range(1, num_degrees):
        function = partial(spherical_jn, degree)
        zeros = np.array([brentq(function, *bracket) for bracket in pairwise(zeros)])
        table.append(zeros[:num_zeros])
    return np.stack(table)


class SphericalBasis(nn.Module):
    """ã_ln(d, θ) = N_ln u(d) j_l(z_ln d/r_c) Y_l0(θ) (equation 6 of DimeNet): zeros z_ln of the
    spherical Bessel functions j_l, and the envelope u of the radial basis.

    The sympy expressions of `torch_geometric` give the same, but take minutes to derive.
    """

    zeros: Tensor
    norms: Tensor

    def __init__(self, num_spherical: int, num_radial: int, cutoff: float, envelope_exponent: int):
        super().__init__()
        self.cutoff = cutoff
        self.envelope = dimenet.Envelope(envelope_exponent)
        zeros = bessel_zeros(num_spherical, num_radial)
        degree = np.arange(num_spherical)[:, None]
        norms = math.sqrt(2) / np.abs(spherical_jn(degree + 1, zeros))
        self.register_buffer("zeros", torch.from_numpy(zeros), persistent=False)
        self.register_buffer("norms", torch.from_numpy(norms), persistent=False)

    def radial(self, distance: Tensor) -> Tensor:
        """N_ln u(d) j_l(z_ln d/r_c), [num_pairs, num_spherical, num_radial].

        j_l+1 = (2l+1)/x j_l − j_l−1 loses digits at short distances, hence double precision.
        """
        scaled = distance.double() / self.cutoff
        x = scaled[:, None, None] * self.zeros.double()
        before, now = torch.cos(x) / x, torch.sin(x) / x
        values = [now[:, 0]]
        for degree in range(1, x.shape[1]):
            before, now = now, (2 * degree - 1) / x * now - before
            values.append(now[:, degree])
        basis = self.envelope(scaled)[:, None, None] * self.norms * torch.stack(values, dim=1)
        return basis.to(distance.dtype)

    def angular(self, cosine: Tensor) -> Tensor:
        """Y_l0 = √((2l+1)/4π) P_l(cos θ) by Bonnet's recursion, [num_triplets, num_spherical, 1].

        As polynomials of the cosine they are smooth in linear molecules too.
        """
        values = [torch.ones_like(cosine), cosine]
        for n in range(2, self.zeros.shape[0]):
            values.append(((2 * n - 1) * cosine * values[-1] - (n - 1) * values[-2]) / n)
        norms = [math.sqrt((2 * n + 1) / (4 * math.pi)) for n in range(self.zeros.shape[0])]
        harmonics = [norm * value for norm, value in zip(norms, values, strict=True)]
        return torch.stack(harmonics, dim=1).unsqueeze(2)

    def forward(self, graph: Graph, edge_kj: Tensor, edge_ji: Tensor) -> Tensor:
        """Of d_kj and the angle between k → j and j → i, [num_triplets, num_spherical *
        num_radial]."""
        direction = graph.edge_vector(graph.vector / graph.distance.unsqueeze(1))
        cosine = (direction[edge_kj] * direction[edge_ji]).sum(1)
        radial = graph.to_edges(self.radial(graph.distance)).index_select(0, edge_kj)
        return (radial * self.angular(cosine)).flatten(1)


@dataclass(frozen=True)
class DimeNetPlusPlusSettings:
    """Settings of `DimeNetPlusPlus`.

    Attributes:
        hidden_channels: width of the messages and of the features.
        num_blocks: number of interaction blocks.
        int_emb_size, basis_emb_size: widths within the interaction of triplets.
        out_emb_channels: width within the output blocks.
        num_spherical, num_radial: functions of the angle, and of the distance.
        cutoff: radius in Å.
        envelope_exponent: smoothness of the cutoff.
    """

    hidden_channels: int = 128
    num_blocks: int = 4
    int_emb_size: int = 64
    basis_emb_size: int = 8
    out_emb_channels: int = 256
    num_spherical: int = 7
    num_radial: int = 6
    cutoff: float = 5.0
    envelope_exponent: int = 5

    def __post_init__(self) -> None:
        check_width_and_cutoff(self)
        require(self.num_spherical >= 2, "num_spherical", self.num_spherical, "at least 2")
        names = ("num_blocks", "int_emb_size", "basis_emb_size", "out_emb_channels", "num_radial")
        for name in names:
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")


class DimeNetPlusPlus(Representation):
    """DimeNet++ features of every node: the sum of its output blocks; see
    `DimeNetPlusPlusSettings`.

    Parameters and their names are those of `torch_geometric.nn.models.DimeNetPlusPlus`. With a
    linear read-out the network is that of the paper. As there the output blocks start at zero:
    the functions of short distances grow like 1/d, and random features of them without bound.
    """

    Settings = DimeNetPlusPlusSettings

    def __init__(self, settings: DimeNetPlusPlusSettings | None = None, **changes: Any):
        super().__init__(settings, **changes)
        own: DimeNetPlusPlusSettings = self.settings
        radial = own.num_radial, own.cutoff, own.envelope_exponent
        act = nn.SiLU()
        self.rbf = dimenet.BesselBasisLayer(*radial)
        self.sbf = SphericalBasis(own.num_spherical, *radial)
        self.emb = dimenet.EmbeddingBlock(own.num_radial, own.hidden_channels, act)
        channels = own.hidden_channels, own.out_emb_channels, own.hidden_channels
        self.output_blocks = nn.ModuleList(
            dimenet.OutputPPBlock(own.num_radial, *channels, 3, act)
            for _ in range(own.num_blocks + 1)
        )
        widths = own.hidden_channels, own.int_emb_size, own.basis_emb_size
        functions = own.num_spherical, own.num_radial
        self.interaction_blocks = nn.ModuleList(
            dimenet.InteractionPPBlock(*widths, *functions, 1, 2, act)
            for _ in range(own.num_blocks)
        )

    def reset_parameters(self) -> None:
        """As in `torch_geometric`."""
        for module in (self.rbf, self.emb, *self.output_blocks, *self.interaction_blocks):
            module.reset_parameters()

    def forward(self, z: Tensor, graph: Graph, *, extra: Tensor | None = None) -> Tensor:
        """Features [num_nodes, hidden_channels] of atomic numbers z [num_nodes], at most 94."""
        source, target = graph.edges
        edge_kj, edge_ji = triplets(graph, z.numel())
        rbf = graph.to_edges(self.rbf(graph.distance))
        sbf = self.sbf(graph, edge_kj, edge_ji)
        x = self.emb(z, rbf, target, source)
        features = self.output_blocks[0](x, rbf, target, num_nodes=z.numel())
        for interaction, output in zip(
            self.interaction_blocks, self.output_blocks[1:], strict=True
        ):
            x = interaction(x, rbf, sbf, edge_kj, edge_ji)
            features = features + output(x, rbf, target, num_nodes=z.numel())
        return features if extra is None else features + extra
