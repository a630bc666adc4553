"""Encoders of 2-D graphs on MoleculeNet: what is compared."""

import pytest
import torch

from schnetgen_pyg.data.labelled_graphs import read_labelled


def test_a_share_of_the_labels_leaves_the_rest_as_it_is(script, tmp_path):
    rings = ["C1CC1", "c1ccccc1", "C1CCC1", "C1CCCC1", "c1ccoc1", "c1ccsc1"]
    rows = [f"{'C' * k}{ring},{int(k > 17)}" for ring in rings for k in range(1, 21)]
    path = tmp_path / "bace.csv"
    path.write_text("smiles,Class\n" + "\n".join(rows) + "\n")
    module = script("downstream")
    data = module.read(tmp_path, "bace")
    assert data.digest() == read_labelled(path, classify=["Class"]).digest()
    whole, few = (module.parts_of(data, share, 3) for share in (1.0, 0.1))
    assert (few["validation"], few["test"]) == (whole["validation"], whole["test"])
    assert len(few["train"]) == round(0.1 * len(whole["train"]))
    assert {*few["train"]} < {*whole["train"]}
    assert {*data.labels[few["train"], 0].tolist()} == {0.0, 1.0}
    assert few == module.parts_of(data, 0.1, 3) != module.parts_of(data, 0.1, 4)
    perfect = data.labels[whole["test"], 0]
    assert module.figure(perfect, data, whole["test"]) == 1.0
    assert module.figure(1 - perfect, data, whole["test"]) == 0.0


def test_ranks_and_gains(script):
    """Smaller errors and larger areas are better; gains are in errors of the difference."""
    module = script("downstream")

    def row(esol, bace):
        figures = {"std": 0.2, "values": [0.0] * 4, "seconds": 1.0}
        return {
            "1": {"sets": {"esol": {"mean": esol, **figures}, "bace": {"mean": bace, **figures}}}
        }

    rows = {"scratch": row(1.0, 0.7), "better": row(0.8, 0.8), "Chemprop": row(1.2, 0.9)}
    module.compared(rows, ["esol", "bace"])
    assert [one["1"]["mean_rank"] for one in rows.values()] == [2.5, 1.5, 2.0]
    error = (2 * 0.2**2 / 4) ** 0.5
    gains = (
        rows["better"]["1"]["sets"]["esol"]["gain"],
        rows["Chemprop"]["1"]["sets"]["esol"]["gain"],
    )
    torch.testing.assert_close(torch.tensor(gains), torch.tensor([0.2, -0.2]) / error)
    record = {"rows": rows, "note": "", "seeds": [0], "training": {}, "commit": "x", "seed": 0}
    record |= {"versions": {"torch": "2"}, "processor": "some", "device": "cpu"}
    for name in ("epochs", "batch_size", "learning_rate", "ema_decay"):
        record["training"][name] = 1
    text = script("tables_of_graphs").downstream(record)
    assert "| better | all | 0.80 ± 0.20 (+1.4) | 80.0 ± 20.0 (+0.7) | 1.5 |" in text
    assert module.encoders_of(["scratch", "a=b.safetensors", "boltzmann"]) == {
        "scratch": None,
        "a": "b.safetensors",
        "boltzmann": "boltzmann",
    }


def test_an_unknown_set_is_refused(script, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["downstream.py", "--data", str(tmp_path), "--sets", "mine"])
    with pytest.raises(SystemExit):
        script("downstream").main()
