"""Which file a structure was read from, so that every error can name it.

It is kept beside the attributes, not among them: it goes along when a ``Data`` is copied, and is in
no batch and no file.
"""

from __future__ import annotations

import os

from torch_geometric.data import Data

#: In the ``__dict__`` of a ``Data``.
KEY = "_schnetgen_origin"


def keep_origin(data: Data, path: str | os.PathLike[str], number: int) -> None:
    """A structure remembers the file that it was read from, and its number in it."""
    vars(data)[KEY] = (os.fspath(path), number)


def named(data: Data, otherwise: str) -> str:
    """How messages name a structure: by its file and its number there, if it is from one."""
    origin = vars(data).get(KEY)
    return otherwise if origin is None else f"{origin[0]}: structure {origin[1]}"
