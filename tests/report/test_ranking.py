"""What comes first in files and pictures is the best, by what they say."""

import ase
import pytest
from ase.build import molecule
from rdkit import Chem

from schnetgen_pyg import evaluate
from schnetgen_pyg.commands import judges
from schnetgen_pyg.evaluation.evaluation import Evaluation
from schnetgen_pyg.report import pictures
from schnetgen_pyg.report.page import page_data
from schnetgen_pyg.report.pictures import best_molecules, valid_molecules
from schnetgen_pyg.report.ranking import ranking
from tests.conftest import small_model

NAMES = ("H2O", "CH4", "CH3OH", "NH3")


def sample(log_probs=(None,) * 4, names=NAMES) -> tuple[list[ase.Atoms], Evaluation]:
    """Real molecules; EDM and PoseBusters accept the last of four, one of them the third."""
    structures = [molecule(name) for name in names]
    for atoms, value in zip(structures, log_probs, strict=False):
        if value is not None:
            atoms.info["log_prob"] = value
    evaluation = evaluate(structures, judges=[], jobs=1)
    for number, record in enumerate(evaluation.records):
        record["edm"] = {"stable_atoms": 3 if number >= 2 else 2, "num_atoms": 3}
        record["posebusters"] = {"bond_lengths": number == 3, "bond_angles": True}
        record["openbabel"] = {"unfinished": "timeout"}
    return structures, evaluation


def smiles(mols):
    return [mol.GetProp("smiles") for mol in mols]


@pytest.mark.parametrize(
    ("log_probs", "order", "words"),
    [
        ((-3.0, -1.0, -2.0, -4.0), [1, 2, 0, 3], "most probable first (log_prob)"),
        ((-3.0, None, 5.0, float("nan")), [2, 0, 1, 3], "the 2 without one last"),
        ((None,) * 4, [3, 2, 0, 1], "those that most judges accept first, as no log_prob is known"),
    ],
)
def test_the_order_and_what_is_said_of_it(log_probs, order, words):
    structures, evaluation = sample(log_probs)
    found, said = ranking(structures, evaluation.records)
    assert (found, words in said) == (order, True)
    first = [evaluation.records[number]["smiles"] for number in order]
    assert smiles(valid_molecules(structures, evaluation)) == first
    page = page_data(structures, evaluation, model=small_model(elements=(1, 6, 7, 8)))
    assert page["construction"]["smiles"] == first[0]
    assert page["construction"]["chosen"] == f"new ones first, {said}"
    assert page["ranked"] == any(value is not None for value in log_probs)


def test_what_is_broken_is_not_ranked():
    structures, evaluation = sample()
    evaluation.records[3]["failure"] = "fragments"
    assert ranking(structures, evaluation.records)[0] == [2, 0, 1]


def test_the_best_of_several_files_and_of_each_molecule(tmp_path, monkeypatch, capsys):
    """Of a molecule that is there several times, the most probable one is kept."""
    samples = [sample((-3.0, -9.0)), sample((-5.0, -2.0, -1.0))]
    structures, evaluations = zip(*samples, strict=True)
    for group in structures:
        del group[2:]
    for one in evaluations:
        del one.records[2:]
    mols, words = best_molecules(structures, evaluations)
    assert (smiles(mols), words) == (["C", "O"], "most probable first (log_prob)")
    assert [mol.GetProp("log_prob") for mol in mols] == ["-2.0", "-3.0"]

    drawn = []
    monkeypatch.setattr(pictures, "draw_molecules", lambda path, mols: drawn.append(smiles(mols)))
    judges._write(tmp_path, list(structures), list(evaluations), evaluations[0])
    assert drawn == [["C", "O"]]
    kept = [mol.GetProp("smiles") for mol in Chem.SDMolSupplier(str(tmp_path / "valid.sdf"))]
    assert kept == ["C", "O"]
    assert "valid.sdf (2 different molecules, most probable first" in capsys.readouterr().out


def test_no_picture_of_an_earlier_evaluation_stays(tmp_path):
    structures, evaluation = sample()
    (tmp_path / "best.png").write_text("of another file")
    for record in evaluation.records:
        record["failure"] = "fragments"
        for name in ("smiles", "stereo_smiles", "fingerprint"):
            del record[name]
    judges._write(tmp_path, [structures], [evaluation], evaluation)
    assert not (tmp_path / "best.png").exists()
