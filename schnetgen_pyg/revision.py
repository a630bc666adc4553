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

from . import placement, rules
from .building import Builder
from .graphs import bond_lengths
from .random_numbers import choose, uniform

#: An atom moves no farther than this at once, in Å.
REACH = 0.3
COARSE_SPACING = 0.1
LEVELS = ((8, 2), (8, 3))


@torch.inference_mode()
def revise(builder: Builder, fixed: int = 0) -> Tensor:
    """Draw the placed atoms but the first ``fixed`` ones anew, each ``config.revisions`` times
    or, where others cannot be taken out, more often.

    Returns:
        how many nats the distances of a placed atom, given all others, are less probable than the
        most probable ones, in the mean over the last round [count]; 0 where nothing is revised.
    """
    size, rows = builder.placed, builder.rows
    steps = builder.config.revisions * (size - fixed)
    surprise = builder.pos.new_zeros(builder.count)
    if size < 3 or not steps or not builder.model.config.focus:
        return surprise
    movable = _movable(builder, fixed)
    index = torch.arange(size, dtype=torch.int32, device=rows.device)
    order = (uniform(builder.keys(size, 5), index) + 2.0 * ~movable).argsort(1)
    number = movable.sum(1)
    atom = index.long().expand(builder.count, -1)  # which one is at each place
    for step in range(steps):
        chosen = order[rows, step % number.clamp(min=1)]
        place = (atom == chosen.unsqueeze(1)).int().argmax(1)
        atom = atom.gather(1, builder.to_last(place))
        before = builder.pos[:, size - 1].clone()
        shell, after = _draw(builder, size - 1, builder.keys(step, 4))
        bonds = [_bonded(builder, size - 1, position) for position in (before, after)]
        keep = (bonds[0] == bonds[1]).all(1) & (number > 0)
        builder.pos[:, size - 1] = torch.where(keep.unsqueeze(1), after, before)
        if step >= steps - (size - fixed):
            surprise += shell.below_peak(builder.pos[:, size - 1]) / (size - fixed)
    builder.reorder(atom.argsort(1))
    return surprise * builder.temperature


def _movable(builder: Builder, fixed: int) -> Tensor:
    """Whether the others stay connected without each atom [count, size]."""
    size = builder.placed
    bonds = rules.bonds(builder.z[:, :size], builder.pos[:, :size])
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
    focus = choose(focus + rules.PENALTY * ~_bonded(builder, last, own), keys)
    placed = builder.pos[:, :last]
    reach = float((placed[builder.rows, focus] - own).norm(dim=1).max()) + REACH + COARSE_SPACING
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
    longest = bond_lengths(builder.z[:, :last], builder.z[:, last, None])
    return (builder.pos[:, :last] - position.unsqueeze(1)).norm(dim=2) < longest
