"""The plan of the house: a module imports only from modules above it."""

import ast
from pathlib import Path

import pytest

import schnetgen_pyg

PACKAGE = Path(schnetgen_pyg.__file__).parent
ORDER = (
    *("structures", "storage", "workers", "chemistry", "geometry", "datasets"),
    *(
        "blocks",
        "memory",
        "pair_sums",
        "layouts",
        "radial_tables",
        "graphs",
        "orders",
        "steps",
        "layers",
        "representations",
    ),
    *(
        "distances",
        "fused_kernels",
        "kernels",
        "random_numbers",
        "placement",
        "rules",
        "environments",
        "heads",
        "generator",
        "losses",
    ),
    *("sampling_config", "state", "building", "revision", "hydrogens", "assembly", "sampling"),
    *("streaming", "batches", "callbacks", "training", "recording"),
    *("potentials", "calculator", "methods"),
    *("potential_data", "potential_training", "labelling", "conventions", "poses"),
    *("distributions", "tables", "evaluation", "repeats", "optimizers", "relaxation", "report"),
    *("gallery", "page", "runs", "presets", "commands", "cli"),
)


def imported(path: Path) -> set[str]:
    names = set()
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names |= {node.module.split(".")[0]} if node.module else {a.name for a in node.names}
    return names & set(ORDER)


def test_every_module_has_its_place():
    found = {p.stem for p in PACKAGE.glob("*.py")} | {
        p.parent.name for p in PACKAGE.glob("*/__init__.py")
    }
    assert found - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("place", range(len(ORDER)), ids=ORDER)
def test_imports_come_from_above(place):
    name = ORDER[place]
    files = (
        [PACKAGE / f"{name}.py"]
        if (PACKAGE / f"{name}.py").is_file()
        else (PACKAGE / name).glob("*.py")
    )
    for path in files:
        assert imported(path) <= set(ORDER[:place]) | {name}, path


def test_public_names_are_there():
    assert len(schnetgen_pyg.__all__) <= 15
    for name in schnetgen_pyg.__all__:
        assert getattr(schnetgen_pyg, name).__doc__
