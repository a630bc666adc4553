"""Total charge and spin multiplicity, by the names that files give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch_geometric.data import Data

from schnetgen_pyg.errors import InputError

#: Names of the total charge (e) in files, in lower case.
CHARGE_NAMES = ("charge", "total_charge", "net_charge", "pubchem_total_charge")

#: Names of the multiplicity 2S + 1.
MULTIPLICITY_NAMES = ("spin_multiplicity", "multiplicity", "mult")

#: Names of either the multiplicity or 2S, which the number of electrons tells apart.
SPIN_NAMES = ("spin",)

#: Initial charges of atoms, often rounded, add up to a whole number within this.
ROUNDING = 0.01


def state_electrons(
    data: Data,
    where: str,
    charges: np.ndarray | None = None,
    moments: np.ndarray | None = None,
) -> Data:
    """Give a structure ``charge`` (e) and ``spin_multiplicity``, both int, where they are stated:
    by its ``info``, else by the charges and magnetic moments of its atoms. ``spin`` is the
    multiplicity where the number of electrons allows that, else 2S: of the two only one ever fits.

    Args:
        data: with ``z`` and ``info``.
        where: how messages name it.
        charges, moments: of the atoms [num_atoms] (e, μ_B), if they are given; they count where
            their sums are possible.

    Raises:
        InputError: for no whole number, or a multiplicity that the number of electrons forbids.
    """
    if not data.info and charges is None and moments is None:
        return data
    info = {str(key).lower(): (key, value) for key, value in data.info.items()}
    charge = _integer(info, CHARGE_NAMES, where)
    if charge is None and charges is not None:
        total = float(np.sum(charges))
        charge = round(total) if abs(total - round(total)) < ROUNDING else None
    if charge is not None:
        data.charge = charge
    multiplicity = _integer(info, MULTIPLICITY_NAMES, where)
    spin = _integer(info, SPIN_NAMES, where)
    electrons = int(data.z.sum()) - (charge or 0)
    if electrons < 0:
        raise InputError(
            f"{where}: states a charge of {charge:+d}, but has {int(data.z.sum())} electrons in all"
        )
    if multiplicity is None and spin is not None and spin >= 0:
        multiplicity = spin if (electrons - spin) % 2 else spin + 1
    if multiplicity is None and moments is not None and moments.ndim == 1 and moments.any():
        guess = 1 + round(abs(float(moments.sum())))
        multiplicity = guess if (electrons - guess) % 2 else None
    if multiplicity is None:
        return data
    if not 1 <= multiplicity <= electrons + 1 or (electrons - multiplicity) % 2 == 0:
        raise InputError(
            f"{where}: states a spin multiplicity of {multiplicity}, which {electrons} electrons "
            f"(charge {charge or 0:+d}) cannot have; correct it, or the charge"
        )
    data.spin_multiplicity = multiplicity
    return data


def _integer(info: Mapping[str, tuple[str, Any]], names: tuple[str, ...], where: str) -> int | None:
    """The whole number that the entries of these names agree on, if there are any."""
    found: dict[str, int] = {}
    for name in names:
        key, value = info.get(name, (name, None))
        if value is None or isinstance(value, (list, dict)):
            continue
        try:
            number = float(value)
            whole = number.is_integer() and not isinstance(value, bool)
        except (TypeError, ValueError):
            whole = False
        if not whole:
            raise InputError(f"{where}: {key} must be a whole number, got {value!r}")
        found[key] = int(number)
    if len(set(found.values())) > 1:
        raise InputError(f"{where}: states {found}, which contradict each other")
    return next(iter(found.values()), None)
