"""Where around its focus a new atom may lie: the candidates, and what valences forbid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from schnetgen_pyg.chem.bonds import bond_limits
from schnetgen_pyg.chem.saturation import rings_left
from schnetgen_pyg.chem.valence_states import UNKNOWN
from schnetgen_pyg.generator.density import PositionDensity
from schnetgen_pyg.generator.graph_rules import SHORTEST_BOND, Rules, graph_rules
from schnetgen_pyg.generator.placement import (
    HALF_ENTRY,
    LARGEST,
    PENALTY,
    Shell,
    forbid,
    forbid_beyond,
)

if TYPE_CHECKING:
    from schnetgen_pyg.generator.decisions.distance import Distance
    from schnetgen_pyg.generator.draft import Draft
    from schnetgen_pyg.generator.sampling.config import SamplingConfig

#: Farthest position from the focus where no rules hold, relative to the same distance.
FREE = 1.5
#: More bonds than any atom has.
UNCOUNTED = 99


def shell_factors(config: SamplingConfig) -> tuple[float, float]:
    """Least and largest distance of a new atom from its focus, relative to the longest that counts
    as a bond: with valence rules the two are bonded, without them it lies anywhere near."""
    return (SHORTEST_BOND, 1.0) if config.valence_rules else (0.0, FREE)


def shell(
    decision: Distance,
    draft: Draft,
    y: Tensor,
    rows: Tensor,
    focus: Tensor,
    place: int | Tensor | None = None,
) -> Shell:
    """The candidates around each ``focus`` [num] of molecules ``rows`` [num] for their next atom,
    or that at a ``place`` [num] of its own, and their log-probabilities, from the features ``y``
    [num, size, channels] of the placed atoms."""
    config, size, centers = draft.config, y.shape[1], decision.bins.centers
    place = size if place is None else place
    z, pos = draft.z[rows, :size], draft.pos[rows, :size]
    here = torch.arange(len(rows), device=rows.device)
    bond = bond_limits(z, draft.z[rows, place].unsqueeze(1))
    least, most = shell_factors(config)
    longest, shortest = most * bond[here, focus], least * bond[here, focus]
    reach = float(longest.max()) + config.shell_spacing
    log_prob = decision.tables(draft, y, pos, focus, reach).clamp_(-LARGEST, LARGEST)
    absent = z == 0
    if bool(absent.any()):
        log_prob.masked_fill_(absent.unsqueeze(2), 0.0)
    centers = centers[: log_prob.shape[2]]
    too_far = centers > longest[:, None] - HALF_ENTRY
    too_far |= centers < shortest[:, None] + HALF_ENTRY
    at_focus = log_prob[here, focus] + PENALTY * too_far
    rules = _rules(draft, rows, size, place, bond)
    forbid(log_prob, centers, rules.below)
    if rules.above is not None:
        forbid_beyond(log_prob, centers, rules.above)
    log_prob[here, focus] = at_focus
    return Shell(
        center=pos[here, focus],
        inner=least * float(bond[here, focus].min()),
        outer=float(longest.max()),
        largest=most * decision.longest_bond,
        pos=pos,
        log_prob=log_prob,
        spacing=decision.bins.spacing,
        reach=None if rules.limit is None else bond,
        limit=rules.limit,
        sides=rules.sides,
        coarse_spacing=config.shell_spacing,
    )


def densities(
    decision: Distance, draft: Draft, y: Tensor, rows: Tensor, focus: Tensor
) -> list[PositionDensity]:
    """What the model itself says of the positions around each ``focus`` [num], with arguments as
    in `shell`: no temperature, and the same rules to the letter."""
    config, size = draft.config, y.shape[1]
    z, new, pos = draft.z[rows, :size], draft.z[rows, size, None], draft.pos[rows, :size]
    bond = bond_limits(z, new)
    log_prob = decision.normalised(y, pos, focus)
    rules = _rules(draft, rows, size, size, bond)
    # What the shell says of the focus itself.
    below = rules.below.scatter(1, focus.unsqueeze(1), 0.0)
    least, most = shell_factors(config)
    return [
        PositionDensity(
            pos=pos[k],
            log_prob=log_prob[k],
            spacing=decision.bins.spacing,
            center=pos[k, atom],
            inner=least * float(bond[k, atom]),
            outer=most * float(bond[k, atom]),
            width=decision.bins.label_width,
            below=below[k],
            above=None if rules.above is None else rules.above[k],
            bond=bond[k],
            limit=None if rules.limit is None else int(rules.limit[k]),
            sides=None if rules.sides is None else rules.sides.rows(slice(k, k + 1)),
        )
        for k, atom in enumerate(focus.tolist())
    ]


def _rules(draft: Draft, rows: Tensor, size: int, place: int | Tensor, bond: Tensor) -> Rules:
    """What holds of the new atoms: by the graph where it is given, or else how near they may not
    come to atoms that have no valence left and, where that does not say all, how many bonds they
    may have at most."""
    if not draft.config.valence_rules:
        return Rules(torch.zeros_like(bond))
    if draft.bonded is not None:
        return graph_rules(draft, rows, size, place, bond)
    new, bonds = draft.z[rows, size, None], draft.bonds[rows]
    table, state = draft.table, draft.valence_state[rows]
    valence = draft.valences(draft.z.shape[1], rows)
    closures = rings_left(draft.z[rows], valence, size, bonds)
    own = state[:, size]
    most = torch.where(own == UNKNOWN, valence[:, size], table.neighbors[own])
    limit = torch.minimum(1 + closures, most)
    places = valence[:, :size] - bonds.sum(2)
    places = torch.where(new == 1, places, draft.open_places(size, rows))
    full = (places < 1) | (limit < 2).unsqueeze(1)
    below = torch.where(full, bond, 0.0)
    # Where only the focus may be bonded to, that says so already.
    counted = limit.masked_fill(limit < 2, UNCOUNTED) if (limit > 1).any() else None
    return Rules(below, limit=counted)
