"""How placed atoms learn which atom comes next (Gebauer, Gastegger, Schütt 2018)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing


class NewAtomProduct(MessagePassing):
    """Feature-wise product of every placed atom with the new atom of its partial molecule.

    A bipartite message from each new atom to the placed ones: x_j ∘ e_new (Gebauer et al. 2018,
    figure 2).
    """

    def __init__(self) -> None:
        super().__init__(aggr="add")

    def forward(self, x: Tensor, new: Tensor, batch: Tensor) -> Tensor:
        """x [num_nodes, channels], new [num_graphs, channels], batch [num_nodes]."""
        nodes = torch.arange(x.shape[0], device=x.device)
        return self.propagate(torch.stack([batch, nodes]), x=(new, x), size=(len(new), len(x)))

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return x_i * x_j
