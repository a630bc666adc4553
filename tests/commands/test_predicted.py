"""Targets of potentials on the command line."""

import ase.io
import numpy as np
import pytest

from schnetgen_pyg import Potential, SchNetGen
from schnetgen_pyg.cli import main
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.targets import Column
from tests.targets.test_labels import springs

QUICK = ["--steps=3", "--num_validation=4", "--num_test=4", "--accelerator=cpu"]
QUICK += ["--settings.cutoff=4.0", "--settings.hidden_channels=8"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Methane with a gap in Hartree, a dipole, and columns that no table knows."""
    frames = []
    for number, one in enumerate(springs(24)):
        atoms = to_ase(one)
        atoms.calc = None
        width = float(atoms.positions.std())
        atoms.info = {"gap": width, "odour": number % 2, "melting": 100 * width}
        atoms.info |= {"dipole": atoms.positions[0] - atoms.positions[1]}
        atoms.info |= {"units": {"gap": "Hartree", "melting": "K"}}
        if number == 3:
            atoms.info["melting"] = np.nan
        frames.append(atoms)
    path = tmp_path_factory.mktemp("data") / "mine.extxyz"
    ase.io.write(path, frames)
    return str(path)


def test_from_training_to_a_table(data, tmp_path, capsys):
    """Several at once, then another one on the same trunk, which knows what the columns were."""
    command = ["fit-potential", "--data", data, *QUICK, "--representation=painn"]
    names = ["gap", "dipole", "melting", "odour"]
    first, second = tmp_path / "first", tmp_path / "second"
    options = ["--classify", "odour", "--extensive", "melting", "--weights", "gap=2", "dipole=0.1"]
    assert main([*command, "--targets", *names, *options, "--out", str(first)]) == 0
    told = capsys.readouterr().out
    for line in ("gap_mae (eV): ", "dipole_mae (e·Å): ", "melting_mae (K): ", "odour_accuracy: "):
        assert line in told
    model = str(first / "model.safetensors")
    trained = Potential.from_pretrained(model)
    assert trained.provenance["training"]["weights"] == {"gap": 2.0, "dipole": 0.1}
    table = tmp_path / "table.csv"
    assert main(["predict", data, "--checkpoint", model, model, "--out", str(table)]) == 0
    head = table.read_text().splitlines()[0]
    assert "gap (eV),gap_std (eV),dipole (e Ang)" in head
    assert "melting (K)" in head
    tuned = ["fit-potential", "--data", data, *QUICK[:4], "--init", model, "--out", str(second)]
    assert main([*tuned, "--targets", "melting"]) == 0
    known = Potential.from_pretrained(second / "model.safetensors").targets
    assert list(known) == ["melting"]
    assert (known["melting"].unit, known["melting"].extensive) == ("K", True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--targets", "meltin"], "no structure has a number 'meltin' (did you mean 'melting'?)"),
        (["--targets", "lumo"], "no structure has a label 'lumo'"),
        (["--targets", "gap", "--weights", "gap"], "--weights: 'gap' is no NAME=NUMBER"),
        (["--targets", "gap", "--weights", "mu=1"], "weights: mu is none of the targets"),
        (["--targets", "melting", "--classify", "melting"], "must be 0 or 1 to be classified"),
        (["--targets", "gap", "--classify", "odour"], "odour: is none of the targets gap"),
        (["--targets", "polarizability"], "SchNet has none"),
    ],
)
def test_refused(data, tmp_path, capsys, options, message):
    out = tmp_path / "run"
    assert main(["fit-potential", "--data", data, "--out", str(out), *QUICK, *options]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_generator_that_predicts(isomers, tmp_path, capsys):
    """From its training to tables of its own molecules and of others, and a potential that begins
    with it, all in the units of the data."""
    frames = [to_ase(one) for one in isomers[:24]]
    for number, atoms in enumerate(frames):
        atoms.calc, width = None, float(atoms.positions.std())
        atoms.info = {"gap": width, "odour": number % 2, "melting": 100 * width}
        atoms.info["units"] = {"gap": "Hartree", "melting": "K"}
    data = str(tmp_path / "mine.extxyz")
    ase.io.write(data, frames)
    quick = ["--steps=4", "--num_validation=4", "--accelerator=cpu"]
    small = ["--preset=small", "--hidden_channels=8", "--num_interactions=1", "--num_gaussians=8"]
    names = ["--targets", "gap", "melting", "odour", "--classify", "odour", "--weights", "gap=2"]
    run = tmp_path / "run"
    command = ["train", "--data", data, *quick, *small, *names, "--out", str(run)]
    assert main([*command, "--validation_interval=2"]) == 0
    told = capsys.readouterr().out
    assert "gap: 20 labels in 20 molecules" in told
    assert "validation_gap_mae (eV): " in told
    model = str(run / "model.safetensors")
    trained = SchNetGen.from_pretrained(model)
    assert trained.targets["melting"].unit == "K"
    assert trained.provenance["training"]["weights"] == {"gap": 2.0}
    made, others = tmp_path / "made.csv", tmp_path / "others.csv"
    generate = ["generate", "--checkpoint", model, "--formula=C3H8O", "--num=2", "--predict"]
    assert main([*generate, "--out", str(made)]) == 0
    assert main(["predict", data, "--checkpoint", model, "--out", str(others)]) == 0
    for table in (made, others):
        head = table.read_text().splitlines()[0]
        assert "gap (eV)" in head
        assert "melting (K)" in head
        assert "odour" in head
    again = ["train", "--data", data, *quick, "--init", model, "--out", str(tmp_path / "again")]
    assert main([*again, "--targets", "odour"]) == 0
    known = SchNetGen.from_pretrained(tmp_path / "again" / "model.safetensors").config.targets
    assert known == (Column("odour", classify=True),)
    fit = ["fit-potential", "--data", data, *QUICK[:4], "--init", model, "--targets", "melting"]
    assert main([*fit, "--out", str(tmp_path / "fit")]) == 0
    potential = Potential.from_pretrained(tmp_path / "fit" / "model.safetensors")
    assert potential.representation.settings == trained.representation.settings
    assert potential.provenance["parent"]["name"] == model
