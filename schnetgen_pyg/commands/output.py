"""What a command prints: its own words, and not those of the libraries that it is built on."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

PACKAGE = "schnetgen_pyg"
HERE = Path(__file__).parents[1]


def one_line(text: object) -> str:
    return " ".join(str(text).split())


@contextlib.contextmanager
def only_own_words(command: str, debug: bool) -> Iterator[None]:
    """Within it warnings of this package are one line each; advertisements, deprecations and
    warnings of libraries are seen with ``--debug`` only, here and in processes of their own."""
    if debug:
        yield
        return

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        print(f"schnetgen {command}: warning: {one_line(message)}", file=sys.stderr)

    environment = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore"
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("default", module=rf"{PACKAGE}(\.|$)")
            warnings.showwarning = show
            yield
    finally:
        logging.disable(level)
        if environment is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = environment


def explained(error: Exception) -> str | None:
    """What an error of the machine or of a file is, in one line with its cure; ``None`` for one
    that should have been caught where it arose."""
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        cures = {
            PermissionError: "; may you read it, and write there?",
            IsADirectoryError: "; name a file in it",
            FileNotFoundError: "; look at the spelling",
        }
        cure = cures.get(type(error), "")
        return f"{name}{error.strerror or error}{cure}"
    if isinstance(error, sqlite3.Error):
        return f"database: {error}; is there room, and does no other process write it?"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"the memory is too small ({one_line(error)}); lower batch_size or jobs"
    return None


def unexpected(error: Exception) -> str:
    """A fault of this package, with what a report of it needs."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(HERE)] or frames
    place = f"{Path(own[-1].filename).name}, line {own[-1].lineno}" if own else "?"
    return (
        f"unexpected {type(error).__name__} in {place}: {error}; this is a fault of {PACKAGE}: "
        "please report what the same command prints with --debug"
    )


def say(text: object, out: str | os.PathLike[str] | None = None) -> None:
    """Print what a command did; beside the result where that goes to the standard output."""
    taken = out is not None and os.fspath(out) in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
    print(text, file=sys.stderr if taken else sys.stdout)
