"""The valence state of the next atom: how many hydrogens and heavier neighbours it will have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from schnetgen_pyg.chem.bonds import adjacency
from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.chem.valence_states import UNKNOWN, state_table
from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.errors import require
from schnetgen_pyg.generator.decisions.base import Decision, chosen, mean_loss
from schnetgen_pyg.generator.placement import PENALTY
from schnetgen_pyg.generator.random_numbers import choose
from schnetgen_pyg.generator.valence_states import allowed_states
from schnetgen_pyg.representations.layers import mlp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schnetgen_pyg.generator.config import GeneratorConfig
    from schnetgen_pyg.generator.draft import Draft
    from schnetgen_pyg.generator.step import Step


class ValenceState(Decision):
    """How many hydrogens and how many heavier neighbours an atom will have, before its place is
    chosen; whatever is decided later knows it. A CH2 in a chain and one at a double bond have
    different bonds and angles, and it is known throughout which placed atoms wait for another
    neighbour.

    The first atom, which is there from the start, has a network of its own.
    """

    after = ("next_type",)
    conditions = ("valence_states",)

    def __init__(self, config: GeneratorConfig):
        super().__init__(config)
        channels = config.hidden_channels
        self.states = config.states
        self.first: nn.Module = mlp([channels, channels, len(self.states)])
        self.next: nn.Module = mlp([channels, channels, len(self.states)])

    @classmethod
    def check(cls, config: GeneratorConfig, before: Sequence[str]) -> None:
        super().check(config, before)
        able = "hydrogens" in config.decisions and 1 in config.elements
        expected = "those with hydrogens, and hydrogen among the elements, for valence_state"
        require(able, "decisions", list(config.decisions), expected)
        without = sorted({*config.elements} - {1} - {state[0] for state in config.states})
        expected = f"with those of {hill_formula(without)}" if without else ""
        require(not without, "states", f"{len(config.states)} states", expected)

    def log_prob(self, step: Step) -> Tensor:
        """[num_graphs, num_states], from the placed atoms combined with the type of the next one:
        of the states of its element."""
        size = step.partial.next_z.numel()
        pooled = scatter(step.y, step.partial.batch, dim_size=size, reduce="mean")
        assert step.next_z is not None
        return self._of_element(self.next(pooled), step.next_z)

    def _of_element(self, scores: Tensor, z: Tensor) -> Tensor:
        """Log-probabilities of the states that atoms z [num] can have [num, num_states]; for
        hydrogens, which have none, of all."""
        other = state_table(self.states, z.device).element[:-1] != z.unsqueeze(1)
        other &= ~other.all(1, keepdim=True)
        return scores.masked_fill(other, -torch.inf).log_softmax(1)

    def loss(self, step: Step, molecules: Data) -> dict[str, Mean]:
        """Of the next atoms, and of single atoms where their own state is hidden."""
        partial, state = step.partial, molecules.valence_state
        target = state[partial.next_atom]
        asked = target != UNKNOWN
        following = mean_loss(self.log_prob(step)[asked], target[asked])
        alone = (partial.valence_state == UNKNOWN) & (partial.ptr.diff()[partial.batch] == 1)
        alone &= state[partial.atom] != UNKNOWN
        own = self._of_element(self.first(step.x[alone]), partial.z[alone])
        step.decide(valence_state=target)
        return {
            "valence_state": following,
            "first_valence_state": mean_loss(own, state[partial.atom[alone]]),
        }

    def draw(self, step: Step, draft: Draft) -> Tensor | None:
        size = draft.placed
        total = None
        if (draft.z[:, size] != 1).any():
            total = self._choose(step.guided(self.log_prob), draft, size)
        step.decide(valence_state=draft.valence_state[:, size])
        return total

    def draw_first(self, step: Step, draft: Draft) -> Tensor:
        """The state of a first atom, from the step that finds it alone."""
        z = draft.z[:, 0]
        log_prob = step.guided(lambda one: self._of_element(self.first(one.x), z))
        return self._choose(log_prob, draft, 0)

    def _choose(self, log_prob: Tensor, draft: Draft, place: int) -> Tensor:
        """State of the atom at ``place``, unless it is a hydrogen, from log-probabilities
        [count, num_states]."""
        table = draft.table
        log_prob = log_prob / draft.config.choice_temperature
        if draft.config.valence_rules:
            there = torch.zeros_like(draft.z)
            there[:, :place] = draft.hydrogens_there(place)
            allowed = allowed_states(
                table,
                draft.z,
                place,
                draft.open_places(place),
                draft.valence_state,
                draft.state.charge,
                there,
            )
            log_prob = log_prob + PENALTY * ~allowed
        log_prob = log_prob.log_softmax(1)
        hydrogen = draft.z[:, place] == 1
        if draft.forced:
            bonds = adjacency(draft.z, draft.pos)[:, place]
            kinds = draft.z == 1, draft.z != 1
            numbers = [(bonds & kind).sum(1) for kind in kinds]
            choice = table.of_neutral(draft.z[:, place], *numbers)
            told = draft.told[:, place]
            choice = torch.where(told == UNKNOWN, choice, told)
        else:
            choice = choose(log_prob, draft.keys(place, 3))
        draft.valence_state[:, place] = choice.masked_fill(hydrogen, UNKNOWN)
        found = chosen(log_prob, choice).masked_fill(choice == UNKNOWN, -torch.inf)
        return found.masked_fill(hydrogen, 0.0)
