"""What is left of the formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.conditions.base import Condition

if TYPE_CHECKING:
    from schnetgen_pyg.generator.config import GeneratorConfig


class RemainingFormula(Condition):
    """How many atoms of each element are still to place, the next one among them:
    ``partial.remaining`` [num_graphs, num_elements]."""

    index: Tensor

    def __init__(self, config: GeneratorConfig):
        super().__init__(config)
        self.elements = len(config.elements)
        self.linear = nn.Linear(self.elements, config.hidden_channels, bias=False)
        index = torch.full((101,), -1)
        index[torch.tensor(config.elements)] = torch.arange(self.elements)
        self.register_buffer("index", index, persistent=False)

    def counts(self, z: Tensor, owner: Tensor, size: int) -> Tensor:
        """Atoms of each element in ``size`` molecules [size, num_elements]; type 0 is none."""
        there = z > 0
        flat = (owner * self.elements + self.index[z])[there]
        return torch.bincount(flat, minlength=size * self.elements).view(size, self.elements)

    def prepare(
        self, partial: Data, molecules: Data, generator: torch.Generator | None = None
    ) -> None:
        """``molecules`` holds all atoms of the formula."""
        size = molecules.ptr.numel() - 1
        owner = torch.repeat_interleave(molecules.ptr.diff())
        total = self.counts(molecules.z, owner, size)
        placed = self.counts(partial.z, partial.batch, partial.ptr.numel() - 1)
        partial.remaining = total[partial.molecule] - placed

    def forward(self, partial: Data) -> Tensor:
        remaining = partial.get("remaining")
        if remaining is None:
            raise InputError(
                "this model needs `remaining`, what is left of the formula "
                "[num_graphs, num_elements]"
            )
        return self.linear(remaining.to(self.linear.weight.dtype))
