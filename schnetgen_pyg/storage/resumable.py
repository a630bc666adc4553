"""Files that grow record by record: a run that was killed keeps what it has and continues."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.storage.atomic import replacing

#: Values longer than this (digests, say) are not quoted.
SHORT = 40


def keep_whole_lines(path: Path) -> int:
    """Cut a file after its last whole line; return the number of lines."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    os.truncate(path, end)
    return content[:end].count(b"\n")


def as_json(settings: Mapping[str, Any]) -> Any:
    """Settings as they come back from JSON."""
    return json.loads(json.dumps(settings))


def require_same_settings(
    path: Path, found: Any, wanted: Mapping[str, Any], remove: str = "it"
) -> None:
    """Refuse to continue a file that was begun with other settings.

    Args:
        path: of the file.
        found: settings that it was begun with.
        wanted: those of now, both as JSON has them.
        remove: what has to go to begin anew.

    Raises:
        InputError: naming the settings that differ.
    """
    if found == wanted:
        return
    before, now = _flat(found), _flat(wanted)
    differing = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    told = [_told(name, before.get(name), now.get(name)) for name in differing]
    raise InputError(
        f"{path}: holds results of other settings ({', '.join(told)}); remove {remove}, or name "
        "another output"
    )


def _flat(settings: Any) -> dict[str, Any]:
    """One level of settings within settings beside the others."""
    result: dict[str, Any] = {}
    for name, value in settings.items() if isinstance(settings, dict) else ():
        result |= value if isinstance(value, dict) else {name: value}
    return result


def _told(name: str, before: Any, now: Any) -> str:
    texts = [json.dumps(value) for value in (before, now)]
    if max(map(len, texts)) > SHORT:
        return f"other {name}"
    return f"{name} was {texts[0]}, is now {texts[1]}"


class ResumableFile:
    """A file of records that is written beside its place and put there when it is whole.

    Records go to ``PATH.partial.SUFFIX`` as they come; the settings that decide them are in
    ``PATH.partial.json``, so that nothing is continued with others.

    Attributes:
        partial: path of the records.
        done: whole records that an earlier run has left there.

    Args:
        path: where the result belongs.
        suffix: of the partial file.
        settings: all that decides the records.
        keep_whole: cuts a file after its last whole record and returns their number; by default
            every line is one.

    Raises:
        InputError: if the partial file is of other settings, or they cannot be read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        suffix: str,
        settings: Mapping[str, Any],
        keep_whole: Callable[[Path], int] = keep_whole_lines,
    ):
        path = Path(path)
        self.partial = path.with_name(f"{path.name}.partial.{suffix}")
        self._settings = path.with_name(f"{path.name}.partial.json")
        wanted = as_json(settings)
        self.done = 0
        if self._settings.is_file():
            both = f"it and {self._settings.name}"
            require_same_settings(self.partial, self._saved(), wanted, remove=both)
            self.done = keep_whole(self.partial) if self.partial.is_file() else 0
            return
        self.partial.unlink(missing_ok=True)
        with replacing(self._settings) as temporary:
            temporary.write_text(json.dumps(wanted))

    def _saved(self) -> Any:
        try:
            return json.loads(self._settings.read_text())
        except ValueError as error:
            raise InputError(
                f"{self._settings}: damaged, so that the records in {self.partial.name} are of "
                "unknown settings; remove both, or name another output"
            ) from error

    def extend(self, records: Iterable[str]) -> None:
        """Append records, each as soon as it comes.

        Raises:
            InputError: if the disk takes no more; what came before is kept.
        """
        try:
            with self.partial.open("a") as file:
                for record in records:
                    file.write(record)
                    file.flush()
        except OSError as error:
            raise InputError(
                f"{self.partial}: could not be written ({error}); the records before are kept, the "
                "same command continues with the next one"
            ) from error

    def close(self, path: str | os.PathLike[str] | None = None) -> None:
        """The result is whole: move the records to ``path``, or where their content is in another
        file already, remove them."""
        if path is None:
            self.partial.unlink()
        else:
            self.partial.replace(path)
        self._settings.unlink()
