"""Models of 2-D graphs: what they say, and their files."""

import dataclasses

import numpy as np
import pytest
import torch

from schnetgen_pyg.data.csv_tables import read_table
from schnetgen_pyg.data.labelled_graphs import GraphTarget
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.graph_models.measures import errors
from schnetgen_pyg.graph_models.model import GraphModel, GraphModelConfig
from schnetgen_pyg.graph_models.prediction import predict_table

TARGETS = (GraphTarget("log P", "", False), GraphTarget("toxic", "", True))
SMILES = ["CCO", "C[N+](C)(C)CC(=O)[O-]", "[Na+].[Cl-]", "F/C=C/F", "N"]


def small_model(seed=0, targets=TARGETS):
    torch.manual_seed(seed)
    config = GraphModelConfig("gine", 16, 2, (1, 6, 7, 8, 9, 11, 17), targets=targets)
    model = GraphModel(config).eval()
    labels = torch.tensor([[-3.0, 0], [5.0, 1], [1.0, 1], [torch.nan, 1]]).double()
    model.fit_statistics(labels[:, : len(targets)], torch.tensor([5, 10, 20, 30]))
    return model


def test_predictions_do_not_depend_on_the_batch():
    model = small_model()
    told = model.predict(SMILES)
    assert list(told) == ["log P", "toxic"]
    for batch_size in (1, 2):
        for name, values in model.predict(SMILES, batch_size).items():
            np.testing.assert_allclose(values, told[name], rtol=1e-5)
    assert ((told["toxic"] > 0) & (told["toxic"] < 1)).all()
    reversed_order = model.predict(SMILES[::-1])
    np.testing.assert_allclose(reversed_order["log P"][::-1], told["log P"], rtol=1e-5)


def test_units_and_rates_are_those_of_the_labels():
    """With a read-out of zeros the mean is said, and the rate of the class."""
    model = small_model()
    torch.nn.init.zeros_(model.readout[-1].weight)
    torch.nn.init.zeros_(model.readout[-1].bias)
    told = model.predict(SMILES)
    np.testing.assert_allclose(told["log P"], 1.0)
    np.testing.assert_allclose(told["toxic"], 0.75)


def test_a_saved_model_says_the_same(tmp_path):
    model = small_model()
    model.provenance = {"note": "mine"}
    model.save(tmp_path / "x.safetensors")
    found = GraphModel.from_pretrained(tmp_path / "x.safetensors")
    assert (found.config, found.provenance) == (model.config, model.provenance)
    for name, values in model.predict(SMILES).items():
        assert (found.predict(SMILES)[name] == values).all()
    with pytest.raises(InputError, match="nowhere: neither a file"):
        GraphModel.from_pretrained("nowhere")


def test_errors_are_those_of_their_definitions():
    """The area is the share of pairs that are in the right order, ties half."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 50).astype(float)
    found = np.round(generator.random(50), 1)  # with ties
    labels[:5] = np.nan
    told = errors(TARGETS[1], torch.from_numpy(found), torch.from_numpy(labels))
    above = found[labels == 1][:, None] - found[labels == 0]
    assert told["toxic_roc_auc"] == pytest.approx(np.mean((above > 0) + 0.5 * (above == 0)))
    assert told["toxic_accuracy"] == pytest.approx(((found > 0.5) == labels)[5:].mean())
    found, labels = torch.tensor([[1.0, 2, 9], [4, 6, torch.nan]])
    told = errors(GraphTarget("gap (eV)", "eV"), found, labels)
    assert told == {"gap_rmse (eV)": pytest.approx(12.5**0.5), "gap_mae (eV)": pytest.approx(3.5)}
    assert errors(TARGETS[0], torch.ones(2), torch.full((2,), torch.nan)) == {}


def test_a_committee_and_what_it_cannot_read(tmp_path):
    (tmp_path / "x.csv").write_text("id,smiles,log P\n1,CCO,0.3\n2,C(,\n3,CBr,\n4,N,-1\n")
    table = read_table(tmp_path / "x.csv")
    models = [small_model(seed) for seed in (0, 1, 2)]
    with pytest.warns(UserWarning, match="line 4: has Br, which the training had not"):
        found = predict_table(models, table)
    assert found.columns[:3] == ["id", "smiles", "log P"]
    assert found.columns[3:] == [
        *("log P_predicted", "log P_std", "toxic_predicted", "toxic_std", "failure")
    ]
    alone = np.array([model.predict(["CCO", "N"])["log P"] for model in models])
    rows = [found.rows[0], found.rows[3]]
    told = [[float(row[f"log P_{what}"]) for row in rows] for what in ("predicted", "std")]
    np.testing.assert_allclose(told, [alone.mean(0), alone.std(0)], rtol=1e-4)
    assert "no SMILES" in found.rows[1]["failure"]
    assert "log P_predicted" not in found.rows[1]
    assert [row["id"] for row in found.rows] == ["1", "2", "3", "4"]
    assert found.failures[0].startswith("line 3: 'C('")
    wanted = np.abs(alone.mean(0) - [0.3, -1]).mean()
    assert found.errors["log P_mae"] == pytest.approx(wanted, rel=1e-4)


def test_a_committee_warns_of_what_any_of_its_members_has_not_seen(tmp_path):
    (tmp_path / "x.csv").write_text("smiles\nCO\nCF\nC\n")
    one, other = small_model(), small_model()
    other.config = dataclasses.replace(other.config, elements=(1, 6, 8))
    for models in ([one, other], [other, one]):
        with pytest.warns(UserWarning, match="line 3: has F, which the training had not"):
            predict_table(models, read_table(tmp_path / "x.csv"))


def test_what_does_not_go_together(tmp_path):
    (tmp_path / "x.csv").write_text("smiles,toxic_predicted\nC,1\n")
    (tmp_path / "bad.csv").write_text("smiles\nC(\n")
    model = small_model()
    with pytest.raises(InputError, match="has a column 'toxic_predicted' already"):
        predict_table([model], read_table(tmp_path / "x.csv"))
    with pytest.raises(InputError, match="no molecule can be read; line 2"):
        predict_table([model], read_table(tmp_path / "bad.csv"))
    other = small_model(targets=TARGETS[:1])
    with pytest.raises(InputError, match="predict different columns"):
        predict_table([model, other], read_table(tmp_path / "bad.csv"))
    with pytest.raises(InputError, match=r"molecule 1: 'C\('"):
        model.predict(["C", "C("])
