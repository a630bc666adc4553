"""Structures that stay on the disk train to the same weights as those in memory."""

import json

import ase.io
import pytest
import torch
from ase.build import molecule

from schnetgen_pyg import InputError, SchNetGen, fit, load
from schnetgen_pyg.cli import main
from schnetgen_pyg.data.convert import convert
from schnetgen_pyg.data.lewis_structures import states_in, with_lewis_structures
from schnetgen_pyg.generator.training_set import TrainingSet
from schnetgen_pyg.training.potential import fit_potential
from tests.conftest import deciding, small_model
from tests.targets.test_labels import springs
from tests.training import test_generator, test_potential

QUICK = test_generator.QUICK | {"steps": 4, "validation_interval": 2}


def test_a_generator(isomers, tmp_path):
    """Also which were held out, what was seen, and what cannot be learned is left out."""
    ase.io.write(tmp_path / "ch3.xyz", molecule("CH3"))
    radical = load(tmp_path / "ch3.xyz")[0]
    data = [*isomers[:10], radical, *isomers[10:30]]
    stored = convert(data, out=tmp_path / "data.safetensors", jobs=1)
    states = states_in([d for d in with_lewis_structures(data)[0] if d is not None])
    found = []
    for name, structures in (("list", data), ("stored", stored)):
        model = small_model(
            **deciding("next_type", "valence_state", "hydrogens", "focus"), states=states
        )
        with pytest.warns(UserWarning, match="1 with unpaired electrons"):
            found.append(fit(model, structures, tmp_path / name, **QUICK))
    one, two = found
    assert torch.equal(test_generator.weights(one), test_generator.weights(two))
    assert one.training_set.digest == two.training_set.digest
    assert one.provenance["left_out"] == two.provenance["left_out"] == {"radical": 1}
    splits = [
        json.loads((tmp_path / name / "split.json").read_text()) for name in ("list", "stored")
    ]
    assert splits[0] == splits[1]


def test_what_a_model_has_seen(isomers, tmp_path):
    stored = convert(isomers[:12], out=tmp_path / "data.safetensors", jobs=1)
    chosen = [3, 1, 8]
    wanted = TrainingSet.of([isomers[k] for k in chosen])
    assert TrainingSet.of(stored[chosen]).digest == wanted.digest


def test_a_potential(tmp_path):
    """Energies and forces in the file as they are; another label only in info."""
    data = springs()
    for number, single in enumerate(data):
        single.info = {**(single.get("info") or {}), "gap": 0.1 * number}
        if number % 3 == 0:
            single.cell = 30 * torch.eye(3)[None]
    stored = convert(data, out=tmp_path / "data.safetensors", perceive=False)
    found = []
    for name, structures in (("list", data), ("stored", stored)):
        torch.manual_seed(3)
        model = test_potential.Potential(
            "schnet", (1, 6), targets=("energy", "gap"), hidden_channels=12, cutoff=4.0
        )
        settings = test_potential.QUICK | {"steps": 5, "num_test": 4}
        found.append(fit_potential(model, structures, tmp_path / name, **settings))
    assert torch.equal(*map(test_potential.weights, found))
    assert found[0].provenance["test"] == pytest.approx(found[1].provenance["test"], rel=1e-5)


def test_what_cannot_be_trained_on_is_refused(isomers, tmp_path):
    periodic = [isomers[0].clone(), isomers[1].clone()]
    periodic[1].cell = 20 * torch.eye(3)[None]
    stored = convert(periodic, out=tmp_path / "data.safetensors", perceive=False)
    with pytest.raises(InputError, match="structure 1: is periodic"):
        fit(small_model(), stored, tmp_path / "run", **QUICK)
    with pytest.raises(InputError, match=r"structure 0: has no energy|holds atomic numbers"):
        fit_potential(test_potential.fresh(), stored[[0]], tmp_path / "run")


@pytest.mark.slow
def test_from_the_command_line(tmp_path, capsys):
    """SMILES to a file, to a model; predictions go to a file of the same kind."""
    (tmp_path / "some.smi").write_text("CCO\nCCC\nCOC\nC[N+](=O)[O-]\nCC(=O)O\nCCCO\n")
    data = str(tmp_path / "some.safetensors")
    assert main(["convert", str(tmp_path / "some.smi"), "--out", data]) == 0
    assert "wrote 6 structures" in capsys.readouterr().out
    train = ["train", "--data", data, "--out", str(tmp_path / "run"), "--steps=2"]
    train += ["--num_validation=1", "--num_samples=0", "--accelerator=cpu", "--batch_size=2"]
    assert main([*train, "--hidden_channels=16"]) == 0
    config = SchNetGen.from_pretrained(tmp_path / "run" / "model.safetensors").config
    assert config.elements == (1, 6, 7, 8)
    assert main(["evaluate", data, "--jobs=1"]) == 0
    assert "valid" in capsys.readouterr().out
    assert main(["convert", data, "--out", str(tmp_path / "x.npz")]) == 2
