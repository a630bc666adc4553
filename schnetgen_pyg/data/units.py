"""Units that files and users state, and the library's: eV and Å."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import ase.units

from schnetgen_pyg.errors import InputError

#: The library's units of what has a dimension that is checked.
LIBRARY = {"pos": "Å", "cell": "Å", "energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"}

ENERGIES = {
    "ev": 1.0,
    "mev": 1e-3,
    "hartree": ase.units.Hartree,
    "ha": ase.units.Hartree,
    "eh": ase.units.Hartree,
    "mha": 1e-3 * ase.units.Hartree,
    "mhartree": 1e-3 * ase.units.Hartree,
    "rydberg": ase.units.Rydberg,
    "ry": ase.units.Rydberg,
    "invcm": ase.units.invcm,
}
PRESSURES = {
    "gpa": ase.units.GPa,
    "mpa": 1e-3 * ase.units.GPa,
    "pa": ase.units.Pascal,
    "kbar": 1e3 * ase.units.bar,
    "bar": ase.units.bar,
}
#: Energies of a mole, which make sense with "/mol" only.
MOLAR = {"kcal": ase.units.kcal, "cal": 1e-3 * ase.units.kcal, "kj": ase.units.kJ, "j": ase.units.J}
LENGTHS = {
    "å": 1.0,
    "a": 1.0,
    "ang": 1.0,
    "angstrom": 1.0,
    "ångström": 1.0,
    "bohr": ase.units.Bohr,
    "a0": ase.units.Bohr,
    "nm": ase.units.nm,
    "pm": 1e-3 * ase.units.nm,
}
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
ATOMIC = {"au", "a.u.", "atomic", "atomic_unit", "atomic_units", "atomic unit", "atomic units"}
ATOMIC_OF = {
    "pos": "Bohr",
    "cell": "Bohr",
    "energy": "Hartree",
    "forces": "Hartree/Bohr",
    "stress": "Hartree/Bohr³",
}
#: Dipole moments in e·Å, and heat capacities in cal/(mol K): of what the library has no unit for.
DIPOLES = {
    **dict.fromkeys(("d", "debye"), ase.units.Debye),
    **dict.fromkeys(("e å", "eå", "e ang", "e a", "e angstrom"), 1.0),
    **dict.fromkeys(("e bohr", "e a0", "ea0", "ebohr", "bohr e"), ase.units.Bohr),
}
HEAT_CAPACITIES = {
    **dict.fromkeys(("cal/(mol k)", "cal/mol/k", "cal/mol k", "cal/molk", "cal mol-1 k-1"), 1.0),
    **dict.fromkeys(("j/(mol k)", "j/mol/k", "j/mol k", "j/molk", "j mol-1 k-1"), 1 / 4.184),
}


class Unit(NamedTuple):
    """A unit as a number of library units.

    Attributes:
        factor: how many eV^energy Å^length it is.
        energy, length, mol: powers.
    """

    factor: float
    energy: int = 0
    length: int = 0
    mol: int = 0

    def __mul__(self, other: object) -> Unit:
        assert isinstance(other, Unit)
        powers = (a + b for a, b in zip(self[1:], other[1:], strict=True))
        return Unit(self.factor * other.factor, *powers)

    def power(self, exponent: int) -> Unit:
        return Unit(self.factor**exponent, *(exponent * power for power in self[1:]))


def _named(word: str) -> Unit | None:
    singular = word[:-1] if len(word) > 2 and word.endswith("s") else word
    for name in (word, singular):
        if name in ENERGIES:
            return Unit(ENERGIES[name], energy=1)
        if name in MOLAR:
            return Unit(MOLAR[name], energy=1, mol=1)
        if name in PRESSURES:
            return Unit(PRESSURES[name], energy=1, length=-3)
        if name in LENGTHS:
            return Unit(LENGTHS[name], length=1)
        if name == "mol":
            return Unit(ase.units.mol, mol=1)
    return None


@lru_cache(maxsize=256)
def parse_unit(text: str, quantity: str = "") -> Unit | None:
    """A product of units, such as ``kcal/mol/Ang``, ``Ha/Bohr``, ``kJ mol^-1`` or, of a known
    quantity (`LIBRARY`), ``atomic units``; ``None`` for what is none of these."""
    text = unicodedata.normalize("NFKC", str(text)).replace("−", "-").strip().lower()
    if text in ATOMIC:
        return parse_unit(ATOMIC_OF[quantity]) if quantity in ATOMIC_OF else None
    text = re.sub(r"/\(([^)]*)\)", lambda inner: "/" + re.sub(r"[*·\s]+", "/", inner[1]), text)
    found = Unit(1.0)
    for sign, word in re.findall(r"(/?)\s*([^/*·\s]+)", text):
        unit, exponent = _named(word), 1
        if unit is None:
            raised = re.fullmatch(r"(.+)\^(-?\d+)|(\D+?)(-?\d+)", word)
            base, exponent = (
                (raised[1] or raised[3], int(raised[2] or raised[4])) if raised else ("", 1)
            )
            unit = _named(base)
        if unit is None:
            return None
        found *= unit.power(-exponent if sign else exponent)
    return found if found.energy or found.length else None


@lru_cache(maxsize=256)
def factor(text: str, quantity: str, where: str) -> float:
    """What a value in this unit is multiplied by, to be in the library's.

    Args:
        text: the unit.
        quantity: ``energy``, ``forces``, …; the dimension of those in `LIBRARY` is checked.
        where: how the message names the structure.

    Raises:
        InputError: naming the unit.
    """
    unit = parse_unit(text, quantity)
    if unit is None or not _fits(unit, quantity):
        known = LIBRARY.get(quantity, "eV")
        example = {"energy": "kcal/mol", "forces": "kcal/mol/Å"}.get(quantity, known)
        why = "has another dimension" if unit is not None and not unit.mol else "is not known"
        raise InputError(
            f"{where}: {text!r} as the unit of {quantity} {why}; say one such as {example} or "
            f"{ATOMIC_OF.get(quantity, 'Hartree')} (units={{{quantity!r}: …}}, "
            f"--units {quantity}=…)"
        )
    return unit.factor


def library_unit(text: str, quantity: str) -> str:
    """The unit that a value in this unit has once it is multiplied by its `factor`: products of
    powers of eV and Å."""
    unit = parse_unit(text, quantity)
    if quantity in LIBRARY or unit is None:
        return LIBRARY.get(quantity, text)
    powers = (("eV", unit.energy), ("Å", unit.length))
    above = [_raised(name, power) for name, power in powers if power > 0]
    below = [_raised(name, -power) for name, power in powers if power < 0]
    return "/".join([" ".join(above) or "1", *below])


def _raised(name: str, power: int) -> str:
    return name + (str(power).translate(SUPERSCRIPTS) if power > 1 else "")


def _fits(unit: Unit, quantity: str) -> bool:
    if unit.mol:
        return False
    wanted = parse_unit(LIBRARY[quantity]) if quantity in LIBRARY else None
    return wanted is None or wanted[1:] == unit[1:]


@lru_cache(maxsize=256)
def same_unit(one: str, other: str, quantity: str) -> bool:
    """Whether two names mean the same unit."""
    first, second = parse_unit(one, quantity), parse_unit(other, quantity)
    if first is None or second is None:
        return one == other
    return first[1:] == second[1:] and math.isclose(first.factor, second.factor, rel_tol=1e-6)


@lru_cache(maxsize=256)
def conversion(stated: str, wanted: str) -> float | None:
    """What a value in one unit is multiplied by to be in another, also where the library has no
    unit of this kind (dipole moments, heat capacities); ``None`` where they are not known, or of
    different kinds."""
    words = [unicodedata.normalize("NFKC", text).replace("−", "-") for text in (stated, wanted)]
    one, other = (re.sub(r"[*·⋅^\s]+", " ", word.lower()).strip() for word in words)
    one, other = one.replace(" -1", "-1"), other.replace(" -1", "-1")
    if one == other:
        return 1.0
    for known in (DIPOLES, HEAT_CAPACITIES):
        if other in known:
            one = "e bohr" if one in ATOMIC and known is DIPOLES else one
            return known[one] / known[other] if one in known else None
    second = parse_unit(wanted)
    if second is None:
        return None
    if one in ATOMIC:
        atomic = ase.units.Hartree**second.energy * ase.units.Bohr**second.length
        return float(atomic / second.factor)
    first = parse_unit(stated)
    return None if first is None or first[1:] != second[1:] else first.factor / second.factor


def plain_unit(text: str) -> str:
    """A unit in ASCII, as files of other programs have it: ``bohr^3``, ``e Ang``."""
    text = text.replace("Å", "Ang").replace("·", " ").replace("−", "-")
    return re.sub("[²³]", lambda found: f"^{unicodedata.normalize('NFKC', found[0])}", text)


@lru_cache(maxsize=256)
def unit_in_name(key: str, quantity: str) -> str | None:
    """The unit that the name of a label ends with, such as ``U0_hartree`` or ``forces_eV_A``."""
    words = key.split("_")
    for start in range(1, len(words)):
        text = "/".join(words[start:])
        unit = parse_unit(text, quantity)
        if unit is not None and _fits(unit, quantity):
            return text
    return None


def forces_unit(units: Mapping[str, str]) -> str:
    """The unit of forces, by those of energies and positions; empty where it cannot be known."""
    energy, length = units.get("energy", ""), units.get("pos", "Å")
    if energy.lower() in ATOMIC and length.lower() in ATOMIC:
        return "atomic units"
    return f"{energy}/{length}" if energy and length else ""
