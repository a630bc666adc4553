"""Where a new atom may lie in a molecule whose graph is known: bonded to what it is to be bonded to
and to nothing else, near enough that rings can still be closed, and on the right side of the
stereocentres and double bonds whose stereochemistry is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from schnetgen_pyg.chem.molecular_graphs import MolecularGraph
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.placement import Sides

if TYPE_CHECKING:
    from schnetgen_pyg.generator.draft import Draft

#: What is known of the graph, in ``draft.state.known``: bonded places (bool) and how far two places
#: are apart at most (Å), both [count, places, places]; and rules of sides [count, places, rules, 4]
#: as `side_rules` has them.
BONDED, REACH, SIDES = "bonded", "reach", "sides"
#: Shortest bond looked for, relative to the longest distance that counts as one.
SHORTEST_BOND = 0.65
#: Kinds of a rule; its sign is that of the side.
HANDED, SIDED = 1, 2


def known_of_graph(draft: Draft, name: str) -> Tensor:
    """What is known of the graphs of molecules under construction.

    Raises:
        InputError: where there are none.
    """
    found = draft.state.known.get(name)
    if found is None:
        raise InputError(
            "this model builds the conformers of molecules that are given, and no others; call "
            "schnetgen_pyg.conformers, or schnetgen conformers"
        )
    return found


class Rules(NamedTuple):
    """Of the next atoms of some molecules.

    Attributes:
        below, above: least and largest distance from every placed atom in Å [num, size].
        limit: bonds that they may have at most [num].
        sides: half-spaces in which they lie.
    """

    below: Tensor
    above: Tensor | None = None
    limit: Tensor | None = None
    sides: Sides | None = None


def graph_rules(draft: Draft, rows: Tensor, size: int, place: int | Tensor, bond: Tensor) -> Rules:
    """What the graphs say of the atoms at a ``place`` (of all, or [num]) of molecules ``rows``
    [num] beside the first ``size`` atoms.

    Args:
        bond: distances that count as bonds [num, size] in Å.
    """
    known = draft.state.known
    bonded = known[BONDED][rows, place, :size]
    rules = known[SIDES][rows, place]
    sides = half_spaces(rules, draft.pos[rows]) if bool(rules.any()) else None
    below = torch.where(bonded, SHORTEST_BOND * bond, bond)
    above = known[REACH][rows, place, :size]
    return Rules(below, above, sides=sides)


def half_spaces(rules: Tensor, pos: Tensor) -> Sides:
    """The half-spaces of rules [num, rules, 4] among placed atoms pos [num, places, 3]."""
    kind, *atoms = rules.unbind(2)
    here = torch.arange(len(rules), device=rules.device).unsqueeze(1)
    origin, one, other = (pos[here, atom] for atom in atoms)
    across = torch.linalg.cross(one - origin, other - origin)
    # Of a double bond what of the substituent's direction is perpendicular to it.
    axis = torch.nn.functional.normalize(origin - other, dim=2)
    away = one - other
    beside = away - (away * axis).sum(2, keepdim=True) * axis
    normal = torch.where((kind.abs() == HANDED).unsqueeze(2), across, beside)
    normal = torch.nn.functional.normalize(normal, dim=2) * kind.sign().unsqueeze(2)
    # Where there is no rule the normal is zero, and every point has more than −1.
    offset = (normal * origin).sum(2) - (kind == 0).to(normal)
    return Sides(normal, offset)


def side_rules(graph: MolecularGraph, place: np.ndarray, num_places: int, width: int) -> np.ndarray:
    """What the stereochemistry says of each place, given those before it [num_places, width, 4]:
    kind with sign, and three places of placed atoms, the first of which the plane goes through;
    zeros where there is nothing more to say.

    Args:
        place: of each atom [num_atoms].
        width: rules of a place at most, of `most_rules`.
    """
    found = np.zeros((num_places, width, 4), dtype=np.int64)
    number = np.zeros(num_places, dtype=int)
    for centre, a, b, c, sign in graph.handed:
        o, u, v, w = place[[centre, a, b, c]]
        last = max(o, u, v, w)
        # det(a − o, b − o, c − o) is linear in the last of the four.
        row = {
            w: (sign * HANDED, o, u, v),
            u: (sign * HANDED, o, v, w),
            v: (sign * HANDED, o, w, u),
            o: (-sign * HANDED, u, v, w),
        }[last]
        found[last, number[last]] = row
        number[last] += 1
    for a, i, j, b, sign in graph.sided:
        u, p, q, w = place[[a, i, j, b]]
        last = max(u, p, q, w)
        if last in (u, w):
            found[last, number[last]] = (sign * SIDED, *((q, u, p) if last == w else (p, w, q)))
            number[last] += 1
    return found


def most_rules(graph: MolecularGraph) -> int:
    """More rules than any atom of a molecule can have."""
    number = np.zeros(len(graph), dtype=int)
    for relation in (*graph.handed, *graph.sided):
        number[list(relation[:4])] += 1
    return int(number.max())
