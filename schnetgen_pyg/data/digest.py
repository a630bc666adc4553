"""A fingerprint of structures, by which a run knows the data that it was begun with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from torch_geometric.data import Data


def digest(structures: Iterable[Data]) -> str:
    """SHA-256 of the types and positions (in single precision) of structures, in their order."""
    content = hashlib.sha256()
    for data in structures:
        content.update(data.z.long().cpu().numpy().tobytes())
        content.update(data.pos.detach().float().cpu().numpy().tobytes())
    return content.hexdigest()
