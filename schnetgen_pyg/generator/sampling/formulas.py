"""What is asked of a generator, checked before anything is built: formula and fragment."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.elements import MAX_ATOMIC_NUMBER, hill_formula, parse_formula
from schnetgen_pyg.chem.formulas import ANY, ANYTHING, FormulaPattern
from schnetgen_pyg.chem.fragments import Fragment
from schnetgen_pyg.data.electrons import electrons
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.composition import STEP
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.random_numbers import choose, random_keys
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.fragments import holding, hydrogen_room

#: What may be asked for: a formula or a pattern (see `FormulaPattern.parse`), atomic numbers
#: [num_atoms], several of them, or nothing: any formula.
Formulas = str | FormulaPattern | Sequence[int] | Tensor | Sequence[str | FormulaPattern] | None


def patterns_of(formula: Formulas) -> list[FormulaPattern]:
    """What is asked for, one after the other.

    Raises:
        InputError: for what is no formula.
    """
    if formula is None:
        return [ANYTHING]
    if isinstance(formula, FormulaPattern):
        return [formula]
    if isinstance(formula, str):
        return [FormulaPattern.parse(formula)]
    given: list[Any] = formula.tolist() if isinstance(formula, Tensor) else list(formula)
    if given and all(isinstance(one, (str, FormulaPattern)) for one in given):
        return [pattern for one in given for pattern in patterns_of(one)]
    if not given or not all(isinstance(one, int) and 0 < one <= MAX_ATOMIC_NUMBER for one in given):
        raise InputError(
            f"expected a formula, several, or atomic numbers [num_atoms], got {formula!r}"
        )
    return [FormulaPattern.of(given)]


def check_patterns(
    model: SchNetGen,
    patterns: Sequence[FormulaPattern],
    fragment: Fragment | None,
    config: SamplingConfig,
) -> list[FormulaPattern]:
    """The patterns with the fragment in them.

    Raises:
        InputError: for what the model has never seen, a fragment beyond the formula, or what no
            formula that it knows matches.
    """
    found = []
    for pattern in patterns:
        check_seen(model, [z for z, (_, most) in pattern.counts.items() if most])
        check_charge(model, pattern.charge, "what was asked for")
        if fragment is not None:
            pattern = holding(model, pattern, fragment)
        if not pattern.exact:
            zero = torch.zeros(1, dtype=torch.long)
            _draw(model, pattern, zero, 0)  # says if there is none
            _tell_limits(model, pattern)
        else:
            _check_exact(model, pattern, config)
        found.append(pattern)
    return found


def _tell_limits(model: SchNetGen, pattern: FormulaPattern) -> None:
    """Warn of numbers of atoms that were asked for and that the model's p(Z) does not reach."""
    known = dict(zip(model.config.elements, model.config.max_counts, strict=False))
    beyond = [
        f"{hill_formula([z])}: {known[z]}"
        for z, (_, most) in pattern.counts.items()
        if z in known and known[z] < most < ANY
    ]
    if beyond:
        warnings.warn(
            "a wider range of formulas was asked for than the model has learned: it makes at most "
            f"{', '.join(beyond)}",
            stacklevel=4,
        )


def check_charge(model: SchNetGen, charge: int, where: str) -> None:
    """Refuse a charge of a molecule that none of the model's atoms can have."""
    formal = [state[1] for state in model.config.states]
    able = "valence_state" in model.decisions and any(own * charge > 0 for own in formal)
    if charge and not able:
        raise InputError(
            f"{where}: has charge {charge:+d}, and the model has seen no atom with such a formal "
            "charge; train it on such molecules"
        )


def compositions(
    model: SchNetGen,
    patterns: Sequence[FormulaPattern],
    index: Tensor,
    seed: int,
    fragment: Fragment | None,
    told: Tensor | None = None,
    guidance: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Atomic numbers of the molecules with these numbers in a run [count, atoms], beside the
    fragment's, 0 where there is no atom, and their charges [count]; patterns take turns.

    Args:
        told: what p(Z) is told of each of them [count, channels].
        guidance: as in `SamplingConfig`.
    """
    which = index % len(patterns)
    rows: list[Tensor] = [torch.empty(0)] * len(index)
    for turn, pattern in enumerate(patterns):
        mine = (which == turn).nonzero().squeeze(1)
        if pattern.exact:
            drawn = [pattern.numbers] * len(mine)
        else:
            known = None if told is None else told[mine]
            drawn = _draw(model, pattern, index[mine], seed, known, guidance)
        for place, numbers in zip(mine.tolist(), drawn, strict=True):
            rows[place] = _remaining(torch.tensor(numbers, dtype=torch.long), fragment)
    charge = torch.tensor([pattern.charge for pattern in patterns])[which]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), charge


def _remaining(numbers: Tensor, fragment: Fragment | None) -> Tensor:
    """The atoms of the formula that are not in the fragment."""
    if fragment is None:
        return numbers
    own = torch.from_numpy(fragment.numbers)
    left = torch.bincount(numbers, minlength=101) - torch.bincount(own, minlength=101)
    return torch.repeat_interleave(left)


def _draw(
    model: SchNetGen,
    pattern: FormulaPattern,
    index: Tensor,
    seed: int,
    told: Tensor | None = None,
    guidance: float = 0.0,
) -> list[list[int]]:
    """Atomic numbers of formulas that match: by p(Z) or, for models without, those of the
    training, as often as they were in it."""
    if model.composition is not None:
        counts = model.composition.draw(index.to(model.device), seed, pattern, told, guidance)
        return [model.composition.numbers(row) for row in counts.tolist()]
    seen = {} if model.training_set is None else model.training_set.formulas
    known = [parse_formula(formula).tolist() for formula in seen]
    fitting = [
        (numbers, count)
        for numbers, count in zip(known, seen.values(), strict=True)
        if pattern.matches(own := Counter(numbers)) and own[1] <= hydrogen_room(model, pattern, own)
    ]
    if not fitting:
        usual = ", ".join(sorted(seen, key=lambda name: -seen[name])[:3])
        reason = f"it knows {len(seen):,}, such as {usual}" if seen else "it knows none"
        raise InputError(
            "none of the formulas of the model's training is what was asked for "
            f"({reason}); give one formula, such as C7H10O2"
        )
    weight = torch.tensor([float(count) for _, count in fitting]).log()
    keys = random_keys(seed, index, STEP)
    choice = choose(weight.expand(len(index), -1), keys)
    return [fitting[k][0] for k in choice.tolist()]


def check_seen(model: SchNetGen, numbers: Iterable[int], where: str = "") -> None:
    unseen = sorted({*numbers} - {*model.config.elements})
    if unseen:
        raise InputError(
            f"{where}the model has never seen {hill_formula(unseen)}; it was trained on "
            f"{hill_formula(model.config.elements)}"
        )


def check_molecule(model: SchNetGen, data: Data, where: str) -> int:
    """Refuse what the model cannot have made: elements that it never saw, what is periodic or has
    unpaired electrons, and charges that none of its atoms can have; the charge in e."""
    where = named(data, where)
    check_seen(model, data.z.tolist(), f"{where}: ")
    if data.get("cell") is not None:
        raise InputError(f"{where}: is periodic, and generators make molecules; remove the cell")
    found = electrons(data, where)
    if found.multiplicity > 1 and not found.unstated:
        raise InputError(
            f"{where}: has {found.words()}, and generators make closed-shell molecules only; leave "
            "it out, or correct what it states"
        )
    check_charge(model, found.charge, where)
    return found.charge


def _check_exact(model: SchNetGen, pattern: FormulaPattern, config: SamplingConfig) -> None:
    heavy, (least, most) = sum(z != 1 for z in pattern.numbers), pattern.heavy
    if not least <= heavy <= most:
        raise InputError(
            f"{hill_formula(pattern.numbers)} has {heavy} atoms beside hydrogen, and {least} to "
            f"{most} were asked for; leave one of the two out"
        )
    if config.valence_rules:
        _check_closed_shell(model, pattern)


def _check_closed_shell(model: SchNetGen, pattern: FormulaPattern) -> None:
    """Refuse a formula without any closed-shell molecule.

    A connected graph with these valences exists by the conditions of Senior (Am. J. Math. 73,
    663, 1951): an even sum, bonds enough to connect all atoms, no valence above the others' sum;
    of elements with several valences the most favourable ones.
    """
    atoms = pattern.numbers
    valences: dict[int, set[int]] = {1: {1}}
    for element, _, valence, _, _ in model.config.states:
        valences.setdefault(element, set()).add(valence)
    if model.focus is None or not valences.keys() >= {*atoms}:
        return
    most = [max(valences[z]) for z in atoms]
    least = [min(valences[z]) for z in atoms]
    total, largest = sum(most), max(least)
    others = total - most[least.index(largest)]
    name = hill_formula(atoms) + _charge_text(pattern.charge)
    if (sum(atoms) - pattern.charge) % 2:
        reason = f"it has {sum(atoms) - pattern.charge} electrons, so that one stays unpaired"
    elif total + 2 * abs(pattern.charge) < 2 * (len(atoms) - 1):
        reason = f"its valences make {total // 2} bonds, which cannot connect {len(atoms)} atoms"
    elif largest > others + abs(pattern.charge):
        symbol = hill_formula([atoms[least.index(largest)]])
        reason = f"{symbol} has the valence {largest}, all other atoms have {others}"
    else:
        return
    raise InputError(
        f"no closed-shell molecule has the formula {name}: {reason}; "
        "correct it, or set valence_rules to false to place these atoms anyway"
    )


def _charge_text(charge: int) -> str:
    """As formulas have it: +, --, or nothing."""
    return ("+" if charge > 0 else "-") * abs(charge)
