"""Which placed atoms were given, and are exactly where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.generator.conditions.base import Condition

if TYPE_CHECKING:
    from schnetgen_pyg.generator.config import GeneratorConfig
    from schnetgen_pyg.generator.draft import Draft


class GivenAtoms(Condition):
    """The atoms of a fragment (``partial.given`` [num_nodes]): they have none of the small errors
    of those that a model has placed, so that their distances say more, such as how a hydroxyl group
    is turned. Nothing is said where none was given."""

    def __init__(self, config: GeneratorConfig):
        super().__init__(config)
        self.channels = config.hidden_channels
        self.embedding = nn.Parameter(torch.zeros(config.hidden_channels))

    def prepare(
        self, partial: Data, molecules: Data, generator: torch.Generator | None = None
    ) -> None:
        given = molecules.get("fragment")
        partial.given = torch.zeros_like(partial.z, dtype=torch.bool)
        if given is not None:
            partial.given = given[partial.atom]

    def recall(self, partial: Data, draft: Draft) -> None:
        size = len(partial.z) // len(draft.z)
        partial.given = (draft.state.room[:, :size] >= 0).flatten()

    def complete(self, partial: Data, molecules: Data) -> None:
        if "given" not in partial:
            partial.given = torch.zeros_like(partial.z, dtype=torch.bool)

    def forward(self, partial: Data) -> Tensor:
        return self.embedding.new_zeros(partial.ptr.numel() - 1, self.channels)

    def per_atom(self, partial: Data) -> Tensor:
        return partial.given.unsqueeze(1) * self.embedding
