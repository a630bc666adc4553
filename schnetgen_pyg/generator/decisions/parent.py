"""The parent: where the graph is given, the placed atom by which the new one is placed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.errors import require
from schnetgen_pyg.generator.decisions.base import Decision
from schnetgen_pyg.generator.decisions.focus import bonded_nodes
from schnetgen_pyg.generator.graph_rules import BONDED, known_of_graph

if TYPE_CHECKING:
    from schnetgen_pyg.generator.config import GeneratorConfig
    from schnetgen_pyg.generator.draft import Draft
    from schnetgen_pyg.generator.step import Step


class Parent(Decision):
    """The focus of a model whose molecules are known but for their positions: of the placed atoms
    that the next one is bonded to the earliest. Nothing is drawn and nothing learned, so that the
    probability of a conformer is that of its positions alone: p(R | G) = ∏ p(r | placed, G)."""

    tells_focus = True

    def __init__(self, config: GeneratorConfig):
        super().__init__(config)

    @classmethod
    def check(cls, config: GeneratorConfig, before: Sequence[str]) -> None:
        super().check(config, before)
        require(config.order == "bonded", "order", config.order, "bonded, for a parent")
        alone, expected = config.decisions == ("parent", "distance"), "just parent and distance"
        require(alone, "decisions", list(config.decisions), expected)

    def log_prob(self, step: Step) -> Tensor:
        """Of every placed atom [num_nodes]: 0 of the parent, −∞ of the others."""
        assert step.focus is not None
        found = step.x.new_full((len(step.x),), -torch.inf)
        return found.index_fill(0, step.focus, 0.0)

    def loss(self, step: Step, molecules: Data) -> dict[str, Mean]:
        """None; the parent is told."""
        partial = step.partial
        target = molecules.pos[partial.next_atom][partial.batch]
        exact = (molecules.pos[partial.atom] - target).norm(dim=1)
        nodes = torch.arange(len(exact), device=exact.device)
        nodes = nodes.masked_fill(~bonded_nodes(partial, exact), len(exact))
        step.decide(
            focus=scatter(nodes, partial.batch, dim_size=partial.next_z.numel(), reduce="min")
        )
        return {}

    def draw(self, step: Step, draft: Draft) -> None:
        """Nothing; the parent is told."""
        size = draft.placed
        first = known_of_graph(draft, BONDED)[:, size, :size].int().argmax(1)
        step.decide(focus=draft.rows * size + first)
