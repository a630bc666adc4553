"""The label of one structure: where it may be, in which unit, of which shape."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.units import conversion
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.targets import TARGETS, Target

#: Names that other programs give to a label, in lower case; and any with the label's in it.
OTHER_NAMES = {"energy": ("e", "u0", "u", "y"), "forces": ("f", "force", "grad", "gradient")}


def said_of(data: Data, name: str) -> Any:
    """What the attribute, or the entry of ``info``, holds; nothing stands for an empty text."""
    value = data.get(name)
    value = (data.get("info") or {}).get(name) if value is None else value
    return None if isinstance(value, str) and not value.strip() else value


def factor_of(data: Data, target: Target, place: str) -> float:
    """What a label is multiplied by to be in the target's unit: by what the structure states."""
    stated = ((data.get("info") or {}).get("units") or {}).get(target.name)
    if not stated or not target.unit:
        return 1.0
    scale = conversion(str(stated), target.unit)
    if scale is None:
        raise InputError(
            f"{place}: {target.name} is in {stated}, and the model has it in {target.unit}; "
            "convert it, or say the right unit when the file is read "
            f"(units={{{target.name!r}: …}}, --units {target.name}=…)"
        )
    return scale


def label_of(data: Data, target: Target, place: str = "structure") -> Tensor | None:
    """The label of a structure in its full shape and the target's unit, from the attribute or the
    entry of ``info`` with the name of the target; ``None``: there is none, or it is NaN.

    Raises:
        InputError: if it is no number, not finite, in a unit that cannot be converted, none that
            the target may have, or has another shape than the quantity.
    """
    value = value_of(data, target, place)
    if value is not None:
        target.check_label(value, place)
    return value


def value_of(data: Data, target: Target, place: str = "structure") -> Tensor | None:
    """`label_of`, which may also be a prediction."""
    name, label = target.name, said_of(data, target.name)
    if label is None:
        return None
    if isinstance(label, (int, float)) and target.per == "graph" and not target.shape:
        if math.isnan(label):
            return None
        if math.isfinite(label):  # most are such: a million of them take their time
            return torch.tensor([factor_of(data, target, place) * label], dtype=torch.float64)
    try:
        label = float(label) if isinstance(label, str) else label
        value = torch.as_tensor(label, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{place}: the label {name} is no number: {label!r}") from error
    size = 1 if target.per == "graph" else data.z.numel()
    full = (size, *target.shape)
    rows = target.shape == (3, 3) and value.shape in ((9,), (1, 9))
    alone = value.shape == target.shape and size == 1  # without the dimension of the graph
    if alone or rows or (value.numel() == 1 and full == (1,)):
        value = value.reshape(full)
    if value.numel() == 1 and bool(value.isnan().all()):
        return None
    if value.shape != full:
        meant = ["1" if target.per == "graph" else "num_atoms", *map(str, target.shape)]
        same = "" if target.per == "graph" else f" = {list(full)}"
        raise InputError(
            f"{place}: the label {name} must have shape [{', '.join(meant)}]{same}, "
            f"got {list(value.shape)}"
        )
    if bool(value.isnan().all()):
        return None
    if not bool(value.isfinite().all()):
        raise InputError(f"{place}: the label {name} is not finite; leave it out")
    return value * factor_of(data, target, place)


def similar_names(data: Data, name: str) -> list[str]:
    """Attributes of a structure, and entries of its ``info``, that may be the label of this name
    under another one, such as ``REF_energy``, ``dft_forces`` or ``force``."""
    stem = name.removesuffix("s")
    known = [*data.to_dict(), *(data.get("info") or {})]
    known = [one for one in known if one not in TARGETS and one not in ("z", "pos")]
    alike = [
        one for one in known if stem in one.lower() or one.lower() in OTHER_NAMES.get(name, ())
    ]
    return [one for one in dict.fromkeys(alike) if not one.endswith(("_std", "_variance"))]
