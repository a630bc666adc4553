"""Write the tables of README.md and benchmarks/README.md from ``benchmarks/results/*.json``.

    python benchmarks/write_tables.py            # rewrite both
    python benchmarks/write_tables.py --check    # exit status 1 if one is out of date

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; nothing in it is written by
hand. benchmarks/README.md holds every table that has been measured.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import RESULTS
from tables_of_any import TABLES as OF_ANY
from tables_of_conformers import TABLES as OF_CONFORMERS
from tables_of_crystals import TABLES as OF_CRYSTALS
from tables_of_dynamics import TABLES as OF_DYNAMICS
from tables_of_graphs import TABLES as OF_GRAPHS
from tables_of_molecules import (
    ablation,
    paper,
    paper_steps,
    quality,
    relaxation,
    summary,
    time_to_valid,
)
from tables_of_perception import perception
from tables_of_potentials import (
    potential,
    potentials_qm9,
    potentials_rmd17,
    potentials_speed,
    transfer,
)
from tables_of_properties import TABLES as OF_PROPERTIES
from tables_of_speed import (
    accelerated,
    bfloat16,
    compare,
    generation,
    generation_batches,
    generation_gpu,
    generation_profile,
    gpu_tests,
    training_step,
    training_step_gpu,
    training_step_profile,
)
from tables_of_targets import TABLES as OF_TARGETS

HERE = Path(__file__).parent
#: Which holds all of them.
LONG = HERE / "README.md"

#: By the name of its record, what makes the table.
TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "paper": paper,
    "paper_steps": paper_steps,
    "quality": quality,
    "perception": perception,
    "relaxation": relaxation,
    "ablation": ablation,
    "time_to_valid": time_to_valid,
    "time_to_valid_gpu": time_to_valid,
    "training_step": training_step,
    "training_step_gpu": training_step_gpu,
    "training_step_profile": training_step_profile,
    "bfloat16_gpu": bfloat16,
    "generation": generation,
    "generation_gpu": generation_gpu,
    "generation_batches": generation_batches,
    "generation_profile": generation_profile,
    "tests_gpu": gpu_tests,
    "accelerated": accelerated,
    "compare": compare,
    "potential_painn": potential,
    "potential_schnet": potential,
    "potentials_rmd17": potentials_rmd17,
    "potentials_qm9": potentials_qm9,
    "potentials_speed": potentials_speed,
    "transfer": transfer,
    **OF_ANY,
    **OF_GRAPHS,
    **OF_DYNAMICS,
    **OF_TARGETS,
    **OF_PROPERTIES,
    **OF_CRYSTALS,
    **OF_CONFORMERS,
}
#: Made of several records.
SUMMARIES: dict[str, Callable[[], str]] = {"summary": summary}

MARKED = re.compile(r"<!-- table: ([\w-]+) -->.*?<!-- end -->", re.DOTALL)


def measured() -> set[str]:
    """Names of the tables that there are records of."""
    return {name for name in TABLES if (RESULTS / f"{name}.json").is_file()}


def table(name: str) -> str:
    """One table with its source, as Markdown."""
    if name in SUMMARIES:
        return SUMMARIES[name]()
    if name not in TABLES:
        raise SystemExit(f"no table {name!r}; there are {', '.join([*SUMMARIES, *TABLES])}")
    return TABLES[name](json.loads((RESULTS / f"{name}.json").read_text()))


def render(text: str) -> str:
    """A text with every table between its markers made anew; not measured ones stay empty."""

    def made(found: re.Match[str]) -> str:
        name = found[1]
        waiting = name in TABLES and name not in measured()
        block = "" if waiting else f"{table(name)}\n"
        return f"<!-- table: {name} -->\n{block}<!-- end -->"

    return MARKED.sub(made, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    stale = []
    for path in (*sorted(HERE.parent.glob("README*.md")), LONG):
        text = path.read_text()
        if (made := render(text)) != text:
            stale.append(path)
            if not options.check:
                path.write_text(made)
    absent = measured() - set(MARKED.findall(LONG.read_text()))
    if absent:
        sys.exit(f"{LONG} needs the markers of {', '.join(sorted(absent))}")
    if options.check and stale:
        sys.exit(f"out of date: {', '.join(path.name for path in stale)}")


if __name__ == "__main__":
    main()
