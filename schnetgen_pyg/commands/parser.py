"""Flags and one flat YAML file: what a command is told, and what is wrong with it in one line."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentParser

from schnetgen_pyg.errors import InputError


class Parser(ArgumentParser):
    """Flags and one flat YAML file; a misspelt key is answered with the nearest valid one."""

    def __init__(self, *args: Any, **kwargs: Any):
        self._file = ""  # the YAML file that is being read
        self._named: dict[str, str] = {}  # which file names an option
        super().__init__(*args, **kwargs)

    def parse_path(self, cfg_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Read the YAML file of ``--config``; what is wrong with it is said with its name."""
        self._file = str(cfg_path)
        content = _read_yaml(self._file)
        self._check_lists(content)
        self._named |= dict.fromkeys(map(str, content), self._file)
        found = super().parse_path(cfg_path, *args, **kwargs)
        self._file = ""
        return found

    def _check_lists(self, content: dict[str, Any]) -> None:
        for action in self._actions:
            value = content.get(action.dest, [])
            if action.nargs in ("+", "*") and not isinstance(value, list):
                kind = "a mapping" if isinstance(value, dict) else value
                raise InputError(
                    f"{self._file}: {action.dest} must be a list, such as [one, two], got {kind}"
                )

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Refuse, in one line, in the words of the option."""
        if isinstance(ex, InputError):  # said already, where it was found
            raise ex
        found = re.search(r"[Oo]ption '([\w.-]+)'|arguments: --([\w-]+)|Key '([\w.-]+)'", message)
        if found:
            wrong = next(group for group in found.groups() if group)
            known = [action.dest for action in self._actions]
            near = difflib.get_close_matches(wrong.replace("-", "_"), known, n=1)
            message += f" (did you mean {near[0]!r}?)" if near else ""
            self._file = self._file or self._named.get(wrong, "")
        message = re.sub(r"Parser key \"([\w.]+)\":\s*", r"\1: ", message)
        message = re.sub(r"<class '([\w.]+)'>", r"\1", message)
        message = re.sub(r"\. Got value:", ", got", message)
        file = f"{self._file}: " if self._file else ""
        raise InputError(f"{file}{message}; {self.prog} --help lists the options") from ex


def _read_yaml(name: str) -> dict[str, Any]:
    """The content of a configuration file.

    Raises:
        InputError: if it is not YAML, or not a line for each option.
    """
    path = Path(name)
    if not path.is_file():
        raise InputError(f"{name}: no such file; --config takes a YAML file")
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: is not YAML ({error})") from error
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise InputError(f"{name}: holds {kind}, but has to name options, such as `steps: 1000`")
    return content
