"""Hydrogens of different atoms, placed at once.

Where a scaffold is done and the hydrogens that every atom lacks are known, those of different atoms
hardly depend on each other: they are placed in a few rounds, each given what was there before the
round. That is faster than one after another, and nearly what the model would do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from schnetgen_pyg.chem.valence_states import state_table
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.random_numbers import gumbel, uniform
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.shells import shell

#: Hydrogens that an atom of a scaffold of several can lack, at most.
AT_MOST = 3


def at_once(model: SchNetGen, config: SamplingConfig, z: Tensor) -> Tensor:
    """Whether all hydrogens of molecules with scaffolds z [count, places] are placed in a few
    rounds [count]: where valence rules say which atoms lack them, and no atom lacks too many. A
    model that asks its focus for each hydrogen is left alone."""
    decided = "hydrogens" in model.decisions
    if not (config.valence_rules and decided and config.gibbs_rounds > 0):
        return torch.zeros(len(z), dtype=torch.bool)
    table = state_table(model.config.states, z.device)
    return (table.most_hydrogens[z] <= AT_MOST).all(1) & ((z > 0).sum(1) > 1)


def rounds(total: Tensor) -> list[Tensor]:
    """How many of the ``total`` hydrogens [count] come in each round, of so many different atoms.

    If no atom lacks more than k of n hydrogens, at most ⌊n/k⌋ lack k: when the neediest ⌈n/k⌉ have
    got one, no atom lacks more than k − 1. So there are always enough different ones.
    """
    numbers = []
    for at_most in range(AT_MOST, 0, -1):
        numbers.append((total + at_most - 1) // at_most)
        total = total - numbers[-1]
    return [number for number in numbers if number.any()]


@torch.inference_mode()
def add_hydrogens(builder: Builder) -> None:
    """Place all atoms that are left, hydrogens of molecules of which `at_once` says yes."""
    draft = builder.draft
    left = draft.z[:, draft.placed :]
    numbers = rounds((left == 1).sum(1))
    # The rounds one after the other: as many places as the molecule with most hydrogens needs.
    here = [torch.arange(int(n.max()), device=n.device) < n.unsqueeze(1) for n in numbers]
    if not here:
        return
    left.copy_(torch.cat(here, 1))
    if builder.cache is not None:
        builder.cache.make_room(draft.z.shape[1] - here[-1].shape[1])
    for there in here:
        _place(builder, there)
        draft.placed += there.shape[1]


def _place(builder: Builder, there: Tensor) -> None:
    """The next hydrogens, where they are ``there`` [count, places]: of those atoms of each molecule
    that lack most or, where that is not known, those that the focus draws."""
    model, draft = builder.model, builder.draft
    size, (count, width) = draft.placed, there.shape
    step = builder.step(size)
    step.decide(next_z=draft.z[:, size], valence_state=draft.valence_state[:, size])
    model.decisions["hydrogens"].draw(step, draft)
    assert model.focus is not None
    assert draft.missing is not None
    log_prob = model.focus.draft_log_prob(step, draft)
    missing, keys, index = draft.missing[:, :size], draft.keys(size, 2), draft.numbers(size)
    known = (missing > 0).any(1, keepdim=True)
    priority = torch.where(known, missing + uniform(keys, index), log_prob + gumbel(keys, index))
    priority.masked_fill_(draft.z[:, :size] == 0, -torch.inf)
    focus = priority.topk(width, dim=1).indices
    rows = draft.rows.repeat_interleave(there.sum(1))
    y = step.drawn_y.view(count, size, -1)[rows]
    around = shell(model.distance, draft, y, rows, focus[there])
    each = [draft.keys(place, 0) for place in range(size, size + width)]
    draft.pos[:, size : size + width][there] = around.sample(torch.stack(each, 2)[:, there])
    draft.missing.scatter_add_(1, focus, -there.to(missing))
    draft.missing.clamp_(min=0)
