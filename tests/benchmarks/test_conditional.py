"""What is asked of a generator and what came of it: halves of the data, targets, errors, hits."""

import json
import math

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from schnetgen_pyg import Potential, SchNetGen, load
from schnetgen_pyg.data.convert import convert
from schnetgen_pyg.data.properties import Property, property_values
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.errors import InputError

from ..molecules import embedded
from .conftest import SMILES, called


@pytest.fixture
def make_targets(script):
    return script("make_targets")


@pytest.fixture
def published(tmp_path, molecules, make_targets):
    """Geometries and properties as files have them, in another order than the molecules."""
    order = [3, 1, 0, 2, *range(4, len(molecules))]
    counts = np.array([len(molecules[k]) for k in order])
    z = np.concatenate([molecules[k].numbers for k in order])
    pos = np.concatenate([molecules[k].positions for k in order]).astype(np.float32)
    index = 10 + np.array(order)
    names = np.array([name for name, _, _ in make_targets.COLUMNS.values()])
    values = np.arange(len(order) * len(names), dtype=float).reshape(len(order), -1)
    geometries, properties = tmp_path / "geometries.npz", tmp_path / "properties.npz"
    np.savez(geometries, n_atoms=counts, z=z, pos=pos, gdb_index=index)
    np.savez(properties, names=names, values=values[::-1], gdb_index=index[::-1])
    return geometries, properties, dict(zip(order, values, strict=True))


@pytest.fixture
def halves(tmp_path, files, published, make_targets, monkeypatch):
    """The folder that `make_targets.py` writes."""
    stored = tmp_path / "train.safetensors"
    convert(files / "train.extxyz", out=stored)
    command = ["--structures", stored, "--test", files / "test.extxyz", "--out", tmp_path / "out"]
    command += ["--geometries", published[0], "--properties", published[1]]
    monkeypatch.setattr("sys.argv", ["make_targets.py", *map(str, command)])
    make_targets.main()
    return tmp_path / "out"


def test_halves_share_no_molecule_and_leave_none_out(make_targets):
    one, other = make_targets.halves(101)
    assert sorted([*one.tolist(), *other.tolist()]) == list(range(101))
    assert abs(len(one) - len(other)) == 1
    assert one.tolist() != make_targets.halves(101, seed=1)[0].tolist()


def test_labels_of_one_half_are_hidden(halves, published, make_targets):
    """Molecules are found by their positions; all is there beside the labels that are hidden."""
    whole = StoredStructures(halves / "qm9-targets.safetensors")
    first, second = make_targets.halves(6)
    found = property_values(whole, [*make_targets.UNITS])
    columns = [*make_targets.COLUMNS]
    for name in ("mu", "gap"):
        _, factor, _ = make_targets.COLUMNS[name]
        values = [factor * published[2][k][columns.index(name)] for k in range(6)]
        assert found[name][first].isnan().all()
        assert found[name][second].tolist() == pytest.approx([values[k] for k in second.tolist()])
        for half, chosen in (("judge", first), ("ranker", second)):
            part = StoredStructures(halves / f"qm9-{half}.safetensors")
            own = property_values(part, [name])[name].tolist()
            assert own == pytest.approx([values[k] for k in chosen.tolist()])
            assert [data.z.tolist() for data in part] == [whole[int(k)].z.tolist() for k in chosen]
    assert whole[0].info["units"]["alpha"] == "Å³"
    hashes = StoredStructures(halves / "qm9-judge.safetensors").array("perceived:smiles")
    assert hashes.tolist() == whole.array("perceived:smiles")[first].tolist()
    held_out = load(halves / "qm9-held-out.safetensors")
    expected = [published[2][k][columns.index("mu")] for k in range(6, 10)]
    assert property_values(held_out, ["mu"])["mu"].tolist() == pytest.approx(expected)


def test_a_molecule_without_properties_is_named(make_targets, published):
    known = make_targets.Known(*published[:2])
    data = load_one("CCN")
    with pytest.raises(InputError, match=r"molecule 0 \(C2H7N\) is none of the geometries"):
        known.of([data])


def load_one(text):
    atoms = embedded(text)
    return Data(z=torch.tensor(atoms.numbers), pos=torch.tensor(atoms.positions).float())


@pytest.mark.parametrize("border", [0.0005, 0.001])
def test_lost_digits_do_not_matter(make_targets, border):
    """On the border of what is rounded to the nearest, and of what is rounded down."""
    z = np.array([6, 1])
    exact = np.array([[0.12345, border, 0.0002], [1.0, 0.0, 0.0]])
    lost = np.array([[0.0, 1e-8, 0.0], [0.0, 0.0, 0.0]])
    above, below = ({*make_targets.keys(z, exact + sign * lost)} for sign in (1, -1))
    assert above & below
    assert not {*make_targets.keys(z, exact + 0.01)} & {*make_targets.keys(z, exact)}


def test_relative_energies_are_what_compositions_do_not_say(make_targets):
    """Energies that are sums of contributions of the elements have none."""
    structures = [load_one(text) for text in SMILES]
    own = {1: -13.6, 6: -1030.0, 7: -1480.0, 8: -2040.0}
    energies = torch.tensor([sum(own[z] for z in d.z.tolist()) for d in structures]).double()
    energies[0] += 0.9
    references = make_targets.references_of(structures[1:], energies[1:])
    found = make_targets.relative(structures, energies, references)
    assert found[1:].abs().max() < 1e-4
    assert float(found[0]) == pytest.approx(0.1, abs=1e-4)  # of nine atoms


def test_targets_are_drawn_with_their_sizes(script):
    conditional = script("conditional")
    values, heavy = np.array([1.0, 2.0, 3.0]), np.array([7, 9, 8])
    targets = conditional.Targets.drawn(values, heavy, 50, seed=0)
    size = dict(zip(values.tolist(), heavy.tolist(), strict=True))
    assert [size[value] for value in targets.values.tolist()] == targets.heavy.tolist()
    assert {*targets.values.tolist()} == {1.0, 2.0, 3.0}
    for first in (0, 13, 49):  # what was stopped goes on with the same ones
        groups = list(targets.groups(first))
        places = [k for _, begin, end in groups for k in range(begin, end)]
        assert places == list(range(first, 50))
        assert all((targets.heavy[b:e] == n).all() for n, b, e in groups)


def test_errors_and_hits(script):
    conditional = script("conditional")
    quantity = conditional.Quantity("meV", 1e3, 100.0)
    found, wanted = np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.09, 2.2, 2.5])
    known = np.array([True, False, False, True])
    row = conditional.errors_of(found, wanted, known, quantity)
    assert row["mae"] == pytest.approx((0 + 90 + 200 + 500) / 4)
    assert row["hits"] == row["known_to_judge"] == 0.5
    assert row["mae_unknown"] == pytest.approx((90 + 200) / 2)
    nothing = conditional.errors_of(found, wanted, np.ones(4, bool), quantity)
    assert "mae_unknown" not in nothing


@pytest.fixture
def told(files, tmp_path):
    """An untrained model that knows two properties and fingerprints."""
    model = SchNetGen.from_pretrained(files / "tiny.safetensors")
    known = (
        Property("mu", 10.0, 5.0, 0.0, 60.0, "D"),
        Property("relative_energy", 0.0, 0.1, -0.3, 0.3, "eV"),
    )
    conditions = (*model.config.conditions, "fingerprint", "properties")
    torch.manual_seed(0)
    config = model.config
    settings = {k: getattr(config, k) for k in config.__dataclass_fields__ if k != "settings"}
    made = SchNetGen(**settings | config.settings | {"properties": known, "conditions": conditions})
    made.training_set = model.training_set
    made.save(tmp_path / "told.safetensors")
    return tmp_path / "told.safetensors"


def property_model(path, structures):
    torch.manual_seed(0)
    model = Potential(
        "schnet", elements=(1, 6, 7, 8), targets=("mu",), hidden_channels=8, num_interactions=1
    )
    for data in structures:
        data.mu = torch.tensor([float(data.mu)]).double()
    model.fit_statistics(structures)
    model.save(path)
    return path


def test_conditional(script, told, halves, files, tmp_path, monkeypatch):
    """From the command to the table; candidates come nearer by the model that ranks them."""
    conditional, tables = script("conditional"), script("tables_of_targets")
    # The small halves do not have all elements: one judge of everything serves as both.
    everything = load(halves / "qm9-held-out.safetensors")
    judge = property_model(tmp_path / "judge.safetensors", [one.clone() for one in everything])
    options = ["--checkpoint", told, "--judge", judge, "--ranker", judge, "--jobs", 1]
    options += ["--judged_on", halves / "qm9-judge.safetensors", "--num", 4]
    options += ["--labels", halves / "qm9-ranker.safetensors", "--properties", "mu"]
    options += ["--test", halves / "qm9-held-out.safetensors", "--candidates", 3]
    name, record = called(monkeypatch, conditional, tmp_path, *options, "--guidance", 1)
    assert name == "conditional_told"
    rows = record["rows"]
    assert list(rows) == ["single samples", "guidance 1", "best of 3"]
    assert rows["best of 3"]["mu"]["mae"] <= rows["single samples"]["mu"]["mae"]
    assert math.isfinite(record["floor"]["mu"]["judge"])
    table = tables.conditional("qm9-targets", record)
    assert "| *quoted: JODO* | 0.628 |" in table
    assert "| hits (%) | mu ± 0.2 D |" in table
    monkeypatch.setattr(conditional, "measured", None)  # stored rows serve again
    again = called(monkeypatch, conditional, tmp_path, *options, "--guidance")[1]
    assert again["rows"]["best of 3"] == rows["best of 3"]


def test_an_unseen_formula(script, told, tmp_path, monkeypatch):
    """With and without a target; what the training had is refused."""
    unseen, tables = script("unseen_formula"), script("tables_of_targets")
    monkeypatch.setattr(unseen, "FEWER", 2)
    options = ["--checkpoint", told, "--num", 4, "--relaxed", 0, "--jobs", 1]
    seen = called_refused(monkeypatch, unseen, tmp_path, *options, "--formula", "C2H6O")
    assert "was trained on 1 molecules C2H6O" in seen
    name, record = called(monkeypatch, unseen, tmp_path, *options, "--formula", "C3H8O")
    assert name == "unseen_formula_told"
    assert list(record["rows"]) == ["no target", "−0.1 eV per atom"]
    for row in record["rows"].values():
        assert list(row["counts"]) == ["2", "4"]
        assert row["counts"]["2"]["different"] <= row["counts"]["4"]["different"] <= 3
    assert "| no target | 4 | " in tables.unseen_formula("qm9-targets", record)
    assert unseen.different(["a", "", "b", "a"]) == {"a": 0, "b": 2}


def called_refused(monkeypatch, module, folder, *options):
    with pytest.raises(InputError) as error:
        called(monkeypatch, module, folder, *options)
    return str(error.value)


def test_fingerprints(script, told, files, tmp_path, monkeypatch):
    fingerprints, tables = script("fingerprints"), script("tables_of_targets")
    options = ["--checkpoint", told, "--test", files / "test.extxyz", "--num", 3, "--each", 2]
    name, record = called(monkeypatch, fingerprints, tmp_path, *options, "--jobs", 1)
    assert name == "fingerprints_told"
    rows = record["rows"]
    assert list(rows)[:3] == ["pairs of held-out molecules", "nothing was asked", "like a molecule"]
    assert all(0 <= row["mean"] <= row["best_mean"] <= 1 for row in rows.values())
    assert "| nothing was asked | " in tables.fingerprints("qm9-targets", record)
    row = fingerprints.summary(np.array([[0.2, 1.0], [0.6, 0.6]]))
    assert row["mean"] == row["median"] == pytest.approx(0.6)
    assert (row["above_half"], row["the_same"], row["best_the_same"]) == (0.75, 0.25, 0.5)
    assert row["best_mean"] == pytest.approx(0.8)
    json.dumps(record)
