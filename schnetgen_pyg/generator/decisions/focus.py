"""The focus: the placed atom that the new one will be bonded to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from schnetgen_pyg.chem.bonds import bond_limits
from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.errors import require
from schnetgen_pyg.generator.decisions.base import Decision
from schnetgen_pyg.generator.placement import PENALTY
from schnetgen_pyg.generator.random_numbers import choose
from schnetgen_pyg.representations.layers import mlp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schnetgen_pyg.generator.config import GeneratorConfig
    from schnetgen_pyg.generator.draft import Draft
    from schnetgen_pyg.generator.step import Step


def log_softmax_per_graph(logits: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
    """Log-softmax over the nodes of each graph; logits and result [num_nodes]."""
    largest = scatter(logits.detach(), batch, dim_size=num_graphs, reduce="max")
    shifted = logits - largest[batch]
    return shifted - scatter(shifted.exp(), batch, dim_size=num_graphs).log()[batch]


def bonded_nodes(partial: Data, distance: Tensor) -> Tensor:
    """Placed atoms that the next atom is bonded to [num_nodes] (bool): its possible focuses.

    A next atom that is bonded to none has the nearest one.
    """
    steps = partial.next_z.numel()
    bonded = distance < bond_limits(partial.z, partial.next_z[partial.batch])
    nearest = scatter(distance, partial.batch, dim_size=steps, reduce="min")
    alone = scatter(bonded.long(), partial.batch, dim_size=steps) == 0
    return bonded | (alone[partial.batch] & (distance == nearest[partial.batch]))


def draw_node(chosen: Tensor, batch: Tensor, num_graphs: int, generator: torch.Generator) -> Tensor:
    """One of the ``chosen`` nodes of each graph, at random [num_graphs]."""
    noise = torch.rand(chosen.numel(), generator=generator).to(batch.device)
    noise = noise.masked_fill(~chosen, -1.0)
    best = scatter(noise, batch, dim_size=num_graphs, reduce="max")
    winners = (noise == best[batch]).nonzero().squeeze(1)
    focus = batch.new_zeros(num_graphs)
    return focus.index_copy(0, batch[winners], winners)


class Focus(Decision):
    """A mixture over the placed atom that the new one is bonded to:
    p(r) = Σ_f p(f) ∏_j p(Δ_j | f). It needs an order in which there is one."""

    tells_focus = True

    def __init__(self, config: GeneratorConfig):
        super().__init__(config)
        self.layers = mlp([config.hidden_channels, config.hidden_channels, 1])

    @classmethod
    def check(cls, config: GeneratorConfig, before: Sequence[str]) -> None:
        super().check(config, before)
        connected = config.order != "scaffold_first"
        require(connected, "order", config.order, "a bonded one, for a focus")
        last = config.decisions[-2:] == ("focus", "distance")
        require(last, "decisions", list(config.decisions), "with focus and distance as the last")

    def log_prob(self, step: Step) -> Tensor:
        """Of every placed atom [num_nodes], normalised over each partial molecule."""
        num_graphs = step.partial.ptr.numel() - 1
        return log_softmax_per_graph(self.layers(step.y).squeeze(1), step.partial.batch, num_graphs)

    def loss(self, step: Step, molecules: Data) -> Mean:
        """Every placed atom that the next one is bonded to is as right; one of them is told."""
        partial = step.partial
        batch, graphs = partial.batch, partial.next_z.numel()
        target = molecules.pos[partial.next_atom][batch]
        exact = (molecules.pos[partial.atom] - target).norm(dim=1)
        bonded = bonded_nodes(partial, exact)
        share = bonded / scatter(bonded.float(), batch, dim_size=graphs)[batch]
        loss = Mean(-(share * self.log_prob(step)).sum(), graphs)
        assert step.generator is not None
        step.decide(focus=draw_node(bonded, batch, graphs, step.generator))
        return loss

    def draw(self, step: Step, draft: Draft) -> None:
        """The position that comes next is that of the mixture: its probability has this one's."""
        step.focus_log_prob = self.draft_log_prob(step, draft)
        if not draft.forced:
            keys, index = draft.keys(draft.placed, 2), draft.numbers(draft.placed)
            focus = choose(step.focus_log_prob, keys, index)
            step.decide(focus=draft.rows * draft.placed + focus)

    def draft_log_prob(self, step: Step, draft: Draft) -> Tensor:
        """Normalised log-probability of every placed atom [count, size], with the temperature and
        the valence rules of the sampling."""
        size = draft.placed
        log_prob = step.guided(self.log_prob).view(len(draft.z), size)
        log_prob = log_prob / draft.config.choice_temperature
        log_prob = log_prob.masked_fill(draft.z[:, :size] == 0, -torch.inf)
        if draft.config.valence_rules:
            hydrogen = (draft.z[:, size] == 1).unsqueeze(1)
            free = draft.valences(size) - draft.bonds.sum(2)
            places = torch.where(hydrogen, free, draft.open_places(size))
            log_prob = log_prob + PENALTY * (places < 1)
            if draft.missing is not None:
                missing = draft.missing[:, :size]
                known = hydrogen & (missing.sum(1, keepdim=True) > 0)
                log_prob = torch.where(known, missing.clamp(min=1e-30).log(), log_prob)
        return log_prob.log_softmax(1)
