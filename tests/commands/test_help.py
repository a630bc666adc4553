import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from schnetgen_pyg.cli import main
from schnetgen_pyg.commands.help import FOLDER
from schnetgen_pyg.commands.table import COMMANDS

#: The words around our own are those of this version of the parser.
PARSER = next(
    line.partition("==")[2].strip()
    for line in Path(__file__).parents[2].joinpath("constraints.txt").read_text().splitlines()
    if line.startswith("jsonargparse==")
)
HEAVY = {"ase", "lightning", "numpy", "rdkit", "torch", "torch_geometric"}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([c, "--help"] for c in COMMANDS)]
)
def test_nothing_heavy_is_loaded_for_help(arguments):
    code = (
        "import sys; from schnetgen_pyg.cli import main; status = main(sys.argv[1:]); "
        "print('loaded', *sys.modules); sys.exit(status)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    text, loaded = process.stdout.split("loaded ")
    assert not HEAVY & set(loaded.split())
    assert text.strip()
    assert not process.stderr


@pytest.fixture(scope="module")
def made():
    """Help of every command as the parsers give it, without what other tests have registered."""
    code = (
        "import json; from schnetgen_pyg.commands.help import from_parser; "
        "from schnetgen_pyg.commands.table import COMMANDS; "
        "print(json.dumps({c: from_parser(c) for c in COMMANDS}))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return json.loads(process.stdout)


@pytest.mark.skipif(version("jsonargparse") != PARSER, reason=f"kept of jsonargparse {PARSER}")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_kept_help_is_that_of_the_parser(made, command):
    """Lines differ between versions of Python, words do not."""
    kept = (FOLDER / f"{command}.txt").read_text()
    assert kept.split() == made[command].split(), "run `make help`"


def test_help_beside_other_options_is_the_parsers(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--representation", "painn", "--help"])
    text = capsys.readouterr().out
    assert re.search(r"--num_radial\b", text)
    assert not re.search(r"--num_gaussians\b", text)
