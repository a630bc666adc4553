"""Files of structures that `schnetgen_pyg.data.convert` made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch_geometric.data import Data

from schnetgen_pyg.data.stored import StoredStructures


def read_stored(path: Path) -> Iterator[Data]:
    """All structures of the file, one after the other."""
    yield from StoredStructures(path)
