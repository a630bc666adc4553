"""Elements: formulas, covalent radii, valences."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache

import ase
import ase.data
import ase.formula
import ase.io
import torch
from rdkit import Chem
from torch import Tensor

from schnetgen_pyg.errors import InputError

MAX_ATOMIC_NUMBER = 100


#: What else people write into a formula, and what it stands for.
BEYOND_NUMBERS = {
    r"[+\-\u2212\u207a\u207b]": "is a charge or a second molecule, and generators make one "
    "neutral molecule",
    r"[.\u00b7\u2022\u2219]": "is an unpaired electron or a second molecule, and generators make "
    "one closed-shell molecule",
    r"\^|^\d+(?=[A-Z])|[DT](?![a-z])|\[\d+\w*\]": "is an isotope or a number of "
    "molecules, and generators know neither",
}


def hill_formula(numbers: Iterable[int]) -> str:
    """Chemical formula in Hill order, e.g. ``C7H10O2``."""
    return ase.formula.Formula.from_list(
        [ase.data.chemical_symbols[int(n)] for n in numbers]
    ).format("hill")


def refuse_beyond_numbers(formula: str) -> None:
    """Refuse a formula that says more than the numbers of atoms."""
    for found, means in BEYOND_NUMBERS.items():
        if said := re.search(found, formula.strip()):
            raise InputError(
                f"{formula!r}: {said[0]!r} {means}; write the numbers of atoms alone, such as "
                "C7H10O2"
            )


def parse_formula(formula: str) -> Tensor:
    """Atomic numbers of a chemical formula, heaviest elements' symbols in the order written.

    Args:
        formula: such as ``"C7H10O2"``.

    Returns:
        int64 tensor [num_atoms].

    Raises:
        InputError: if the text is no formula, or says more than the numbers of atoms.
    """
    refuse_beyond_numbers(formula)
    try:
        counts = ase.formula.Formula(formula.strip()).count()
    except Exception as error:
        raise InputError(
            f"{formula!r} is not a chemical formula; write element symbols with counts, "
            "such as C7H10O2"
        ) from error
    if not sum(counts.values()):
        raise InputError("the formula is empty; write one such as C7H10O2")
    unknown = [s for s in counts if s not in ase.data.atomic_numbers or s == "X"]
    if unknown:
        raise InputError(f"{formula!r} has unknown element symbols: {', '.join(unknown)}")
    return torch.tensor(
        [ase.data.atomic_numbers[s] for s, count in counts.items() for _ in range(count)],
        dtype=torch.long,
    )


#: RDKit's covalent radii in Å by atomic number.
COVALENT_RADII = tuple(Chem.GetPeriodicTable().GetRcovalent(number) for number in range(101))


#: Bonds of an element in a neutral closed-shell molecule.
VALENCE = {1: 1, 5: 3, 6: 4, 7: 3, 8: 2, 9: 1, 14: 4, 17: 1, 35: 1, 53: 1}


UNLIMITED = 99


def valences(z: Tensor) -> Tensor:
    """Valence of each atom, `UNLIMITED` for elements without a rule, 0 for none (type 0)."""
    return _valences(z.device)[z]


@lru_cache(maxsize=8)
def _valences(device: torch.device) -> Tensor:
    known = {0: 0, **VALENCE}
    return torch.tensor([known.get(number, UNLIMITED) for number in range(101)], device=device)


def group_of(number: int) -> int:
    """Group of an element in the periodic table, 1 to 18; lanthanides and actinides count as 3."""
    gases = (0, 2, 10, 18, 36, 54, 86, 118)
    period = bisect_left(gases, number)
    behind, ahead = number - gases[period - 1], gases[period] - number
    if behind <= 2 and number != 2:
        return behind
    return max(3, 18 - ahead)
