"""Files that grow record by record: a run that was killed keeps what it has and continues."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.storage.alone import alone
from schnetgen_pyg.storage.atomic import copy_to_stream, is_stream, naming, replacing
from schnetgen_pyg.storage.finished import finish, is_finished
from schnetgen_pyg.storage.settings import as_json, require_same_settings


def keep_whole_lines(path: Path) -> int:
    """Cut a file after its last whole line; return the number of lines."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    os.truncate(path, end)
    return content[:end].count(b"\n")


class ResumableFile:
    """A file of records that is written beside its place and put there when it is whole.

    Records go to ``PATH.partial.SUFFIX`` as they come; the settings that decide them are in
    ``PATH.partial.json``, so that nothing is continued with others. What goes to a device or a pipe
    is gathered in a folder of its own and not continued.

    Attributes:
        path: of the result: the file that a symbolic link points to.
        partial: path of the records.
        done: whole records that an earlier run has left there.
        finished: whether the result is there already; then there is nothing to do.

    Args:
        path: where the result belongs.
        suffix: of the partial file.
        settings: all that decides the records.
        keep_whole: cuts a file after its last whole record and returns their number; by default
            every line is one.
        result: what beside the settings decides the result, such as how many records it has.
        overwrite: whether a result or records of other settings may be replaced.

    Raises:
        InputError: if the result or the partial file is of other settings, or they cannot be read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        suffix: str,
        settings: Mapping[str, Any],
        keep_whole: Callable[[Path], int] = keep_whole_lines,
        *,
        result: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ):
        self._made_of = {**settings, **(result or {})}
        self.finished = is_finished(path, self._made_of, overwrite)
        self.path = path = Path(path) if is_stream(path) else Path(os.path.realpath(path))
        if is_stream(path):
            self._folder = tempfile.TemporaryDirectory()
            path = Path(self._folder.name) / path.name
        self.partial = path.with_name(f"{path.name}.partial.{suffix}")
        self._settings = path.with_name(f"{path.name}.partial.json")
        self.done = 0
        if not self.finished:
            self._begin(as_json(settings), keep_whole, overwrite)

    def _begin(self, wanted: Any, keep_whole: Callable[[Path], int], overwrite: bool) -> None:
        """Take the records that are there, or begin anew; no other process does meanwhile."""
        if self._settings.is_file():
            alone(self._settings).close()
        if self._settings.is_file() and not (overwrite and self._saved() != wanted):
            both = f"it and {self._settings.name}"
            require_same_settings(self.partial, self._saved(), wanted, remove=both)
            with naming(self.partial):
                self._held = alone(self._settings)  # when it has been read
                self.done = keep_whole(self.partial) if self.partial.is_file() else 0
            return
        self.partial.unlink(missing_ok=True)
        with replacing(self._settings) as temporary:
            temporary.write_text(json.dumps(wanted))
        self._held = alone(self._settings)

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
        left = "the records before are kept, the same command continues with the next one"
        for record in records:
            with naming(self.partial, left), self.partial.open("a") as file:
                file.write(record)

    def publish(self) -> None:
        """The records are the result: put them in its place."""
        if is_stream(self.path):
            with naming(self.path):
                copy_to_stream(self.partial, self.path)
            self.partial.unlink()
        else:
            finish(self.path, self._made_of, self.partial)  # before: a full disk leaves the records
            with naming(self.path):
                self.partial.replace(self.path)
        self._end()

    def close(self) -> None:
        """The result is in its place: remove the records.

        Raises:
            InputError: if the disk does not take what the result is made of; then the result is
                removed and the records are kept, so that the same command continues.
        """
        try:
            finish(self.path, self._made_of)
        except InputError:
            self.path.unlink()
            raise
        self.partial.unlink()
        self._end()

    def _end(self) -> None:
        self._settings.unlink()
        self._held.close()
