"""What is read off the features of placed atoms: the next atom's type, the placed atom it will be
bonded to (its focus), its distances, and the hydrogens that are still missing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import scatter

from schnetgen_pyg.generator.valence_states import NUM_ENVIRONMENTS
from schnetgen_pyg.representations.layers import GaussianSmearing, ShiftedSoftplus, mlp


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


def log_softmax_per_graph(logits: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
    """Log-softmax over the nodes of each graph; logits and result [num_nodes]."""
    largest = scatter(logits.detach(), batch, dim_size=num_graphs, reduce="max")
    shifted = logits - largest[batch]
    return shifted - scatter(shifted.exp(), batch, dim_size=num_graphs).log()[batch]


class FocusHead(nn.Module):
    """Which placed atom the new one will be bonded to."""

    def __init__(self, hidden_channels: int):
        super().__init__()
        self.layers = mlp([hidden_channels, hidden_channels, 1])

    def forward(self, x: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        """Log-probability of every placed atom [num_nodes], from x after the product."""
        return log_softmax_per_graph(self.layers(x).squeeze(1), batch, num_graphs)


class FocusMixer(nn.Module):
    """Let each placed atom see the focus: its features and the distance to it."""

    def __init__(self, hidden_channels: int, max_distance: float):
        super().__init__()
        num_gaussians = round(max_distance / 0.1) + 1
        self.expansion = GaussianSmearing(0.0, max_distance, num_gaussians, gamma=10.0)
        self.own = nn.Linear(hidden_channels, hidden_channels)
        self.focus = nn.Linear(hidden_channels, hidden_channels, bias=False)
        self.distance = nn.Linear(num_gaussians, hidden_channels, bias=False)
        self.act = ShiftedSoftplus()

    def forward(self, x: Tensor, focus: Tensor, distance: Tensor) -> Tensor:
        """x [num_nodes, channels]; of the node's focus, what `focus` makes of its features
        [num_nodes, channels]; the ``distance`` between the two [num_nodes] in Å."""
        return self.act(self.own(x) + focus + self.distance(self.expansion(distance)))


class TypeHead(nn.Module):
    """The element of the next atom, from the mean over the placed ones."""

    def __init__(self, hidden_channels: int, num_elements: int):
        super().__init__()
        self.layers = mlp([hidden_channels, hidden_channels, num_elements])

    def forward(self, x: Tensor, batch: Tensor, allowed: Tensor) -> Tensor:
        """Log-probability of every element [num_graphs, num_elements]; ``allowed`` of the same
        shape masks those that the formula has none of left."""
        pooled = scatter(x, batch, dim_size=len(allowed), reduce="mean")
        return torch.log_softmax(self.layers(pooled).masked_fill(~allowed, -torch.inf), dim=1)


class EnvironmentHead(nn.Module):
    """How many hydrogens and how many heavier neighbors an atom will have."""

    def __init__(self, hidden_channels: int):
        super().__init__()
        self.layers = mlp([hidden_channels, hidden_channels, NUM_ENVIRONMENTS])

    def forward(self, x: Tensor) -> Tensor:
        """Log-probabilities [num, 25]."""
        return torch.log_softmax(self.layers(x), dim=1)


class HydrogenHead(nn.Module):
    """How many hydrogens a placed atom still lacks: 0 to 4."""

    def __init__(self, hidden_channels: int):
        super().__init__()
        self.layers = mlp([hidden_channels, hidden_channels, 5])

    def forward(self, x: Tensor) -> Tensor:
        """Log-probabilities [num_nodes, 5]."""
        return torch.log_softmax(self.layers(x), dim=1)
