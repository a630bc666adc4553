"""The benchmarks are scripts: their folder is where they import from."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from joblib.externals.loky import get_reusable_executor

from schnetgen_pyg import SchNetGen, load
from schnetgen_pyg.data.writers import write
from schnetgen_pyg.generator.training_set import TrainingSet

from ..conftest import deciding
from ..molecules import embedded

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """A benchmark by its name, as a module."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return importlib.import_module


@pytest.fixture
def fresh_processes():
    """Processes that are there already do not find the scripts."""
    get_reusable_executor().shutdown()


SMILES = ["CCO", "CC=O", "CNC", "OCCO", "C1CC1", "CC#N", "COC", "CC(C)=O", "c1ccoc1", "NCC=O"]


@pytest.fixture(scope="module")
def molecules():
    return [embedded(text) for text in SMILES]


@pytest.fixture(scope="module")
def files(molecules, tmp_path_factory):
    """Training and test molecules, and an untrained model that says it has seen the first."""
    folder = tmp_path_factory.mktemp("any")
    for name, part in (("train", molecules[:6]), ("test", molecules[6:])):
        write(folder / f"{name}.extxyz", part)
    torch.manual_seed(0)
    model = SchNetGen(
        hidden_channels=16,
        num_filters=12,
        num_interactions=1,
        num_gaussians=20,
        num_bins=150,
        num_head_layers=2,
        refinement=True,
        elements=(1, 6, 7, 8),
        max_counts=(8, 4, 1, 2),
        **deciding("next_type", "valence_state", "hydrogens", "focus"),
    )
    model.training_set = TrainingSet.of(load(folder / "train.extxyz"))
    model.save(folder / "tiny.safetensors")
    return folder


def called(monkeypatch, module, folder, *options):
    """Run a benchmark, and return its record."""
    options = [*options, "--out", folder / "out", "--results", folder]
    monkeypatch.setattr("sys.argv", [f"{module.__name__}.py", *map(str, options)])
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    module.main()
    (written,) = [p for p in folder.glob("*.json") if before.get(p) != p.stat().st_mtime_ns]
    return written.stem, json.loads(written.read_text())
