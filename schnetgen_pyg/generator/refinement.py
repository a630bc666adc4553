"""The last small errors of a molecule, corrected all at once.

Atoms that are placed one after the other keep the errors of their distributions, a few hundredths
of an Å. A network that was trained to take noise off real molecules (denoising: Vincent, Neural
Comput. 23, 1661, 2011; of molecules Zaidi et al., ICLR 2023) moves all of them together to where
the data would have them. It needs no energies.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import cumsum, scatter

from schnetgen_pyg.chem.bonds import bond_limits
from schnetgen_pyg.chem.valence_states import UNKNOWN
from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.graphs.graph import Graph
from schnetgen_pyg.graphs.neighbors import neighbor_graph
from schnetgen_pyg.representations.painn import PaiNN

#: Noise in training: each molecule's standard deviation in Å is drawn uniformly up to this.
MOST_NOISE = 0.15
#: Errors below this (Å) count no more.
LEAST_ERROR = 0.01
#: Relative squared errors above this count by their logarithm: where PaiNN's products run away, one
#: molecule of a batch would spoil the gradient of all.
LARGE = 4.0
#: No atom moves farther in a step (Å): 4 standard deviations of the largest noise.
FARTHEST = 4 * MOST_NOISE
#: Channels, blocks and radius in Å of the network.
CHANNELS, BLOCKS, CUTOFF = 64, 3, 5.0


class Refinement(nn.Module):
    """Displacements Σ_j w_ij r̂_ij of all atoms, with weights from PaiNN's features of both atoms,
    their distance and whether they are bonded.

    Args:
        num_states: valence states that atoms can have.
    """

    def __init__(self, num_states: int):
        super().__init__()
        self.network = PaiNN(hidden_channels=CHANNELS, num_interactions=BLOCKS, cutoff=CUTOFF)
        self.state = nn.Embedding(num_states + 1, CHANNELS)  # the last one of `UNKNOWN`
        self.target = nn.Linear(CHANNELS, CHANNELS)
        self.source = nn.Linear(CHANNELS, CHANNELS, bias=False)
        self.distance = nn.Linear(self.network.settings.num_radial, CHANNELS, bias=False)
        self.bond = nn.Embedding(2, CHANNELS)
        self.weight = nn.Linear(CHANNELS, 1, bias=False)
        nn.init.normal_(self.weight.weight, std=1e-3)

    def forward(self, z: Tensor, pos: Tensor, ptr: Tensor, state: Tensor) -> Tensor:
        """Displacements in Å [num_atoms, 3].

        Args:
            z: atomic numbers [num_atoms], one molecule after the other.
            pos: positions in Å [num_atoms, 3].
            ptr: where each molecule begins and ends [num_molecules + 1].
            state: valence states [num_atoms], or `UNKNOWN`.
        """
        graph = neighbor_graph(pos, ptr, CUTOFF)
        x = self.network(z, graph, extra=self.state(state % self.state.num_embeddings))
        earlier, later = graph.edges[:, : len(graph.distance)]
        unit = graph.vector / graph.distance.unsqueeze(1)
        envelope = self._envelope(graph)
        bonded = graph.distance < bond_limits(z[earlier], z[later])
        of_pair = self.distance(self.network.expansion(graph.distance) * envelope)
        of_pair = of_pair + self.bond(bonded.long())
        target, source = self.target(x), self.source(x)
        result = torch.zeros_like(pos)
        for to, other, sign in ((earlier, later, 1.0), (later, earlier, -1.0)):
            hidden = nn.functional.silu(target[to] + source[other] + of_pair)
            result = result.index_add(0, to, sign * self.weight(hidden) * envelope * unit)
        return result

    def _envelope(self, graph: Graph) -> Tensor:
        cutoff: Any = self.network.cutoff_function
        smooth: Tensor = cutoff(graph.distance).unsqueeze(1)
        return smooth

    def loss(self, molecules: Data, generator: torch.Generator) -> Mean:
        """Squared error of the displacements that take noise off molecules with ``valence_state``,
        over the noise's variance: 1 for none; large ones by their logarithm."""
        sizes = molecules.ptr.diff()
        noise = MOST_NOISE * torch.rand(len(sizes), generator=generator)
        offset = torch.randn(molecules.z.numel(), 3, generator=generator).to(molecules.pos)
        noise = noise.to(molecules.pos)[molecules.batch].unsqueeze(1)
        offset = offset * noise
        # Where the whole molecule is nobody can say.
        mean = scatter(offset, molecules.batch, dim_size=len(sizes), reduce="mean")
        state = molecules.get("valence_state")
        state = torch.full_like(molecules.z, UNKNOWN) if state is None else state
        found = self(molecules.z, molecules.pos + offset, molecules.ptr, state)
        missed = (found + offset - mean[molecules.batch]).square().sum(1, keepdim=True)
        relative = missed / (3 * (noise.square() + LEAST_ERROR**2))
        large = LARGE * (1 + (relative.clamp(min=LARGE) / LARGE).log())
        return Mean(torch.where(relative > LARGE, large, relative).sum(), len(relative))

    @torch.inference_mode()
    def refined(self, z: Tensor, pos: Tensor, state: Tensor, steps: int, fixed: int = 0) -> Tensor:
        """Positions after so many steps [count, places, 3], of padded rows as
        `schnetgen_pyg.generator.draft.State` has them; the first ``fixed`` atoms stay. Where the
        network would move an atom farther than any noise did, it does not know the molecule: the
        atom goes no farther than `FARTHEST`, or stays."""
        there = z > 0
        ptr = cumsum(there.sum(1))
        moving = there.clone()
        moving[:, :fixed] = False
        result = pos.clone()
        for _ in range(steps):
            moved = self(z[there], result[there], ptr, state[there])
            distance = moved.norm(dim=1, keepdim=True)
            moved = (moved * (FARTHEST / distance).clamp(max=1.0)).nan_to_num(0.0, 0.0, 0.0)
            result[there] += moved * moving[there].unsqueeze(1)
        return result
