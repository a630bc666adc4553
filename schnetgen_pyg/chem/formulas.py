"""Formulas that leave something open, or state a charge."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import ase.data
import ase.formula
import numpy as np

from schnetgen_pyg.chem.elements import refuse_beyond_numbers
from schnetgen_pyg.errors import InputError

#: Element, then how many of it: a number, a range, or any number.
PART = re.compile(r"([A-Z][a-wyz]?)(\d+-\d+|\d+|x)?")
#: A charge at the end: +, --, or ^2-.
CHARGE = re.compile(r"(?:\^(\d+)([+-])|(\++|-+))$")
#: Whole numbers, one or an array of them.
Count = TypeVar("Count", int, np.ndarray)
#: More atoms of an element than any molecule that is built here has.
ANY = 10_000


@dataclass(frozen=True)
class FormulaPattern:
    """Which compositions are wanted.

    Attributes:
        counts: of an element by its atomic number, the least and the most.
        heavy: least and most atoms that are not hydrogen.
        others: whether elements that are not in ``counts`` may be there, too.
        charge: of the molecule, in e.
        taken: bonds that atoms of a fragment have among each other and that a tree of such atoms
            would have free for hydrogens.
    """

    counts: Mapping[int, tuple[int, int]]
    heavy: tuple[int, int] = (0, ANY)
    others: bool = False
    charge: int = 0
    taken: int = 0

    @classmethod
    def parse(cls, text: str) -> FormulaPattern:
        """A formula (``C7H10O2``), also with ranges (``C7-9HxO2``: seven to nine carbons, any
        number of hydrogens, two oxygens), with ``*`` for any others (``N1-9*``: at least one
        nitrogen), and with a charge (``C2H8N+``, ``SO4--``, ``SO4^2-``).

        Raises:
            InputError: if the text is no such formula.
        """
        body = text.strip()
        charge = 0
        if found := CHARGE.search(body):
            sign = -1 if found[0][-1] == "-" else 1
            charge = sign * (int(found[1]) if found[1] else len(found[3]))
            body = body[: found.start()]
        others = body.endswith("*")
        body = body.removesuffix("*")
        counts = _grouped(body) if "(" in body else _parts(text, body)
        if not counts and not others:
            raise InputError(
                f"{text!r} is no formula; write element symbols with a number, a range or x, such "
                "as C7H10O2, C7-9HxO2 or N1-9*"
            )
        return cls(counts, others=others, charge=charge)

    @classmethod
    def of(cls, numbers: Iterable[int], charge: int = 0) -> FormulaPattern:
        """The exact one of a molecule with these atomic numbers."""
        counts: dict[int, tuple[int, int]] = {}
        for z in numbers:
            counts[z] = (counts.get(z, (0, 0))[0] + 1,) * 2
        return cls(counts, charge=charge)

    @property
    def exact(self) -> bool:
        """Whether it leaves nothing open."""
        closed = all(least == most for least, most in self.counts.values())
        return closed and not self.others

    @property
    def numbers(self) -> list[int]:
        """Atomic numbers of the least that matches, elements in the order written."""
        return [z for z, (least, _) in self.counts.items() for _ in range(least)]

    def range(self, z: int) -> tuple[int, int]:
        """Least and most atoms of an element."""
        return self.counts.get(z, (0, ANY if self.others else 0))

    def holding(self, fragment: Mapping[int, int], taken: int = 0) -> FormulaPattern:
        """The same with at least so many atoms of each element, and bonds ``taken``."""
        counts = dict(self.counts)
        for z, number in fragment.items():
            least, most = self.range(z)
            counts[z] = max(least, number), most
        return replace(self, counts=counts, taken=taken)

    def most_hydrogens(self, free: Count) -> Count:
        """Of a molecule whose other atoms, as a tree, have so many bonds free beside those of a
        chain: what a fragment has taken is not there, and each positive charge is one more."""
        return 2 + free - self.taken + max(0, self.charge)

    def matches(self, counts: Mapping[int, int]) -> bool:
        """Whether a molecule with so many atoms of each element has such a composition."""
        heavy = sum(n for z, n in counts.items() if z != 1)
        if not self.heavy[0] <= heavy <= self.heavy[1]:
            return False
        ranges = {z: self.range(z) for z in {*counts, *self.counts}}
        return all(least <= counts.get(z, 0) <= most for z, (least, most) in ranges.items())


#: Any neutral molecule.
ANYTHING = FormulaPattern({}, others=True)


def _grouped(body: str) -> dict[int, tuple[int, int]]:
    """Numbers of a formula with brackets, such as CH3(CH2)4CH3."""
    refuse_beyond_numbers(body)
    try:
        found = ase.formula.Formula(body).count()
    except Exception as error:
        raise InputError(
            f"{body!r} is not a chemical formula; write element symbols with counts, such as "
            "C7H10O2"
        ) from error
    return {_number(body, symbol): (n, n) for symbol, n in found.items()}


def _parts(text: str, body: str) -> dict[int, tuple[int, int]]:
    """Numbers or ranges of the elements."""
    counts: dict[int, tuple[int, int]] = {}
    place = 0
    while found := PART.match(body, place):
        z, number = _number(text, found[1]), found[2] or "1"
        least, most = _range(number)
        if least > most:
            raise InputError(f"{text!r}: {number} is no range; write {most}-{least}")
        before = counts.get(z, (0, 0))
        counts[z] = min(ANY, before[0] + least), min(ANY, before[1] + most)
        place = found.end()
    if place < len(body):
        refuse_beyond_numbers(body)
        raise InputError(
            f"{text!r} is no formula: {body[place:]!r} is not understood; write element symbols "
            "with a number, a range or x, such as C7H10O2 or C7-9HxO2"
        )
    if counts and not any(most for _, most in counts.values()):
        raise InputError(f"{text!r} has no atoms; write a formula such as C7H10O2")
    return counts


def _number(text: str, symbol: str) -> int:
    if symbol not in ase.data.atomic_numbers or symbol == "X":
        refuse_beyond_numbers(text)
        raise InputError(f"{text!r}: {symbol} is no element")
    return ase.data.atomic_numbers[symbol]


def _range(text: str) -> tuple[int, int]:
    if text == "x":
        return 0, ANY
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def parse_range(text: str, name: str) -> tuple[int, int]:
    """``7`` or ``7-9``: the least and the most.

    Args:
        name: what the error says of it.

    Raises:
        InputError: if it is no such range.
    """
    least, most = _range(text.strip()) if re.fullmatch(r"\s*\d+(-\d+)?\s*", text) else (1, 0)
    if least > most:
        raise InputError(f"{name}: {text!r} is no range; write a number, or two such as 7-9")
    return least, most
