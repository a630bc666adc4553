"""Properties of whole molecules by the names that the users' data give them: gap, dipole, …"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.origin import named
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.registry import nearest

#: Names with another meaning in this library: none of them can be asked for.
RESERVED = (
    *("z", "pos", "batch", "ptr", "index", "num_nodes", "cell", "charge", "spin_multiplicity"),
    *("info", "units", "forces", "stress", "formal_charge", "valence", "valence_state"),
    *("remaining", "open", "missing_charge", "atom", "molecule", "next_atom", "next_z"),
    *("fingerprint", "properties", "sample", "log_prob"),
)

#: Structures whose numbers are named where one was asked for that no structure has.
LOOKED_AT = 1000


@dataclass(frozen=True)
class Property:
    """A number of every molecule, and how it is distributed in the training data.

    Attributes:
        name: of the column in the data.
        mean, std: over the structures that have it, in its unit.
        low, high: least and largest value.
        unit: as text; empty where it is not known.
    """

    name: str
    mean: float
    std: float
    low: float
    high: float
    unit: str = ""

    def __post_init__(self) -> None:
        _require_free(self.name)
        if not all(map(math.isfinite, (self.mean, self.std, self.low, self.high))):
            raise InputError(f"properties: what is said of {self.name!r} is not finite: {self}")
        if self.std <= 0 or self.high <= self.low:
            raise InputError(
                f"properties: {self.name!r} is {self.mean:g} in all structures, and nothing can be "
                "learned of it; leave it out"
            )

    def text(self, value: float) -> str:
        """A value with the unit."""
        return f"{value:g} {self.unit}".rstrip()

    def outside(self, value: float) -> str:
        """Why a value is unlike what was seen, with the figures; empty if it is not."""
        if self.low <= value <= self.high or math.isnan(value):
            return ""
        return (
            f"{self.name} = {self.text(value)} is outside of what the model saw, {self.low:g} to "
            f"{self.text(self.high)}"
        )


def _require_free(name: str) -> None:
    if name in RESERVED or not name:
        raise InputError(
            f"properties: {name!r} has another meaning in this library; give the column another "
            f"name (keys={{'my_name': {name!r}}}, --keys my_name={name})"
        )


def properties_in(structures: Sequence[Data], names: Sequence[str]) -> tuple[Property, ...]:
    """What a model has to know of properties that it is to learn
    (``SchNetGen(properties=properties_in(structures, ["gap"]), conditions=(…, "properties"))``).

    Args:
        structures: of the training; some of them may lack some of the properties.
        names: of attributes, or of entries of ``info``; one number for each structure.

    Raises:
        InputError: for a name that no structure has, with those there are; for what is no number.
    """
    units: dict[str, str] = {}
    values = property_values(structures, names, units)
    for name, found in values.items():
        if bool(found.isnan().all()):
            raise InputError(none_has(name, structures))
    return tuple(_described(name, found, units.get(name, "")) for name, found in values.items())


def _described(name: str, values: Tensor, unit: str) -> Property:
    known = values[~values.isnan()]
    low, high = known.min().item(), known.max().item()
    spread = known.std(correction=0).item() if high > low else 0.0
    return Property(name, known.mean().item(), spread, low, high, unit)


def property_values(
    structures: Sequence[Data], names: Sequence[str], units: dict[str, str] | None = None
) -> dict[str, Tensor]:
    """Properties of every structure by their names [num_structures] (float64), NaN where a
    structure lacks one; arguments as those of `properties_in`.

    Args:
        units: gets the unit of each property that states one.

    Raises:
        InputError: for what is no number, or is in several units.
    """
    names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    for name in names:
        _require_free(name)
    units = {} if units is None else units
    found = {name: torch.full((len(structures),), torch.nan).double() for name in names}
    looked: Sequence[Data] = structures
    if isinstance(structures, StoredStructures):
        looked = structures.only(*names, "info")
    for number, data in enumerate(looked):
        info = data.get("info") or {}
        for name, values in found.items():
            value = data.get(name) if data.get(name) is not None else info.get(name)
            if value is None or value == "":
                continue
            where = named(data, f"structure {number}")
            values[number] = _number(value, name, where)
            _check_unit((info.get("units") or {}).get(name, ""), name, where, units)
    return found


def none_has(name: str, structures: Sequence[Data]) -> str:
    """That no structure has a property, and which they have."""
    known = numeric_names(structures)
    there = f"there are {', '.join(known)}" if known else "they have no numbers of molecules"
    return f"properties: no structure has a number {name!r}{nearest(name, known)}; {there}"


def _number(value: Any, name: str, where: str) -> float:
    """One number, also as text; NaN stands for none."""
    try:
        single = value.tolist() if hasattr(value, "tolist") else value
        while isinstance(single, (list, tuple)):
            (single,) = single
        if isinstance(single, bool):
            raise TypeError
        number = float(single)
    except (TypeError, ValueError):
        shown = value.tolist() if hasattr(value, "tolist") else value
        raise InputError(
            f"{where}: the property {name!r} must be one number, got {str(shown)[:60]}; correct "
            "it, or leave it out"
        ) from None
    if math.isinf(number):
        raise InputError(f"{where}: the property {name!r} is {number}; correct it, or leave it out")
    return number


def _check_unit(stated: Any, name: str, where: str, units: dict[str, str]) -> None:
    if stated and units.setdefault(name, str(stated)) != str(stated):
        raise InputError(
            f"{where}: {name} is in {stated}, in structures before it in {units[name]}; bring them "
            "to one unit"
        )


def numeric_names(structures: Sequence[Data]) -> list[str]:
    """Names of attributes, and of entries of ``info``, that are one number of a structure."""
    known: dict[str, None] = {}
    for number in range(min(len(structures), LOOKED_AT)):
        data = structures[number]
        for name, value in {**data.to_dict(), **(data.get("info") or {})}.items():
            if name in RESERVED or name in known:
                continue
            try:
                _number(value, name, "")
            except InputError:
                continue
            known[name] = None
    return sorted(known)
