"""Formulas that leave something open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import ase.data

from schnetgen_pyg.errors import InputError

#: Element, then how many of it: a number, a range, or any number.
PART = re.compile(r"([A-Z][a-wyz]?)(\d+-\d+|\d+|x)?")
#: More atoms of an element than any molecule that is built here has.
ANY = 10_000


@dataclass(frozen=True)
class FormulaPattern:
    """Which compositions are wanted.

    Attributes:
        counts: of an element by its atomic number, the least and the most; others are absent.
        heavy: least and most atoms that are not hydrogen.
    """

    counts: dict[int, tuple[int, int]]
    heavy: tuple[int, int] = (0, ANY)

    @classmethod
    def parse(cls, text: str) -> FormulaPattern:
        """``C7H10O2``, or with ranges: ``C7-9HxO2`` (seven to nine carbons, any number of
        hydrogens, two oxygens).

        Raises:
            InputError: if the text is no such pattern.
        """
        text = text.strip()
        counts: dict[int, tuple[int, int]] = {}
        place = 0
        while found := PART.match(text, place):
            symbol, number = found[1], found[2] or "1"
            if symbol not in ase.data.atomic_numbers or symbol == "X":
                raise InputError(f"{text!r}: {symbol} is no element")
            least, most = _range(number)
            if least > most:
                raise InputError(f"{text!r}: {number} is no range; write {most}-{least}")
            z = ase.data.atomic_numbers[symbol]
            before = counts.get(z, (0, 0))
            counts[z] = min(ANY, before[0] + least), min(ANY, before[1] + most)
            place = found.end()
        if place < len(text) or not counts:
            raise InputError(
                f"{text!r} is no formula; write element symbols with a number, a range or x, such "
                "as C7H10O2 or C7-9HxO2"
            )
        return cls(counts)

    @property
    def exact(self) -> bool:
        """Whether it leaves nothing open."""
        return all(least == most for least, most in self.counts.values())

    def matches(self, numbers: Sequence[int]) -> bool:
        """Whether a molecule with these atomic numbers has such a composition."""
        present = {z: sum(n == z for n in numbers) for z in set(numbers)}
        if not set(present) <= set(self.counts):
            return False
        heavy = sum(n != 1 for n in numbers)
        within = self.heavy[0] <= heavy <= self.heavy[1]
        return within and all(a <= present.get(z, 0) <= b for z, (a, b) in self.counts.items())


def _range(text: str) -> tuple[int, int]:
    if text == "x":
        return 0, ANY
    first, _, last = text.partition("-")
    return int(first), int(last or first)
