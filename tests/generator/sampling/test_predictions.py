"""What a generator with targets says of its own molecules."""

import csv

import ase.io
import numpy as np
import pytest
import torch

from schnetgen_pyg import InputError, SchNetGen, generate
from schnetgen_pyg.data.properties import Property
from schnetgen_pyg.data.readers import read
from schnetgen_pyg.generator.sampling.streaming import generate_file
from schnetgen_pyg.targets import Column
from tests.conftest import deciding, small_model

TARGETS = ("energy", "gap", "mu", "charges", "dipole", Column("melting", "K"))


@pytest.fixture(scope="module")
def predicting() -> SchNetGen:
    """Its read-outs say something of every element."""
    model = small_model(
        targets=TARGETS, representation="painn", **deciding("next_type", "hydrogens", "focus")
    )
    for number, head in enumerate(model.heads.values()):
        head.references[[1, 6, 8]] = number + torch.tensor([0.1, 0.2, 0.4]).double()
    return model


def test_the_molecules_are_those_without(predicting):
    plain = small_model(representation="painn", **deciding("next_type", "hydrogens", "focus"))
    shared = predicting.state_dict()
    assert all(torch.equal(value, shared[name]) for name, value in plain.state_dict().items())
    bare, told = (
        generate(plain, "C2H6O", 5, seed=3),
        generate(predicting, "C2H6O", 5, seed=3, predict=True, batch_size=2),
    )
    for one, other in zip(bare, told, strict=True):
        assert np.array_equal(one.numbers, other.numbers)
        assert np.allclose(one.positions, other.positions, atol=1e-4)
        assert "gap" not in one.info
    again = generate(predicting, "C2H6O", 5, seed=3)
    for one, other in zip(again, bare, strict=True):
        assert one.info == other.info


def test_predictions_are_those_of_the_structures(predicting):
    """Of all molecules at once as of each alone, with the units."""
    molecules = generate(predicting, ["C2H6O", "CH4"], 4, seed=1, predict=True)
    for atoms in molecules:
        (found,) = predicting.predict([atoms])
        for name in ("gap", "mu", "melting"):
            assert atoms.info[name] == pytest.approx(float(found[name]), abs=1e-5)
        assert atoms.info["dipole"] == pytest.approx(found.dipole[0].numpy(), abs=1e-5)
        assert atoms.arrays["charges"] == pytest.approx(found.charges.numpy(), abs=1e-5)
        assert atoms.get_potential_energy() == pytest.approx(float(found.energy), abs=1e-5)
        units = {"gap": "eV", "mu": "D", "dipole": "e Ang", "charges": "e", "melting": "K"}
        assert atoms.info["units"] == found.info["units"] == units


@pytest.mark.parametrize("suffix", ["extxyz", "sdf", "csv"])
def test_files(predicting, tmp_path, suffix):
    path = tmp_path / f"made.{suffix}"
    generate_file(predicting, "C2H6O", 3, path, seed=2, predict=True)
    wanted = generate(predicting, "C2H6O", 3, seed=2, predict=True)
    if suffix == "csv":
        rows = list(csv.DictReader(path.open()))
        gaps, energies = ([float(row[n]) for row in rows] for n in ("gap (eV)", "energy (eV)"))
        assert "melting (K)" in rows[0]
    else:
        found = read(path)
        gaps = [float(one.info["gap"]) for one in found]
        energies = [float(one.energy) for one in found]
        assert found[0].info["units"]["melting"] == "K"
    assert gaps == pytest.approx([atoms.info["gap"] for atoms in wanted], abs=1e-5)
    assert energies == pytest.approx([a.get_potential_energy() for a in wanted], abs=1e-5)


def test_what_was_polished_is_predicted(predicting, tmp_path):
    """Predictions are of the positions in the file; and the file is another one with them."""

    class Wider:
        settings = {"wider": 2}  # noqa: RUF012
        batch_size = 2

        def __call__(self, molecules, fixed):
            for atoms in molecules:
                atoms.positions *= 1.1
            return list(molecules)

    path = tmp_path / "made.extxyz"
    generate_file(predicting, "CH4", 3, path, predict=True, polish=Wider())
    for atoms in ase.io.read(path, ":"):
        (found,) = predicting.predict([atoms])
        assert atoms.info["gap"] == pytest.approx(float(found.gap), abs=1e-5)
    with pytest.raises(InputError, match="predict"):
        generate_file(predicting, "CH4", 3, path, polish=Wider())


def test_the_model_judges_its_own_candidates():
    parts = deciding("next_type", "hydrogens", "focus")
    parts["conditions"] = [*parts["conditions"], "properties"]
    properties = (Property("gap", 2.0, 0.5, 1.0, 3.0, "eV"),)
    model = small_model(targets=("gap",), properties=properties, **parts)
    asked = {"targets": {"gap": 2.0}, "candidates": 3, "property_model": model.predictor}
    for atoms in generate(model, "C2H6O", 2, predict=True, **asked):
        assert atoms.info["gap_predicted"] == pytest.approx(atoms.info["gap"], abs=1e-5)


def test_what_cannot_be_predicted_is_refused(predicting, model, tmp_path):
    for call in (
        lambda: model.predict([]),
        lambda: generate(model, "CH4", 1, predict=True),
        lambda: generate_file(model, "CH4", 1, tmp_path / "a.extxyz", predict=True),
    ):
        with pytest.raises(InputError, match=r"predicts no properties.*--targets"):
            call()
    assert not [*tmp_path.iterdir()]
    with pytest.raises(InputError, match=r"charge \+1.*leave out predict"):
        generate(predicting, "CH5+", 1, predict=True)
    with pytest.raises(InputError, match=r"polarizability is read from vector.*painn"):
        small_model(targets=("polarizability",))
    with pytest.raises(InputError, match="forces is a derivative of energy"):
        small_model(targets=("forces",))
    with pytest.raises(InputError, match=r"structure 0: holds atomic numbers \[7\]"):
        predicting.predict([ase.Atoms("N2", [[0, 0, 0], [0, 0, 1.1]])])


def test_a_generator_is_its_own_potential(predicting):
    """Also forces are derivatives: by central differences."""
    atoms = generate(predicting, "CH4", 1, seed=4)[0]
    predictor = predicting.predictor.double()
    z, pos = torch.tensor(atoms.numbers), torch.tensor(atoms.positions)
    forces = predictor(z, pos, compute_forces=True).forces
    shift = torch.zeros_like(pos)
    shift[2, 1] = 1e-4
    with torch.no_grad():
        slope = (predictor(z, pos + shift).energy - predictor(z, pos - shift).energy) / 2e-4
    assert float(forces[2, 1].detach()) == pytest.approx(-float(slope), abs=1e-6)
    predicting.float()
