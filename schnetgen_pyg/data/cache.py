"""Large files in parsed form, so that they are read once."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import pooch
from torch_geometric.data import Data

from schnetgen_pyg.data.labels import Labels
from schnetgen_pyg.data.origin import keep_origin
from schnetgen_pyg.data.readers import find_reader, read
from schnetgen_pyg.data.readers.npz import read_npz, save_npz
from schnetgen_pyg.data.readers.stored import read_stored
from schnetgen_pyg.errors import InputError

#: Files of fewer bytes are read anew each time.
LARGE = 2**20

#: Of what the readers make of a file; a new one leaves all that is in the cache behind.
VERSION = 8


def cache_folder() -> Path:
    """Where downloads and parsed files are kept; ``SCHNETGEN_CACHE`` overrides it."""
    return Path(os.environ.get("SCHNETGEN_CACHE") or pooch.os_cache("schnetgen_pyg"))


def read_cached(path: Path, labels: Labels | None = None) -> list[Data]:
    """`read`, with large files kept in parsed form until they change.

    What a reader of your own gives is not kept: the reader may change while the file does not.
    """
    reader = find_reader(path.name)
    ours = reader is None or reader.__module__.startswith("schnetgen_pyg.")
    if (
        not ours
        or reader in (read_npz, read_stored)
        or not path.is_file()
        or path.stat().st_size < LARGE
    ):
        return read(path, labels=labels)
    status = path.stat()
    text = f"{VERSION} {path.resolve()} {status.st_size} {status.st_mtime_ns}"
    if labels:
        text += f" {sorted(labels.keys.items())} {sorted(labels.units.items())}"
    cached = cache_folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"
    if cached.is_file():
        try:
            structures = read(cached)
            for number, data in enumerate(structures):
                keep_origin(data, path, number)
            return structures
        except InputError:
            cached.unlink()
    structures = read(path, labels=labels)
    # Without room or the right to write there, the next call reads the file again.
    with contextlib.suppress(InputError, OSError):
        save_npz(cached, structures)
    return structures
