"""Vectors of molecules in files."""

import csv
import re

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import rdDepictor

from schnetgen_pyg.cli import main
from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNN, BoltzmannGNNConfig

TABLE = (
    "Name,SMILES,y\n"
    "ethanol,CCO,1.5\n"
    "broken,C1CC,2\n"
    '"two, words",c1ccccc1,\n'
    "nothing,,3\n"
    "salt,[Na+].[Cl-],4\n"
    "pentavalent,C(C)(C)(C)(C)C,5\n"
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    torch.manual_seed(0)
    model = BoltzmannGNN(BoltzmannGNNConfig(channels=6, num_layers=2, elements=(1, 6, 8))).eval()
    path = tmp_path_factory.mktemp("encoder") / "mine.safetensors"
    model.save(path)
    return path, model


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(TABLE)
    return path


def run(encoder, *arguments):
    return main(["embed", *map(str, arguments), "--model", str(encoder[0]), "--device=cpu"])


def test_rows_keep_their_columns_and_failures_are_named(encoder, table, tmp_path, capsys):
    out = tmp_path / "out.csv"
    assert run(encoder, table, "--out", out) == 0
    rows = list(csv.DictReader(out.open()))
    given = list(csv.DictReader(table.open()))
    assert [{key: row[key] for key in given[0]} for row in rows] == given
    told = [[float(row[f"vector_{k}"] or "nan") for k in range(6)] for row in rows]
    good = [0, 2, 4]
    wanted = encoder[1].from_smiles([given[k]["SMILES"] for k in good])
    np.testing.assert_allclose(np.array(told)[good], wanted, rtol=1e-5)
    assert np.isnan(np.array(told)[[1, 3, 5]]).all()
    assert [bool(row["failure"]) for row in rows] == [False, True, False, True, False, True]
    said = capsys.readouterr().out
    assert "3 of 6 rows have no vector" in said
    for text in ("line 3: 'C1CC' is no SMILES", "line 5: has no SMILES", "line 7: "):
        assert text in said
    assert "never seen Na, Cl, which 1 of the rows have (first " in said
    assert "wrote 3 vectors of 6 numbers" in said


def test_the_other_formats_say_the_same(encoder, table, tmp_path):
    outs = {suffix: tmp_path / f"out{suffix}" for suffix in (".csv", ".npz")}
    for out in outs.values():
        assert run(encoder, table, "--out", out) == 0
    rows = list(csv.DictReader(outs[".csv"].open()))
    with np.load(outs[".npz"]) as found:
        for name in ("Name", "SMILES", "y", "failure"):
            assert found[name].tolist() == [row[name] for row in rows]
        told = [[float(row[f"vector_{k}"] or "nan") for k in range(6)] for row in rows]
        np.testing.assert_allclose(found["vectors"], told, rtol=1e-6)


def test_cells_come_back_as_they_were(encoder, tmp_path):
    """Of several lines; and columns by any name, also those that numpy's writer has for itself."""
    path = tmp_path / "in.csv"
    path.write_text('smiles,file,allow_pickle,,a/b\nCC,"two\nlines, and",007,x,y\n')
    assert run(encoder, path, "--out", tmp_path / "out.csv") == 0
    assert run(encoder, path, "--out", tmp_path / "out.npz") == 0
    wanted = {"file": "two\nlines, and", "allow_pickle": "007", "": "x", "a/b": "y"}
    (row,) = csv.DictReader((tmp_path / "out.csv").open(newline=""))
    with np.load(tmp_path / "out.npz") as found:
        for name, text in wanted.items():
            assert row[name] == text
            assert found[name].tolist() == [text]


def test_many_rows_are_the_same_as_few(encoder, tmp_path):
    """More than are encoded at once."""
    path, out = tmp_path / "many.smi", tmp_path / "out.npz"
    texts = ["C" * (1 + k % 7) + "O" for k in range(600)]
    path.write_text("".join(f"{text} m{k}\n" for k, text in enumerate(texts)))
    assert run(encoder, path, "--out", out) == 0
    with np.load(out) as found:
        assert found["name"].tolist() == [f"m{k}" for k in range(600)]
        wanted = encoder[1].from_smiles(texts[:7])
        np.testing.assert_allclose(found["vectors"], wanted[np.arange(600) % 7], atol=1e-5)


def test_parquet(encoder, table, tmp_path, capsys):
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        assert run(encoder, table, "--out", tmp_path / "out.parquet") == 2
        assert "pip install pyarrow" in capsys.readouterr().err
        return
    assert run(encoder, table, "--out", tmp_path / "out.parquet") == 0
    found = parquet.read_table(tmp_path / "out.parquet").to_pandas()
    assert found["SMILES"].tolist()[0] == "CCO"
    assert np.isfinite(found["vector_5"]).sum() == 3


def test_molecules_with_bonds_keep_their_properties(encoder, tmp_path):
    path, out = tmp_path / "in.sdf", tmp_path / "out.csv"
    with Chem.SDWriter(str(path)) as writer:
        for number, text in enumerate(("CCO", "C/C=C/C")):
            mol = Chem.MolFromSmiles(text)
            mol.SetProp("_Name", f"m{number}")
            if number:  # the first record has none
                mol.SetProp("assay", "007.50")
            rdDepictor.Compute2DCoords(mol)
            writer.write(mol)
    assert run(encoder, path, "--out", out) == 0
    rows = list(csv.DictReader(out.open()))
    assert [row["name"] for row in rows] == ["m0", "m1"]
    assert [row["assay"] for row in rows] == ["", "007.50"]
    told = [[float(row[f"vector_{k}"]) for k in range(6)] for row in rows]
    np.testing.assert_allclose(told, encoder[1].from_smiles(["CCO", "C/C=C/C"]), rtol=1e-5)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (TABLE, ["--smiles=smile"], "no column 'smile' .*'SMILES'.* it has Name, SMILES"),
        ("smiles\nC1CC\n", [], "no vector could be made: .*line 2"),
        ("smiles\n", [], "holds no molecules"),
        ("smiles\n", ["--out=x.npz"], "holds no molecules"),
        ("", [], "the file is empty"),
        ("smiles,failure\nC,x\n", [], "has a column 'failure'"),
        ("smiles,vector_0\nC,1\n", [], "has a column 'vector_0'"),
        ("smiles,vectors\nC,1\n", ["--out=x.npz"], "in.csv: has a column 'vectors'"),
        ("smiles,y\nC,1,2\n", [], "line 2: has 3 cells, the first line 2"),
        (TABLE, ["--out=x.txt"], r"\.csv or \.npz or \.parquet"),
        (TABLE, ["--model=nothing"], "neither a file nor a bundled"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(
    encoder, tmp_path, monkeypatch, capsys, content, options, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text(content)
    call = ["embed", "in.csv", "--model", str(encoder[0]), "--out", "out.csv", "--device=cpu"]
    assert main([*call, *options]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_records_that_are_patterns_have_no_vector(encoder, tmp_path, capsys):
    path, out = tmp_path / "in.sdf", tmp_path / "out.csv"
    with Chem.SDWriter(str(path)) as writer:
        for text in ("CCO", "*CO"):
            writer.write(Chem.MolFromSmiles(text))
    assert run(encoder, path, "--out", out) == 0
    assert "1 of 2 rows have no vector" in capsys.readouterr().out
    first, second = csv.DictReader(out.open())
    assert not first["failure"]
    assert first["vector_0"]
    assert "dummy atoms" in second["failure"]
    assert not second["vector_0"]


def test_no_such_file_or_format(encoder, tmp_path, capsys):
    (tmp_path / "is.csv").mkdir()
    (tmp_path / "in.smi").write_text("C\n")
    for name, options, message in (
        ("no.csv", [], "no such file"),
        ("no.xyz", [], "no file of molecules"),
        ("is.csv", [], "is a folder"),
        ("in.smi", ["--smiles=x"], "in.smi: has no columns"),
    ):
        assert run(encoder, tmp_path / name, *options, "--out", tmp_path / "out.csv") == 2
        assert message in capsys.readouterr().err
