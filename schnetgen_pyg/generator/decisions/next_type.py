"""The element of the next atom, among those that are left of the formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.generator.decisions.base import Decision, chosen, mean_loss
from schnetgen_pyg.generator.random_numbers import choose
from schnetgen_pyg.representations.layers import mlp

if TYPE_CHECKING:
    from schnetgen_pyg.generator.config import GeneratorConfig
    from schnetgen_pyg.generator.draft import Draft
    from schnetgen_pyg.generator.step import Step


class NextType(Decision):
    """The element of the next atom, from the mean over the placed ones. Hydrogens come only after
    everything else."""

    elements: Tensor
    index: Tensor
    conditions = ("remaining_formula",)

    def __init__(self, config: GeneratorConfig):
        super().__init__(config)
        channels, elements = config.hidden_channels, torch.tensor(config.elements)
        self.layers = mlp([channels, channels, len(elements)])
        self.hydrogen = config.elements.index(1) if 1 in config.elements else None
        self.register_buffer("elements", elements, persistent=False)
        index = torch.full((101,), -1)
        index[elements] = torch.arange(len(elements))
        self.register_buffer("index", index, persistent=False)

    def allowed(self, remaining: Tensor) -> Tensor:
        """Elements that may come next [num_graphs, num_elements], of what is left."""
        allowed = remaining > 0
        if self.hydrogen is not None:
            heavy = allowed.clone()
            heavy[:, self.hydrogen] = False
            allowed = torch.where(heavy.any(1, keepdim=True), heavy, allowed)
        return allowed

    def log_prob(self, step: Step) -> Tensor:
        """[num_graphs, num_elements]."""
        allowed = self.allowed(step.partial.remaining)
        pooled = scatter(step.x, step.partial.batch, dim_size=len(allowed), reduce="mean")
        return torch.log_softmax(self.layers(pooled).masked_fill(~allowed, -torch.inf), dim=1)

    def loss(self, step: Step, molecules: Data) -> Mean:
        loss = mean_loss(self.log_prob(step), self.index[step.partial.next_z])
        step.decide(next_z=step.partial.next_z)
        return loss

    def draw(self, step: Step, draft: Draft) -> Tensor:
        size = draft.placed
        log_prob = (step.guided(self.log_prob) / draft.config.choice_temperature).log_softmax(1)
        if draft.forced:
            choice = self.index[draft.z[:, size]]
        else:
            choice = choose(log_prob, draft.keys(size, 1))
            elements = self.elements[choice]
            # The types stay a permutation of the formula: swap with the first such atom.
            here = (draft.z[:, size:] == elements.unsqueeze(1)).int().argmax(1) + size
            draft.z[draft.rows, here] = draft.z[:, size].clone()
            draft.z[:, size] = elements
        step.decide(next_z=draft.z[:, size])
        return chosen(log_prob, choice)
