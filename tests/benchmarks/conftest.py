"""The benchmarks are scripts: their folder is where they import from."""

import importlib
import sys
from pathlib import Path

import pytest
from joblib.externals.loky import get_reusable_executor

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
