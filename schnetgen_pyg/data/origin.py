"""Which file a structure was read from, so that every error can name it.

It is kept beside the attributes, not among them: it goes along when a ``Data`` is copied, and is in
no batch and no file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from torch_geometric.data import Data

#: In the ``__dict__`` of a ``Data``.
KEY = "_schnetgen_origin"


def keep_origin(structures: Iterable[Data], path: str | os.PathLike[str]) -> None:
    """Structures remember the file that they were read from, and their number in it."""
    name = os.fspath(path)
    for number, data in enumerate(structures):
        vars(data)[KEY] = (name, number)


def named(data: Data, otherwise: str) -> str:
    """How messages name a structure: by its file and its number there, if it is from one."""
    origin = vars(data).get(KEY)
    return otherwise if origin is None else f"{origin[0]}: structure {origin[1]}"
