"""Text files of any encoding and line ending."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

#: How a file begins that says its encoding.
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def _encoding(path: Path) -> str:
    """UTF-8, what a byte-order mark says, or else Western European, as older programs write it."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        start = file.read(4)
        for mark, name in MARKS.items():
            if start.startswith(mark):
                return name
        try:
            decoder.decode(start)
            while chunk := file.read(2**20):
                decoder.decode(chunk)
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8"


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text file without their ends."""
    with path.open(encoding=_encoding(path)) as file:
        for line in file:
            yield line.rstrip("\n")
