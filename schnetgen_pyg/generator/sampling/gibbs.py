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

from schnetgen_pyg.chem.bonds import adjacency, bond_limits
from schnetgen_pyg.generator import placement
from schnetgen_pyg.generator.placement import PENALTY
from schnetgen_pyg.generator.random_numbers import choose, uniform
from schnetgen_pyg.generator.sampling.builder import Builder

#: An atom moves no farther than this at once, in Å.
REACH = 0.3


COARSE_SPACING = 0.1


LEVELS = ((8, 2), (8, 3))


#: Share of the atoms that are drawn in a round after the first.
LATER = 1 / 3


@torch.inference_mode()
def revise(builder: Builder, fixed: int = 0) -> Tensor:
    """Draw the placed atoms but the first ``fixed`` ones anew in ``config.revisions`` rounds: in
    the first every one that can be, in later ones those that were the most surprising.

    Returns:
        how many nats the distances of an atom, given all others, are less probable than the most
        probable ones, in the mean [count]; 0 where nothing is revised.
    """
    size = builder.placed
    mean = builder.pos.new_zeros(builder.count)
    if size < 3 or not builder.config.revisions or not builder.model.config.focus:
        return mean
    movable = _movable(builder, fixed)
    # Molecules with most of such atoms first: those that have no more to draw are the last ones.
    number, rows = movable.sum(1).sort(descending=True)
    number, rows = number[number > 0], rows[number > 0]
    if len(rows):
        some = builder.take(rows)
        later = round(LATER * (size - fixed))
        mean[rows] = _revise(some, movable[rows], number, later)
        builder.pos[rows] = some.pos
    return mean


def _revise(builder: Builder, movable: Tensor, number: Tensor, later: int) -> Tensor:
    """`revise` for molecules with the most ``movable`` atoms [count, size] first: their ``number``
    [count] is at least one. In rounds after the first no more than ``later`` are drawn."""
    size = builder.placed
    index = torch.arange(size, dtype=torch.int32, device=number.device)
    order = (uniform(builder.keys(size, 5), index) + 2.0 * ~movable).argsort(1)
    atom = index.long().repeat(builder.count, 1)  # which one is at each place
    surprise = builder.pos.new_zeros(builder.count, size)  # of each atom
    left = [n for n in (number.unsqueeze(1) > index).sum(0).tolist() if n]
    for turn in range(builder.config.revisions):
        waiting, part = movable.clone(), builder
        for k, count in enumerate(left[:later] if turn else left):
            part = part.take(slice(count))  # those that have more than k to draw
            worst = surprise[:count].masked_fill(~waiting[:count], -1.0).argmax(1)
            chosen = worst if turn else order[:count, k]
            waiting[part.rows, chosen] = False
            place = (atom[:count] == chosen.unsqueeze(1)).int().argmax(1)
            atom[:count] = atom[:count].gather(1, part.to_last(place))
            surprise[part.rows, chosen] = _redraw(part, size - 1, turn * size + k)
    builder.reorder(atom.argsort(1))
    return (surprise * movable).sum(1) / number * builder.temperature


def _redraw(builder: Builder, last: int, step: int) -> Tensor:
    """Draw the atoms at the place ``last`` anew, unless that changes a bond; how surprising its
    distances are then [count]."""
    before = builder.pos[:, last].clone()
    shell, after = _draw(builder, last, builder.keys(step, 4))
    bonds = [_bonded(builder, last, position) for position in (before, after)]
    keep = (bonds[0] == bonds[1]).all(1)
    builder.pos[:, last] = torch.where(keep.unsqueeze(1), after, before)
    return shell.below_peak(builder.pos[:, last], REACH)


def _movable(builder: Builder, fixed: int) -> Tensor:
    """Whether the others stay connected without each atom [count, size]."""
    size = builder.placed
    bonds = adjacency(builder.z[:, :size], builder.pos[:, :size])
    near = (bonds | torch.eye(size, dtype=torch.bool, device=bonds.device)).float()
    movable = torch.empty(builder.count, size, dtype=torch.bool, device=bonds.device)
    for place in range(size):
        others = [k for k in range(size) if k != place]
        path = near[:, others][:, :, others]  # of 1, 2, 4, … bonds
        for _ in range(size.bit_length()):
            path = (path @ path).clamp_(max=1.0)
        movable[:, place] = (path > 0).all(2).all(1)
    movable[:, :fixed] = False
    return movable


def _draw(builder: Builder, last: int, keys: Tensor) -> tuple[placement.Shell, Tensor]:
    """The candidates for the atom at the place ``last`` near where it is, and one of them
    [count, 3]."""
    model, count = builder.model, builder.count
    x, partial, _ = builder.features(last)
    own = builder.pos[:, last]
    y = model.meet(x, builder.z[:, last], partial.batch, builder.environment[:, last])
    focus = model.focus_head(y, partial.batch, count).view(count, last)
    focus = choose(focus + PENALTY * ~_bonded(builder, last, own), keys)
    placed = builder.pos[:, :last]
    # As far as an atom can come, and a margin to see whether it should be farther.
    reach = 2 * (REACH + COARSE_SPACING)
    reach += float((placed[builder.rows, focus] - own).norm(dim=1).max())
    log_prob = builder.distances(y.view(count, last, -1), placed, focus, reach)
    shell = placement.Shell(
        center=own,
        inner=0.0,
        outer=REACH,
        largest=REACH,
        pos=placed,
        log_prob=log_prob,
        spacing=model.bins.spacing,
        coarse_spacing=COARSE_SPACING,
        levels=LEVELS,
    )
    return shell, shell.sample(keys)[0]


def _bonded(builder: Builder, last: int, position: Tensor) -> Tensor:
    """Which placed atoms the one at the place ``last`` is bonded to at a position [count, last]."""
    longest = bond_limits(builder.z[:, :last], builder.z[:, last, None])
    return (builder.pos[:, :last] - position.unsqueeze(1)).norm(dim=2) < longest
