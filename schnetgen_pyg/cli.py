"""The command line: ``schnetgen COMMAND``, one of `COMMANDS`."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence

from schnetgen_pyg import __version__
from schnetgen_pyg.commands import energies, generators, judges

COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "train": generators.train,
    "generate": generators.generate,
    "evaluate": judges.evaluate,
    "report": judges.report,
    "view": judges.view,
    "fit-potential": energies.fit_potential,
    "predict": energies.predict,
    "label": energies.label,
    "relax": energies.relax,
}


def _usage() -> str:
    lines = [f"  {name:14} {command.__doc__}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: schnetgen COMMAND [options]",
            "",
            *lines,
            "",
            "schnetgen COMMAND --help lists the options of a command.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["--version"]:
        print(__version__)
        return 0
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else 2
    if arguments[0] not in COMMANDS:
        near = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        print(f"schnetgen: error: no command {arguments[0]!r}{hint}\n{_usage()}", file=sys.stderr)
        return 2
    from schnetgen_pyg.errors import InputError

    try:
        COMMANDS[arguments[0]](arguments[1:])
    except InputError as error:
        print(f"schnetgen {arguments[0]}: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"schnetgen {arguments[0]}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0
