"""The valence states of placed atoms, as far as they are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from schnetgen_pyg.chem.valence_states import UNKNOWN, StateTable, state_table
from schnetgen_pyg.errors import require
from schnetgen_pyg.generator.conditions.base import Condition
from schnetgen_pyg.generator.valence_states import (
    UNKNOWN_OPEN,
    hidden,
    hidden_in_fragments,
    open_neighbors,
    valence_states,
)

if TYPE_CHECKING:
    from schnetgen_pyg.generator.config import GeneratorConfig
    from schnetgen_pyg.generator.draft import Draft
    from schnetgen_pyg.generator.step import Step


class ValenceStates(Condition):
    """Which state every placed atom has (``partial.valence_state`` [num_nodes]), how many heavier
    neighbours it waits for (``partial.open`` [num_nodes]), what that makes for the molecule, which
    formal charge is missing (``partial.missing_charge`` [num_graphs]), and the state of the next
    atom."""

    def __init__(self, config: GeneratorConfig):
        super().__init__(config)
        channels = config.hidden_channels
        self.hydrogen = config.elements.index(1)
        self.states = config.states
        rows = len(self.states) + 1  # the last one of `UNKNOWN`
        self.placed = nn.Embedding(rows, channels)
        self.next = nn.Embedding(rows, channels)
        self.open = nn.Embedding(UNKNOWN_OPEN + 1, channels)
        self.pending = nn.Linear(2, channels, bias=False)
        layers: list[nn.Embedding | nn.Linear] = [self.placed, self.next, self.open]
        self.charge: nn.Linear | None = None
        if any(state[1] for state in self.states):
            self.charge = nn.Linear(1, channels, bias=False)
            layers.append(self.charge)
        for layer in layers:
            nn.init.zeros_(layer.weight)

    @classmethod
    def check(cls, config: GeneratorConfig) -> None:
        name, value = "conditions", list(config.conditions)
        require("remaining_formula" in value, name, value, "with remaining_formula, for the states")
        require(1 in config.elements, "elements", list(config.elements), "with hydrogen")

    def table(self, on: Tensor) -> StateTable:
        """The states, on the device of a tensor."""
        return state_table(self.states, on.device)

    def prepare(
        self, partial: Data, molecules: Data, generator: torch.Generator | None = None
    ) -> None:
        """The true states, in training some of them hidden."""
        table = self.table(molecules.z)
        molecules.valence_state = valence_states(molecules, table)
        state = molecules.valence_state[partial.atom]
        state = hidden(partial, state, generator)
        if molecules.get("fragment") is not None:
            state = hidden_in_fragments(molecules, partial, state, generator)
        partial.valence_state = state
        partial.open = open_neighbors(molecules, partial, table)
        formal = table.charge[molecules.valence_state]
        total = scatter(formal, molecules.batch, dim_size=molecules.ptr.numel() - 1)
        partial.missing_charge = total[partial.molecule] - self._placed_charge(partial)

    def _placed_charge(self, partial: Data) -> Tensor:
        """Sum of the known formal charges [num_graphs]."""
        formal = self.table(partial.z).charge[partial.valence_state]
        return scatter(formal, partial.batch, dim_size=partial.ptr.numel() - 1)

    def recall(self, partial: Data, draft: Draft) -> None:
        """As far as the model has said."""
        size = len(partial.z) // len(draft.z)
        state = draft.valence_state[:, :size]
        places = draft.open_places(size).clamp(0, UNKNOWN_OPEN - 1)
        partial.valence_state = state.flatten()
        partial.open = places.masked_fill(state == UNKNOWN, UNKNOWN_OPEN).flatten()
        partial.missing_charge = draft.state.charge - self._placed_charge(partial)

    def complete(self, partial: Data, molecules: Data) -> None:
        """By default nothing is known, and the molecule is neutral."""
        if "valence_state" not in partial:
            partial.valence_state = torch.full_like(partial.z, UNKNOWN)
        partial.open = open_neighbors(molecules, partial, self.table(partial.z))
        if "missing_charge" not in partial:
            partial.missing_charge = -self._placed_charge(partial)

    def forward(self, partial: Data) -> Tensor:
        """Of the hydrogens of the formula that no placed atom is known to have, and the neighbours
        that placed atoms are known to wait for."""
        known = partial.valence_state != UNKNOWN
        foretold = self.table(partial.z).hydrogens[partial.valence_state]
        hydrogens = (partial.z == 1).long() - foretold
        pending = torch.stack([hydrogens, partial.open * known], 1)
        pending = scatter(pending, partial.batch, dim_size=len(partial.remaining))
        pending[:, 0] += partial.remaining[:, self.hydrogen]
        told: Tensor = self.pending(pending.to(self.pending.weight.dtype))
        if self.charge is not None:
            told = told + self.charge(partial.missing_charge.unsqueeze(1).to(told.dtype))
        return told

    def per_atom(self, partial: Data) -> Tensor:
        return self._rows(self.placed, partial.valence_state) + self.open(partial.open)

    def new_atom(self, step: Step) -> Tensor | None:
        state = step.known.get("valence_state")
        return None if state is None else self._rows(self.next, state)

    @staticmethod
    def _rows(embedding: nn.Embedding, state: Tensor) -> Tensor:
        return embedding(state % embedding.num_embeddings)
