"""Generators that learn properties, and potentials that begin with a generator."""

import math

import pytest
import torch
from torch_geometric.data import Batch

from schnetgen_pyg import InputError, Potential, SchNetGen, fit, fit_potential
from schnetgen_pyg.data.convert import convert
from schnetgen_pyg.data.properties import properties_in
from schnetgen_pyg.targets import targets_in
from schnetgen_pyg.targets.labels import errors
from schnetgen_pyg.targets.prediction import predict
from schnetgen_pyg.training.config import TrainingConfig
from schnetgen_pyg.training.fine_tuning import as_potential
from schnetgen_pyg.training.generator import GeneratorModule
from schnetgen_pyg.training.targets import with_targets
from tests.conftest import deciding, small_model
from tests.targets.test_labels import springs
from tests.training.test_generator import QUICK, weights

STILL = {"learning_rate": 1e-12, "ema_decay": 0.0, "schedule": "constant"}
PARTS = deciding("next_type", "hydrogens", "focus")


def labelled(isomers, num=30, missing=3):
    """With a width in Å as a gap in meV; every so many-th has none."""
    found = []
    for number, one in enumerate(isomers[:num]):
        data = one.clone()
        data.energy = data.forces = None
        data.info = {"units": {"gap": "meV"}}
        if number % missing:
            data.info["gap"] = 1000 * float((data.pos - data.pos.mean(0)).norm(dim=1).mean())
        found.append(data)
    return found


def joint(**changes):
    return small_model(targets=("gap",), **(PARTS | changes))


def module(model, data, **settings):
    """In training, with the labels of a batch."""
    data, known, targets = with_targets(model, data, data)
    if targets:
        model.predictor.fit_statistics(known)
    scales = dict.fromkeys(targets, 2.0)
    return GeneratorModule(model, TrainingConfig(**settings), data, scales), data


def numbered(data):
    for number, one in enumerate(data):
        one.index = number
    return data


def test_both_are_learned(tmp_path):
    """The error falls well below the spread; missing labels are allowed; the generator learns as
    well; and a file keeps both."""
    data = springs(40)
    for number, one in enumerate(data):
        one.energy = one.forces = None
        one.info = {"gap": 10 * float(one.pos.std())} if number % 3 else {}
    known = [one for one in data if one.info]
    gap = torch.tensor([one.info["gap"] for one in known])
    model = small_model(targets=("gap",), elements=(1, 6))
    trained = fit(model, data, tmp_path, **(QUICK | {"steps": 100, "learning_rate": 5e-3}))
    found = errors(trained.predict(known), known, trained.targets)["gap_mae (eV)"]
    assert found < 0.5 * float((gap - gap.mean()).abs().mean())
    metrics = trained.provenance["metrics"]
    assert metrics["validation_gap_mae"] > 0
    assert metrics["validation_distance_loss"] < 3.5 < math.log(150)  # that of knowing nothing
    again = SchNetGen.from_pretrained(tmp_path / "model.safetensors")
    assert again.provenance["training"]["target_weight"] == 1.0
    assert torch.equal(again.predict(known)[0].gap, trained.predict(known)[0].gap)


def test_one_weight_and_molecules_without_noise(isomers):
    """What generation costs is bit for bit that of a model without targets; what the targets cost
    knows no noise, and is proportional to the weight."""
    data = numbered(labelled(isomers, 6))
    plain, _ = module(small_model(**PARTS), data)
    cost = plain.terms(Batch.from_data_list(data), 0).loss
    costs = {}
    for weight, noise in ((1.0, 0.0), (3.0, 0.0), (1.0, 0.3)):
        both, own = module(joint(), data, target_weight=weight, position_noise=noise)
        terms = both.terms(Batch.from_data_list(own), 0).loss
        costs[weight, noise] = float(terms["target gap"].value)
        if not noise:
            for name, mean in cost.items():
                assert float(mean.value) == float(terms[name].value)
    assert costs[3.0, 0.0] == pytest.approx(3 * costs[1.0, 0.0], rel=1e-6)
    assert costs[1.0, 0.3] == costs[1.0, 0.0] > 0


def test_a_target_has_a_weight_of_its_own(isomers):
    data, costs = numbered(labelled(isomers, 6)), []
    for weights_of in ({}, {"gap": 0.25}):
        both, own = module(joint(), data, weights=weights_of)
        costs.append(both.terms(Batch.from_data_list(own), 0).loss["target gap"].value.item())
    assert costs[1] == pytest.approx(0.25 * costs[0], rel=1e-6)


def test_the_weight_of_a_target_is_over_its_variance(isomers, tmp_path):
    """So that units do not decide: labels a thousand times larger train the same network."""
    models = []
    for factor, unit in ((1.0, "gap"), (1000.0, "gap1000")):
        data = numbered(labelled(isomers, 20, missing=5))
        for one in data:
            one.info = {unit: factor * one.info["gap"]} if "gap" in one.info else {}
        model = small_model(targets=targets_in(data, [unit]), **PARTS)
        models.append(fit(model, data, tmp_path / unit, **(QUICK | {"steps": 3})))
    one, other = (model.representation.state_dict() for model in models)
    for name, value in one.items():
        assert torch.allclose(value, other[name], atol=1e-5), name


def test_a_property_may_be_asked_for_and_predicted(isomers, tmp_path):
    """Of the same name: the condition reads it, and is not told it each time; the target has it in
    its own unit."""
    data = labelled(isomers, 20)
    parts = PARTS | {"conditions": [*PARTS["conditions"], "properties"]}
    model = joint(**parts, properties=properties_in(data, ["gap"]))
    trained = fit(model, data, tmp_path, **(QUICK | {"steps": 4}))
    assert trained.config.properties[0].unit == "meV"
    assert trained.targets["gap"].unit == "eV"
    assert trained.config.properties[0].mean == pytest.approx(2e3, rel=0.5)
    assert float(trained.predict(data[:1])[0].gap) == pytest.approx(2.0, rel=0.5)


def test_energies_bring_their_forces(tmp_path):
    """Where the structures have forces they are learned too, and a structure may lack both."""
    data = springs(20)
    for number in (0, 7):
        data[number].energy = data[number].forces = None
    model = small_model(targets=("energy",), elements=(1, 6), **PARTS)
    quick = QUICK | {"steps": 40, "learning_rate": 3e-3}
    trained = fit(model, data, tmp_path, weights={"forces": 4.0}, **quick)
    metrics = trained.provenance["metrics"]
    assert metrics["validation_energy_mae"] > 0
    spread = torch.cat([one.forces for one in data if "forces" in one]).abs().mean()
    assert metrics["validation_forces_mae"] < float(spread)
    assert trained.predict(data[:1])[0].forces.shape == (5, 3)


def test_structures_on_the_disk(isomers, tmp_path):
    data = labelled(isomers, 20)
    stored = convert(data, out=tmp_path / "data.safetensors", jobs=1)
    quick = QUICK | {"steps": 4, "validation_interval": 2}
    one, two = (
        fit(joint(), some, tmp_path / name, **quick)
        for name, some in (("list", data), ("stored", stored))
    )
    assert torch.equal(weights(one), weights(two))
    assert one.provenance["metrics"] == two.provenance["metrics"]


def test_a_stopped_run_ends_with_the_same_weights(isomers, tmp_path):
    data = labelled(isomers, 20)
    whole = fit(joint(), data, tmp_path / "whole", **QUICK)
    for steps in (4, 12):
        parts = fit(joint(), data, tmp_path / "parts", **(QUICK | {"steps": steps}))
    assert torch.equal(weights(whole), weights(parts))


@pytest.fixture(scope="module")
def parent(isomers, tmp_path_factory):
    """A generator without targets, trained for a few steps, and its file."""
    out = tmp_path_factory.mktemp("parent")
    return fit(small_model(**PARTS), isomers[:20], out, **QUICK), out / "model.safetensors"


def test_new_heads_on_a_trained_generator(isomers, tmp_path, parent):
    model, file = parent
    data = labelled(isomers, 20)
    tuned = fit(joint(), data, tmp_path / "a", init=file, **(QUICK | STILL))
    for name, value in model.state_dict().items():
        assert torch.allclose(tuned.state_dict()[name], value, atol=1e-6), name
    assert tuned.heads["gap"].fitted
    # Of a generator with targets come its read-outs, brought to the new labels.
    file = tmp_path / "a" / "model.safetensors"
    for one in data:
        if "gap" in one.info:
            one.info["gap"] += 5000
    again = fit(joint(), data, tmp_path / "b", init=file, **(QUICK | STILL))
    shift = float(again.predict(data[:1])[0].gap - tuned.predict(data[:1])[0].gap)
    assert shift == pytest.approx(5.0, abs=0.05)
    assert again.provenance["parent"]["name"] == str(file)


def test_a_potential_takes_the_trunk_of_a_generator(isomers, tmp_path, parent):
    model, file = parent
    data = labelled(isomers, 20)
    architecture = as_potential(model.config)
    torch.manual_seed(3)
    fresh = Potential(architecture, targets=("gap",))
    quick = {k: v for k, v in (QUICK | STILL).items() if k != "num_samples"}
    tuned = fit_potential(fresh, data, tmp_path / "run", init=file, **quick)
    for name, value in model.representation.state_dict().items():
        assert torch.allclose(tuned.representation.state_dict()[name], value, atol=1e-6), name
    told = tuned.provenance["parent"]
    assert (told["name"], told["step"]) == (str(file), QUICK["steps"])
    assert fit_potential(fresh, data, tmp_path / "run", init=file, **quick)  # continues
    other = Potential("schnet", (1, 6, 8), ("gap",), hidden_channels=16)
    with pytest.raises(InputError, match=r"num_interactions is 2 there"):
        fit_potential(other, data, tmp_path / "other", init=file, **quick)
    with pytest.raises(InputError, match="holds a potential, expected a generator"):
        fit(joint(), data, tmp_path / "c", init=tmp_path / "run" / "model.safetensors", **QUICK)


def test_read_outs_of_a_joint_model_come_with_its_trunk(isomers, tmp_path):
    data = labelled(isomers, 20)
    model = fit(joint(), data, tmp_path / "joint", **QUICK)
    file = tmp_path / "joint" / "model.safetensors"
    quick = {k: v for k, v in (QUICK | STILL).items() if k != "num_samples"}
    potential = Potential(as_potential(model.config))
    tuned = fit_potential(potential, data, tmp_path / "run", init=file, **quick)
    readout = tuned.heads["gap"].readout.state_dict()
    for name, value in model.heads["gap"].readout.state_dict().items():
        assert torch.allclose(readout[name], value, atol=1e-6)
    assert predict(tuned, data[:1])[0].gap.shape == (1,)


def test_bad_input(isomers, tmp_path):
    data = labelled(isomers, 20)
    with pytest.raises(InputError, match=r"no structure has a label 'mu'"):
        fit(small_model(targets=("gap", "mu"), **PARTS), data, tmp_path / "a", **QUICK)
    with pytest.raises(InputError, match="weights: forces is none of the targets; there are gap"):
        fit(joint(), data, tmp_path / "a", weights={"forces": 2.0}, **QUICK)
    for name in ("learning_rate", "position_noise", "kl_weight", "gradient_clip"):
        with pytest.raises(InputError, match=f"{name} must be a finite number, got inf"):
            TrainingConfig(**{name: math.inf})
    with pytest.raises(InputError, match="target_weight must be positive"):
        fit(joint(), data, tmp_path / "a", target_weight=0.0, **QUICK)
    data[4].info["gap"] = "wide"
    with pytest.raises(InputError, match="structure 4: the label gap is no number"):
        fit(joint(), data, tmp_path / "a", **QUICK)
    assert not (tmp_path / "a").exists()
