"""`fit-graph`, and `predict` with its models."""

import csv

import pytest

from schnetgen_pyg.cli import main
from schnetgen_pyg.graph_models.model import GraphModel
from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNN, BoltzmannGNNConfig
from tests.graph_models.test_model import small_model

SMALL = ["--channels=8", "--num_layers=1", "--epochs=2", "--split=random", "--accelerator=cpu"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"{'C' * k}O,{k},{k % 2}" for k in range(1, 31)]
    (tmp_path / "x.csv").write_text("smiles,size (Å),odd\n" + "\n".join(rows) + "\n")
    return tmp_path


def test_from_a_table_to_predictions(place, capsys):
    fit = ["fit-graph", "--data=x.csv", "--target", "size (Å)", "--classify", "odd", *SMALL]
    assert main([*fit, "--seed", "0", "1", "--out", "runs"]) == 0
    said = capsys.readouterr().out
    assert "30 molecules with size (Å), odd" in said
    assert "test size_rmse (Å) of 2 seeds: " in said
    models = [f"runs/seed_{k}/model.safetensors" for k in (0, 1)]
    given = ["predict", "x.csv", "--checkpoint", *models, "--out", "found.csv"]
    assert main(given) == 0
    assert "size_mae (Å): " in capsys.readouterr().out
    with open("found.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    assert float(rows[3]["size_std (Å)"]) > 0
    assert 0 < float(rows[3]["odd_predicted"]) < 1
    # The kept options make the same run again, which has nothing left to do.
    assert main(["fit-graph", "--config", "runs/seed_0/config.yaml"]) == 0
    assert main([*fit, "--seed", "0", "0", "--out", "runs"]) == 2
    assert "names one seed twice" in capsys.readouterr().err


def test_predict_refuses_what_is_not_for_tables(place, capsys):
    small_model().save("m.safetensors")
    given = ["predict", "x.csv", "--checkpoint", "m.safetensors", "--out"]
    for more, said in (
        (["y.xyz"], "y.xyz: is written as .csv"),
        (["y.csv", "--units", "a=eV"], "--units: is for structure files"),
        (["y.csv", "--smiles", "mine"], "has no column 'mine'"),
        (["y.csv", "--batch_size", "0"], "batch_size must be at least 1, got 0"),
    ):
        assert main([*given, *more]) == 2
        assert said in capsys.readouterr().err
    assert main(["predict", "x.csv", "--smiles", "mine", "--out", "y.extxyz"]) == 2
    assert "--smiles: is for tables" in capsys.readouterr().err
    assert not (place / "y.csv").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--batch_size=0", "batch_size must be at least 1, got 0"),
        ("--channels=0", "channels must be at least 1, got 0"),
        ("--num_layers=-1", "num_layers must be at least 1, got -1"),
        ("--layers=gps --channels=6", "channels must be a multiple of 4"),
    ],
)
def test_settings_that_make_no_network_or_training(option, said, place, capsys):
    fit = ["fit-graph", "--data=x.csv", "--classify", "odd", *SMALL, *option.split()]
    assert main([*fit, "--out", "run"]) == 2
    assert said in capsys.readouterr().err
    assert not (place / "run").exists()


def test_a_trained_encoder_brings_its_architecture(place, capsys):
    BoltzmannGNN(BoltzmannGNNConfig("gine", 12, 1, (1, 6))).save("encoder.safetensors")
    fit = ["fit-graph", "--data=x.csv", "--classify", "odd", "--init", "encoder.safetensors"]
    assert main([*fit, "--channels=8", "--out", "run"]) == 2
    assert "--channels" in capsys.readouterr().err
    assert main([*fit, "--epochs=1", "--split=random", "--accelerator=cpu", "--out", "run"]) == 0
    assert "has never seen O" in capsys.readouterr().err
    model = GraphModel.from_pretrained("run/model.safetensors")
    assert (model.config.channels, model.config.elements) == (12, (1, 6, 8))
    assert main([*fit[:-1], "run/model.safetensors", "--out", "other"]) == 2
    assert "holds a graph model, expected a graph encoder" in capsys.readouterr().err
