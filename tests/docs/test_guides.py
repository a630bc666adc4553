"""What the guides, the README and the notebooks show is so."""

import base64
import json
import re
import shlex
from pathlib import Path

import pytest

from schnetgen_pyg.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "docs").glob("**/*.md"))
PAGES = [*GUIDES, ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("README*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    "page", [page for page in GUIDES if blocks(page, "python")], ids=lambda page: page.stem
)
def test_python_of_a_guide_runs(page, tmp_path, monkeypatch, capsys):
    """All blocks of a page, one after the other."""
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code in blocks(page, "python"):
        exec(code, names)
    capsys.readouterr()


def test_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code in blocks(ROOT / "README.md", "python"):
        exec(code.replace("num_molecules=100", "num_molecules=4"), names)
    assert names["log_p"].shape == (4, 300)
    assert names["forces"].shape == (3, 3)


def commands(page: Path) -> list[list[str]]:
    """All calls of ``schnetgen`` on a page, as arguments."""
    text = "\n".join(blocks(page, "console")).replace("\\\n", " ")
    lines = (line.split("  #")[0] for line in text.splitlines() if line.startswith("$ schnetgen "))
    return [shlex.split(line)[2:] for line in lines]


@pytest.mark.parametrize("command", COMMANDS)
def test_options_that_are_shown_exist(command, capsys):
    shown = [call for page in PAGES for call in commands(page) if call and call[0] == command]
    assert shown, f"no guide shows schnetgen {command}"
    assert main([command, "--help"]) == 0
    known = set(re.findall(r"--[\w]+", capsys.readouterr().out))
    for call in shown:
        options = {word.split("=")[0] for word in call if word.startswith("--")}
        assert options <= known, f"schnetgen {' '.join(call)}"


def test_commands_that_are_shown_exist():
    shown = {call[0] for page in PAGES for call in commands(page) if not call[0].startswith("-")}
    assert shown <= set(COMMANDS)


def test_pictures_are_small_and_notebooks_name_no_machine():
    film = ROOT / "docs" / "pictures" / "building.gif"
    assert 100_000 < film.stat().st_size < 1_500_000
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        assert not any(output.get("name") == "stderr" for output in outputs), path
        for output in outputs:
            picture = output.get("data", {}).get("image/png", "")
            assert len(base64.b64decode("".join(picture))) <= 200_000, path


def test_versions_agree():
    import schnetgen_pyg

    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert version is not None
    assert cited is not None
    assert schnetgen_pyg.__version__ == version[1] == cited[1]
