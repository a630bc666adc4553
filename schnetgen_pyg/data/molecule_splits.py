"""Splits of molecules by their scaffolds, or at random; those of one molecule stay together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from rdkit import Chem

from schnetgen_pyg.chem.scaffolds import murcko_scaffold
from schnetgen_pyg.data.batches import seeded
from schnetgen_pyg.data.splits import PARTS
from schnetgen_pyg.errors import InputError


def split_molecules(
    smiles: Sequence[str],
    by: Literal["scaffold", "random"],
    validation: float,
    test: float,
    seed: int,
) -> dict[str, list[int]]:
    """Numbers of the molecules in ``train``, ``validation`` and ``test``.

    ``scaffold``: molecules with one Bemis–Murcko scaffold are in one part. The largest groups come
    first, and go to the training while there is room, then to the validation, then to the test: as
    DeepChem's ``ScaffoldSplitter`` has it. It does not depend on the seed.

    Args:
        smiles: of the molecules; those with one text stay together.
        by: what decides.
        validation, test: their shares.
        seed: of a random split.

    Raises:
        InputError: where a part would be empty.
    """
    keys = list(smiles)
    if by == "scaffold":
        keys = [murcko_scaffold(Chem.MolFromSmiles(text)) for text in smiles]
    groups: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        groups.setdefault(key, []).append(place)
    ordered = list(groups.values())
    if by == "scaffold":
        ordered.sort(key=lambda group: (len(group), group[0]), reverse=True)
    else:
        order = torch.randperm(len(ordered), generator=seeded(seed, 0)).tolist()
        ordered = [ordered[place] for place in order]
    room = {"train": (1 - validation - test) * len(keys), "validation": validation * len(keys)}
    parts = _filled(ordered, room)
    wanted = {"train": 1.0, "validation": validation, "test": test}
    empty = [name for name in PARTS if wanted[name] > 0 and not parts[name]]
    if empty:
        what = "scaffolds" if by == "scaffold" else "different molecules"
        cure = "; take split random" if by == "scaffold" else ""
        raise InputError(
            f"the {' and the '.join(empty)} part would be empty: there are {len(keys)} molecules "
            f"with {len(ordered)} {what}, the largest group has "
            f"{max(map(len, ordered))}{cure or '; give more molecules, or larger shares'}"
        )
    return {name: sorted(part) for name, part in parts.items()}


def _filled(groups: Sequence[list[int]], room: dict[str, float]) -> dict[str, list[int]]:
    """Groups in the first part that has room for them, by their order."""
    train, both = room["train"] + 1e-9, room["train"] + room["validation"] + 1e-9
    parts: dict[str, list[int]] = {name: [] for name in PARTS}
    for group in groups:
        if len(parts["train"]) + len(group) <= train:
            parts["train"] += group
        elif len(parts["train"]) + len(parts["validation"]) + len(group) <= both:
            parts["validation"] += group
        else:
            parts["test"] += group
    return parts
