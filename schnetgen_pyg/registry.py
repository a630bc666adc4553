"""Tables of things by their name, which users may add to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import TypeVar

from schnetgen_pyg.errors import InputError

T = TypeVar("T")
#: Modules that an installed package names under this group of entry points are imported by the
#: command line; what they register is known there.
PLUGINS = "schnetgen_pyg.plugins"


class UnknownName(InputError, KeyError):
    """No such name in a `Registry`; the message lists those there are."""

    __str__ = ValueError.__str__


def nearest(name: str, known: Mapping[str, object] | list[str]) -> str:
    """`` (did you mean 'x'?)`` where a known name is close, in any case; else nothing."""
    folded = {one.casefold(): one for one in known}
    near = get_close_matches(name.casefold(), list(folded), n=1)
    return f" (did you mean {folded[near[0]]!r}?)" if near else ""


class Registry(Mapping[str, T]):
    """Things of one kind by the name that settings, files and command lines use.

    Args:
        kind: of the things, for messages.
        things: those that the package brings.

    Example:
        >>> from schnetgen_pyg.data.readers import READERS
        >>> READERS.register(".mine", read_mine)
    """

    def __init__(self, kind: str, things: Mapping[str, T]):
        self.kind, self._things = kind, dict(things)

    def register(self, name: str, thing: T | None = None) -> T | Callable[[T], T]:
        """Add a thing under a new name; without the thing a decorator.

        Raises:
            InputError: if the name is taken by something else.
        """
        if thing is None:
            return lambda decorated: self.register(name, decorated)  # type: ignore[return-value]
        if self._things.get(name, thing) is not thing:
            raise InputError(f"a {self.kind} named {name!r} is there already; choose another name")
        self._things[name] = thing
        return thing

    def __getitem__(self, name: str) -> T:
        try:
            return self._things[name]
        except KeyError:
            known = ", ".join(sorted(self._things))
            hint = nearest(str(name), self._things)
            raise UnknownName(
                f"no {self.kind} is named {name!r}{hint}; there are {known}. One of your own has "
                "to be registered before"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)


def load_plugins() -> None:
    """Import the modules that installed packages name as `PLUGINS`.

    Raises:
        InputError: naming the one that cannot be imported.
    """
    for entry in entry_points(group=PLUGINS):
        try:
            entry.load()
        except Exception as error:
            raise InputError(
                f"the plugin {entry.name!r} ({entry.value}) cannot be loaded "
                f"({type(error).__name__}: {error}); mend or uninstall the package that brings it"
            ) from error
