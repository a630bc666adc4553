"""Where around its focus a new atom may lie: the candidates, and what valences forbid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from schnetgen_pyg.chem.bonds import bond_limits
from schnetgen_pyg.chem.elements import valences
from schnetgen_pyg.chem.saturation import rings_left
from schnetgen_pyg.generator.placement import PENALTY, Shell, forbid
from schnetgen_pyg.generator.valence_states import UNKNOWN

if TYPE_CHECKING:
    from schnetgen_pyg.generator.decisions.distance import Distance
    from schnetgen_pyg.generator.draft import Draft

#: Shortest bond looked for, relative to the longest distance that counts as one.
SHORTEST_BOND = 0.65
#: More bonds than any atom has.
UNCOUNTED = 99


def shell(decision: Distance, draft: Draft, y: Tensor, rows: Tensor, focus: Tensor) -> Shell:
    """The candidates around each ``focus`` [num] of molecules ``rows`` [num] for their next atom,
    and their log-probabilities, from the features ``y`` [count, size, channels] of the placed
    atoms."""
    config, size, centers = draft.config, y.shape[1], decision.bins.centers
    z, new, pos = draft.z[rows, :size], draft.z[rows, size, None], draft.pos[rows, :size]
    here = torch.arange(len(rows), device=rows.device)
    bond = bond_limits(z, new)
    longest = bond[here, focus]
    reach = float(longest.max()) + config.shell_spacing
    log_prob = decision.tables(draft, y[rows], pos, focus, reach)
    centers = centers[: log_prob.shape[2]]
    too_far = (centers > longest[:, None]) | (centers < SHORTEST_BOND * longest[:, None])
    at_focus = log_prob[here, focus] + PENALTY * too_far
    limit = None
    if config.valence_rules:
        limit = _forbid_bonds(draft, rows, size, bond, log_prob, centers)
    log_prob[here, focus] = at_focus
    return Shell(
        center=pos[here, focus],
        inner=SHORTEST_BOND * float(longest.min()),
        outer=float(longest.max()),
        largest=decision.longest_bond,
        pos=pos,
        log_prob=log_prob,
        spacing=decision.bins.spacing,
        reach=None if limit is None else bond,
        limit=limit,
        coarse_spacing=config.shell_spacing,
    )


def _forbid_bonds(
    draft: Draft, rows: Tensor, size: int, bond: Tensor, log_prob: Tensor, centers: Tensor
) -> Tensor | None:
    """Forbid bonds [num, size] to atoms that have no valence left in the tables ``log_prob``
    [num, size, bins]; how many bonds the new atom may have at most [num], or nothing where the
    tables say all."""
    z, new = draft.z[rows, :size], draft.z[rows, size, None]
    bonds = draft.bonds[rows]
    closures = rings_left(draft.z[rows], size, bonds)
    state = draft.valence_state[rows, size]
    most = valences(new).squeeze(1)
    most = torch.where(state == UNKNOWN, most, state // 5)
    limit = torch.minimum(1 + closures, most)
    places = valences(z) - bonds.sum(2)
    places = torch.where(new == 1, places, draft.open_places(size, rows))
    full = (places < 1) | (limit < 2).unsqueeze(1)
    forbid(log_prob, centers, torch.where(full, bond, 0.0))
    # Where only the focus may be bonded to, that table says so already.
    return limit.masked_fill(limit < 2, UNCOUNTED) if (limit > 1).any() else None
