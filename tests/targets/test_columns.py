"""Numbers of molecules by the names of their columns, several targets, missing labels, units."""

import math

import ase.io
import pytest
import torch
from torch_geometric.data import Data

from schnetgen_pyg import InputError, load
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.convert import convert
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.data.units import conversion
from schnetgen_pyg.data.writers import write
from schnetgen_pyg.potentials.ensemble import Ensemble
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.targets import TARGETS, Column, targets_in
from schnetgen_pyg.targets.labels import errors, labelled
from schnetgen_pyg.targets.prediction import annotated, predict
from schnetgen_pyg.training.config import PotentialTrainingConfig
from schnetgen_pyg.training.potential import PotentialModule, fit_potential
from tests.conftest import batch_of
from tests.targets.test_labels import springs
from tests.training.test_potential import QUICK

SMALL = {"hidden_channels": 12, "cutoff": 4.0}


def with_info(num=24, **entries) -> list[Data]:
    """Distorted methane with entries of ``info``: functions of the number of the structure."""
    data = [Data(z=one.z, pos=one.pos, info={}) for one in springs(num)]
    for number, one in enumerate(data):
        for name, entry in entries.items():
            value = entry(number, one) if callable(entry) else entry
            if value is not None:
                one.info[name] = value
    return data


def spread(number, one):
    return float(one.pos.std())


def test_a_column_travels_with_the_file(tmp_path):
    data = with_info(melting=spread, units={"melting": "K"})
    targets = targets_in(data, ["melting"], extensive=["melting"])
    assert targets == (Column("melting", "K", extensive=True),)
    fit_potential(Potential("schnet", (1, 6), targets, **SMALL), data, tmp_path, **QUICK)
    loaded = Potential.from_pretrained(tmp_path / "model.safetensors")
    target = loaded.targets["melting"]
    assert (target.unit, target.extensive) == ("K", True)
    assert "melting" not in TARGETS
    found = predict(Ensemble([loaded, loaded]), data[:2])
    assert found[1].melting_variance.shape == (1,)
    assert annotated(found[0], loaded.targets).info["units"]["melting"] == "K"


def test_classification(tmp_path):
    """Which of two shapes a molecule has: a probability, learned from labels of which some lack."""
    data = with_info(60, toxic=lambda k, one: k % 2 if k % 5 else math.nan)
    for one in data:
        if one.info["toxic"] == 1:
            one.pos = 1.3 * one.pos
    targets = targets_in(data, ["toxic"], classify=["toxic"])
    settings = QUICK | {"steps": 60, "ema_decay": 0.0, "learning_rate": 1e-2}
    model = Potential("schnet", (1, 6), targets, **SMALL)
    with pytest.warns(UserWarning, match=r"12 of 60 structures have no toxic \(structure 0 "):
        trained = fit_potential(model, data, tmp_path, num_test=8, **settings)
    found = predict(trained, data)
    assert all(0 <= float(one.toxic) <= 1 for one in found)
    told = errors(found, data, trained.targets)
    assert told["toxic_roc_auc"] > 0.9
    assert told["toxic_accuracy"] > 0.8
    assert trained.provenance["test"]["toxic_accuracy"] > 0.5


def test_errors_of_classes():
    target = Column("toxic", classify=True).target()
    said = [torch.tensor([p]).double() for p in (0.9, 0.4, 0.6, 0.1, 0.3)]
    label = [torch.tensor([y]).double() for y in (1, 1, 0, 0, 0.5)]  # the last one is none
    found = target.errors(said, label, torch.ones(5))
    assert found == {"toxic_accuracy": 0.5, "toxic_roc_auc": 0.75}
    assert "toxic_roc_auc" not in target.errors(said[:2], label[:2], torch.ones(2))
    mean = target.loss(torch.cat(said), torch.cat([*label[:4], torch.tensor([torch.nan])]), None)
    expected = -sum(map(math.log, (0.9, 0.4, 0.4, 0.9))) / 4
    assert float(mean.value) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["fusio"], {}, r"no structure has a number 'fusio' \(did you mean 'fusion'\?\).* fusion"),
        (["fusion"], {"extensive": ["boiling"]}, "boiling: is none of the targets fusion"),
        (["gap"], {"extensive": ["gap"]}, "what gap is, is known"),
        (["fusion"], {"extensive": ["fusion"], "classify": ["fusion"]}, "does not add up"),
        (["word"], {}, r"structure 0: the property 'word' must be one number, got many"),
        (["keys"], {}, "'keys' has another meaning in torch or PyG; .* --keys my_label=keys"),
        (["refractive_index"], {}, "would be counted up over a batch"),
    ],
)
def test_refused(names, options, message):
    entries = {"fusion": 1.0, "word": "many", "gap": 2.0, "keys": 1.0, "refractive_index": 1.3}
    with pytest.raises(InputError, match=message):
        targets_in(with_info(8, **entries), names, **options)


def test_labels_that_are_no_classes(tmp_path):
    for value, message in ((2, "structure 0: toxic must be 0 or 1"), (1, "is 1 in all structures")):
        data = with_info(toxic=value)
        targets = targets_in(data, ["toxic"], classify=["toxic"])
        model = Potential("schnet", (1, 6), targets, **SMALL)
        with pytest.raises(InputError, match=message):
            fit_potential(model, data, tmp_path / str(value), **QUICK)


def test_what_is_missing_changes_nothing(tmp_path):
    """The loss is that of the labels there are; the others stand for nothing."""
    data = with_info(12, gap=spread, homo=lambda k, one: -spread(k, one) if k % 3 else None)
    data[4].info["homo"] = math.nan
    data[5].info["homo"] = ""
    model = Potential("schnet", (1, 6), ("gap", "homo"), **SMALL)
    found = labelled(data, model.elements, model.targets)
    known = [k for k in range(12) if k % 3 and k not in (4, 5)]
    assert [k for k in range(12) if found[k].homo.isfinite()] == known
    model.fit_statistics(found)
    module = PotentialModule(model, PotentialTrainingConfig())
    whole = module.terms(Molecules(found)[range(12)]).loss["homo"]
    part = module.terms(Molecules([found[k] for k in known])[range(len(known))]).loss["homo"]
    assert float(whole.value) == pytest.approx(float(part.value), rel=1e-5)
    with pytest.raises(InputError, match=r"no structure has a label 'lumo'.*there are gap, homo"):
        labelled(data, (1, 6), ("gap", "lumo"))
    told = errors(predict(model, data), data, model.targets)
    assert told["homo_mae (eV)"] > 0


def test_units_do_not_decide(tmp_path):
    """A target in another unit, or with another weight for it, trains the same network."""
    losses = []
    for unit, weight in ((1.0, 2.0), (1000.0, 2.0), (1.0, 1.0)):
        data = with_info(12, a=lambda k, one, u=unit: u * spread(k, one))
        torch.manual_seed(0)
        model = Potential("schnet", (1, 6), targets_in(data, ["a"]), **SMALL)
        config = QUICK | {"steps": 3, "num_validation": 2, "weights": {"a": weight}}
        trained = fit_potential(model, data, tmp_path / f"{unit}{weight}", **config)
        losses.append(trained.provenance["metrics"]["validation_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0] == pytest.approx(2 * losses[2], rel=0.2)
    for weights, message in (({"b": 1.0}, "b is none of"), ({"energy": 1.0}, "energy_weight")):
        with pytest.raises(InputError, match=message):
            fit_potential(model, data, tmp_path / "no", weights=weights, **QUICK)
    with pytest.raises(InputError, match="the weight of a must be positive, got 0"):
        PotentialTrainingConfig(weights={"a": 0})


@pytest.mark.parametrize(
    ("stated", "wanted", "factor"),
    [
        ("Å³", "bohr³", 6.748334),
        ("Hartree", "eV", 27.211386),
        ("a.u.", "bohr^2", 1.0),
        ("au", "eV", 27.211386),
        ("e*Ang", "D", 4.803205),
        ("e·bohr", "e Å", 0.529177),
        ("a.u.", "e·Å", 0.529177),
        ("J/mol/K", "cal/(mol K)", 0.239006),
        ("Debye", "D", 1.0),
        ("furlong", "furlong", 1.0),
        ("kg", "D", None),
        ("eV", "bohr³", None),
    ],
)
def test_conversion(stated, wanted, factor):
    found = conversion(stated, wanted)
    assert found is None if factor is None else found == pytest.approx(factor, rel=1e-5)


def test_labels_are_converted_once(tmp_path):
    """What a file states, whether it stays on the disk or not; the errors are in the target's."""
    data = with_info(16, alpha=lambda k, one: 2.0 + 0.1 * k, units={"alpha": "Å³"})
    ase.io.write(tmp_path / "a.extxyz", [to_ase(one) for one in data])
    convert(tmp_path / "a.extxyz", out=tmp_path / "a.safetensors")
    results = []
    for name in ("a.extxyz", "a.safetensors"):
        some = load(tmp_path / name)
        torch.manual_seed(0)
        model = Potential("schnet", (1, 6), ("alpha",), **SMALL)
        found = labelled(some, model.elements, model.targets)
        assert float(found[3].alpha) == pytest.approx(2.3 * 6.748334, rel=1e-5)
        trained = fit_potential(model, some, tmp_path / f"run{name}", num_test=4, **QUICK)
        results.append(trained.provenance["test"]["alpha_mae (bohr³)"])
        assert results[-1] < 6
    assert results[0] == pytest.approx(results[1], rel=1e-4)
    found = predict(model, data)
    # What was said of the label is not so of the prediction.
    assert found[2].info == {"units": {"alpha": "bohr^3"}}
    told = errors(found, data, model.targets)["alpha_mae (bohr³)"]
    missed = [float(one.alpha) - 6.748334 * (2 + 0.1 * k) for k, one in enumerate(found)]
    assert told == pytest.approx(sum(map(abs, missed)) / 16, rel=1e-4)
    data[2].info["units"] = {"alpha": "kg"}
    with pytest.raises(InputError, match="structure 2: alpha is in kg, and the model has"):
        labelled(data, (1, 6), ("alpha",))


@pytest.mark.parametrize("suffix", [".extxyz", ".db", ".sdf", ".safetensors"])
def test_files_of_predictions_are_read_back(tmp_path, suffix):
    torch.manual_seed(0)
    names = ("mu", "alpha", "dipole", "polarizability", "charges", Column("my column", "mol/L"))
    model = Potential("painn", (1, 6, 8), names, **SMALL)
    data = predict(model, batch_of([5, 4]).to_data_list())
    for one in data:
        one.pos = one.pos.double()
    write(tmp_path / f"a{suffix}", [annotated(one, model.targets) for one in data])
    loaded = load(tmp_path / f"a{suffix}")
    told = errors(data, loaded, model.targets)
    assert len(told) == 1 + len(names)
    for name, error in told.items():
        assert name == "num_structures" or error < 1e-4
