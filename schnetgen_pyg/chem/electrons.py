"""Charge and spin: what is said of a structure's electrons, and whether that can be.

The one place that reads and judges both; `schnetgen_pyg.data.electrons` asks it for structures of
any kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import ase
import numpy as np

from schnetgen_pyg.errors import InputError

#: Names of the total charge (e) and the spin multiplicity 2S + 1, in ``info`` or as attributes.
CHARGE, SPIN = "charge", "spin_multiplicity"

#: Names of the total charge (e) in files, in lower case.
CHARGE_NAMES = (CHARGE, "total_charge", "net_charge", "pubchem_total_charge")

#: Names of the multiplicity 2S + 1.
MULTIPLICITY_NAMES = (SPIN, "multiplicity", "mult")

#: Names of either the multiplicity or 2S, which the number of electrons tells apart.
SPIN_NAMES = ("spin", "total_spin")

NAMES = frozenset((*CHARGE_NAMES, *MULTIPLICITY_NAMES, *SPIN_NAMES))

#: Initial charges of atoms, often rounded, add up to a whole number within this.
ROUNDING = 0.01


@dataclass(frozen=True)
class Electrons:
    """The electrons of a structure.

    Attributes:
        charge: total charge in e.
        multiplicity: spin multiplicity 2S + 1; the lowest where the structure states none.
        unstated: whether there is an odd electron and no word of its spin.
    """

    charge: int = 0
    multiplicity: int = 1
    unstated: bool = False

    @property
    def closed_shell_neutral(self) -> bool:
        """What a method that knows neither charge nor spin computes."""
        return self.charge == 0 and self.multiplicity == 1

    def words(self) -> str:
        return f"charge {self.charge:+d}, spin multiplicity {self.multiplicity}"

    def info(self) -> dict[str, int]:
        """Entries for ``info`` that say the same; none of a neutral closed shell."""
        return {} if self.closed_shell_neutral else {CHARGE: self.charge, SPIN: self.multiplicity}


def judged(
    numbers: Sequence[int] | np.ndarray,
    said: Iterable[tuple[str, Any]],
    where: str,
    charges: np.ndarray | None = None,
    moments: np.ndarray | None = None,
) -> tuple[int | None, int | None]:
    """Total charge (e) and spin multiplicity that a structure states, `None` where it does not.

    Args:
        numbers: atomic numbers [num_atoms].
        said: names and values, of which those in `NAMES` count, in any case of letters. A value
            for each atom says nothing of the whole.
        where: how messages name the structure.
        charges, moments: of the atoms [num_atoms] (e, μ_B), if they are given; they count where
            nothing is said, and their sums are possible.

    Raises:
        InputError: for no whole number, words that contradict each other, a charge that no
            molecule has, or a multiplicity that the number of electrons forbids.
    """
    told = [
        (key, key.lower(), one)
        for key, value in said
        if key.lower() in NAMES
        and (one := _single(value, len(numbers), f"{where}: {key}")) is not None
    ]
    if not told and charges is None and moments is None:
        return None, None
    charge, multiplicity, spin = (
        _agreed(told, names, where) for names in (CHARGE_NAMES, MULTIPLICITY_NAMES, SPIN_NAMES)
    )
    if charge is None and charges is not None:
        total = float(np.sum(charges))
        charge = round(total) if abs(total - round(total)) < ROUNDING else None
    electrons = int(np.sum(numbers)) - (charge or 0)
    _check_charge(electrons, charge or 0, len(numbers), where)
    if spin is not None:
        meant = spin if (electrons - spin) % 2 else spin + 1
        if multiplicity not in (None, meant):
            raise InputError(
                f"{where}: states a spin multiplicity of {multiplicity} and a spin of {spin}, "
                "which contradict each other; correct one of them"
            )
        multiplicity = meant
    if multiplicity is None and moments is not None and moments.ndim == 1 and moments.any():
        guess = 1 + round(abs(float(moments.sum())))
        multiplicity = guess if (electrons - guess) % 2 else None
    if multiplicity is None:
        return charge, None
    if not 1 <= multiplicity <= electrons + 1 or (electrons - multiplicity) % 2 == 0:
        parity = "even" if electrons % 2 else "odd"
        raise InputError(
            f"{where}: states a spin multiplicity of {multiplicity}, which {electrons} electrons "
            f"(charge {charge or 0:+d}) cannot have: theirs is {parity}, "
            f"{1 + electrons % 2} for the lowest spin; correct it, or the charge"
        )
    return charge, multiplicity


def _check_charge(electrons: int, charge: int, num_atoms: int, where: str) -> None:
    """Refuse fewer electrons than none, or more than any molecule binds: 2 Z + K (Lieb, Phys. Rev.
    A 29, 3018, 1984; of K atoms with Z protons in all)."""
    protons = electrons + charge
    if electrons < 0:
        raise InputError(
            f"{where}: states a charge of {charge:+d}, but has {protons} electrons in all; "
            "correct it"
        )
    if charge and electrons >= 2 * protons + num_atoms:
        raise InputError(
            f"{where}: states a charge of {charge:+d}, and {num_atoms} atoms with {protons} "
            f"protons bind fewer than {2 * protons + num_atoms} electrons; correct it"
        )


def _single(value: Any, num_atoms: int, name: str) -> Any:
    """The one value that is meant; `None` where there is none for the whole structure."""
    if value is None or isinstance(value, dict):
        return None
    if not isinstance(value, (list, tuple)) and not hasattr(value, "shape"):
        return value
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{name} must be a whole number, got {value!r}") from None
    if array.size == 1:
        return array.reshape(-1)[0].item()
    if array.shape[:1] == (num_atoms,):
        return None
    raise InputError(f"{name} must be one number, got shape {list(array.shape)}")


def _agreed(told: Iterable[tuple[str, str, Any]], names: Sequence[str], where: str) -> int | None:
    """The whole number that all values of these names are, if there are any."""
    found: list[tuple[str, int]] = []
    for key, name, value in told:
        if name not in names:
            continue
        try:
            number = float(value)
            whole = number.is_integer() and not isinstance(value, bool)
        except (TypeError, ValueError):
            whole = False
        if not whole or (names is SPIN_NAMES and number < 0):
            expected = "0 or more, a whole number" if names is SPIN_NAMES else "a whole number"
            raise InputError(
                f"{where}: {key} must be {expected}, got {value!r}; correct it, or leave it out"
            )
        found.append((key, int(number)))
    if len({number for _, number in found}) > 1:
        words = ", ".join(f"{key} {number}" for key, number in found)
        raise InputError(
            f"{where}: states {words}, which contradict each other; correct one, or leave it out"
        )
    return found[0][1] if found else None


def stated(atoms: ase.Atoms) -> dict[str, int]:
    """What the ``info`` of a structure says of its electrons: ``charge`` (e) and
    ``spin_multiplicity``, where they are not those of a neutral closed-shell molecule.

    Raises:
        InputError: as `judged`.
    """
    said = [(str(k), v) for k, v in atoms.info.items() if str(k).lower() in NAMES]
    if not said:
        return {}
    charge, multiplicity = judged(atoms.numbers, said, atoms.get_chemical_formula())
    found = {CHARGE: charge or 0, SPIN: multiplicity or 1}
    return {name: found[name] for name, usual in ((CHARGE, 0), (SPIN, 1)) if found[name] != usual}
