"""One attribute of many structures, as one tensor.

PyG joins an attribute of several graphs along one dimension (`Data.__cat_dim__`): the first, or the
last of index-like ones such as ``edge_index``. What a structure has along it are its *rows*: one
for each atom, one for the graph, or as many as it likes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.errors import InputError

#: What PyG says of a batch itself; known from ``z``.
OF_THE_BATCH = ("batch", "ptr", "num_nodes")

#: Rows with a fixed shape and type.
FIXED: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
    "energy": ((1,), torch.float64),
    "cell": ((1, 3, 3), torch.float32),
}


class Column(NamedTuple):
    """One attribute of the structures that have it.

    Attributes:
        rows: of all these structures, one after the other [num_rows, …].
        counts: rows of each structure.
        dim: where the rows are in the attribute itself.
    """

    rows: Tensor
    counts: list[int]
    dim: int


def attributes(structures: Sequence[Data]) -> dict[str, dict[int, Any]]:
    """Values of every attribute by the number of the structure; ``z`` and ``pos`` come first."""
    found: dict[str, dict[int, Any]] = {"z": {}, "pos": {}}
    for number, data in enumerate(structures):
        for name, value in data.to_dict().items():
            found.setdefault(name, {})[number] = value
    return {name: values for name, values in found.items() if name not in OF_THE_BATCH}


def is_numeric(values: Mapping[int, Any]) -> bool:
    """Whether all values are tensors or numbers, so that a `Column` can hold them."""
    return all(isinstance(value, (Tensor, int, float)) for value in values.values())


def join(name: str, values: Mapping[int, Any], kind: Data) -> Column:
    """The rows of an attribute, whose values are tensors or numbers, one after the other.

    Args:
        name: of the attribute.
        values: of the structures that have it, by their number.
        kind: any of the structures; its `__cat_dim__` says where rows are.

    Raises:
        InputError: naming the structure whose shape does not go with the others'.
    """
    first, example = next(iter(values.items()))
    tensors = [_tensor(name, value, number) for number, value in values.items()]
    dim = kind.__cat_dim__(name, tensors[0])
    if dim is None:  # PyG's word for: stack them
        tensors, dim = [tensor.unsqueeze(0) for tensor in tensors], 0
    tensors = [tensor if tensor.dim() else tensor.unsqueeze(0) for tensor in tensors]
    dim %= tensors[0].dim()
    if dim:
        tensors = [tensor.movedim(min(dim, tensor.dim() - 1), 0) for tensor in tensors]
    shape = tensors[0].shape[1:]
    for number, tensor in zip(values, tensors, strict=True):
        if tensor.shape[1:] != shape:
            raise InputError(
                f"structure {number}: {name!r} has shape {_shape(values[number])}, but that of "
                f"structure {first} has {_shape(example)}; only dimension {dim}, in which PyG "
                "joins graphs, may differ. Give both the same shape, or remove the attribute "
                f"(del data.{name})"
            )
    return Column(torch.cat(tensors), [tensor.shape[0] for tensor in tensors], dim)


def _shape(value: Any) -> list[int]:
    return list(getattr(value, "shape", ()))


def _tensor(name: str, value: Any, number: int) -> Tensor:
    """A value as a tensor; of Python's numbers with all their digits."""
    if not isinstance(value, Tensor):
        value = torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
    if value.layout is not torch.strided or value.is_nested:
        raise InputError(
            f"structure {number}: {name!r} is a sparse or nested tensor, of which no rows can be "
            "taken; give a dense one (edges as edge_index)"
        )
    if value.requires_grad:
        value = value.detach()
    if name not in FIXED:
        return value
    shape, dtype = FIXED[name]
    if value.numel() != torch.Size(shape).numel():
        raise InputError(
            f"structure {number}: {name!r} must have shape {list(shape)}, got {list(value.shape)}"
        )
    return value.to(dtype).reshape(shape)
