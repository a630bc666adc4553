"""The command line: ``schnetgen COMMAND``, one of `schnetgen_pyg.commands.table.COMMANDS`."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from schnetgen_pyg import __version__
from schnetgen_pyg.commands.table import COMMANDS
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.registry import PLUGINS, load_plugins

#: What ``schnetgen COMMAND --help`` prints, as ``make help`` keeps it: the parsers import torch.
HELP = Path(__file__).parent / "commands" / "help"


def _usage() -> str:
    lines = [f"  {name:14} {command.__doc__}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: schnetgen COMMAND [options]",
            "",
            *lines,
            "",
            "schnetgen COMMAND --help lists the options of a command; --version is the version.",
            "With --debug errors come with their traceback, and libraries with their warnings.",
        ]
    )


def _fail(command: str, text: object, status: int = 2) -> int:
    """Say in one line what is wrong."""
    name = f"schnetgen {command}".strip()
    print(f"{name}: error: {' '.join(str(text).split())}", file=sys.stderr)
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0, or 2 for what the user can mend, 1 for a fault of
    ours, 130 for an interruption."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if arguments[:1] == ["--version"]:
        print(__version__)
        return 0
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else 2
    command, *rest = arguments
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
        return _fail("", f"no command {command!r}; {hint}")
    if rest in (["-h"], ["--help"]) and not entry_points(group=PLUGINS):  # which may add options
        print((HELP / f"{command}.txt").read_text(), end="")
        return 0
    return _run(command, rest, debug)


def _run(command: str, arguments: Sequence[str], debug: bool) -> int:
    from schnetgen_pyg.commands.output import explained, only_own_words, unexpected

    try:
        with only_own_words(command, debug):
            load_plugins()
            COMMANDS[command](arguments)
    except KeyboardInterrupt:
        return _fail(command, "stopped; the same command continues what is not finished", 130)
    except InputError as error:
        if debug:
            raise
        return _fail(command, error)
    except BrokenPipeError:  # such as `| head`, which has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if debug:
            raise
        known = explained(error)
        return _fail(command, known) if known else _fail(command, unexpected(error), 1)
    return 0
