"""Charge and spin of structures of any kind, by `schnetgen_pyg.chem.electrons`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ase
import numpy as np
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.chem.electrons import CHARGE, NAMES, SPIN, Electrons, judged
from schnetgen_pyg.errors import InputError


def _said(data: Data) -> Iterator[tuple[str, Any]]:
    """What attributes and ``info`` say."""
    for name, value in data.to_dict().items():
        if name in NAMES:
            yield name, value
    info = data.get("info")
    for key, value in info.items() if isinstance(info, dict) else ():
        yield str(key), value


def state_electrons(
    data: Data,
    where: str,
    charges: np.ndarray | None = None,
    moments: np.ndarray | None = None,
) -> Data:
    """Give a structure ``charge`` (e) and ``spin_multiplicity``, both int, where they are stated:
    by its attributes or its ``info``, else by the charges and magnetic moments of its atoms.

    Args:
        data: with ``z``.
        where, charges, moments: as in `judged`.

    Raises:
        InputError: as `judged`.
    """
    said = list(_said(data))
    if not said and charges is None and moments is None:
        return data
    found = judged(data.z.cpu().numpy(), said, where, charges, moments)
    for name, value in zip((CHARGE, SPIN), found, strict=True):
        of_atoms = isinstance(data.get(name), Tensor) and data[name].numel() > 1
        if value is not None and not of_atoms:
            data[name] = value
    return data


def electrons(structure: Data | ase.Atoms, where: str = "structure") -> Electrons:
    """Charge and spin that a structure states: ``charge`` and ``spin_multiplicity`` as attributes
    or in ``info``, else the sums of ASE's initial charges and magnetic moments. Nothing stated
    means neutral, with the lowest spin.

    Raises:
        InputError: if that cannot be (`schnetgen_pyg.chem.electrons.judged`).
    """
    of_atoms: tuple[Any, ...] = ()
    if isinstance(structure, Data):
        numbers, said = structure.z.cpu().numpy(), _said(structure)
    else:
        numbers = structure.numbers
        said = ((str(key), value) for key, value in structure.info.items())
        of_atoms = tuple(structure.arrays.get(f"initial_{k}") for k in ("charges", "magmoms"))
    charge, spin = judged(numbers, said, where, *of_atoms)
    odd = (int(numbers.sum()) - (charge or 0)) % 2
    if spin is None:
        return Electrons(charge or 0, 1 + odd, unstated=bool(odd))
    return Electrons(charge or 0, spin)


def require_neutral(structure: Data | ase.Atoms, who: str, where: str = "structure") -> None:
    """Refuse a structure with a charge, or with more spin than it must have, for what knows of
    neither. An odd electron is no fault of the spin: a doublet is what is computed.

    Raises:
        InputError: with the values.
    """
    found = electrons(structure, where)
    if found.charge or found.multiplicity > 2:
        raise InputError(
            f"{where}: {who} knows neither charge nor spin, and the structure has "
            f"{found.words()}; take gfn2-xtb or a density functional, or correct the file"
        )


def require_closed_shell(structure: Data | ase.Atoms, who: str, where: str = "structure") -> None:
    """Refuse a structure that states a charge or unpaired electrons, for what makes neutral
    closed-shell molecules only.

    Raises:
        InputError: with the values.
    """
    found = electrons(structure, where)
    if found.charge or (found.multiplicity > 1 and not found.unstated):
        raise InputError(
            f"{where}: has {found.words()}, and {who} neutral closed-shell molecules only; leave "
            "it out, or correct what it states"
        )
