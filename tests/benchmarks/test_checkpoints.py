"""A bundled model is made again by one command, and says what made it."""

import dataclasses
import hashlib
import json

import pytest
import torch

from schnetgen_pyg import Potential, SchNetGen, load
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.writers import write
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNN

SMALL = {"preset": "small", "steps": 2, "num_validation": 4, "batch_size": 4}
SMALL |= {"hidden_channels": 8, "num_filters": 8, "num_interactions": 1, "accelerator": "cpu"}


@pytest.fixture
def checkpoints(script):
    return script("checkpoints")


@pytest.fixture
def model_recipes(script):
    return script("model_recipes")


@pytest.fixture
def isomers(tmp_path):
    path = tmp_path / "isomers.extxyz"
    write(path, [to_ase(data) for data in load("c7h10o2-xtb")[:12]])
    return path


@pytest.fixture
def recipes(checkpoints, model_recipes, isomers, monkeypatch):
    """Tiny ones in place of the true ones."""
    ten = model_recipes.Source("ten isomers", 10, digest(load(isomers)[:10]))
    labels = {"num_perturbed": 1, "equilibration": 1, "interval": 1, "temperatures": [300.0]}
    fitted = {"representation": "schnet", "steps": 1, "num_validation": 2, "num_test": 2}
    fitted |= {"settings": {"num_interactions": 1, "num_gaussians": 5}, "accelerator": "cpu"}
    made = {
        "generator": model_recipes.Recipe(ten, (model_recipes.Stage("train", SMALL),)),
        "potential": model_recipes.Recipe(
            dataclasses.replace(ten, count=4, sha256=digest(load(isomers)[:4])),
            (
                model_recipes.Stage("label", labels),
                model_recipes.Stage("fit-potential", fitted | {"group_by": "source"}),
            ),
        ),
    }
    monkeypatch.setattr(checkpoints, "RECIPES", made)
    return made


def test_other_data_are_refused(checkpoints, recipes, isomers, tmp_path):
    other = tmp_path / "other.extxyz"
    write(other, [to_ase(data) for data in load("c7h10o2-xtb")[1:13]])
    with pytest.raises(InputError, match="are not the ten isomers that the recipe names"):
        checkpoints.make("generator", other, tmp_path / "out")
    with pytest.raises(InputError, match="name their file with --data"):
        checkpoints.make("generator", None, tmp_path / "out")


def test_other_labels_are_refused(model_recipes, recipes, isomers):
    """Structures that are those of the recipe, with other properties."""
    ten = recipes["generator"].data
    own = model_recipes.labels_digest(load(isomers)[:10], ["energy"])
    named = dataclasses.replace(ten, labels=("energy",), labels_sha256=own)
    assert len(named.read(isomers)[0]) == 10
    structures = [data.clone() for data in load(isomers)[:10]]
    structures[3].energy = structures[3].energy + 0.1
    assert model_recipes.labels_digest(structures, ["energy"]) != own
    with pytest.raises(InputError, match="values of energy are others"):
        named.check_labels(structures, "isomers.extxyz")


def test_numbers_of_the_published_archives_are_whole(model_recipes):
    numbers = model_recipes.numbers_in(model_recipes.ISOMERS)
    assert len(set(numbers)) == len(numbers) == model_recipes.TRAIN.count
    assert 0 <= min(numbers) < max(numbers) <= 6095
    absent = model_recipes.numbers_in(model_recipes.REST.left_out)
    assert len(set(absent)) == len(absent) >= 3054  # those that QM9 calls uncharacterized
    assert 0 < min(absent) < max(absent) <= 133_885


def test_molecules_that_are_left_out_of_a_published_archive(
    model_recipes, isomers, tmp_path, monkeypatch
):
    """The others, without a formula and what is held out, are those of the recipe."""
    everything = load(isomers)[:12]
    for number, data in enumerate(everything, 1):
        data.index = number
    (tmp_path / "left_out.txt").write_text("# two\n3\n12\n")
    source = model_recipes.Source(
        "eight", 8, "", held_out=2, without="CH4", left_out=tmp_path / "left_out.txt"
    )
    ten = [data for data in everything if data.index not in (3, 12)]
    source = dataclasses.replace(source, sha256=digest(source.parts(ten)[0]))
    monkeypatch.setattr(model_recipes, "load", lambda name: {"qm9": everything}[name])
    wanted, held_out = source.read(None)
    assert {data.index for data in wanted + held_out} == {data.index for data in ten}
    with pytest.raises(InputError, match="archive: its structures are not the eight"):
        dataclasses.replace(source, count=9).read(None)


@pytest.mark.slow
def test_a_generator_from_its_recipe(checkpoints, model_recipes, recipes, isomers, tmp_path):
    out = tmp_path / "out"
    path = checkpoints.make("generator", isomers, out)
    model = SchNetGen.from_pretrained(path)
    told = model.provenance["recipe"]
    assert told["data"] == {
        "name": "ten isomers",
        "count": 10,
        "sha256": digest(load(isomers)[:10]),
    }
    assert told["stages"][0]["settings"]["learning_rate"] == 0.002  # the preset's, named
    assert model.provenance["step"] == 2
    assert checkpoints.differences("generator", path) == []

    # The same command again finds it made; a run of other settings is not continued.
    assert checkpoints.make("generator", isomers, out) == path
    (stage,) = recipes["generator"].stages
    other = model_recipes.Stage("train", stage.settings | {"learning_rate": 0.5, "steps": 3})
    recipes["generator"] = dataclasses.replace(recipes["generator"], stages=(other,))
    with pytest.raises(InputError, match=r"learning_rate 0\.002, the recipe has 0\.5"):
        checkpoints.make("generator", isomers, out)
    wrong = checkpoints.differences("generator", path)
    assert "another stages" in wrong
    assert "learning_rate 0.002, the recipe has 0.5" in wrong
    assert "step 2 of 3" in wrong


@pytest.mark.slow
def test_a_model_that_starts_from_another(
    checkpoints, model_recipes, recipes, isomers, tmp_path, monkeypatch
):
    """The one that was made in the same folder; its SHA-256 is kept, and compared with that of the
    bundled one."""
    out, labelled = tmp_path / "out", tmp_path / "labelled.extxyz"
    parent = checkpoints.make("generator", isomers, out)
    structures = [to_ase(data) for data in load(isomers)[:10]]
    for number, atoms in enumerate(structures):
        atoms.info["gap"] = float(number) if number % 2 else float("nan")
    write(labelled, structures)
    child = {"init": "generator", "properties": ["gap"], "steps": 3, "num_validation": 2}
    child["conditions"] = ["remaining_formula", "valence_states", "given_atoms", "properties"]
    data = dataclasses.replace(
        recipes["generator"].data,
        labels=("gap",),
        labels_sha256=model_recipes.labels_digest(load(labelled), ["gap"]),
    )
    stage = model_recipes.Stage("train", child | {"fragments": 0.3, "accelerator": "cpu"})
    recipes["child"] = model_recipes.Recipe(data, (stage,))
    path = checkpoints.make("child", labelled, out)
    model = SchNetGen.from_pretrained(path)
    assert [one.name for one in model.config.properties] == ["gap"]
    assert model.provenance["parent"]["name"] == "generator"
    sha256 = hashlib.sha256(parent.read_bytes()).hexdigest()
    assert model.provenance["parent"]["sha256"] == sha256
    told = model.provenance["recipe"]
    assert told["data"]["labels_sha256"] == data.labels_sha256
    assert told["stages"][0]["settings"]["init"] == "generator"

    assert checkpoints.differences("child", path) == [
        "generator, which it starts from, is not bundled"
    ]
    monkeypatch.setattr("schnetgen_pyg.storage.models.CHECKPOINTS", out)
    assert checkpoints.differences("child", path) == []
    model = SchNetGen.from_pretrained(parent)
    next(model.parameters()).data.add_(1.0)
    model.save(parent)
    (wrong,) = checkpoints.differences("child", path)
    assert wrong.startswith(f"starts from generator {sha256[:12]}")


@pytest.mark.slow
def test_a_potential_from_its_recipe(checkpoints, recipes, isomers, tmp_path):
    pytest.importorskip("tblite")
    out = tmp_path / "out"
    path = checkpoints.make("potential", isomers, out)
    labels = load(out / "labels.extxyz")
    told = Potential.from_pretrained(path).provenance["recipe"]
    assert [stage["command"] for stage in told["stages"]] == ["label", "fit-potential"]
    assert told["labels"] == {"count": 8, "sha256": digest(labels)}
    assert checkpoints.differences("potential", path) == []
    record = out / "labels.extxyz.made.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"interval": 9}))
    with pytest.raises(InputError, match="made of other data or settings"):
        checkpoints.make("potential", isomers, out)


def test_a_model_without_a_recipe_is_named(checkpoints, recipes, tmp_path):
    model = SchNetGen(hidden_channels=8, num_interactions=1, elements=(1, 6, 8))
    model.save(tmp_path / "bare.safetensors")
    wrong = checkpoints.differences("generator", tmp_path / "bare.safetensors")
    assert wrong == ["names no recipe: it was not made by this command"]


@pytest.mark.slow
def test_an_encoder_of_a_generator_that_was_made_before(
    checkpoints, model_recipes, isomers, tmp_path, monkeypatch
):
    """From data that no recipe names yet; the models say which they were."""
    data = model_recipes.Source("some isomers", 0, "")
    trained = model_recipes.Stage("train", SMALL | {"preset": "conformers", "num_samples": 0})
    taken = model_recipes.Stage("encoder", {"of": "conformers"})
    made = {
        "conformers": model_recipes.Recipe(data, (trained,)),
        "boltzmann": model_recipes.Recipe(data, (taken,)),
    }
    monkeypatch.setattr(checkpoints, "RECIPES", made)
    out = tmp_path / "out"
    generator = checkpoints.make("conformers", isomers, out)
    path = checkpoints.make("boltzmann", isomers, out)
    model = BoltzmannGNN.from_pretrained(path)
    own = BoltzmannGNN.from_pretrained(generator)
    assert torch.equal(model.from_smiles(["CCO"]), own.from_smiles(["CCO"]))
    told = {"name": "some isomers", "count": 12, "sha256": digest(load(isomers))}
    assert model.provenance["recipe"]["data"] == told
    sha256 = hashlib.sha256(generator.read_bytes()).hexdigest()
    assert model.provenance["parent"]["sha256"] == sha256
    other = tmp_path / "other.extxyz"
    write(other, [to_ase(data) for data in load("c7h10o2-xtb")[1:13]])
    with pytest.raises(InputError, match="was made of other structures; make conformers before"):
        checkpoints.make("boltzmann", other, out)
