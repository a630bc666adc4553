"""What a finished file was made of, so that no other result is written over it.

Beside ``NAME`` lies ``.NAME.made.json``: the settings that decided its content, and a digest of the
content.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.storage.atomic import is_stream, replacing, require_writable
from schnetgen_pyg.storage.settings import as_json, differences

#: The way out of a refusal.
CURE = "name another output, or replace it with --overwrite (overwrite=True)"


def _record(path: Path) -> Path:
    return path.with_name(f".{path.name}.made.json")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def made_of(path: str | os.PathLike[str]) -> Any:
    """The settings that a finished file was made of; ``None`` where that is not known, or the file
    was changed since."""
    path = Path(os.path.realpath(path))
    try:
        record = json.loads(_record(path).read_text())
        return record["settings"] if record["sha256"] == _sha256(path) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_finished(
    path: str | os.PathLike[str], settings: Mapping[str, Any], overwrite: bool = False
) -> bool:
    """Whether ``path`` holds the result of these settings already.

    Args:
        path: where a result belongs.
        settings: all that decides its content.
        overwrite: whether anything else that is there may be replaced.

    Raises:
        InputError: if it cannot be written there, or something else is there.
    """
    require_writable(path)
    path = Path(path)
    if overwrite or is_stream(path) or not path.exists() or path.stat().st_size == 0:
        return False
    found = made_of(path)
    if found is None:
        raise InputError(f"{path}: is there already, and not known to be of this command; {CURE}")
    told = differences(found, as_json(settings))
    if told:
        raise InputError(f"{path}: holds results of other settings ({', '.join(told)}); {CURE}")
    return True


def finish(
    path: str | os.PathLike[str], settings: Mapping[str, Any], content: Path | None = None
) -> None:
    """Keep what a file is made of.

    Args:
        path: of the file.
        settings: all that decided its content.
        content: a file with its content, before that is put in its place; by default the file
            itself, which was just written.
    """
    if is_stream(path):
        return
    path = Path(os.path.realpath(path))
    record = {"settings": as_json(settings), "sha256": _sha256(content or path)}
    with replacing(_record(path)) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")


@contextlib.contextmanager
def recording(files: Iterable[Path], settings: Mapping[str, Any]) -> Iterator[None]:
    """Files that are written within are known to be of these settings afterwards.

    Where that fails (a full disk, say), those that were not there before are removed, so that the
    same command can be run again.
    """
    files = list(files)
    new = [file for file in files if not file.exists()]
    folders = [file.parent for file in new if not file.parent.exists()]
    try:
        yield
        for file in files:
            if file.is_file() and not is_stream(file):
                finish(file, settings)
    except BaseException:
        for file in new:
            if not is_stream(file):
                file.unlink(missing_ok=True)
                _record(file).unlink(missing_ok=True)
        for folder in dict.fromkeys(folders):
            with contextlib.suppress(OSError):  # it holds something else
                folder.rmdir()
        raise
