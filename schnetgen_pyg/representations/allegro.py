"""Allegro: strictly local equivariant features of pairs (Musaelian et al., Nature Communications
14, 579, 2023), in the form that nequip-allegro 0.8 gave it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from typing import Any

import torch
from torch import Tensor, nn

from schnetgen_pyg.accelerated.padding import TargetRows
from schnetgen_pyg.errors import require
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.representations.base import Representation, check_width_and_cutoff
from schnetgen_pyg.representations.layers import BesselBasis, PolynomialCutoff, mlp

#: Degree and parity of a tensor's components under rotation and reflection.
Irrep = tuple[int, int]


def spherical_harmonics(direction: Tensor, l_max: int) -> Tensor:
    """Real spherical harmonics of unit vectors [… , 3] up to ``l_max`` ≤ 2, [… , (l_max + 1)²],
    of squared norm 2l + 1 for each degree l."""
    x, y, z = direction.unbind(-1)
    values = [torch.ones_like(x)]
    if l_max >= 1:
        values += [math.sqrt(3) * component for component in (x, y, z)]
    if l_max >= 2:
        a, b = math.sqrt(15), math.sqrt(5)
        planes = [a * x * z, a * x * y, b * (y * y - (x * x + z * z) / 2), a * y * z]
        values += [*planes, a / 2 * (z * z - x * x)]
    return torch.stack(values, dim=-1)


def degree(n: int) -> slice:
    """Where the harmonics of degree n are."""
    return slice(n**2, (n + 1) ** 2)


@lru_cache
def coupling(l1: int, l2: int, l3: int) -> Tensor:
    """The tensor [2 l1 + 1, 2 l2 + 1, 2 l3 + 1] that no rotation changes, of norm one (Wigner's 3j
    symbols in the basis of `spherical_harmonics`, up to the sign).

    It is found as what two rotations leave as it is: the null space of D₁⊗D₂⊗D₃ − 1 for both.
    """
    generator = torch.Generator().manual_seed(0)
    points, *axes = torch.randn(3, 30, 3, generator=generator, dtype=torch.float64)
    points = points / points.norm(dim=1, keepdim=True)
    conditions = []
    for frame in axes:
        rotation, _ = torch.linalg.qr(frame[:3])
        rotation = rotation * torch.linalg.det(rotation)
        before = spherical_harmonics(points, 2)
        after = spherical_harmonics(points @ rotation, 2)
        matrices = [
            torch.linalg.lstsq(before[:, degree(n)], after[:, degree(n)]).solution
            for n in (l1, l2, l3)
        ]
        product = torch.kron(torch.kron(matrices[0], matrices[1]), matrices[2])
        conditions.append(product.T - torch.eye(len(product), dtype=torch.float64))
    solution = torch.linalg.svd(torch.cat(conditions)).Vh[-1]
    solution = solution * (solution.abs() > 1e-9)
    sign = solution[solution.nonzero()[0]].sign()
    return (sign * solution).view(2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1)


def products(first: Iterable[Irrep], second: Iterable[Irrep]) -> set[Irrep]:
    """All irreps in the tensor products of any of ``first`` with any of ``second``."""
    return {(n, p * q) for a, p in first for b, q in second for n in range(abs(a - b), a + b + 1)}


def tracks(l_max: int, num_layers: int, parity: bool) -> list[list[Irrep]]:
    """Irreps of the tensor features before each layer and after the last, which keeps scalars
    only: everything up to ``l_max`` that can be reached and that a scalar can still come of."""
    harmonics = [(n, (-1) ** n) for n in range(l_max + 1)]
    allowed = {(n, p) for n in range(l_max + 1) for p in (1, -1)} if parity else {*harmonics}
    kept: list[set[Irrep]] = [{*harmonics}]
    for _ in range(num_layers - 1):
        kept.append(products(kept[-1], harmonics) & allowed)
    kept.append({(0, 1)})
    for layer in reversed(range(num_layers)):
        kept[layer] = {i for i in kept[layer] if products([i], harmonics) & kept[layer + 1]}
    return [sorted(irreps, key=lambda irrep: (irrep[0], -irrep[1])) for irreps in kept]


def total(irreps: Iterable[Irrep]) -> int:
    """Number of components."""
    return sum(2 * n + 1 for n, _ in irreps)


@lru_cache(maxsize=64)
def all_couplings(
    first: tuple[Irrep, ...], second: tuple[Irrep, ...], out: tuple[Irrep, ...]
) -> Tensor:
    """Couplings of every path (first, second → out) [num_paths, i, j, k], scaled so that products
    of components of variance one have variance one."""
    paths = []
    for (k, result), (i, left), (j, right) in product(
        enumerate(out), enumerate(first), enumerate(second)
    ):
        if result in products([left], [right]):
            path = torch.zeros(total(first), total(second), total(out), dtype=torch.float64)
            starts = total(first[:i]), total(second[:j]), total(out[:k])
            degrees = left[0], right[0], result[0]
            a, b, c = (slice(s, s + 2 * n + 1) for s, n in zip(starts, degrees, strict=True))
            path[a, b, c] = math.sqrt(2 * result[0] + 1) * coupling(*degrees)
            paths.append(path)
    return torch.stack(paths)


class TensorProduct(nn.Module):
    """Weighted sum over all paths of products of a pair's tensors with those of its central atom's
    environment, channel by channel.

    The environment is the same for all pairs of an atom: with the weights and the couplings it
    makes one small matrix per atom and channel, and the pairs' tensors meet that matrix.
    """

    def __init__(
        self, first: list[Irrep], second: list[Irrep], out: list[Irrep], num_channels: int
    ):
        super().__init__()
        self.irreps = tuple(first), tuple(second), tuple(out)
        num_paths = all_couplings(*self.irreps).shape[0]
        self.weight = nn.Parameter(torch.empty(num_channels, num_paths))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform weights of variance one."""
        nn.init.uniform_(self.weight, -math.sqrt(3), math.sqrt(3))

    def forward(self, tensors: Tensor, environment: Tensor) -> Tensor:
        """Tensors of pairs in rows [num_nodes, channels, width, i] and of environments [num_nodes,
        channels, j] to [num_nodes, channels, width, k]."""
        # In double precision wherever the weights have been: they carry the symmetry.
        couplings = all_couplings(*self.irreps).to(self.weight)
        mixed = torch.einsum("up,pijk->uijk", self.weight, couplings)
        return torch.matmul(tensors, torch.einsum("nuj,uijk->nuik", environment, mixed))


class AllegroLayer(nn.Module):
    """Environment of the central atom, tensor product, and scalars from its invariants.

    The last layer gives no weights for a next environment.
    """

    def __init__(self, tensor_product: TensorProduct, widths: list[int]):
        super().__init__()
        self.tensor_product = tensor_product
        self.latent = mlp(widths, nn.SiLU, bias=False)

    def forward(
        self, scalars: Tensor, tensors: Tensor, weights: Tensor, harmonics: Tensor, rows: TargetRows
    ) -> tuple[Tensor, Tensor]:
        """Scalars of pairs so far [num_edges, channels], tensors in rows, weights of the
        environment [num_edges, channels, degrees] and harmonics in rows [num_nodes, width, j]."""
        degrees = weights.shape[2]
        weights = rows.pad(weights.flatten(1)).unflatten(2, (-1, degrees))
        environment = torch.cat(
            [
                torch.bmm(weights[..., n].transpose(1, 2), harmonics[..., degree(n)])
                for n in range(degrees)
            ],
            dim=2,
        )
        tensors = self.tensor_product(tensors, environment)
        invariants = rows.flat(tensors[..., 0].transpose(1, 2))
        return self.latent(torch.cat([scalars, invariants], dim=1)), tensors


@dataclass(frozen=True)
class AllegroSettings:
    """Settings of `Allegro`; the defaults are those of nequip-allegro.

    Attributes:
        hidden_channels: width of the scalar features of pairs, of all perceptrons, and of the
            features of nodes; even.
        num_tensor_features: channels of the tensor features.
        num_layers: tensor products, each with the environment of the central atom.
        l_max: largest degree of the tensors, 1 or 2.
        num_radial: functions sin(nπd/r_c)/d.
        cutoff: radius r_c in Å.
        parity: keep tensors of either parity, instead of those that harmonics have.
        avg_num_neighbors: the sums over neighbours are divided by its root; take the mean of the
            training data.
    """

    hidden_channels: int = 64
    num_tensor_features: int = 16
    num_layers: int = 2
    l_max: int = 2
    num_radial: int = 8
    cutoff: float = 6.0
    parity: bool = True
    avg_num_neighbors: float = 15.0

    def __post_init__(self) -> None:
        check_width_and_cutoff(self)
        even = self.hidden_channels % 2 == 0
        require(even, "hidden_channels", self.hidden_channels, "even")
        for name in ("num_tensor_features", "num_layers", "num_radial"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.l_max in (1, 2), "l_max", self.l_max, "1 or 2")
        mean = self.avg_num_neighbors
        require(mean > 0, "avg_num_neighbors", mean, "positive")


class Allegro(Representation):
    """Allegro features of every node: the hidden layer of the read-out of its pairs, summed; see
    `AllegroSettings`. With a linear read-out after it the network is Allegro, whose energy is a
    sum over pairs."""

    Settings = AllegroSettings

    def __init__(self, settings: AllegroSettings | None = None, **changes: Any):
        super().__init__(settings, **changes)
        own: AllegroSettings = self.settings
        l_max, num_layers, num_tensor_features = own.l_max, own.num_layers, own.num_tensor_features
        self.l_max = l_max
        self.scale = own.avg_num_neighbors**-0.5
        channels, num_weights = own.hidden_channels, num_tensor_features * (l_max + 1)
        self.center_embedding = nn.Embedding(101, channels // 2)
        self.neighbor_embedding = nn.Embedding(101, channels // 2)
        self.expansion = BesselBasis(own.cutoff, own.num_radial)
        self.cutoff_function = PolynomialCutoff(own.cutoff)
        self.basis = nn.Linear(own.num_radial, channels, bias=False)
        self.two_body = mlp([channels, channels, channels], nn.SiLU, bias=False)
        self.tensor_weights = nn.Linear(channels, num_weights, bias=False)
        self.first = nn.Linear(channels, channels + num_weights, bias=False)
        irreps = tracks(l_max, num_layers, own.parity)
        layers = []
        for number, (before, after) in enumerate(pairwise(irreps), start=1):
            tensor_product = TensorProduct(before, irreps[0], after, num_tensor_features)
            inputs = number * channels + num_tensor_features
            outputs = channels + (num_weights if number < num_layers else 0)
            layers.append(AllegroLayer(tensor_product, [inputs, channels, outputs]))
        self.layers = nn.ModuleList(layers)
        self.readout = nn.Linear((num_layers + 1) * channels, channels, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform weights of variance 1/n, or 2/n after an activation, of n inputs."""
        activated = [net[-1] for net in self.modules() if isinstance(net, nn.Sequential)]
        for module in self.modules():
            if isinstance(module, nn.Embedding | TensorProduct):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                bound = math.sqrt((6 if module in activated else 3) / module.in_features)
                nn.init.uniform_(module.weight, -bound, bound)

    def pair_scalars(self, z: Tensor, graph: Graph) -> Tensor:
        """Scalar features of two atoms and their distance [num_edges, channels], zero at the
        cutoff; no layer after it has a bias, so that all features of a pair end there."""
        source, target = graph.edges
        elements = [self.center_embedding(z).index_select(0, target)]
        elements.append(self.neighbor_embedding(z).index_select(0, source))
        radial = self.settings.cutoff / math.pi * self.expansion(graph.distance)
        radial = self.basis(radial * self.cutoff_function(graph.distance).unsqueeze(1))
        return self.two_body(graph.weigh(torch.cat(elements, dim=1), radial))

    def forward(self, z: Tensor, graph: Graph, *, extra: Tensor | None = None) -> Tensor:
        """Features [num_nodes, hidden_channels] of atomic numbers z [num_nodes]."""
        rows = graph.rows
        direction = graph.edge_vector(graph.vector / graph.distance.unsqueeze(1))
        harmonics = rows.pad(spherical_harmonics(direction, self.l_max))
        scalars = self.pair_scalars(z, graph)
        degrees = self.l_max + 1
        weights = rows.pad(self.tensor_weights(scalars)).unflatten(2, (-1, degrees))
        repeats = torch.tensor([2 * n + 1 for n in range(degrees)], device=z.device)
        weights = weights.repeat_interleave(repeats, dim=3, output_size=degrees**2)
        tensors = (weights * harmonics.unsqueeze(2)).transpose(1, 2)
        latent = self.first(scalars)
        scalars = latent[:, : self.hidden_channels]
        for layer in self.layers:
            weights = self.scale * latent[:, self.hidden_channels :]
            weights = weights.unflatten(1, (-1, degrees))
            latent, tensors = layer(scalars, tensors, weights, harmonics, rows)
            scalars = torch.cat([scalars, latent[:, : self.hidden_channels]], dim=1)
        features = nn.functional.silu(self.readout(scalars))
        features = self.scale * graph.sum_to_targets(features, z.numel())
        return features if extra is None else features + extra
