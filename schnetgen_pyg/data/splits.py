"""Which structures a run trains on and which are held out: functions of the seed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch_geometric.data import Data

from schnetgen_pyg.data.batches import seeded
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.storage.atomic import replacing


def identity(structures: Sequence[Data]) -> str:
    """SHA-256 of the types and positions of structures, in their order."""
    digest = hashlib.sha256()
    for data in structures:
        digest.update(data.z.cpu().numpy().tobytes())
        digest.update(data.pos.cpu().numpy().tobytes())
    return digest.hexdigest()


def split(
    structures: Sequence[Data], num_validation: int, seed: int, path: Path | None = None
) -> tuple[list[int], list[int]]:
    """Indices of training and validation structures; kept in ``path`` (JSON) once drawn.

    They count all of the ``structures``, but single atoms, in which there is nothing to place,
    are in neither list.

    Raises:
        InputError: if there are too few structures, or ``path`` is a split of other ones.
    """
    usable = [index for index, data in enumerate(structures) if data.z.numel() > 1]
    if len(usable) < len(structures):
        rank_zero_warn(
            f"{len(structures) - len(usable)} of {len(structures)} structures are single atoms "
            "and are left out: there is nothing to place in them"
        )
    if path is not None and path.is_file():
        train, validation = saved_split(path, structures, "train", "validation")
        return train, validation
    if not usable:
        raise InputError("no structure has two atoms or more: there is nothing to train on")
    if num_validation >= len(usable):
        raise InputError(
            f"cannot hold out {num_validation} of {len(usable)} structures; lower num_validation"
        )
    order = torch.randperm(len(usable), generator=seeded(seed, 0)).tolist()
    drawn = [usable[place] for place in order]
    train, validation = sorted(drawn[num_validation:]), sorted(drawn[:num_validation])
    if path is not None:
        save_split(path, structures, seed, train=train, validation=validation)
    return train, validation


def save_split(path: Path, structures: Sequence[Data], seed: int, **parts: list[int]) -> None:
    """Keep which of the structures are in which part, for `saved_split`."""
    record = {"num_structures": len(structures), "data": identity(structures), "seed": seed}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record | parts))


def saved_split(path: Path, structures: Sequence[Data], *names: str) -> list[list[int]]:
    """The parts of these names of the split in ``path``, which must be of these structures."""
    try:
        saved = json.loads(path.read_text())
        number, *parts = (saved[name] for name in ("num_structures", *names))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged; remove it to draw the split anew") from error
    if number != len(structures):
        raise InputError(
            f"{path}: the split is of {number} structures, the data hold {len(structures)}; use "
            "the same data or another folder"
        )
    # A file of an earlier version says no more than the number.
    if "data" in saved and saved["data"] != identity(structures):
        raise InputError(
            f"{path}: the split is of as many structures, but of other ones (types, positions or "
            "order differ); use the same data or another folder"
        )
    return parts


def _groups(structures: Sequence[Data], key: str | None) -> list[list[int]]:
    """Indices of the structures that stay together."""
    if key is None:
        return [[index] for index in range(len(structures))]
    groups: dict[Any, list[int]] = {}
    for index, data in enumerate(structures):
        info = data.get("info") or {}
        if key not in info:
            raise InputError(
                f"structure {index}: no {key!r} in its info (there: {sorted(info) or 'nothing'}); "
                "name another entry in group_by"
            )
        groups.setdefault(info[key], []).append(index)
    return list(groups.values())


def split_groups(
    structures: Sequence[Data],
    num_validation: int,
    num_test: int,
    seed: int,
    path: Path,
    group_by: str | None = None,
) -> dict[str, list[int]]:
    """Indices of ``train``, ``validation`` and ``test`` structures; kept in ``path`` (JSON) once
    drawn.

    Whole groups are held out, as many as hold the wanted number of structures on average.

    Args:
        group_by: entry of ``info`` that the structures of a group share; by default each structure
            is a group of its own.

    Raises:
        InputError: if there are too few structures, or ``path`` is a split of other ones.
    """
    names = ("train", "validation", "test")
    if path.is_file():
        return dict(zip(names, saved_split(path, structures, *names), strict=True))
    groups = _groups(structures, group_by)
    mean = len(structures) / len(groups)
    test_groups = math.ceil(num_test / mean)
    num_held_out = test_groups + math.ceil(num_validation / mean)
    if num_held_out >= len(groups):
        raise InputError(
            f"cannot hold out {num_held_out} of {len(groups)} structures or groups of them; lower "
            "num_validation or num_test"
        )
    order = torch.randperm(len(groups), generator=seeded(seed, 0)).tolist()
    drawn = (order[num_held_out:], order[test_groups:num_held_out], order[:test_groups])
    parts = {
        name: sorted(index for place in part for index in groups[place])
        for name, part in zip(names, drawn, strict=True)
    }
    save_split(path, structures, seed, **parts)
    return parts
