"""How many hydrogens each atom of a scaffold gets, jointly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.bonds import adjacency, batch_adjacency
from schnetgen_pyg.chem.elements import valences
from schnetgen_pyg.chem.saturation import assign_hydrogens
from schnetgen_pyg.chem.valence_states import UNKNOWN
from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.errors import require
from schnetgen_pyg.generator.decisions.base import Decision, mean_loss
from schnetgen_pyg.generator.placement import PENALTY
from schnetgen_pyg.representations.layers import mlp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schnetgen_pyg.generator.config import GeneratorConfig
    from schnetgen_pyg.generator.draft import Draft
    from schnetgen_pyg.generator.step import Step


def missing_hydrogens(molecules: Data, partial: Data) -> Tensor:
    """Hydrogens bonded to each placed atom that are still to place [num_nodes]."""
    bonds, mask = batch_adjacency(molecules)
    hydrogen = torch.zeros_like(mask)
    hydrogen[mask] = molecules.z == 1
    to_hydrogen = (bonds & hydrogen.unsqueeze(1)).long()
    later = to_hydrogen.flip(2).cumsum(2).flip(2)  # bonded hydrogens from each place on
    molecule = partial.molecule[partial.batch]
    local = partial.atom - molecules.ptr[molecule]
    return later[molecule, local, partial.ptr.diff()[partial.batch]]


class Hydrogens(Decision):
    """How many hydrogens each placed atom still lacks, 0 to 4: decided once, when the scaffold is
    there, for all atoms together, so that no electron stays unpaired."""

    def __init__(self, config: GeneratorConfig):
        super().__init__(config)
        self.layers = mlp([config.hidden_channels, config.hidden_channels, 5])

    @classmethod
    def check(cls, config: GeneratorConfig, before: Sequence[str]) -> None:
        super().check(config, before)
        name = "decisions"
        require("focus" in config.decisions, name, list(config.decisions), "with focus, for them")

    def log_prob(self, step: Step) -> Tensor:
        """[num_nodes, 5]."""
        return torch.log_softmax(self.layers(step.x), dim=1)

    def loss(self, step: Step, molecules: Data) -> Mean:
        """Of placed atoms, where the first hydrogen is next and it is not known."""
        partial = step.partial
        asked = (partial.next_z[partial.batch] == 1) & (partial.z != 1)
        if "valence_state" in partial:
            asked &= partial.valence_state == UNKNOWN
        lacking = missing_hydrogens(molecules, partial)[asked].clamp(max=4)
        return mean_loss(torch.log_softmax(self.layers(step.x[asked]), dim=1), lacking)

    def draw(self, step: Step, draft: Draft) -> Tensor | None:
        """Where valence rules hold; a molecule for which no closed-shell distribution is left goes
        by its focuses."""
        due = draft.config.valence_rules and draft.missing is None
        if not (due and (draft.z[:, draft.placed] == 1).any()):
            return None
        size, count = draft.placed, len(draft.z)
        logits = step.guided(self.log_prob).view(count, size, 5) / draft.config.choice_temperature
        state = draft.valence_state[:, :size]
        known = state != UNKNOWN
        hydrogens = (draft.table.hydrogens[state] - draft.hydrogens_there(size)).clamp(min=0)
        claims = PENALTY * (torch.arange(5, device=state.device) != hydrogens.unsqueeze(2))
        log_prob = torch.where(known.unsqueeze(2), claims, logits.log_softmax(2))
        missing = torch.zeros(count, draft.z.shape[1])
        missing[:, :size] = hydrogens.masked_fill(~known, 0).cpu().float()
        total = torch.zeros(count)
        self._assign(draft, log_prob, known, missing, total)
        draft.missing = missing.to(state.device)
        return total.to(draft.pos)

    def _assign(
        self, draft: Draft, log_prob: Tensor, known: Tensor, missing: Tensor, total: Tensor
    ) -> None:
        """Draw the hydrogens of molecules with atoms that are not ``known`` [count, size] into
        ``missing`` [count, atoms], their log-probabilities into ``total`` [count]."""
        size = draft.placed
        table = log_prob.cpu().double().numpy()
        later = (draft.z[:, size:] == 1).cpu()
        final = adjacency(draft.z, draft.pos)[:, :size, size:].cpu() & later.unsqueeze(1)
        final = final.sum(2)
        z, room = draft.z[:, :size], draft.state.room[:, :size]
        own = torch.where(known | (room >= 0), draft.valences(size), valences(z))
        free = (own - draft.bonds.sum(2)).cpu().numpy()
        pairs, totals = draft.raisable(size).triu().cpu(), later.sum(1).tolist()
        undecided = (~known & (draft.z[:, :size] > 1)).any(1).cpu()
        for row in undecided.nonzero().flatten().tolist():
            able = pairs[row].nonzero().numpy()
            drawn = assign_hydrogens(
                table[row],
                free[row],
                able[(free[row][able] > 0).all(1)],
                totals[row],
                np.random.default_rng([draft.seed, int(draft.index[row])]),
                final[row].numpy() if draft.forced else None,
            )
            if drawn is not None:
                missing[row, :size] = torch.from_numpy(drawn[0]).float()
                total[row] += drawn[1]
