"""Novelty is judged against what the generator has seen."""

import warnings

import ase.io
import pytest

from schnetgen_pyg import InputError, evaluate
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.evaluation.evaluation import evaluate_each
from schnetgen_pyg.evaluation.replicates import Replicates
from schnetgen_pyg.generator.training_set import TrainingSet
from tests.conftest import METHANE, small_model
from tests.test_cli import run


@pytest.fixture(scope="module")
def model(isomers, tmp_path_factory):
    """A model in a file that has seen six isomers."""
    from schnetgen_pyg import SchNetGen

    path = tmp_path_factory.mktemp("seen") / "m.safetensors"
    model = small_model()
    model.training_set = TrainingSet.of(isomers[:6])
    model.save(path)
    return SchNetGen.from_pretrained(path)


def made_by(model, structures):
    """Structures as this model would have made them."""
    made = [to_ase(data) for data in structures]
    for atoms in made:
        atoms.info |= {"generator": model.name, "training_set": model.training_set.digest}
    return made


def test_molecules_are_judged_by_the_model_that_they_name(model, isomers):
    made = made_by(model, [*isomers[3:8], isomers[4]])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        result = evaluate(made, test=isomers[4:12], judges=(), jobs=1)
    figures = result.figures()
    assert figures["seen"]["different"]["smiles"] == 6
    assert figures["seen"]["found"]["smiles"] == 3
    assert figures["seen"]["hits"]["smiles"] == 4
    # What was seen is no find of the test set, nor one of those that could be found.
    assert figures["matches"]["test"]["smiles"] == 2
    assert figures["references"]["test"]["own"]["smiles"] == 6
    assert figures["new"]["smiles"] == 0
    assert figures["novelty"] == pytest.approx(2 / 5)
    assert result.origins() == ["seen"] * 3 + ["test"] * 2 + ["seen"]
    assert f"not among the 6 that {model.name} was trained on" in result.summary()
    assert result.to_pandas().loc["novel, of the unique (smiles, %)", "generated"] == 40


def test_training_molecules_are_no_finds_of_the_test_set(isomers):
    """Also where both sets hold them."""
    figures = evaluate(
        isomers[:4], train=isomers[:3], test=isomers[1:6], judges=(), jobs=1
    ).figures()
    for name in ("smiles", "fingerprint", "stereo_smiles"):
        assert figures["matches"]["train"][name] == 3
        assert figures["matches"]["test"][name] == figures["hits"]["test"][name] == 1
        assert figures["references"]["test"]["own"][name] == 3
    assert figures["novelty"] == pytest.approx(1 / 4)


def test_another_training_set_is_told_with_the_overlap(model, isomers):
    made = [to_ase(data) for data in isomers[3:8]]
    said = "of its 2 different valid molecules 1 are among the 6 seen"
    with pytest.warns(UserWarning, match=said):
        result = evaluate(made, model=model, train=isomers[5:7], judges=(), jobs=1)
    assert said in result.summary()
    figures = result.figures()
    assert figures["matches"]["train"]["smiles"] == 2
    assert figures["novelty"] == pytest.approx(2 / 5)  # not 3 / 5
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        evaluate(made, model=model, train=isomers[:6], judges=(), jobs=1)


def test_a_model_that_has_changed_or_gone_is_not_asked(model, isomers, tmp_path):
    made = made_by(model, isomers[:2])
    for atoms in made:
        atoms.info["training_set"] = "0123456789ab"
    with pytest.warns(UserWarning, match="has seen other molecules"):
        assert "novelty" not in evaluate(made, judges=(), jobs=1).figures()
    with pytest.warns(UserWarning, match="other molecules than"):
        assert evaluate(made, model=model, judges=(), jobs=1).figures()["novelty"] == 0
    made[0].info["generator"] = made[1].info["generator"] = str(tmp_path / "gone.safetensors")
    with pytest.warns(UserWarning, match="cannot be asked what it has seen: .*neither a file"):
        evaluate(made, judges=(), jobs=1)
    with pytest.raises(InputError, match="neither a file"):
        evaluate(made, model="gone", judges=(), jobs=1)
    with pytest.warns(UserWarning, match="does not say what it was trained on"):
        evaluate([METHANE], model=small_model(), judges=(), jobs=1)
    with pytest.warns(UserWarning, match="1 of 2 structures do not say who made them"):
        evaluate([*made_by(model, isomers[:1]), METHANE], judges=(), jobs=1)


def test_nothing_known_is_said():
    result = evaluate([METHANE], test=[METHANE], judges=(), jobs=1)
    assert "novelty" not in result.figures()
    assert "novelty is not judged" in result.summary()


def test_several_generators(model, isomers, tmp_path):
    other = small_model()
    other.training_set = TrainingSet.of(isomers[6:9])
    other.save(tmp_path / "other.safetensors")
    other.name = str(tmp_path / "other.safetensors")
    samples = [made_by(model, isomers[:8]), made_by(other, isomers[:8])]
    replicates = Replicates(evaluate_each(samples, judges=(), jobs=1), ["a", "b"])
    assert replicates.rows()["novel, of the unique (smiles, %)"] == [25, 75]
    text = replicates.summary()
    assert "a: novelty: 25.0 % of 8 different valid molecules are not among the 6 that" in text
    together = evaluate([*samples[0][:4], *samples[1][4:]], judges=(), jobs=1)
    assert together.figures()["novelty"] == 0


def test_files_name_their_model(model, isomers, tmp_path, capsys):
    path = tmp_path / "made.extxyz"
    ase.io.write(path, made_by(model, isomers[4:8]))
    assert run("evaluate", path, "--jobs=1", "--out", tmp_path / "judged") == 0
    assert "50.0 % of 4 different valid molecules" in (tmp_path / "judged/table.txt").read_text()
    assert "known_from" in (tmp_path / "judged/valid.sdf").read_text()
    ase.io.write(path, [to_ase(data) for data in isomers[4:8]])
    assert run("evaluate", path, "--jobs=1", "--checkpoint", model.name) == 0
    assert "50.0 % of 4 different valid molecules" in capsys.readouterr().out
