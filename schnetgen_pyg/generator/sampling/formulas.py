"""What is asked of a generator, checked before anything is built: formula, fragment, targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.elements import VALENCE, hill_formula, parse_formula
from schnetgen_pyg.data.electrons import require_closed_shell
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.config import SamplingConfig


def numbers_of(formula: str | Sequence[int] | Tensor) -> Tensor:
    if isinstance(formula, str):
        return parse_formula(formula)
    numbers = torch.as_tensor(formula, dtype=torch.long)
    if numbers.dim() != 1 or numbers.numel() == 0:
        raise InputError(f"expected a formula or atomic numbers [num_atoms], got {formula!r}")
    return numbers


def remaining_of(numbers: Tensor, fragment: Data | None) -> Tensor:
    """The atoms of the formula that are not in the fragment."""
    if fragment is None:
        return numbers
    left = torch.bincount(numbers, minlength=101) - torch.bincount(fragment.z, minlength=101)
    if (left < 0).any():
        raise InputError(
            f"the fragment {hill_formula(fragment.z)} has more "
            f"{hill_formula([int((left < 0).nonzero()[0])])} than the formula "
            f"{hill_formula(numbers)}"
        )
    return torch.repeat_interleave(left)


def check_seen(model: SchNetGen, numbers: Tensor, where: str = "") -> None:
    unseen = sorted(set(numbers.tolist()) - set(model.config.elements))
    if unseen:
        raise InputError(
            f"{where}the model has never seen {hill_formula(unseen)}; it was trained on "
            f"{hill_formula(model.config.elements)}"
        )


def check_neutral(data: Data, where: str) -> None:
    """Refuse what a generator cannot make: what is periodic, charged or has unpaired electrons."""
    where = named(data, where)
    if data.get("cell") is not None:
        raise InputError(f"{where}: is periodic, and generators make molecules; remove the cell")
    require_closed_shell(data, "generators make", where)


def check_formula(model: SchNetGen, numbers: Tensor, config: SamplingConfig) -> None:
    """Refuse a formula without any closed-shell molecule, where valence rules are to hold.

    A connected graph with these valences exists by the conditions of Senior (Am. J. Math. 73,
    663, 1951): an even sum, bonds enough to connect all atoms, no valence above the others' sum.
    """
    atoms = numbers.tolist()
    if not (model.focus is not None and config.valence_rules and VALENCE.keys() >= set(atoms)):
        return
    valences = [VALENCE[number] for number in atoms]
    total, largest = sum(valences), max(valences)
    if total % 2:
        reason = f"its valences sum to {total}, so that an electron stays unpaired"
    elif total < 2 * (len(atoms) - 1):
        reason = f"its valences make {total // 2} bonds, which cannot connect {len(atoms)} atoms"
    elif 2 * largest > total:
        symbol = hill_formula([atoms[valences.index(largest)]])
        reason = f"{symbol} has the valence {largest}, all other atoms have {total - largest}"
    else:
        return
    raise InputError(
        f"no neutral closed-shell molecule has the formula {hill_formula(atoms)}: {reason}; "
        "correct it, or set valence_rules to false to place these atoms anyway"
    )


def targets_of(model: SchNetGen, given: Mapping[str, Any], count: int) -> dict[str, Tensor]:
    """What the model's conditions require of each molecule, by name [count, …], from one value for
    all or one for each.

    Raises:
        InputError: for what is missing, or what no condition reads.
    """
    required = model.required
    wrong = [f"lacks {name!r}" for name in required if name not in given]
    wrong += [f"has {name!r}, which none reads" for name in given if name not in required]
    if wrong:
        raise InputError(
            f"targets: {'; '.join(wrong)}; the model's conditions require "
            f"{', '.join(required) or 'nothing'}"
        )
    values = {name: torch.as_tensor(value) for name, value in given.items()}
    for name, value in values.items():
        if not bool(value.isfinite().all()):
            raise InputError(f"targets: {name!r} is not finite: {value.tolist()}")
    return {
        name: value.expand(count, *value.shape[1:])
        if value.dim() and len(value) == count
        else value.expand(count, *value.shape)
        for name, value in values.items()
    }
