"""Directed message passing between bonds (D-MPNN; Yang et al., J. Chem. Inf. Model. 2019, 59, 3370;
the network of Chemprop).

Every bond has a vector in each direction. A message never returns to the atom that it came from, so
that what an atom has said is not told to it again. As there, nothing is normalised.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter


class DMPNN(nn.Module):
    """Vectors of atoms by messages along bonds, each step with weights of its own.

    Args:
        channels: width.
        num_layers: steps of messages, the first of which says what each atom and bond is.
    """

    def __init__(self, channels: int, num_layers: int):
        super().__init__()
        self.first = nn.Linear(2 * channels, channels, bias=False)
        self.updates = nn.ModuleList(
            nn.Linear(channels, channels, bias=False) for _ in range(num_layers - 1)
        )
        self.last = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor, batch: Tensor) -> Tensor:
        """Vectors of atoms [num_atoms, channels].

        Args:
            x: what each atom is [num_atoms, channels].
            edge_index: bonds in both directions, in any order [2, num_edges].
            edges: what each bond is [num_edges, channels].
            batch: molecule of each atom [num_atoms]; not needed here.
        """
        source, target = edge_index
        back = reverse(edge_index, len(x))
        start = self.first(torch.cat([x[source], edges], 1))
        message = start.relu()
        for update in self.updates:
            heard = scatter(message, target, dim_size=len(x))
            message = (start + update(heard[source] - message[back])).relu()
        heard = scatter(message, target, dim_size=len(x))
        told: Tensor = self.last(torch.cat([x, heard], 1)).relu()
        return told


def reverse(edge_index: Tensor, num_atoms: int) -> Tensor:
    """The place of every edge's other direction [num_edges]; of several edges between two atoms the
    first belongs to the first, and so on."""
    source, target = edge_index
    there = torch.argsort(source * num_atoms + target, stable=True)
    back = torch.argsort(target * num_atoms + source, stable=True)
    return torch.empty_like(there).index_copy_(0, there, back)
