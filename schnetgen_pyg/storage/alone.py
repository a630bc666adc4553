"""One process at a time writes a result that grows."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

from schnetgen_pyg.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]


def alone(path: str | os.PathLike[str]) -> IO[bytes]:
    """Take a file that belongs to a run, so that no other process does, for as long as what is
    returned is open and this process lives: also ``kill -9`` gives it free.

    The lock is the process's (POSIX): whoever closes the file in this process, after reading it
    say, gives it free too.

    Raises:
        InputError: if another process has it.
    """
    path = Path(path)
    file = path.open("r+b")
    if fcntl is None:
        return file
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            return file  # a file system without locks
        file.close()
        raise InputError(
            f"{path}: another process is writing there; wait until it is through, stop it, or name "
            "another output"
        ) from error
    return file
