"""A fingerprint of structures, by which a run knows the data that it was begun with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch_geometric.data import Data

from schnetgen_pyg.chem.electrons import CHARGE, SPIN


def digest(structures: Iterable[Data]) -> str:
    """SHA-256 of the types and positions (in single precision) of structures, in their order, and
    where they have one of cell, charge and spin."""
    content = hashlib.sha256()
    for data in structures:
        content.update(data.z.long().cpu().numpy().tobytes())
        content.update(data.pos.detach().float().cpu().numpy().tobytes())
        info = data.get("info") or {}
        for name in ("cell", CHARGE, SPIN):
            value = info.get(name) if data.get(name) is None else data[name]
            if value is not None:
                numbers = torch.as_tensor(value).detach().float().cpu().numpy()
                content.update(name.encode() + numbers.tobytes())
    return content.hexdigest()
