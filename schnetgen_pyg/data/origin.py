"""Which file a structure was read from, so that every error can name it.

It is kept beside the attributes, not among them: it goes along when a ``Data`` is copied, and is in
no batch and no file.
"""

from __future__ import annotations

import copy
import os
from typing import Any

from torch_geometric.data import Data

#: In the ``__dict__`` of a ``Data``.
KEY = "_schnetgen_origin"


def keep_origin(data: Data, path: str | os.PathLike[str], number: int) -> None:
    """A structure remembers the file that it was read from, and its number in it."""
    vars(data)[KEY] = (os.fspath(path), number)


def changed(data: Data, **attributes: Any) -> Data:
    """A copy of a structure, of the same file, with other attributes."""
    found = copy.copy(data)
    for name, value in attributes.items():
        found[name] = value
    return found


def named(data: Data, otherwise: str) -> str:
    """How messages name a structure: by its file and its number there, if it is from one."""
    origin = vars(data).get(KEY)
    return otherwise if origin is None else f"{origin[0]}: structure {origin[1]}"
