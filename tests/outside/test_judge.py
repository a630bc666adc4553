"""A judge from outside the package, in this one file: which molecules have an intramolecular
hydrogen bond."""

import json

import ase.io
import pytest
from ase.build import molecule

from schnetgen_pyg import evaluate
from schnetgen_pyg.cli import main
from schnetgen_pyg.evaluation.judges import JUDGES, Judge, default_judges, finished
from schnetgen_pyg.testing.judge import check_judge
from tests.conftest import small_model

CONTACT = 2.4  # Å


def hydrogen_bonds(atoms, perception):
    """Hydrogens on O or N that are close to another O or N which is not their neighbour's."""
    if perception.mol is None:
        return None
    count = 0
    for atom in perception.mol.GetAtoms():
        donors = [n for n in atom.GetNeighbors() if n.GetAtomicNum() in (7, 8)]
        if atom.GetAtomicNum() == 1 and donors:
            for other in perception.mol.GetAtoms():
                bonded = {other.GetIdx(), *(n.GetIdx() for n in other.GetNeighbors())}
                if other.GetAtomicNum() in (7, 8) and donors[0].GetIdx() not in bonded:
                    near = atoms.get_distance(atom.GetIdx(), other.GetIdx()) < CONTACT
                    count += bool(near)
    return {"bonds": count}


def rows(records):
    counts = [entry["bonds"] for entry in finished(records, "hbond")]
    share = sum(count > 0 for count in counts) / len(counts) if counts else 0.0
    return {"hydrogen bond (%)": 100 * share}


HBOND = Judge(
    name="hbond",
    title="Hydrogen bonds",
    judge=hydrogen_bonds,
    rows=rows,
    verdict=lambda entry: f"{entry['bonds']} inside the molecule",
    about="A hydrogen on O or N closer than 2.4 Å to another O or N of the molecule.",
    cheap=False,  # asked only where it is named: other tests know nothing of it
)


@pytest.fixture(autouse=True, scope="module")
def _registered():
    JUDGES.register(HBOND.name, HBOND)


@pytest.fixture
def structures():
    """Acetic acid holds its hydrogen to the carbonyl oxygen, methanol has nobody to hold."""
    return [molecule("CH3COOH"), molecule("CH3OH"), molecule("CH4"), molecule("H2O")]


def test_contract():
    check_judge(HBOND)


def test_evaluate(structures):
    names = (*default_judges(), "hbond")
    result = evaluate(structures, train=structures[:1], judges=names, jobs=1)
    assert [record["hbond"]["bonds"] for record in result.records] == [1, 0, 0, 0]
    assert result.figures()["judges"]["hbond"] == {"hydrogen bond (%)": 25}
    table = result.to_pandas()
    assert [*table.loc["hydrogen bond (%)"]] == [25, 100]


def test_command_and_report(structures, tmp_path, capsys):
    file, figures = tmp_path / "some.extxyz", tmp_path / "f.json"
    ase.io.write(file, structures)
    options = [str(file), "--jobs=1", "--judges", "hbond"]
    assert main(["evaluate", *options, "--json", str(figures)]) == 0
    assert list(json.loads(figures.read_text())["judges"]) == ["rdkit", "hbond"]
    assert "hydrogen bond (%)" in capsys.readouterr().out
    small_model().save(tmp_path / "m.safetensors")
    assert main(["report", *options, "--checkpoint", str(tmp_path / "m.safetensors")]) == 0
    html = (tmp_path / "some.html").read_text()
    assert "<td>hydrogen bond (%)</td><td>25.00</td>" in html
    assert "<dt>Hydrogen bonds</dt><dd>A hydrogen on O or N closer" in html
    assert '"Hydrogen bonds":"1 inside the molecule"' in html
