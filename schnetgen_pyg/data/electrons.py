"""Charge and spin: what a structure says of its electrons, and whether that can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ase
import torch
from torch_geometric.data import Data

from schnetgen_pyg.data.charge_and_spin import state_electrons
from schnetgen_pyg.errors import InputError

#: Names of the total charge (e) and the spin multiplicity 2S + 1, in ``info`` or as attributes.
CHARGE, SPIN = "charge", "spin_multiplicity"


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


def _stated(structure: Data | ase.Atoms, where: str) -> tuple[int | None, int | None]:
    """Charge and multiplicity, of each `None` where nothing is said."""
    charges = moments = None
    if isinstance(structure, Data):
        if structure.get(CHARGE) is not None and structure.get(SPIN) is not None:
            return int(structure[CHARGE]), int(structure[SPIN])
        data = Data(z=structure.z, info=structure.get("info") or {})
    else:
        data = Data(z=torch.from_numpy(structure.numbers), info=structure.info)
        charges = structure.arrays.get("initial_charges")
        moments = structure.arrays.get("initial_magmoms")
    state_electrons(data, where, charges, moments)
    given: Any = structure if isinstance(structure, Data) else {}
    charge, spin = (
        data.get(name) if given.get(name) is None else int(given[name]) for name in (CHARGE, SPIN)
    )
    return charge, spin


def electrons(structure: Data | ase.Atoms, where: str = "structure") -> Electrons:
    """Charge and spin that a structure states: ``charge`` and ``spin_multiplicity`` as attributes
    or in ``info``, else the sums of ASE's initial charges and magnetic moments. Nothing stated
    means neutral, with the lowest spin.

    Raises:
        InputError: if that cannot be: no whole numbers, or a multiplicity that does not fit the
            number of electrons.
    """
    charge, spin = _stated(structure, where)
    numbers = structure.z if isinstance(structure, Data) else structure.numbers
    count = int(numbers.sum()) - (charge or 0)
    if count < 0:
        raise InputError(f"{where}: charge {charge:+d} takes more electrons than there are")
    if spin is None:
        return Electrons(charge or 0, 1 + count % 2, unstated=bool(count % 2))
    if not 1 <= spin <= count + 1 or (count - spin + 1) % 2:
        raise InputError(
            f"{where}: spin_multiplicity {spin} does not fit {count} electrons (charge "
            f"{charge or 0:+d}); it must be {'even' if count % 2 else 'odd'}, "
            f"{1 + count % 2} for the lowest spin"
        )
    return Electrons(charge or 0, spin)


def require_neutral(structure: Data | ase.Atoms, who: str, where: str = "structure") -> None:
    """Refuse a structure with a charge, or with more spin than it must have, for what knows of
    neither.

    Raises:
        InputError: with the values.
    """
    charge, spin = _stated(structure, where)
    if not charge and spin is None:
        return  # the usual case, without counting electrons
    found = electrons(structure, where)
    if found.charge or found.multiplicity > 2:
        raise InputError(
            f"{where}: {who} knows neither charge nor spin, and the structure has "
            f"{found.words()}; take gfn2-xtb or a density functional, or correct the file"
        )
