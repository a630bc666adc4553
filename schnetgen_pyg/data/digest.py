"""A fingerprint of structures, by which a run knows the data that it was begun with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch_geometric.data import Data

from schnetgen_pyg.chem.electrons import CHARGE, SPIN
from schnetgen_pyg.data.stored import StoredStructures


class Digest:
    """SHA-256 of the types and positions (in single precision) of structures, in their order, and
    where they have one of cell, charge and spin."""

    def __init__(self) -> None:
        self._content = hashlib.sha256()

    def add(self, data: Data) -> None:
        self._content.update(data.z.long().cpu().numpy().tobytes())
        self._content.update(data.pos.detach().float().cpu().numpy().tobytes())
        info = data.get("info") or {}
        for name in ("cell", CHARGE, SPIN):
            value = info.get(name) if data.get(name) is None else data[name]
            if value is not None:
                numbers = torch.as_tensor(value).detach().float().cpu().numpy()
                self._content.update(name.encode() + numbers.tobytes())

    def __str__(self) -> str:
        return self._content.hexdigest()


def digest(structures: Iterable[Data]) -> str:
    """The `Digest` of structures; those of all in a file are known from its conversion."""
    if isinstance(structures, StoredStructures):
        if structures.whole:
            return str(structures.metadata["digest" if structures.complete else "digest_of_atoms"])
        counted = ("z", "pos", "cell", CHARGE, SPIN, "info")
        structures = structures.only(*(name for name in structures.names if name in counted))
    content = Digest()
    for data in structures:
        content.add(data)
    return str(content)
