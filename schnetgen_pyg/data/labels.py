"""Labels of files under any name and in any unit, made the library's.

A reader may say by ``data.units``, a dict, in which units attributes are as it gives them: a name
that `schnetgen_pyg.data.units` knows, or nothing where the file should say it and does not. What is
not named there is in the library's units already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.units import (
    LIBRARY,
    factor,
    forces_unit,
    library_unit,
    parse_unit,
    same_unit,
    unit_in_name,
)
from schnetgen_pyg.errors import InputError

#: Names of units in the ``info`` of files, and what they are of.
UNIT_NAMES = {
    "e_unit": "energy",
    "energy_unit": "energy",
    "energy_units": "energy",
    "f_unit": "forces",
    "force_unit": "forces",
    "force_units": "forces",
    "forces_unit": "forces",
    "forces_units": "forces",
    "stress_unit": "stress",
    "stress_units": "stress",
    "r_unit": "pos",
    "pos_unit": "pos",
    "pos_units": "pos",
    "position_unit": "pos",
    "positions_unit": "pos",
    "length_unit": "pos",
    "length_units": "pos",
    "distance_unit": "pos",
}


@dataclass(frozen=True)
class Labels:
    """Where labels are, and in which units.

    Attributes:
        keys: name of the attribute, column or entry of ``info`` by that of the label, such as
            ``{"energy": "REF_energy"}``.
        units: by name of the label or attribute, such as ``{"energy": "kcal/mol"}``; ``pos`` is the
            unit of lengths. Values in a unit that the library does not know, of what it has no
            unit for (a dipole in Debye, say), stay as they are.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("keys", "units"):
            value = getattr(self, name)
            if not isinstance(value, Mapping):
                raise InputError(
                    f"{name} must be a dict such as {{'energy': …}}, got {type(value).__name__}"
                )
        for quantity, unit in self.units.items():
            if quantity in LIBRARY or parse_unit(unit, quantity) is not None:
                factor(unit, quantity, "units")  # of others the unit is kept as text

    def __bool__(self) -> bool:
        return bool(self.keys or self.units)

    def apply(self, data: Data, where: str) -> set[str]:
        """Rename and convert the labels of one structure; those whose keys it had.

        Raises:
            InputError: naming the structure, and a unit that is not known, not stated, or stated
                otherwise.
        """
        values = data.to_dict()
        before, info = dict(values), values.get("info") or {}
        stated = _stated(values, info, where)
        if not stated and not self:
            return set()
        found = {
            label for label, key in self.keys.items() if _rename(values, info, label, key, stated)
        }
        for name, unit in self.units.items():
            said = stated.get(name)
            if said and parse_unit(said, name) and not same_unit(said, unit, name):
                raise InputError(
                    f"{where}: the file states {said} as the unit of {name}, units {unit}; "
                    "leave the latter out, or correct the file"
                )
            stated[name] = unit
        if "pos" in stated and "cell" in values:
            stated.setdefault("cell", stated["pos"])
        if not stated.get("forces") and ("forces" in stated or "energy" in stated):
            stated["forces"] = forces_unit(stated)
        left = {}
        for name, unit in stated.items():
            if name not in values and name not in info:
                continue
            converted = _convert(values, info, name, unit, where)
            if not converted or name not in LIBRARY:  # of those in it everybody knows
                left[name] = library_unit(unit, name) if converted else unit
        if left:
            values["info"] = {**info, "units": left}
        for name in before.keys() - values.keys():
            del data[name]
        for name, value in values.items():
            if value is not before.get(name):
                data[name] = value
        return found


def _stated(values: dict[str, Any], info: dict[str, Any], where: str) -> dict[str, str]:
    """Units that the reader or the structure's ``info`` states, which no longer does."""
    stated = values.pop("units") if isinstance(values.get("units"), dict) else {}
    if not info:
        return stated
    for key in [key for key in info if isinstance(key, str) and key.lower() in UNIT_NAMES]:
        stated[UNIT_NAMES[key.lower()]] = str(info.pop(key))
    general = info.get("units", info.get("unit"))
    if isinstance(general, dict):
        stated |= {str(name): str(unit) for name, unit in general.items()}
        info.pop("units", None)
    elif isinstance(general, str) and _is_length(general):
        stated.setdefault("pos", general)
        info.pop("units", None)
        info.pop("unit", None)
    elif isinstance(general, str) and ("energy" in values or "energy" in info):
        factor(general, "energy", where)
        stated.setdefault("energy", general)
        info.pop("units", None)
        info.pop("unit", None)
    return stated


def _is_length(text: str) -> bool:
    unit = parse_unit(text)
    return unit is not None and unit[1:] == (0, 1, 0)


def _rename(
    values: dict[str, Any], info: dict[str, Any], label: str, key: str, stated: dict[str, str]
) -> bool:
    """Call what is under a key by the name of the label; whether it is there."""
    if key == label:
        return key in values or key in info
    value = values.pop(key) if key in values else info.pop(key, None)
    if value is None:
        return False
    info.pop(label, None)
    values[label] = value
    unit = stated.pop(key, None) or unit_in_name(key, label)
    if unit:
        stated[label] = unit
    return True


def _convert(
    values: dict[str, Any], info: dict[str, Any], name: str, unit: str, where: str
) -> bool:
    """Convert an attribute, or a label in ``info``, which becomes one, as does anything else that
    is converted; whether that could be."""
    if not unit:
        numbers(values.get(name, info.get(name)), name, where)  # of what is none, say that first
        known = LIBRARY.get(name, "eV")
        raise InputError(
            f"{where}: has {name}, but the file does not say its unit; say it (units={{{name!r}: "
            f"{known!r}}}, --units {name}={known}, or another such as kcal/mol)"
        )
    if name not in LIBRARY and parse_unit(unit, name) is None:
        return False  # a dipole in Debye, say: of those the library has no unit
    scale = factor(unit, name, where)
    if scale != 1 or (name not in values and name in LIBRARY):
        value = values.pop(name) if name in values else info.pop(name)
        values[name] = scale * numbers(value, name, where)
    return True


def is_numeric(value: Any) -> bool:
    """Whether a value can be a label: a finite number, or several of them, also as text."""
    try:
        array = np.array(value.split() if isinstance(value, str) else value, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool) and array.size > 0 and bool(np.isfinite(array).all())


def _shown(value: Any) -> str:
    return repr(value.tolist() if isinstance(value, np.ndarray) else value)


def numbers(value: Any, name: str, where: str) -> Tensor:
    """A label as numbers in double precision.

    Raises:
        InputError: naming the structure, if it holds something else.
    """
    try:
        if isinstance(value, str):
            value = float(value)
        if isinstance(value, bool):
            raise ValueError
        found = value if isinstance(value, Tensor) else torch.tensor(np.asarray(value))
        return found.detach().double()
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"{where}: {name} must be a number, got {_shown(value)}; correct it, or leave it out"
        ) from None
