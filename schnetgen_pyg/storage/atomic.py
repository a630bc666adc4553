"""Files that are there whole or not at all; devices and pipes, which take what comes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from schnetgen_pyg.errors import InputError

#: Names of what a process has open already, by which a shell hands on pipes.
_DESCRIPTORS = re.compile(r"/dev/(stdout|stderr)|(?:/dev|/proc/self)/fd/(\d+)")


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether the path is a device or a pipe, such as ``/dev/stdout``: it is written through, as
    there is nothing that a file could replace."""
    path = Path(path)
    if _DESCRIPTORS.fullmatch(os.path.abspath(path)):
        return True
    return path.exists() and not (path.is_file() or path.is_dir())


def _opened(path: Path) -> IO[bytes]:
    """The stream, where it is one of ours without cutting off what was written to it before."""
    found = _DESCRIPTORS.fullmatch(os.path.abspath(path))
    if found is None:
        return path.open("wb")
    sys.stdout.flush()
    sys.stderr.flush()
    number = {"stdout": 1, "stderr": 2}[found[1]] if found[1] else int(found[2])
    return os.fdopen(os.dup(number), "wb")


def require_writable(path: str | os.PathLike[str]) -> None:
    """Refuse, before anything is computed, a path to which no file can be written.

    Raises:
        InputError: if it is a folder, or in a place where none can be made.
    """
    path = Path(path)
    if is_stream(path):
        return
    if path.is_dir() or not path.name:
        raise InputError(f"{path}: is a folder; name a file in it")
    folder = Path(os.path.realpath(path)).parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(
            f"{path}: could not be written, as {folder} is a file and no folder; name another place"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            f"{path}: could not be written, as you may not write in {folder}; name another place"
        )


@contextlib.contextmanager
def naming(path: str | os.PathLike[str], left: str = "") -> Iterator[None]:
    """Say which file an error of the file system or of SQLite is about.

    Args:
        path: of the file.
        left: what became of it, and what to do.

    Raises:
        InputError: in place of these errors.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        text = getattr(error, "strerror", None) or str(error)
        why = f"{path}: could not be written ({text})"
        raise InputError(f"{why}; {left}" if left else why) from error


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and rename it over ``path`` on success.

    A reader sees the old file or the whole new one; on any error (a full disk, say) the old
    file stays and the temporary one is removed. A symbolic link stays, and the file that it points
    to is replaced; a device or a pipe gets the content when it is whole.
    """
    path = Path(path)
    stream = is_stream(path)
    target = path if stream else Path(os.path.realpath(path))
    temporary = None
    left = "is there room, and may you write there?"
    if not stream:
        left = f"what was there before is unchanged; {left}"
    try:
        with naming(path, left):
            folder = Path(tempfile.gettempdir()) if stream else target.parent
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=folder, prefix=".partial-", suffix=path.name)
            os.close(handle)
            temporary = Path(name)
            yield temporary
            if stream:
                copy_to_stream(temporary, path)
                return
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            os.replace(temporary, target)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def copy_to_stream(source: Path, path: Path) -> None:
    """Write the content of a file to a device or a pipe."""
    with source.open("rb") as file, _opened(path) as out:
        shutil.copyfileobj(file, out)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
