"""What a model makes of a fragment: which states its atoms have, and which formulas can hold it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist
from torch import Tensor

from schnetgen_pyg.chem.elements import UNLIMITED, hill_formula
from schnetgen_pyg.chem.formulas import ANY, FormulaPattern
from schnetgen_pyg.chem.fragments import Fragment
from schnetgen_pyg.chem.valence_states import UNKNOWN, StateTable, state_table
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.model import SchNetGen


@dataclass(frozen=True)
class Placed:
    """A fragment as a sampler starts from it.

    Attributes:
        fragment: the fragment itself.
        z: its atomic numbers [num_atoms].
        pos: its positions in Å about their mean, in single precision [num_atoms, 3].
        state: valence states of its atoms, `UNKNOWN` where they are open [num_atoms].
        room: bonds that each can have, its double bonds within the fragment counted as one
            [num_atoms].
    """

    fragment: Fragment
    z: Tensor
    pos: Tensor
    state: Tensor
    room: Tensor

    @classmethod
    def of(cls, fragment: Fragment, table: StateTable) -> Placed:
        pos = torch.from_numpy(fragment.positions - fragment.positions.mean(0)).float()
        room = torch.from_numpy(fragment.valence - fragment.raised)
        z = torch.from_numpy(fragment.numbers).long()
        return cls(fragment, z, pos, _states(fragment, table), room.long())


def _described(fragment: Fragment) -> tuple[np.ndarray, ...]:
    """Of the atoms of a finished molecule: element, charge, bond orders, hydrogens and other
    neighbours [num_atoms]."""
    hydrogens = fragment.neighbors(hydrogen=True) + np.maximum(fragment.hydrogens, 0)
    others = fragment.neighbors(hydrogen=False) + np.maximum(fragment.joined, 0)
    return fragment.numbers, fragment.formal_charge, fragment.valence, hydrogens, others


def _states(fragment: Fragment, table: StateTable) -> Tensor:
    z, *rest = (torch.from_numpy(values).long() for values in _described(fragment))
    state = table.index(z, *rest)
    return state.masked_fill(torch.from_numpy(fragment.open) | (z == 1), UNKNOWN)


def refuse_states(
    where: str,
    unseen: np.ndarray,
    numbers: np.ndarray,
    charge: np.ndarray,
    valence: np.ndarray,
    hydrogens: np.ndarray,
    others: np.ndarray,
) -> None:
    """Refuse atoms that are to be in states that a model has never seen.

    Args:
        where: what messages call the molecule.
        unseen: which [num_atoms].
        numbers, charge, valence, hydrogens, others: the states: atomic numbers, formal charges (e),
            bond orders, hydrogens and other neighbours [num_atoms].

    Raises:
        InputError: naming the first of them.
    """
    if unseen.any():
        atom = int(unseen.argmax())
        raise InputError(
            f"{where}: the model has never seen {hill_formula([numbers[atom]])} with charge "
            f"{charge[atom]:+d}, {valence[atom]} bond orders, {hydrogens[atom]} hydrogens and "
            f"{others[atom]} other neighbours, as atom {atom} is to have them; change it, or train "
            "the model on such molecules"
        )


def check_fragment(model: SchNetGen, fragment: Fragment, where: str = "fragment") -> None:
    """Refuse a fragment whose closed atoms are in states that the model has never seen.

    Raises:
        InputError: naming the atom.
    """
    if "valence_states" not in model.conditions:
        return
    state = _states(fragment, state_table(model.config.states, torch.device("cpu")))
    unseen = (state == UNKNOWN).numpy() & ~fragment.open & (fragment.numbers != 1)
    refuse_states(where, unseen, *_described(fragment))


def learned_fragments(model: SchNetGen) -> bool:
    """Whether a model was trained with fragments, or nothing is known of its training."""
    training = model.provenance.get("training")
    return training is None or bool(training.get("fragments"))


def unlearned(model: SchNetGen, fragment: Fragment) -> str:
    """Why a model that has seen no fragments in its training will often fail on this one, if it
    will; of a model that was not trained here nothing is known."""
    several, saturated = fragment.parts.max() > 0, (fragment.numbers == 1).any()
    if learned_fragments(model) or not (several or saturated):
        return ""
    what = "several parts" if several else "hydrogens"
    cure = "" if several else "; leave out its hydrogens (--drop_hydrogens), which are then drawn,"
    return (
        f"the fragment has {what}, and the model was trained without fragments: many molecules may "
        f"fail{cure or ';'} or take a model that was trained with --fragments"
    )


def holding(model: SchNetGen, pattern: FormulaPattern, fragment: Fragment) -> FormulaPattern:
    """The formulas of a pattern that molecules with the fragment can have.

    Raises:
        InputError: for a fragment beyond the pattern, parts that no atoms of such a formula can
            join, or a formula that leaves no way to saturate it.
    """
    counts = Counter(fragment.numbers.tolist())
    counts[1] += int(np.maximum(fragment.hydrogens, 0).sum())
    for z, count in sorted(counts.items()):
        most = pattern.range(z)[1]
        if count > most:
            wanted = hill_formula(pattern.numbers) if pattern.exact else f"at most {most}"
            raise InputError(
                f"the fragment {_told(fragment)} has more {hill_formula([z])} than the formula "
                f"{wanted}"
            )
    own = int((fragment.numbers != 1).sum())
    if not pattern.exact:
        least, most = pattern.heavy
        pattern = replace(pattern, heavy=(max(least, own + 1), most))
        if not pattern.charge:
            pattern = replace(pattern, charge=fragment.charge)
        if most <= own:
            raise InputError(
                f"the fragment {_told(fragment)} has {own} atoms beside hydrogen, and at most "
                f"{most} were asked for in all; ask for more"
            )
    pattern = pattern.holding(counts, _taken(model, fragment))
    _check_reach(model, pattern, fragment, own)
    if pattern.exact:
        _check_exact(model, pattern, fragment, own)
    return pattern


def _told(fragment: Fragment) -> str:
    return hill_formula(fragment.numbers)


def _degrees(model: SchNetGen) -> dict[int, int]:
    return {1: 1} | StateTable(model.config.states).degrees()


def _free(fragment: Fragment) -> int:
    """Bonds that its connected parts have for others, less two for each, as each is one atom of a
    tree."""
    bonds = fragment.valence - fragment.raised
    heavy = fragment.numbers != 1
    to_heavy = fragment.neighbors(hydrogen=False)
    determined = fragment.neighbors(hydrogen=True) + fragment.hydrogens + fragment.joined
    free = np.where(fragment.open, bonds - to_heavy, determined)
    return int(free[heavy].sum()) - 2 * (int(fragment.parts.max()) + 1)


def _taken(model: SchNetGen, fragment: Fragment) -> int:
    """Bonds for hydrogens that a fragment's atoms have less than those of a tree."""
    degrees = _degrees(model)
    heavy = fragment.numbers[fragment.numbers != 1].tolist()
    return sum(degrees.get(z, UNLIMITED) - 2 for z in heavy) - _free(fragment)


def hydrogen_room(model: SchNetGen, pattern: FormulaPattern, counts: Mapping[int, int]) -> int:
    """Most hydrogens of a molecule with so many atoms of each other element."""
    degrees = _degrees(model)
    free = sum((degrees.get(z, UNLIMITED) - 2) * number for z, number in counts.items() if z != 1)
    return pattern.most_hydrogens(free)


def _check_exact(model: SchNetGen, pattern: FormulaPattern, fragment: Fragment, own: int) -> None:
    """Refuse a formula whose other atoms do not go with the fragment."""
    counts = Counter(pattern.numbers)
    hydrogens, room = counts[1], hydrogen_room(model, pattern, counts)
    number = counts.total() - hydrogens - own
    formula, name = hill_formula(pattern.numbers), _told(fragment)
    if hydrogens > room:
        raise InputError(
            f"no molecule {formula} has the fragment {name}: with {number} other atoms beside "
            f"hydrogen it has room for {room} hydrogens, not {hydrogens}; ask for fewer"
        )
    if number == 0 and bool((fragment.joined > 0).any()):
        raise InputError(
            f"{formula} has no atoms beside hydrogen but those of the fragment {name}, whose "
            "attachment points wait for some; ask for more"
        )


def _check_reach(model: SchNetGen, pattern: FormulaPattern, fragment: Fragment, own: int) -> None:
    """Refuse parts that are farther apart than a chain of all other atoms is long."""
    number = int(fragment.parts.max()) + 1
    if number == 1:
        return
    gaps = np.zeros((number, number))
    growing = (fragment.lacking > 0) & (fragment.joined != 0)
    places = [fragment.positions[(fragment.parts == part) & growing] for part in range(number)]
    if any(not len(place) for place in places):
        raise InputError(
            "the fragment has parts that nothing can grow on, so that they stay apart; name an "
            "attachment point on each, or leave them out"
        )
    for one in range(number):
        for other in range(one + 1, number):
            gaps[one, other] = cdist(places[one], places[other]).min()
    widest = float(minimum_spanning_tree(gaps).max())
    seen = model.composition is not None and not pattern.exact
    each = [
        min(pattern.range(z)[1], model.config.max_counts[k] if seen else ANY)
        for k, z in enumerate(model.config.elements)
        if z != 1
    ]
    more = min(pattern.heavy[1], sum(each)) - own
    longest = model.distance.longest_bond * (more + 1)
    if widest > longest:
        raise InputError(
            f"the parts of the fragment are {widest:.1f} Å apart, and {more} other atoms reach "
            f"{longest:.1f} Å at most; bring them together, or ask for more atoms"
        )
