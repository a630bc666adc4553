"""What ``schnetgen COMMAND --help`` prints, in a file for each command.

The parsers know every option, but import torch to know it, which takes seconds; the files are read
at once. ``python -m schnetgen_pyg.commands.help`` (``make help``) writes them from the parsers, and
a test says when that is due.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from unittest import mock

from schnetgen_pyg.commands.table import COMMANDS

FOLDER = Path(__file__).parent


def from_parser(command: str) -> str:
    """The help of a command, by its parser, 80 columns wide."""
    text = io.StringIO()
    with (
        mock.patch.dict(os.environ, COLUMNS="80"),
        contextlib.redirect_stdout(text),
        contextlib.suppress(SystemExit),
    ):
        COMMANDS[command](["--help"])
    return text.getvalue()


def main() -> None:
    for command in COMMANDS:
        (FOLDER / f"{command}.txt").write_text(from_parser(command))
