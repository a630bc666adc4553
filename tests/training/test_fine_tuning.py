"""Trainings that start from a trained model."""

import hashlib
import json

import pytest
import torch

from schnetgen_pyg import InputError, Potential, SchNetGen, fit, fit_potential
from schnetgen_pyg.storage.models import CHECKPOINTS
from schnetgen_pyg.targets.labels import errors
from schnetgen_pyg.targets.prediction import predict
from tests.conftest import METHANE, deciding, small_model
from tests.targets.test_labels import springs
from tests.training.test_generator import QUICK as GENERATOR
from tests.training.test_potential import QUICK, fresh

#: Steps that change next to nothing.
STILL = {"learning_rate": 1e-12, "ema_decay": 0.0, "schedule": "constant"}
PARTS = deciding("next_type", "hydrogens", "focus")


@pytest.fixture(scope="module")
def parent(isomers, tmp_path_factory):
    """A generator trained for a few steps, and its file."""
    out = tmp_path_factory.mktemp("parent")
    return fit(small_model(**PARTS), isomers[:20], out, **GENERATOR), out / "model.safetensors"


def test_weights_and_pedigree(isomers, tmp_path, parent):
    model, file = parent
    torch.manual_seed(7)
    new = small_model(**PARTS)
    new.reset_parameters()
    tuned = fit(new, isomers[20:40], tmp_path, init=file, **(GENERATOR | STILL))
    for name, value in model.state_dict().items():
        assert torch.allclose(tuned.state_dict()[name], value, atol=1e-6), name
    told = tuned.provenance["parent"]
    assert told["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert told["training"]["learning_rate"] == model.provenance["training"]["learning_rate"]
    again = SchNetGen.from_pretrained(tmp_path / "model.safetensors")
    assert again.provenance["parent"] == json.loads(json.dumps(told))


def test_a_run_that_continues_keeps_its_pedigree(isomers, tmp_path, parent):
    model, file = parent
    for init in (file, None, file):
        tuned = fit(small_model(**PARTS), isomers[:20], tmp_path, init=init, **GENERATOR)
        assert tuned.provenance["parent"]["name"] == str(file)
    other = tmp_path / "other.safetensors"
    model.provenance["note"] = "another file"
    model.save(other)
    with pytest.raises(InputError, match=r"began with .*model.safetensors, not with .*other"):
        fit(small_model(**PARTS), isomers[:20], tmp_path, init=other, **GENERATOR)


def test_a_trained_model_in_memory_is_a_parent_too(isomers, tmp_path, parent):
    model = SchNetGen.from_pretrained(parent[1])
    tuned = fit(model, isomers[:20], tmp_path, **GENERATOR)
    assert tuned.provenance["parent"]["step"] == GENERATOR["steps"]
    assert "parent" not in parent[0].provenance


def test_further_elements(isomers, tmp_path, parent):
    """Of what it knew, the grown model says the same, wherever the new element stands in its list;
    and it can be trained on the new one."""
    model, file = parent
    grown = small_model(**PARTS, elements=(1, 6, 7, 8))
    data = [one.clone() for one in isomers[:20]]
    data[3].z[0] = 7
    with pytest.warns(UserWarning, match="has never seen N"):
        tuned = fit(grown, data, tmp_path, init=file, **(GENERATOR | STILL))
    remaining = torch.tensor([[3, 2, 1]])
    placed = {"z": torch.tensor([6, 8]), "pos": torch.tensor([[0, 0, 0], [0, 0, 1.4]])}
    next_z = torch.tensor([6])
    expected = model(**placed, next_z=next_z, remaining=remaining)
    with_none_of_it = torch.tensor([[3, 2, 0, 1]])
    found = tuned(**placed, next_z=next_z, remaining=with_none_of_it)
    assert torch.allclose(found, expected, atol=1e-4)
    kinds = tuned.decisions["next_type"].layers, model.decisions["next_type"].layers
    x = torch.randn(5, 16)
    assert torch.allclose(kinds[0](x)[:, [0, 1, 3]], kinds[1](x), atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_channels": 8}, r"hidden_channels is 16 there, 8 here"),
        ({"num_filters": 6}, r"num_filters is 12 there, 6 here"),
        ({"elements": (1, 6)}, r"is also for O; build the model with elements \[1, 6, 8\]"),
        ({"elements": (6, 1, 8)}, r"in the order \[1, 6, 8\]"),
    ],
)
def test_what_does_not_fit_is_named(isomers, tmp_path, parent, changes, message):
    methane = [METHANE] * 20
    with pytest.raises(InputError, match=message):
        fit(small_model(**(PARTS | changes)), methane, tmp_path, init=parent[1], **GENERATOR)


def test_no_such_model(isomers, tmp_path):
    with pytest.raises(InputError, match="neither a file nor a bundled checkpoint"):
        fit(small_model(), isomers[:20], tmp_path, init="qm8", **GENERATOR)
    with pytest.raises(InputError, match="holds a potential, expected a generator"):
        fit(small_model(), isomers[:20], tmp_path, init="c7h10o2-painn-potential", **GENERATOR)


def test_a_potential_of_another_level_of_theory(tmp_path):
    """Other zeros of the energies cost nothing: what was learned of shapes stays."""
    data = springs(60)
    settings = QUICK | {"steps": 60, "ema_decay": 0.9}
    fit_potential(fresh(), data, tmp_path / "first", **settings)
    file = tmp_path / "first" / "model.safetensors"
    before = errors(predict(Potential.from_pretrained(file), data), data)
    shifted = [one.clone() for one in data]
    for one in shifted:
        one.energy = one.energy - 38_000.0
    tuned = fit_potential(fresh(), shifted, tmp_path / "second", init=file, **(QUICK | STILL))
    after = errors(predict(tuned, shifted), shifted)
    assert after["energy_mae_mev"] < 1.5 * before["energy_mae_mev"]
    assert after["forces_mae_mev_per_angstrom"] == pytest.approx(
        before["forces_mae_mev_per_angstrom"], rel=0.01
    )
    assert tuned.provenance["parent"]["method"] == "springs"


def test_a_potential_with_further_elements(tmp_path):
    """Settings that are written out and those that are defaults are the same."""
    known = Potential.from_pretrained("c7h10o2-painn-potential")
    settings = {"hidden_channels": 64, "cutoff": 4.0}  # the others are PaiNN's defaults
    model = Potential("painn", (1, 6, 7, 8), **settings)
    data = springs(16)
    data[2].z[0] = 7
    tuned = fit_potential(model, data, tmp_path, init="c7h10o2-painn-potential", **(QUICK | STILL))
    first = data[0]
    slopes = [m(first.z, first.pos, compute_forces=True).forces for m in (known, tuned)]
    assert torch.allclose(*slopes, atol=1e-3)
    bundled = (CHECKPOINTS / "c7h10o2-painn-potential.safetensors").read_bytes()
    assert tuned.provenance["parent"]["sha256"] == hashlib.sha256(bundled).hexdigest()


def test_another_target_on_a_trained_trunk(tmp_path):
    """The trunk and what both predict are taken, a new read-out starts new; another trunk is
    refused."""
    data = springs(24)
    for one in data:
        one.gap = 4.0 + one.pos.std().double().reshape(1)
        one.homo = -one.gap
    fit_potential(of_targets("energy", "gap"), data, tmp_path / "first", **QUICK)
    file = tmp_path / "first" / "model.safetensors"
    parent = Potential.from_pretrained(file)
    new = of_targets("gap", "homo")
    tuned = fit_potential(new, data, tmp_path / "second", init=file, **(QUICK | STILL))
    old, now = parent.state_dict(), tuned.state_dict()
    for name in now:
        if not name.startswith("heads.homo") and name != "heads.gap.references":
            assert torch.allclose(now[name], old[name], atol=1e-6), name
    assert tuned.heads["homo"].fitted
    other = Potential("schnet", (1, 6), ("gap",), hidden_channels=10, cutoff=4.0)
    with pytest.raises(InputError, match="hidden_channels is 12 there, 10 here"):
        fit_potential(other, data, tmp_path / "third", init=file, **QUICK)


def of_targets(*names):
    torch.manual_seed(5)
    return Potential("schnet", (1, 6), names, hidden_channels=12, cutoff=4.0)
