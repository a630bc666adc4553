"""Benchmarks of models that make molecules of any composition, from the command to the table."""

import json
import math
import re
from collections import Counter
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
import torch
from ase.build import molecule

from schnetgen_pyg import Potential
from schnetgen_pyg.chem.elements import hill_formula, parse_formula
from schnetgen_pyg.generator.composition import Composition

from ..molecules import embedded
from .conftest import called

ROOT = Path(__file__).parents[2]


def test_edm_protocol_is_lenient(script):
    """Open valences are filled up, of fragments the largest counts, and orders follow lengths."""
    edm_smiles = script("edm_protocol").edm_smiles
    assert edm_smiles(molecule("CH3CH2OH")).count("[H]") == 6
    radical = molecule("CH3")
    assert edm_smiles(radical) == "[H]C([H])[H]"
    far = molecule("H2O")
    far.positions += 20.0
    assert edm_smiles(molecule("CH3OCH3") + far) == edm_smiles(molecule("CH3OCH3"))
    crowded = ase.Atoms("CH5", np.vstack([molecule("CH4").positions, [0.0, 0.0, 1.05]]))
    assert edm_smiles(crowded) == ""
    assert edm_smiles(molecule("CH3SH")) is None
    assert "#" in edm_smiles(molecule("HCN"))


def test_quality(script, files, tmp_path, monkeypatch):
    """Every row and judge; a second call measures nothing, and more seeds only their row."""
    quality_any, tables = script("quality_any"), script("tables_of_any")
    model = ["--checkpoint", files / "tiny.safetensors", "--test", files / "test.extxyz"]
    options = [*model, "--num", 3, "--jobs", 1, "--energies", 0]
    name, record = called(monkeypatch, quality_any, tmp_path, *options, "--seeds", 0)
    assert name == "quality_tiny"
    titles = ["default", "not refined", "not revised", "every scaffold kept"]
    assert list(record["rows"]) == [*titles, "what the network knows"]
    real = record["real"]
    assert (real["structures"], real["valid"], real["novel"]) == (3, 100.0, 100.0)
    assert real["edm_stable"] <= real["edm_valid"] == 100.0
    assert "own_bonds" not in real  # which say nothing of how they were built
    for row in record["rows"].values():
        figures = row["runs"][0]
        assert figures["valid_unique"] <= figures["valid"]
        assert figures["edm_valid_unique"] <= figures["edm_valid"]
    usual = record["rows"]["default"]["runs"][0]
    assert usual["own_bonds"] >= usual["valid"]

    made = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.extxyz")}
    assert len(made) == 5
    monkeypatch.setattr(quality_any, "judged", None)  # all rows are there
    _, again = called(monkeypatch, quality_any, tmp_path, *options, "--seeds", 0)
    assert again["rows"] == record["rows"]
    monkeypatch.undo()
    _, both = called(monkeypatch, quality_any, tmp_path, *options, "--seeds", 0, 1)
    assert [len(row["runs"]) for row in both["rows"].values()] == [2, 1, 1, 1, 1]
    assert both["rows"]["default"]["runs"][0]["valid"] == usual["valid"]
    assert made == {path: path.read_bytes() for path in made}

    table = tables.quality("qm9", both)
    assert "| *held-out molecules* | " in table
    assert "*quoted: Quetzal* | 98.3 | 87.6 | 94.7 | 90.1 |" in table
    assert "own bonds" in table
    lines = [line.count("|") for line in table.splitlines() if line.startswith("|")]
    assert len(set(lines)) == 1


def test_own_bonds_are_those_of_the_builder(script, molecules):
    """A molecule is counted by the bonds that it states, and compared with what is perceived."""
    quality_any = script("quality_any")
    good = embedded("CC=O")
    good.set_array("formal_charge", np.zeros(len(good), dtype=int))
    good.set_array("valence", np.array([{6: 4, 8: 2, 1: 1}[z] for z in good.numbers.tolist()]))
    other = good.copy()  # as a builder may have it: with charges at carbon and oxygen
    carbon = int(np.flatnonzero(good.numbers == 6)[1])
    oxygen = int(np.flatnonzero(good.numbers == 8)[0])
    other.arrays["formal_charge"][[carbon, oxygen]] = [1, -1]
    other.arrays["valence"][[carbon, oxygen]] = [3, 1]
    result = quality_any.evaluate([good, other], judges=(), jobs=1)
    figures = quality_any.built([good, other], result, 1)
    assert figures == {"own_bonds": 100.0, "own_bonds_perceived": 50.0}
    assert quality_any.built(molecules[:2], result, 1) == {}


def test_all_tests_of_posebusters_count_invalid_structures(script):
    quality_any = script("quality_any")

    def record(failure="", **entries):
        found = {"posebusters": {"bond_lengths": True}, "posebusters-energy": {"energy": True}}
        return {"failure": failure} | ({} if failure else found) | entries

    records = [
        record(),
        record(posebusters={"bond_lengths": False}),
        record(**{"posebusters-energy": {"energy": False}}),
        record(**{"posebusters-energy": {"unfinished": "timeout"}}),
        record("fragments"),
    ]
    result = quality_any.Evaluation(records)
    assert quality_any.all_tests(result) == pytest.approx(100 * 4 / 5 * 1 / 4)
    assert quality_any.all_tests(quality_any.Evaluation([record("valence")])) is None


def test_distances_of_compositions_are_exact(script):
    """Against sums over all formulas of a small world, which add up to 1."""
    compositions = script("compositions")
    torch.manual_seed(3)
    composition = Composition({1: 6, 6: 2, 8: 1}, {6: 4, 8: 2}, 8).eval()
    everything = [
        hill_formula([8] * o + [6] * c + [1] * h)
        for o in range(2)
        for c in range(3)
        for h in range(7)
        if o + c
    ]
    prob = np.exp(compositions.log_probs(composition, everything))
    assert prob.sum() == pytest.approx(1, abs=1e-5)
    test = Counter({"C2H6O": 6, "CH4": 3, "C2H4": 1})
    seen = {"C2H6O": 1, "CH4": 1, "H2O": 2}
    result = compositions.compared(composition, seen, test, 0)

    shares = np.array([test[name] / 10 for name in everything])
    for name, of in (
        ("p(Z)", prob),
        ("histogram", np.array([seen.get(n, 0) / 4 for n in everything])),
    ):
        found = result[name]
        assert found["variation"] == pytest.approx(np.abs(of - shares).sum() / 2, abs=1e-5)
        mean = (of + shares) / 2
        sums = [np.sum(p[p > 0] * np.log(p[p > 0] / mean[p > 0])) for p in (of, shares)]
        assert found["jensen_shannon"] == pytest.approx(sum(sums) / 2, abs=1e-5)
    assert result["histogram"]["impossible"] == pytest.approx(0.1)
    assert result["histogram"]["mean_log_prob"] == pytest.approx(math.log(1 / 4))
    few = result["histogram, against a sample of itself"]
    assert few["impossible"] == 0
    assert 0 < few["variation"] < 0.6
    assert few["mean_log_prob"] == few["mean_log_prob_common"]
    own = dict(zip(everything, prob, strict=True))
    expected = sum(math.log(own[name]) * count for name, count in test.items()) / 10
    assert result["p(Z)"]["mean_log_prob"] == pytest.approx(expected, abs=1e-4)
    assert compositions.log_probs(composition, ["CH4S", "CH4"])[0] == -np.inf
    # Sizes and elements: of drawn formulas, as near as so many draws are.
    sizes = Counter()
    for name, share in zip(everything, prob, strict=True):
        sizes[parse_formula(name).numel()] += share
    theirs = compositions.sizes(test)
    expected = sum(abs(sizes[k] - theirs.get(k, 0) / 10) for k in {*sizes, *theirs}) / 2
    assert result["p(Z)"]["sizes"] == pytest.approx(expected, abs=0.01)


def test_distributions(script, files, tmp_path, monkeypatch):
    module, tables = script("distributions_any"), script("tables_of_any")
    options = ["--checkpoint", files / "tiny.safetensors", "--name", "some", "--num", 4]
    options += ["--train", files / "test.extxyz", "--test", files / "test.extxyz", "--jobs", 1]
    name, record = called(monkeypatch, module, tmp_path, *options)
    assert name == "distributions_some"
    floor = record["row"]["distances"]["training molecules"]  # the same molecules, here
    for key in ("formulas", "sizes", "elements", "functional groups", "numbers of rings"):
        assert floor[key] == 0.0
    assert floor["bonds"]["mean"] == floor["torsions"]["mean"] == 0.0
    assert record["row"]["distances"]["generated"]["formulas"] > 0
    assert record["row"]["groups"]["held-out molecules"]["furan"] == 0.25
    assert {"p(Z)", "histogram"} < set(record["row"]["composition"])
    table = tables.distributions("qm9", record)
    assert "| histogram | histogram, against a sample of itself | p(Z) |" in table
    assert "| *of H-C* |" in table or "| *of C-H* |" in table
    assert "| furan |" in table


def test_strain(script, files, tmp_path, monkeypatch):
    """Held-out molecules, and ours with and without refinement; stored ones serve again."""
    pytest.importorskip("tblite")
    strain, tables = script("strain"), script("tables_of_any")
    options = ["--checkpoint", files / "tiny.safetensors", "--test", files / "test.extxyz"]
    options += ["--relaxed", 2, "--jobs", 1]
    _, record = called(monkeypatch, strain, tmp_path, *options)
    assert list(record["rows"]) == ["default", "not refined", "held-out molecules"]
    real = record["rows"]["held-out molecules"]
    assert (real["structures"], real["changed"], real["valid"]) == (2, 0, 2)
    assert real["released_50%"] == pytest.approx(real["released_median"])
    assert real["released_50%"] <= real["released_90%"]
    assert 0 <= real["twisted"] <= 1
    assert "| constitution changed |" in tables.strain("qm9", record)
    potential = tmp_path / "potential.safetensors"
    Potential("painn", (1, 6, 7, 8), hidden_channels=8).save(potential)
    _, record = called(monkeypatch, strain, tmp_path, *options, "--polish", potential)
    assert list(record["rows"])[1] == "polished"
    assert "potential`, 30 force calls." in tables.strain("qm9", record)


def test_throughput_takes_the_peer_of_the_table(script, tmp_path, monkeypatch):
    throughput, tables = script("throughput"), script("tables_of_any")
    found = {name: {"seconds": 2.0, "atoms": 760} for name in throughput.WAYS}
    monkeypatch.setattr(throughput, "run", lambda *_, **__: found)
    name, record = called(monkeypatch, throughput, tmp_path, "--num", 20, "--rounds", 1)
    assert name == "throughput_qm9"
    stored = json.loads((throughput.RESULTS / "generation.json").read_text())["rows"]
    theirs = [row for row in stored if row.startswith("schnetpack-gschnet")]
    assert theirs
    for row in theirs:
        assert record["rows"][row]["molecules_per_second"] == pytest.approx(
            stored[row]["molecules_per_second"] / 2  # of 38 atoms, not of 19
        )
    assert record["rows"]["one process"]["molecules_per_second"] == 10.0
    assert "those of the table of generation" in tables.throughput("qm9", record)


def test_chains_have_the_size_that_is_asked_for(script):
    chain = script("sizes").chain
    for atoms in (5, 10, 11, 12, 120):
        numbers = chain(atoms)
        assert len(numbers) == atoms
        assert numbers.count(1) == 2 * numbers.count(6) + 2
        assert numbers.count(8) <= 2


@pytest.mark.slow
def test_sizes(script, tmp_path, monkeypatch):
    sizes, tables = script("sizes"), script("tables_of_any")
    _, record = called(monkeypatch, sizes, tmp_path, "--sizes", 5, 8, "--molecules", 1)
    rows = record["rows"]
    assert len(rows) == 4
    assert all(row["seconds_per_placed_atom"] > 0 for row in rows.values())
    assert "| 8 atoms, cutoff 5 Å |" in tables.sizes(record)


@pytest.mark.slow
def test_learning_curve(script, files, tmp_path, monkeypatch):
    curve, tables = script("learning_curve"), script("tables_of_any")
    options = ["--train", files / "train.extxyz", "--preset", "small", "--sizes", 3, 6]
    options += ["--steps", 2, 3, "--num", 3, "--threads", 1, "--jobs", 1]
    _, record = called(monkeypatch, curve, tmp_path, *options)
    assert [row["steps"] for row in record["rows"].values()] == [2, 3]
    assert all(row["training_seconds"] > 0 for row in record["rows"].values())
    lines = tables.learning_curve(record).splitlines()
    assert re.match(r"\| 3 \| 2 \| \d+ \| \d", lines[2])


@pytest.mark.slow
def test_one_command_measures_all(script, files, tmp_path, monkeypatch):
    """Also where one of the scripts fails: the others are called."""
    pytest.importorskip("tblite")
    measure = script("measure_model")
    options = ["--checkpoint", files / "tiny.safetensors", "--num", 3, "--relaxed", 1, "--jobs", 1]
    options += ["--train", files / "none.extxyz", "--test", files / "test.extxyz"]
    command = ["measure_model.py", *options, "--results", tmp_path / "results"]
    monkeypatch.setattr("sys.argv", list(map(str, command)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of processes
    original = measure.commands
    monkeypatch.setattr(  # a thousand molecules take a while
        measure,
        "commands",
        lambda o: [
            c + ["--num", "2", "--rounds", "1"] * (c[0] == "throughput.py") for c in original(o)
        ],
    )
    with pytest.raises(SystemExit, match=r"failed: distributions_any\.py$"):
        measure.main()
    written = sorted(path.stem for path in (tmp_path / "results").glob("*.json"))
    assert written == ["quality_tiny", "strain_tiny", "throughput_tiny"]
