"""Hydrogens of different atoms, placed at once.

Where a scaffold is done and the hydrogens that every atom lacks are known, those of different atoms
hardly depend on each other: they are placed in a few rounds, each given what was there before the
round. That is faster than one after another, and nearly what the model would do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from schnetgen_pyg.generator.random_numbers import gumbel, uniform
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.shells import shell

#: Hydrogens that an atom of a scaffold of several can lack, at most.
AT_MOST = 3


def rounds(total: int) -> list[int]:
    """How many hydrogens come in each round, of so many different atoms.

    If no atom lacks more than k of n hydrogens, at most ⌊n/k⌋ lack k: when the neediest ⌈n/k⌉ have
    got one, no atom lacks more than k − 1. So there are always enough different ones.
    """
    numbers = []
    for at_most in range(AT_MOST, 0, -1):
        numbers.append(-(-total // at_most))
        total -= numbers[-1]
    return [number for number in numbers if number]


@torch.inference_mode()
def add_hydrogens(builder: Builder) -> None:
    """Place all atoms that are left, if they are hydrogens and valence rules say which atoms lack
    them; a model that asks its focus for each hydrogen is left alone."""
    draft = builder.draft
    size, left = draft.placed, draft.z[:, draft.placed :]
    decided = "hydrogens" in builder.model.decisions
    able = draft.config.valence_rules and decided and draft.config.gibbs_rounds > 0
    tame = (draft.table.most_hydrogens[draft.z[:, :size]] <= AT_MOST).all()
    if not (able and tame and size > 1 and left.numel() and (left == 1).all()):
        return
    numbers = rounds(left.shape[1])
    if builder.cache is not None:
        builder.cache.make_room(draft.z.shape[1] - numbers[-1])
    for number in numbers:
        _place(builder, number)
        draft.placed += number


def _place(builder: Builder, number: int) -> None:
    """The next hydrogens of the ``number`` atoms of each molecule that lack most or, where that is
    not known, those that the focus draws."""
    model, draft = builder.model, builder.draft
    size, count = draft.placed, len(draft.z)
    step = builder.step(size)
    step.decide(next_z=draft.z[:, size], valence_state=draft.valence_state[:, size])
    model.decisions["hydrogens"].draw(step, draft)
    assert model.focus is not None
    assert draft.missing is not None
    log_prob = model.focus.draft_log_prob(step, draft)
    missing, keys = draft.missing[:, :size], draft.keys(size, 2)
    index = torch.arange(size, dtype=torch.int32, device=log_prob.device)
    known = (missing > 0).any(1, keepdim=True)
    priority = torch.where(known, missing + uniform(keys, index), log_prob + gumbel(keys, index))
    focus = priority.topk(number, dim=1).indices
    rows = draft.rows.repeat_interleave(number)
    around = shell(model.distance, draft, step.y.view(count, size, -1), rows, focus.flatten())
    position = around.sample(_keys(builder, size, number))
    draft.pos[:, size : size + number] = position.view(count, number, 3)
    draft.missing.scatter_add_(1, focus, -torch.ones_like(focus).to(missing))
    draft.missing.clamp_(min=0)


def _keys(builder: Builder, size: int, number: int) -> Tensor:
    """Of each of the atoms from ``size`` on [2, count · number]."""
    each = [builder.draft.keys(place, 0) for place in range(size, size + number)]
    return torch.stack(each, 2).flatten(1)
