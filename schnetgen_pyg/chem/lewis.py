"""Lewis structures: bond orders and formal charges of atoms whose bonds are known.

Every atom takes one of the states of its element, the orders of its bonds sum to the valence of
that state, and the charges to that of the molecule. Of all such structures the one of least cost is
taken, an integer programme that HiGHS solves exactly: charges cost most, and least where chemists
draw them (negative ones on electronegative, terminal atoms); then valences beyond the octet; then
bond orders that do not go with the bond lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from schnetgen_pyg.chem.elements import COVALENT_RADII, VALENCE
from schnetgen_pyg.chem.pairing import pair

#: HiGHS ends its search after so many nodes of its tree, with the best structure it has, if any:
#: nodes, not seconds, so that the answer is the same on every machine. Molecules need one or none.
NODE_LIMIT = 200


class _AtomState(NamedTuple):
    """What an atom can be: its formal charge, the sum of its bond orders, what that costs, and
    whether only in an ion."""

    charge: int
    valence: int
    cost: float = 0.0
    ion: bool = False


def _states() -> dict[int, tuple[_AtomState, ...]]:
    anion, cation, octet = 1.0, 1.0, 0.3
    usual = {number: _AtomState(0, valence) for number, valence in VALENCE.items()}
    carbon = (usual[6], _AtomState(-1, 3, 1.6), _AtomState(1, 3, 2.0, True))
    nitrogen = (usual[7], _AtomState(1, 4, cation), _AtomState(-1, 2, 1.3))
    oxygen = (usual[8], _AtomState(-1, 1, anion), _AtomState(1, 3, 1.4, True))
    sulfur = (
        *(_AtomState(0, valence, octet * (valence - 2) / 2) for valence in (2, 4, 6)),
        _AtomState(-1, 1, 1.2),
        *(_AtomState(1, valence, 1.2 + octet * (valence - 3) / 2) for valence in (3, 5)),
    )
    halide = _AtomState(-1, 0, anion)
    beyond = tuple(_AtomState(0, v, octet * (v - 1)) for v in (3, 5, 7))
    phosphorus = (_AtomState(0, 3), _AtomState(0, 5, octet), _AtomState(1, 4, 1.1))
    return {
        1: (usual[1], _AtomState(1, 0, cation, True), _AtomState(-1, 0, 2.0, True)),
        3: (_AtomState(1, 0, cation),),
        5: (usual[5], _AtomState(-1, 4, 1.1)),
        6: carbon,
        7: nitrogen,
        8: oxygen,
        9: (usual[9], halide),
        11: (_AtomState(1, 0, cation),),
        14: (usual[14], _AtomState(-1, 5, 1.5)),
        15: (*phosphorus, _AtomState(-1, 6, 1.5)),
        16: sulfur,
        17: (usual[17], halide, *beyond),
        19: (_AtomState(1, 0, cation),),
        32: (_AtomState(0, 4),),
        33: phosphorus,
        34: sulfur,
        35: (usual[35], halide, *beyond),
        53: (usual[53], halide, *beyond),
    }


#: By atomic number.
STATES = _states()
#: Per order beside the first of a bond to a nitrogen that has no other: azides and diazo compounds
#: end in =[N+]=[N-], also where [N+]#N with the charge at an oxygen farther off is possible.
DIAZONIUM = 0.6
#: A double bond of sulfur or phosphorus to carbon or nitrogen, where one to oxygen may do: sulfonyl
#: azides and the anions of sulfonamides have both of theirs to oxygen.
NOT_TO_OXYGEN = 0.6
#: Per order and per relative deviation of a bond's length.
LENGTH = 0.05
#: What a ring with as many double bonds as fit in, an aromatic one, is worth.
FULL_RING = 0.15


class LewisStructure(NamedTuple):
    """Bond orders [num_bonds] and formal charges [num_atoms]."""

    orders: np.ndarray
    charges: np.ndarray


def most_neighbors(number: int) -> int:
    """Most neighbours of an element in any of its states; 8 where none are known."""
    return max((state.valence for state in STATES.get(number, ())), default=8)


def lewis_structure(
    numbers: np.ndarray,
    bonds: np.ndarray,
    lengths: np.ndarray,
    rings: Sequence[np.ndarray] = (),
    charge: int = 0,
) -> LewisStructure | None:
    """The closed-shell Lewis structure of least cost.

    Args:
        numbers: atomic numbers [num_atoms].
        bonds: bonded pairs of atoms [num_bonds, 2].
        lengths: theirs in Å [num_bonds].
        rings: bonds of every ring that may be aromatic.
        charge: of the molecule, in e.

    Returns:
        bond orders and formal charges, or ``None`` if there is no such structure, or an element
        without states.
    """
    degree = np.bincount(bonds.ravel(), minlength=len(numbers))
    radii = np.asarray(COVALENT_RADII)[numbers[bonds]].sum(1)
    if not charge and (neutral := _neutral(numbers, bonds, degree, 1.5 - lengths / radii)):
        return neutral
    options = [
        (atom, state)
        for atom, number in enumerate(numbers.tolist())
        for state in STATES.get(number, ())
        if degree[atom] <= state.valence <= 3 * degree[atom] and (charge or not state.ion)
    ]
    if len({atom for atom, _ in options}) < len(numbers):
        return None
    # Unknowns: the order of each bond less one; whether an atom is in a state; whether a ring has
    # as many double bonds as fit in.
    pairs, states = len(bonds), len(options)
    state_cost = [state.cost for _, state in options]
    bond_cost = _bond_costs(numbers[bonds], degree[bonds], lengths / radii)
    cost = np.concatenate([bond_cost, state_cost, np.full(len(rings), -FULL_RING)])
    found = milp(
        cost,
        constraints=_constraints(options, degree, bonds, rings, charge),
        integrality=np.ones(len(cost)),
        bounds=Bounds(0, np.concatenate([np.full(pairs, 2), np.ones(states + len(rings))])),
        options={"node_limit": NODE_LIMIT},
    )
    if found.x is None:
        return None
    solution = found.x.round().astype(int)
    taken = np.flatnonzero(solution[pairs : pairs + states])
    return LewisStructure(solution[:pairs] + 1, np.array([options[k][1].charge for k in taken]))


def _bond_costs(numbers: np.ndarray, degree: np.ndarray, relative: np.ndarray) -> np.ndarray:
    """What every order beside the first costs [num_bonds].

    Args:
        numbers, degree: of both atoms of each bond [num_bonds, 2].
        relative: its length by the sum of the covalent radii [num_bonds].
    """
    nitrogen = numbers == 7
    diazonium = nitrogen.all(1) & (degree == 1).any(1)
    not_oxygen = np.isin(numbers, (15, 16)).any(1) & (nitrogen | (numbers == 6)).any(1)
    costs = LENGTH * (relative - 0.9) + DIAZONIUM * diazonium + NOT_TO_OXYGEN * not_oxygen
    return np.asarray(costs)


def _constraints(
    options: Sequence[tuple[int, _AtomState]],
    degree: np.ndarray,
    bonds: np.ndarray,
    rings: Sequence[np.ndarray],
    charge: int,
) -> LinearConstraint:
    """What holds of the unknowns: orders sum to valences, every atom is in one state, charges sum
    to that of the molecule, and what a full ring is."""
    atoms, pairs, states = len(degree), len(bonds), len(options)
    owner = np.array([atom for atom, _ in options])
    at = pairs + np.arange(states)
    parts = [
        (bonds.ravel(), np.repeat(np.arange(pairs), 2), np.ones(2 * pairs)),  # orders of an atom …
        (owner, at, np.array([-state.valence for _, state in options])),  # … and its valence
        (atoms + owner, at, np.ones(states)),
        (np.full(states, 2 * atoms), at, np.array([state.charge for _, state in options])),
    ]
    limits = [(-degree, -degree), (np.ones(atoms), np.ones(atoms)), ([charge], [charge])]
    row = 2 * atoms + 1
    for number, ring in enumerate(rings):
        # A ring counts as full if half of its bonds are double, and no atom has two of them.
        members, place = np.unique(bonds[ring], return_inverse=True)
        ends, full = row + 1 + place.ravel(), pairs + states + number
        parts += [
            (np.full(len(ring), row), ring, np.ones(len(ring))),
            (ends, np.repeat(ring, 2), np.ones(len(ends))),
            (
                row + np.arange(len(members) + 1),
                np.full(len(members) + 1, full),
                np.array([-(len(ring) // 2), *[3] * len(members)]),
            ),
        ]
        limits.append((np.full(len(members) + 1, 0), np.array([np.inf, *[4] * len(members)])))
        row += len(members) + 1
    rows, columns, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    shape = row, pairs + states + len(rings)
    lower, upper = (np.concatenate(side) for side in zip(*limits, strict=True))
    return LinearConstraint(coo_array((values, (rows, columns)), shape=shape).tocsc(), lower, upper)


def _neutral(
    numbers: np.ndarray, bonds: np.ndarray, degree: np.ndarray, shortness: np.ndarray
) -> LewisStructure | None:
    """The usual valences and no charges, which is what most molecules are."""
    usual = np.array([STATES[n][0].valence if n in STATES else -1 for n in numbers.tolist()])
    charged = np.array([STATES[n][0].charge if n in STATES else 0 for n in numbers.tolist()])
    left = usual - degree
    if charged.any() or (left < 0).any():
        return None
    raised = pair(left, bonds, shortness)
    return None if raised is None else LewisStructure(raised + 1, charged)
