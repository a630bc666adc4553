"""How the attributes of structures lie in a file: every attribute as one long array.

The file is one of safetensors: numbers and JSON, nothing that is run when it is read. ``ptr``
[num_structures + 1] says where the atoms of each structure begin. An attribute ``NAME`` is an array
of the rows of all structures, one after the other: one row for each atom, one for each structure,
or as many as ``NAME:ptr`` says. Where only some structures have it, ``NAME:of`` are their numbers,
ascending. What is no number is JSON, its bytes one after the other. The metadata say the rest
(`Kind`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.errors import InputError

#: Types of safetensors, and ours.
TYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8},
    **{"U8": torch.uint8, "BOOL": torch.bool},
}
CODES = {dtype: code for code, dtype in TYPES.items()}

#: Attributes of small whole numbers, which are int64 in memory and of these types in the file.
SMALL = {"z": "U8", "formal_charge": "I8", "valence": "I8"}

#: Most whole numbers of Python that fit; larger ones are JSON.
LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Kind:
    """What all values of one array have in common.

    Attributes:
        name: of the attribute.
        what: ``tensor``; ``scalar``, a tensor without dimensions; Python's ``int`` and ``float``;
            ``json``.
        dtype: of the values, as safetensors names it.
        shape: of one row.
        dim: of the tensors in which the rows lie (PyG's ``__cat_dim__``).
        rows: one for each ``atom`` or ``graph``, or as many as an array says (``ptr``).
        some: whether some structures lack it.
        key: name of the array in the file.
    """

    name: str
    what: Literal["tensor", "scalar", "int", "float", "json"]
    dtype: str
    shape: tuple[int, ...] = ()
    dim: int = 0
    rows: Literal["", "atom", "graph", "ptr"] = ""
    some: bool = False
    key: str = ""

    @property
    def stored(self) -> str:
        """Type in the file."""
        small = self.what == "tensor" and self.dtype == "I64"
        return SMALL.get(self.name, self.dtype) if small else self.dtype

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Kind:
        return replace(cls(**said), shape=tuple(said["shape"]))

    def value(self, rows: Tensor) -> Any:
        """One value of its rows [num_rows, …] in the file, which stay as they are."""
        if self.what == "json":
            return json.loads(rows.numpy().tobytes())
        if self.what in ("int", "float"):
            return rows.item()
        found = rows.to(TYPES[self.dtype], copy=True)
        if self.what == "scalar":
            return found[0]
        return found.movedim(0, self.dim).contiguous() if self.dim else found


def kind_and_rows(name: str, value: Any, where: str) -> tuple[Kind, Tensor]:
    """What a value of an attribute is, and its rows.

    Raises:
        InputError: naming the structure whose attribute cannot be written.
    """
    if isinstance(value, Tensor):
        return _of_tensor(name, value, where)
    if isinstance(value, float):
        return Kind(name, "float", "F64"), torch.tensor([value], dtype=torch.float64)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return Kind(name, "int", "I64"), torch.tensor([value])
    try:
        text = json.dumps(value)
        same = repr(json.loads(text)) == repr(value)
    except (TypeError, ValueError):
        same = False
    if not same:
        raise InputError(
            f"{where}: {name!r} holds what JSON cannot ({type(value).__name__}); leave it out (del "
            f"data.{name}), or make it of numbers, texts, lists and dicts with texts as keys"
        )
    return Kind(name, "json", "U8"), torch.from_numpy(np.frombuffer(text.encode(), np.uint8).copy())


def _of_tensor(name: str, value: Tensor, where: str) -> tuple[Kind, Tensor]:
    if value.layout is not torch.strided or value.is_nested or value.dtype not in CODES:
        what = value.dtype if value.dtype not in CODES else "sparse or nested"
        raise InputError(
            f"{where}: {name!r} is a tensor that is {what}, which cannot be written; give a dense "
            "one of real numbers"
        )
    code, value = CODES[value.dtype], value.detach().cpu()
    if not value.dim():
        return Kind(name, "scalar", code), value.reshape(1)
    dim = Data().__cat_dim__(name, value)
    dim = 0 if dim is None else dim % value.dim()
    rows = value.movedim(dim, 0) if dim else value
    kind = Kind(name, "tensor", code, tuple(rows.shape[1:]), dim)
    small = rows.to(TYPES[kind.stored])
    if kind.stored != code and not torch.equal(small.to(rows.dtype), rows):
        raise InputError(f"{where}: {name!r} has impossible values, up to {int(rows.max())}")
    return kind, small
