"""The lowest versions that pyproject.toml allows, as constraints for pip.

    python .ci/floors.py test xtb > floors.txt    # of the dependencies and of these extras

Needs nothing but Python. What has no floor is left out.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def floors(*extras: str) -> dict[str, str]:
    """Lowest version by the name of the package."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    found = (re.match(r"([\w-]+)(?:\[[\w,]+\])?>=([\d.]+)", text) for text in wanted)
    return {match[1]: match[2] for match in found if match}


if __name__ == "__main__":
    print("\n".join(f"{name}=={version}" for name, version in floors(*sys.argv[1:]).items()))
