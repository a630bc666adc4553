"""The tables of the READMEs are made from what was measured."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READMES = [*sorted(ROOT.glob("README*.md")), ROOT / "benchmarks" / "README.md"]


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import write_tables

    return write_tables


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tables_are_those_of_the_results(path, tables):
    text = path.read_text()
    assert "<!-- table: " in text
    assert tables.render(text) == text, "run python benchmarks/write_tables.py"


def test_all_that_was_measured_is_shown(tables):
    shown = set(tables.MARKED.findall(READMES[-1].read_text()))
    assert tables.measured() <= shown
    results = {path.stem for path in tables.RESULTS.glob("*.json")}
    assert results == tables.measured(), "a result without a table"


def test_an_unknown_table_is_named(tables):
    with pytest.raises(SystemExit, match="no table 'qualty'"):
        tables.render("<!-- table: qualty -->\n<!-- end -->")
