"""The lowest versions that are allowed can be tested."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_dependency_has_a_floor_below_what_is_tested():
    command = [sys.executable, str(ROOT / ".ci" / "floors.py"), "xtb"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    floors = dict(line.split("==") for line in printed.splitlines())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["xtb"]
    assert set(floors) == {re.split(r"[^\w-]", text)[0] for text in wanted}

    def canonical(name):
        return name.lower().replace("_", "-")

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    tested = {canonical(name): version for name, version in pinned.items()}
    for name, floor in floors.items():
        parts = [tuple(map(int, text.split("."))) for text in (floor, tested[canonical(name)])]
        assert parts[0] <= parts[1], f"{name}: {floor} is above what is tested"
