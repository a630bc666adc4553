"""Training on tables of SMILES."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from schnetgen_pyg.data.labelled_graphs import read_labelled
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNN, BoltzmannGNNConfig
from schnetgen_pyg.training.graph import fit_graph

ENCODER = BoltzmannGNNConfig("gine", 16, 2)
QUICK = {
    "epochs": 4,
    "batch_size": 8,
    "learning_rate": 5e-3,
    "split": "random",
    "validation": 0.2,
    "test": 0.2,
    "accelerator": "cpu",
}
PARTS = ["C", "CC", "C(C)", "N", "O", "C(=O)", "CN", "S", "C(F)", "c1ccc(cc1)"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Molecules, their numbers of nitrogens, whether they have an aromatic ring, gaps in both."""
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("tables") / "x.csv"
    lines = ["smiles,nitrogens,aromatic"]
    texts = {f"C{''.join(generator.choice(PARTS, generator.integers(2, 6)))}C" for _ in range(200)}
    for text in sorted(texts)[:120]:
        kept = generator.random(2) > 0.2
        cells = [str(text.count("N")) * bool(kept[0]), str(int("c1" in text)) * bool(kept[1])]
        lines.append(f"{text},{','.join(cells)}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def data(table):
    with pytest.warns(UserWarning, match="have no label"):
        return read_labelled(table, ["nitrogens"], ["aromatic"])


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_count_and_a_class_are_learned(data, tmp_path):
    settings = QUICK | {"epochs": 40, "batch_size": 16, "learning_rate": 1e-2, "ema_decay": 0.9}
    model = fit_graph(data, tmp_path, encoder=BoltzmannGNNConfig("gine", 16, 1), **settings)
    told = model.provenance["test"]
    assert told["nitrogens_rmse"] < 0.5
    assert told["aromatic_roc_auc"] > 0.9
    found = model.predict(["CCCN", "Cc1ccc(cc1)C"])
    assert found["nitrogens"] == pytest.approx([1, 0], abs=0.4)
    assert found["aromatic"][0] < 0.4 < 0.6 < found["aromatic"][1]
    parts = json.loads((tmp_path / "split.json").read_text())
    assert model.provenance["num_training"] == len(parts["train"])


def test_a_run_that_continues_and_a_seed(data, tmp_path):
    """The same as an uninterrupted one to the last bit; another seed is another model."""
    whole = fit_graph(data, tmp_path / "whole", encoder=ENCODER, **QUICK)
    again = fit_graph(data, tmp_path / "again", encoder=ENCODER, **QUICK)
    assert torch.equal(weights(whole), weights(again))
    other = fit_graph(data, tmp_path / "other", encoder=ENCODER, **QUICK, seed=1)
    assert not torch.equal(weights(whole), weights(other))


def test_a_run_that_was_stopped_ends_as_a_whole_one(data, tmp_path, monkeypatch):
    from schnetgen_pyg.training import graph

    whole = fit_graph(data, tmp_path / "whole", encoder=ENCODER, **QUICK)
    terms, calls = graph.GraphModule.terms, []

    def dying(self, batch, *seed):
        calls.append(1)
        if len(calls) > 25:
            raise KeyboardInterrupt
        return terms(self, batch, *seed)

    settings = QUICK | {"epochs": 4}
    run = graph.GraphTrainingConfig.run
    monkeypatch.setattr(
        graph.GraphTrainingConfig,
        "run",
        lambda self, number: graph.replace(run(self, number), checkpoint_interval=3),
    )
    with monkeypatch.context() as patch:
        patch.setattr(graph.GraphModule, "terms", dying)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            fit_graph(data, tmp_path / "parts", encoder=ENCODER, **settings)
    state = torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)
    assert 0 < state["global_step"] < 25
    parts = fit_graph(data, tmp_path / "parts", encoder=ENCODER, **settings)
    assert torch.equal(weights(whole), weights(parts))
    assert whole.provenance["metrics"] == parts.provenance["metrics"]


def test_a_finished_run_says_that_other_settings_change_nothing(data, tmp_path):
    settings = QUICK | {"epochs": 2}
    first = fit_graph(data, tmp_path, encoder=ENCODER, **settings)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*holds a run with other settings")
        fit_graph(data, tmp_path, encoder=ENCODER, **settings)
    for changes, said in (
        ({"learning_rate": 1e-4}, r"learning_rate was 0\.005, is now 0\.0001\); .* stays as it is"),
        ({"epochs": 1}, "epochs was 2, is now 1"),
    ):
        with pytest.warns(UserWarning, match=said):
            again = fit_graph(data, tmp_path, encoder=ENCODER, **(settings | changes))
        assert torch.equal(weights(first), weights(again))


def test_units_do_not_decide(tmp_path):
    """Labels in a unit a thousand times as small train the same network, beside another column."""
    rows = [f"{'C' * k}O,{k},{1000 * k},{(7 * k) % 5}" for k in range(1, 31)]
    (tmp_path / "x.csv").write_text("smiles,y,milli,z\n" + "\n".join(rows) + "\n")
    models = [
        fit_graph(
            read_labelled(tmp_path / "x.csv", [name, "z"]),
            tmp_path / name,
            encoder=ENCODER,
            **QUICK,
        )
        for name in ("y", "milli")
    ]
    torch.testing.assert_close(weights(models[0]), weights(models[1]), atol=1e-5, rtol=1e-4)
    told = [model.provenance["test"] for model in models]
    assert told[1]["milli_rmse"] == pytest.approx(1000 * told[0]["y_rmse"], rel=1e-3)


def test_each_part_of_the_split_has_its_use(data, tmp_path):
    """Means are of the training, which the test must not reach, and test errors are of the test."""
    model = fit_graph(data, tmp_path, encoder=ENCODER, **(QUICK | {"epochs": 1}))
    parts = json.loads((tmp_path / "split.json").read_text())
    labels = data.labels[:, 0]
    assert float(model.mean[0]) == pytest.approx(float(labels[parts["train"]].nanmean()))
    assert float(model.mean[0]) != pytest.approx(float(labels.nanmean()))
    found = model.predict([data.smiles[k] for k in parts["test"]])["nitrogens"]
    missed = found - labels[parts["test"]].numpy()
    told = model.provenance["test"]
    assert told["num_molecules"] == len(parts["test"])
    assert told["nitrogens_rmse"] == pytest.approx(np.nanmean(missed**2) ** 0.5, rel=1e-4)


def test_a_folder_with_the_split_of_another_seed(data, tmp_path):
    settings = QUICK | {"epochs": 1}
    fit_graph(data, tmp_path, encoder=ENCODER, **settings)
    for changes, said in (({"seed": 1}, "seed was 0, is now 1"), ({"test": 0.1}, "test_share was")):
        with pytest.raises(InputError, match=rf"split.json: .*{said}"):
            fit_graph(data, tmp_path, encoder=ENCODER, **(settings | changes))


def test_two_processes_do_not_train_in_one_folder(data, tmp_path):
    settings = QUICK | {"epochs": 1}
    before = fit_graph(data, tmp_path, encoder=ENCODER, **settings)
    code = (
        "from schnetgen_pyg.storage.alone import alone\n"
        f"held = alone({str(tmp_path / 'split.json')!r})\n"
        "print('held', flush=True)\n"
        "input()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=r"split.json: another process is writing there"):
            fit_graph(data, tmp_path, encoder=ENCODER, **(settings | {"epochs": 2}))
        other.kill()
    after = fit_graph(data, tmp_path, encoder=ENCODER, **(settings | {"epochs": 2}))
    assert not torch.equal(weights(before), weights(after))


def test_a_missing_label_has_no_gradient(data, tmp_path):
    """A molecule counts for the columns that it has only, and others are what they are without."""
    from schnetgen_pyg.training.graph import GraphModule

    model = fit_graph(data, tmp_path, encoder=ENCODER, **(QUICK | {"epochs": 1}))
    module = GraphModule(model, None)
    known = data.labels.isfinite()
    whole = (known.all(1)).nonzero().flatten().tolist()[:3]
    lacking = (~known[:, 0]).nonzero().flatten().tolist()[:2]
    alone, both = (module.terms(data.graphs[chosen]) for chosen in (whole, whole + lacking))
    one, other = (part.loss["nitrogens"].value.item() for part in (alone, both))
    assert one == pytest.approx(other)
    assert both.loss["aromatic"].number == 5


def test_a_trained_encoder_is_where_it_begins(data, tmp_path):
    torch.manual_seed(5)
    encoder = BoltzmannGNN(BoltzmannGNNConfig("gine", 24, 1, (1, 6, 7, 8)))
    encoder.provenance = {"step": 7}
    path = tmp_path / "encoder.safetensors"
    encoder.save(path)
    settings = QUICK | {"epochs": 1, "learning_rate": 1e-9, "ema_decay": 0.0}
    with pytest.warns(UserWarning, match="has never seen"):
        model = fit_graph(data, tmp_path / "run", init=path, **settings)
    assert model.config.elements == (1, 6, 7, 8, 9, 16)
    for before, after in zip(encoder.parameters(), model.encoder.parameters(), strict=True):
        torch.testing.assert_close(before, after, atol=1e-6, rtol=0)
    assert model.provenance["parent"]["step"] == 7
    continued = fit_graph(data, tmp_path / "run", init=path, **(settings | {"epochs": 2}))
    assert continued.provenance["parent"] == model.provenance["parent"]
    encoder.provenance = {"step": 8}
    encoder.save(path)
    with pytest.raises(InputError, match="began with"):
        fit_graph(data, tmp_path / "run", init=path, **settings)


def test_a_split_of_ones_own(data, tmp_path):
    parts = {"train": [*range(40)], "validation": [*range(40, 50)], "test": [*range(50, 60)]}
    settings = QUICK | {"epochs": 1}
    model = fit_graph(data, tmp_path / "a", encoder=ENCODER, parts=parts, **settings)
    assert model.provenance["num_training"] == 40
    for wrong in ({**parts, "test": [3]}, {**parts, "tset": [70]}, {**parts, "test": [9999]}):
        with pytest.raises(InputError, match="parts must be train, validation, test"):
            fit_graph(data, tmp_path / "b", encoder=ENCODER, parts=wrong, **settings)
    with pytest.raises(InputError, match="split"):
        fit_graph(data, tmp_path / "a", encoder=ENCODER, **settings)


def test_refused(data, table, tmp_path):
    fit_graph(data, tmp_path / "run", encoder=ENCODER, **(QUICK | {"epochs": 1}))
    with pytest.raises(InputError, match=r"validation_share was 0\.2, is now 0\.3"):
        fit_graph(data, tmp_path / "run", encoder=ENCODER, **(QUICK | {"validation": 0.3}))
    with pytest.warns(UserWarning, match="rows"), pytest.raises(InputError, match="other data"):
        fit_graph(read_labelled(table, ["nitrogens"]), tmp_path / "run", **QUICK)
    wider = BoltzmannGNNConfig("gine", 24, 2)
    with pytest.raises(InputError, match="other values of channels"):
        fit_graph(data, tmp_path / "run", encoder=wider, **QUICK)
    first = data.labels[:, 1].eq(1).nonzero().flatten().tolist()
    parts = {"train": first[:20], "validation": [k for k in range(60) if k not in first[:20]]}
    with pytest.raises(InputError, match="aromatic: is 1 in all molecules of the training part"):
        fit_graph(data, tmp_path / "new", encoder=ENCODER, parts=parts, **QUICK)
    with pytest.raises(InputError, match="validation must be between 0 and 1, got 0"):
        fit_graph(data, tmp_path / "new", **(QUICK | {"validation": 0}))
    assert not (tmp_path / "new").exists()
