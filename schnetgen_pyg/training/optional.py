"""What structures say of the optional attributes that a generator's conditions learn from."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.properties import none_has
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.model import SchNetGen


def with_optional(
    model: SchNetGen, data: Sequence[Data], whole: Sequence[Data], known: bool
) -> Sequence[Data]:
    """Structures to train on with the optional attributes that the model learns from.

    Args:
        model: the generator.
        data: what is trained on, with ``index``, the numbers in ``whole``.
        whole: the structures with everything that the user has given.
        known: whether the model was trained before: then data that know nothing of an attribute are
            told of, else refused.

    Raises:
        InputError: for an attribute that no structure has.
    """
    if not model.optional:
        return data
    complete = with_everything(data, whole)
    learned: dict[str, Tensor] = {}
    for condition in model.conditions.values():
        if condition.optional:
            learned |= condition.learn(complete)
    for name, rows in learned.items():
        if bool(model.optional[name].is_absent(name, rows).all()):
            if not known:
                raise InputError(none_has(name, complete))
            rank_zero_warn(f"{none_has(name, complete)}. Training goes on without it")
    if isinstance(data, StoredStructures):
        return data.with_rows(**{name: _of_file(data, rows) for name, rows in learned.items()})
    for number, single in enumerate(data):
        for name, rows in learned.items():
            # Python's numbers point to no atoms, whatever they are called.
            single[name] = rows[number].item() if rows.dim() == 1 else rows[number : number + 1]
    return data


def with_everything(data: Sequence[Data], whole: Sequence[Data]) -> Sequence[Data]:
    """The structures ``data`` with all that ``whole`` and they themselves say."""
    if isinstance(data, StoredStructures):
        return data.with_everything()
    found = []
    for single in data:
        one = copy.copy(whole[int(single.index)])
        for name, value in single.to_dict().items():
            if name != "index":
                one[name] = value
        found.append(one)
    return found


def _of_file(data: StoredStructures, rows: Tensor) -> Tensor:
    """Rows of all structures in the file, zero for those that are not among these."""
    whole = rows.new_zeros(data.num_in_file, *rows.shape[1:])
    whole[data.numbers] = rows
    return whole
