"""Properties and targets on the command line."""

import csv

import ase.io
import pytest
import torch
from rdkit import Chem

from schnetgen_pyg import Potential, SchNetGen, load
from schnetgen_pyg.cli import main
from schnetgen_pyg.data.conversion import to_ase
from tests.commands.test_train_options import QUICK

SMALL = [*QUICK, "--preset=small", "--num_filters=8", "--num_interactions=1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Isomers with a gap in Hartree, and a dipole that some of them lack."""
    frames = []
    for k, one in enumerate(load("c7h10o2-xtb")[:16]):
        atoms = to_ase(one)
        atoms.calc = None
        atoms.info = {"name": f"m{k}", "gap_Ha": 0.1 + 0.01 * k} | (
            {"mu": 0.1 * k} if k % 3 else {}
        )
        frames.append(atoms)
    path = tmp_path_factory.mktemp("data") / "mine.extxyz"
    ase.io.write(path, frames)
    return str(path)


@pytest.fixture(scope="module")
def parent(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("parent")
    assert main(["train", "--data", data, "--out", str(out), *SMALL]) == 0
    return str(out / "model.safetensors")


@pytest.fixture(scope="module")
def trained(data, parent, tmp_path_factory):
    """From a model that knows no properties."""
    out = tmp_path_factory.mktemp("trained")
    told = ["--keys", "gap=gap_Ha", "--units", "mu=D", "--properties", "gap", "mu"]
    assert main(["train", "--data", data, "--out", str(out), "--init", parent, *told, *QUICK]) == 0
    return str(out / "model.safetensors")


def test_train(trained, parent):
    model, before = SchNetGen.from_pretrained(trained), SchNetGen.from_pretrained(parent)
    gap, mu = model.config.properties
    assert (gap.name, gap.unit, mu.name, mu.unit) == ("gap", "eV", "mu", "D")
    assert gap.low == pytest.approx(0.1 * ase.units.Hartree)
    assert model.config.conditions == (*before.config.conditions, "properties")
    assert model.provenance["parent"]["name"] == parent


def test_train_goes_on_with_what_its_parent_knows(data, trained, tmp_path, capsys):
    """And takes a further one; from a converted file, which keeps the columns."""
    stored = str(tmp_path / "mine.safetensors")
    assert main(["convert", data, "--keys", "gap=gap_Ha", "--out", stored, "--jobs=1"]) == 0
    out = ["--out", str(tmp_path / "run"), "--init", trained, *QUICK]
    assert main(["train", "--data", stored, *out, "--properties", "gap_Ha"]) == 2
    assert "no structure has a number 'gap_Ha'" in capsys.readouterr().err
    assert main(["train", "--data", stored, *out]) == 0
    model = SchNetGen.from_pretrained(tmp_path / "run" / "model.safetensors")
    assert model.config.properties == SchNetGen.from_pretrained(trained).config.properties


def test_a_fingerprint(data, tmp_path):
    conditions = "[remaining_formula, valence_states, fingerprint]"
    out = str(tmp_path / "run")
    assert main(["train", "--data", data, "--out", out, *SMALL, "--conditions", conditions]) == 0
    made = str(tmp_path / "made.smi")
    asked = ["--target", "fingerprint=C=CC(=O)O", "--num=2", "--out", made]
    assert main(["generate", "--checkpoint", f"{out}/model.safetensors", *asked]) == 0


def test_generate(trained, tmp_path, capsys):
    made = tmp_path / "made.sdf"
    asked = ["generate", "--checkpoint", trained, "--num=3"]
    told = ["--target", "gap=5.0", "mu=9", "--guidance", "1", "--target", "gap=4.0"]
    assert main([*asked, *told[:5], "--out", str(made)]) == 0
    assert "mu = 9 D is outside of what the model saw, 0.1 to 1.4 D" in capsys.readouterr().err
    for atoms in map(to_ase, load(made)):
        assert (atoms.info["gap_target"], atoms.info["gap_unit"]) == (5.0, "eV")
    assert Chem.SDMolSupplier(str(made), sanitize=False)[0].GetProp("mu_target") == "9.0"
    table = tmp_path / "made.csv"
    assert main([*asked, "--target", "gap=4.0", "--target", "mu=1", "--out", str(table)]) == 0
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["gap_target"], row["mu_target"]) for row in rows] == [("4.0", "1.0")] * 3


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["--target", "gop=4"], "did you mean 'gap'"),
        (["--target", "gap"], "'gap' is no NAME=VALUE"),
        (["--target", "gap=4", "gap=5"], "'gap=5' comes after another one"),
        (["--target", "gap=high"], "gap must be a number, got 'high'"),
        (["--guidance", "1"], "none is given"),
        (["--target", "gap=4", "--candidates", "4"], "--property_model FILE"),
    ],
)
def test_refused(trained, tmp_path, capsys, told, message):
    out = tmp_path / "made.sdf"
    assert main(["generate", "--checkpoint", trained, "--num=2", *told, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_candidates(trained, tmp_path):
    torch.manual_seed(0)
    judge = Potential("schnet", (1, 6, 8), targets=("gap",), hidden_channels=8, cutoff=3.0)
    judge.heads["gap"].references.fill_(1.0)
    judge.save(tmp_path / "judge.safetensors")
    made = str(tmp_path / "made.extxyz")
    asked = ["--target", "gap=5", "--candidates=3", "--num=2", "--out", made]
    judged = ["--property_model", str(tmp_path / "judge.safetensors")]
    assert main(["generate", "--checkpoint", trained, *asked, *judged]) == 0
    found = ase.io.read(made, ":")
    assert [atoms.info["sample"] // 3 for atoms in found] == [0, 1]
    assert all("gap_predicted" in atoms.info for atoms in found)
