"""Files packed by gzip, bzip2 or xz."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj
from typing import Any

from schnetgen_pyg.errors import InputError

#: What opens a file that is packed, by its suffix.
PACKED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def is_packed(path: Path) -> bool:
    """Whether the name of a file says so."""
    return path.suffix.lower() in PACKED


def suffix_of(path: Path) -> str:
    """The suffix of what is in a file, packed or not, in lower case."""
    return Path(path.stem if is_packed(path) else path.name).suffix.lower()


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The file as it was before it was packed, in a folder for the time being; a file that is not
    packed as it is.

    Raises:
        InputError: for an archive that ends too early.
    """
    if not is_packed(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / path.stem
        try:
            with PACKED[path.suffix.lower()](path, "rb") as packed, inner.open("wb") as file:
                copyfileobj(packed, file)
        except EOFError as error:
            raise InputError(f"the archive is truncated ({error}); fetch it again") from error
        except (OSError, lzma.LZMAError, zlib.error) as error:
            raise InputError(f"cannot be unpacked ({error}); fetch it again") from error
        yield inner
