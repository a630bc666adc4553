"""Scaffolds improved by the model that built them: heavy atoms are placed once more.

A model places an atom among those that are already there; what comes later, a ring that has to
close, can no longer move it. Here atoms without which the scaffold stays in one piece are taken
out, one after the other, and drawn anew near where they were, given all others. Any of them could
have come last, so that this is what the model learned: Gibbs sampling of its conditionals, which
never changes a bond.
"""

from __future__ import annotations

import torch
from torch import Tensor

from schnetgen_pyg.chem.bonds import adjacency, bond_limits, connected
from schnetgen_pyg.generator.draft import Draft
from schnetgen_pyg.generator.placement import PENALTY, Shell
from schnetgen_pyg.generator.random_numbers import choose, uniform
from schnetgen_pyg.generator.sampling.builder import Builder

#: An atom moves no farther than this at once, in Å.
REACH = 0.3
COARSE_SPACING = 0.1
LEVELS = ((8, 2), (8, 3))
#: Share of the atoms that are drawn in a round after the first.
LATER = 1 / 3


@torch.inference_mode()
def resample(builder: Builder, fixed: int = 0) -> Tensor:
    """Draw the placed atoms but the first ``fixed`` ones anew in ``config.gibbs_rounds`` rounds: in
    the first every one that can be, in later ones those that were the most surprising.

    Returns:
        how many nats the distances of an atom, given all others, are less probable than the most
        probable ones, in the mean [count]; 0 where nothing is drawn anew.
    """
    draft = builder.draft
    size = draft.placed
    mean = draft.pos.new_zeros(len(draft.z))
    if size < 3 or not draft.config.gibbs_rounds or builder.model.focus is None:
        return mean
    movable = movable_atoms(draft, fixed)
    # Molecules with most of such atoms first: those that have no more to draw are the last ones.
    number, rows = movable.sum(1).sort(descending=True)
    number, rows = number[number > 0], rows[number > 0]
    if len(rows):
        some = builder.take(rows)
        later = round(LATER * (size - fixed))
        mean[rows] = _resample(some, movable[rows], number, later)
        draft.pos[rows] = some.draft.pos
    return mean


def _resample(builder: Builder, movable: Tensor, number: Tensor, later: int) -> Tensor:
    """`resample` for molecules with the most ``movable`` atoms [count, size] first: their
    ``number`` [count] is at least one. In rounds after the first no more than ``later`` are
    drawn."""
    draft = builder.draft
    size, total = draft.placed, len(draft.z)
    index = torch.arange(size, dtype=torch.int32, device=number.device)
    order = (uniform(draft.step_keys(size, 5), index) + 2.0 * ~movable).argsort(1)
    atom = index.long().repeat(total, 1)  # which one is at each place
    surprise = draft.pos.new_zeros(total, size)  # of each atom
    left = [n for n in (number.unsqueeze(1) > index).sum(0).tolist() if n]
    for turn in range(draft.config.gibbs_rounds):
        waiting, part = movable.clone(), builder
        for k, count in enumerate(left[:later] if turn else left):
            part = part.take(slice(count))  # those that have more than k to draw
            rows = part.draft.rows
            worst = surprise[:count].masked_fill(~waiting[:count], -1.0).argmax(1)
            chosen = worst if turn else order[:count, k]
            waiting[rows, chosen] = False
            place = (atom[:count] == chosen.unsqueeze(1)).int().argmax(1)
            atom[:count] = atom[:count].gather(1, part.to_last(place))
            surprise[rows, chosen] = _redraw(part, turn * size + k)
    builder.reorder(atom.argsort(1))
    temperature = builder.model.distance.temperature(draft.config)
    return (surprise * movable).sum(1) / number * temperature


def _redraw(builder: Builder, step: int) -> Tensor:
    """Draw the last atoms anew, unless that changes a bond; how surprising its distances are then
    [count]."""
    draft, last = builder.draft, builder.draft.placed - 1
    before = draft.pos[:, last].clone()
    around, after = _draw(builder, last, draft.step_keys(step, 4))
    bonds = [_bonded(draft, last, position) for position in (before, after)]
    keep = (bonds[0] == bonds[1]).all(1)
    draft.pos[:, last] = torch.where(keep.unsqueeze(1), after, before)
    return around.below_peak(draft.pos[:, last], REACH)


def movable_atoms(draft: Draft, fixed: int = 0) -> Tensor:
    """Whether the others stay connected without each atom [count, size]; the first ``fixed`` ones
    may not move."""
    size = draft.placed
    bonds = adjacency(draft.z[:, :size], draft.pos[:, :size])
    movable = torch.zeros(len(draft.z), size, dtype=torch.bool, device=bonds.device)
    for place in range(fixed, size):
        others = [k for k in range(size) if k != place]
        there = bonds.new_ones(len(bonds), size - 1)
        movable[:, place] = connected(bonds[:, others][:, :, others], there)
    return movable


def _draw(builder: Builder, last: int, keys: Tensor) -> tuple[Shell, Tensor]:
    """The candidates for the atom at the place ``last`` near where it is, and one of them
    [count, 3]."""
    model, draft = builder.model, builder.draft
    assert model.focus is not None
    step, own = builder.step(last), draft.pos[:, last]
    step.decide(next_z=draft.z[:, last], valence_state=draft.valence_state[:, last])
    focus = step.guided(model.focus.log_prob).view(len(draft.z), last)
    focus = choose(focus + PENALTY * ~_bonded(draft, last, own), keys)
    placed = draft.pos[:, :last]
    # As far as an atom can come, and a margin to see whether it should be farther.
    reach = 2 * (REACH + COARSE_SPACING)
    reach += float((placed[draft.rows, focus] - own).norm(dim=1).max())
    y = step.drawn_y.view(len(draft.z), last, -1)
    around = Shell(
        center=own,
        inner=0.0,
        outer=REACH,
        largest=REACH,
        pos=placed,
        log_prob=model.distance.tables(draft, y, placed, focus, reach),
        spacing=model.distance.bins.spacing,
        coarse_spacing=COARSE_SPACING,
        levels=LEVELS,
    )
    return around, around.sample(keys)


def _bonded(draft: Draft, last: int, position: Tensor) -> Tensor:
    """Which placed atoms the one at the place ``last`` is bonded to at a position [count, last]."""
    longest = bond_limits(draft.z[:, :last], draft.z[:, last, None])
    return (draft.pos[:, :last] - position.unsqueeze(1)).norm(dim=2) < longest
