"""The 2-D graph, and a latent that says which of its conformers is meant.

p(R | G) = ∫ p(R | z, G) p(z | G) dz, trained by the evidence lower bound
E_q(z | G, R) log p(R | z, G) − β KL(q ‖ p). Prior and posterior are three graph layers each and z
has 8 numbers an atom, as in ConfVAE (Xu et al., ICML 2021). What stands for all conformers of a
molecule in "Boltzmann GNN" (arXiv:2312.13110) is here the encoder that prior and decoder read; that
is our own reading of its abstract.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.chem.molecular_graphs import MolecularGraph
from schnetgen_pyg.data.graph_features import GraphBatch
from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.conditions.graph import GivenGraph
from schnetgen_pyg.graphs.neighbors import radius_pairs
from schnetgen_pyg.representations.graph_encoder import GRAPH_LAYERS
from schnetgen_pyg.representations.layers import GaussianSmearing, silent_linear

if TYPE_CHECKING:
    from schnetgen_pyg.generator.config import GeneratorConfig

#: Numbers of z for each atom, and layers of prior and posterior.
SIZE, LAYERS = 8, 3
#: The posterior sees the distances of bonded atoms and of those closer than this (Å), which all
#: neighbours of a common atom are.
RADIUS = 5.0
#: Nats of each number of z, on average over the atoms of a batch, that cost nothing ("free bits":
#: Kingma et al., NeurIPS 2016): the decoder sees all placed atoms, and may learn to do without z.
FREE = 0.05
#: Least and largest logarithm of a standard deviation.
LOG_STD = (-6.0, 3.0)


class Gaussian(NamedTuple):
    """Independent normal distributions [num_atoms, `SIZE`]."""

    mean: Tensor
    log_std: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """z of standard normal ``noise`` [..., num_atoms, `SIZE`]."""
        return self.mean + self.log_std.exp() * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """ln of the density of every number of z [..., num_atoms, `SIZE`]."""
        found: Tensor = torch.distributions.Normal(self.mean, self.log_std.exp()).log_prob(z)
        return found


def divergence(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q ‖ p) in nats [num_atoms, `SIZE`]."""
    difference = q.log_std - p.log_std
    spread = torch.exp(2 * difference) + ((q.mean - p.mean) / p.log_std.exp()) ** 2
    return 0.5 * (spread - 1) - difference


class _Reader(nn.Module):
    """Graph layers on vectors of atoms, and what they say of z: at first nothing."""

    def __init__(self, layers: str, channels: int):
        super().__init__()
        self.layers = GRAPH_LAYERS[layers](channels, LAYERS)
        self.last = silent_linear(channels, 2 * SIZE)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor, batch: Tensor) -> Gaussian:
        x = self.layers(x, edge_index, edges, batch)
        # In single precision also where the layers are not: z is drawn from it.
        mean, log_std = self.last(x).float().chunk(2, 1)
        return Gaussian(mean, log_std)


class Latent(GivenGraph):
    """In the place of ``graph``: the same, and to the vector of every atom its z is added.

    The molecule's own vector is that of the encoder alone, so that it does not depend on z.
    """

    def __init__(self, config: GeneratorConfig):
        super().__init__(config)
        channels = self.encoder.channels
        self.prior = _Reader(config.encoder, channels)
        self.posterior = _Reader(config.encoder, channels)
        self.distance = GaussianSmearing(0.0, RADIUS, channels // 4)
        self.pair = nn.Linear(channels // 4, channels)
        self.up = nn.Linear(SIZE, channels, bias=False)

    @classmethod
    def check(cls, config: GeneratorConfig) -> None:
        super().check(config)
        if "graph" in config.conditions:
            raise InputError(
                f"conditions {list(config.conditions)}: latent reads the 2-D graph itself; leave "
                "graph out"
            )

    def vectors(
        self,
        graphs: GraphBatch,
        molecules: Data,
        partial: Data,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor]:
        atoms, whole = self.encoder(*graphs)
        p = self.prior_of(graphs, atoms)
        q = self.posterior_of(graphs, atoms, p, molecules.pos, molecules.ptr)
        noise = torch.zeros_like(q.mean)  # where nothing is drawn, what is most probable
        if generator is not None:
            noise = torch.randn(q.mean.shape, generator=generator).to(q.mean)
        partial.latent_kl = divergence(q, p)
        return self.with_latent(atoms, q.draw(noise)), whole

    def prior_of(self, graphs: GraphBatch, atoms: Tensor) -> Gaussian:
        """p(z | G) of atoms with these vectors of the encoder [num_atoms, channels]."""
        bonds = self.encoder.bonds(graphs.edge_attr)
        found: Gaussian = self.prior(atoms, graphs.edge_index, bonds, graphs.batch)
        return Gaussian(found.mean, found.log_std.clamp(*LOG_STD))

    def posterior_of(
        self, graphs: GraphBatch, atoms: Tensor, p: Gaussian, pos: Tensor, ptr: Tensor
    ) -> Gaussian:
        """q(z | G, R) at positions (Å) [num_atoms, 3]: how it differs from the prior."""
        near = radius_pairs(pos, ptr, RADIUS)
        edge_index = torch.cat([graphs.edge_index, near, near.flip(0)], 1)
        distance = (pos[edge_index[0]] - pos[edge_index[1]]).norm(dim=1)
        edges = self.pair(self.distance(distance))
        bonds = self.encoder.bonds(graphs.edge_attr)
        edges = edges + torch.cat([bonds, bonds.new_zeros(len(edges) - len(bonds), bonds.shape[1])])
        other: Gaussian = self.posterior(atoms, edge_index, edges, graphs.batch)
        mean = p.mean + p.log_std.exp() * other.mean
        return Gaussian(mean, (p.log_std + other.log_std).clamp(*LOG_STD))

    def with_latent(self, atoms: Tensor, z: Tensor) -> Tensor:
        """What the decoder is told of atoms [..., num_atoms, channels] with z
        [..., num_atoms, `SIZE`]."""
        told: Tensor = atoms + self.up(z)
        return told

    @torch.no_grad()
    def priors(self, graphs: Sequence[MolecularGraph], atoms: Tensor) -> list[Gaussian]:
        """p(z | G) of molecules, by the encoder's vectors of all their atoms
        [num_atoms, channels]."""
        batch = GraphBatch(*(part.to(atoms.device) for part in GraphBatch.of_graphs(graphs)))
        found = self.prior_of(batch, atoms)
        each = (part.split([len(graph) for graph in graphs]) for part in found)
        return [Gaussian(*two) for two in zip(*each, strict=True)]

    def loss(self, partial: Data, molecules: Data) -> dict[str, Mean]:
        """KL divergence beyond what is free, for each distance of the molecules, as the loss of the
        distances is."""
        size, each = molecules.ptr.diff(), partial.latent_kl
        cost = torch.relu(each.mean(0) - FREE).sum() * len(each)
        return {"kl": Mean(cost, (size * (size - 1) / 2).sum())}

    def metrics(self, partial: Data, molecules: Data) -> dict[str, Mean]:
        """KL divergence in nats of a molecule, and of each of the numbers of z over its atoms."""
        number = float(molecules.ptr.numel() - 1)
        each = partial.latent_kl.detach().sum(0)
        found = {"kl_of_molecule": Mean(each.sum(), number)}
        return found | {f"kl_of_z{k}": Mean(one, number) for k, one in enumerate(each)}
