"""One process at a time writes a result that grows."""

from __future__ import annotations

import errno
import os
import weakref
from pathlib import Path

from schnetgen_pyg.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]


class Alone:
    """A file that no other process takes, until this is closed or forgotten.

    Args:
        number: of the open file.
    """

    def __init__(self, number: int):
        self._close = weakref.finalize(self, os.close, number)

    def close(self) -> None:
        """Give it free."""
        self._close()


def alone(path: str | os.PathLike[str]) -> Alone:
    """Take a file that belongs to a run, so that no other process does; a process that ends, also
    by ``kill -9``, gives it free.

    The lock is the process's (POSIX): whoever closes the file in this process, after reading it
    say, gives it free too.

    Raises:
        InputError: if another process has it.
    """
    number = os.open(path, os.O_RDWR)
    held = Alone(number)
    if fcntl is None:
        return held
    try:
        fcntl.lockf(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise InputError(
                f"{Path(path)}: another process is writing there; wait until it is through, stop "
                "it, or name another output"
            ) from error
        # Else it is a file system without locks.
    return held
