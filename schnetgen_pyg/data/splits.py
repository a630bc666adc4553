"""Which structures a run trains on and which are held out: a function of the seed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch_geometric.data import Data

from schnetgen_pyg.data.batches import seeded
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.storage.atomic import replacing

#: The parts of a split.
PARTS = ("train", "validation", "test")


def split(
    structures: Sequence[Data],
    *,
    num_validation: int,
    num_test: int = 0,
    seed: int,
    path: Path | None = None,
    group_by: str | None = None,
    min_atoms: int = 1,
) -> dict[str, list[int]]:
    """Indices of ``train``, ``validation`` and ``test`` structures.

    Args:
        structures: all of them; the indices count them in this order.
        num_validation, num_test: how many are held out for each.
        seed: of the draw.
        path: JSON file that keeps the split once it is drawn; what it holds comes first.
        group_by: entry of ``info`` that the structures of a group share. Whole groups are held
            out, as many as hold the wanted number of structures on average. By default each
            structure is a group of its own.
        min_atoms: structures with fewer atoms are in no part.

    Raises:
        InputError: if there are too few structures, or ``path`` is a split of other ones.
    """
    sizes = structures.sizes if isinstance(structures, StoredStructures) else None
    if sizes is None:
        sizes = torch.tensor([data.z.numel() for data in structures], dtype=torch.long)
    usable = torch.nonzero(sizes >= min_atoms).flatten().tolist()
    if len(usable) < len(structures):
        rank_zero_warn(
            f"{len(structures) - len(usable)} of {len(structures)} structures have fewer than "
            f"{min_atoms} atoms and are left out"
        )
    if path is not None and path.is_file():
        return _saved(path, structures)
    if not usable:
        raise InputError(f"no structure has at least {min_atoms} atoms: there is nothing to take")
    groups = groups_of(structures, usable, group_by)
    mean = len(usable) / len(groups)
    test = math.ceil(num_test / mean)
    held_out = test + math.ceil(num_validation / mean)
    if held_out >= len(groups):
        raise InputError(
            f"cannot hold out {held_out} of {len(groups)} structures or groups of them; lower "
            "num_validation or num_test"
        )
    order = torch.randperm(len(groups), generator=seeded(seed, 0)).tolist()
    drawn = (order[held_out:], order[test:held_out], order[:test])
    parts = {
        name: sorted(index for place in part for index in groups[place])
        for name, part in zip(PARTS, drawn, strict=True)
    }
    if path is not None:
        record = {"num_structures": len(structures), "data": digest(structures), "seed": seed}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(record | parts))
    return parts


def groups_of(
    structures: Sequence[Data], usable: Sequence[int], key: str | None
) -> list[list[int]]:
    """Indices of the usable structures that stay together."""
    if key is None:
        return [[index] for index in usable]
    groups: dict[Any, list[int]] = {}
    for index in usable:
        info = structures[index].get("info") or {}
        if key not in info:
            where = named(structures[index], f"structure {index}")
            raise InputError(
                f"{where}: no {key!r} in its info (there: {sorted(info) or 'nothing'}); "
                "name another entry in group_by"
            )
        groups.setdefault(info[key], []).append(index)
    return list(groups.values())


def _saved(path: Path, structures: Sequence[Data]) -> dict[str, list[int]]:
    """The split in ``path``, which must be of these structures."""
    try:
        saved = json.loads(path.read_text())
        number, data, *parts = (saved[name] for name in ("num_structures", "data", *PARTS))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged; remove it to draw the split anew") from error
    if number != len(structures):
        raise InputError(
            f"{path}: the split is of {number} structures, the data hold {len(structures)}; use "
            "the same data or another folder"
        )
    if data != digest(structures):
        raise InputError(
            f"{path}: the split is of as many structures, but of other ones (types, positions or "
            "order differ); use the same data or another folder"
        )
    return dict(zip(PARTS, parts, strict=True))
