"""What is stored serves again only for what it was made with, and says where it comes from."""

import json

import pytest
import torch

from schnetgen_pyg import SamplingConfig
from schnetgen_pyg.errors import InputError

from ..conftest import deciding, small_model

QUOTED = {"commit", "command", "seconds", "processor", "machine", "versions", "date"}


def test_a_row_is_kept_for_what_it_was_asked_for(script, tmp_path, capsys):
    common = script("common")
    calls = []

    def row(**asked):
        def measure():
            calls.append(asked)
            return {"valid": len(calls)}

        return common.kept_row(tmp_path / "rows.json", "base", asked, measure)

    first = row(steps=10, num=5)
    assert first["valid"] == 1
    assert set(first) >= QUOTED
    assert row(steps=10, num=5) == first  # also after a round through the file
    assert row(steps=10, num=50)["valid"] == 2
    assert "base: measured anew (num was 5, is now 50)" in capsys.readouterr().out
    assert row(steps=10, num=50)["valid"] == 2
    assert len(calls) == 2


def test_a_record_says_how_it_was_made(script, tmp_path, monkeypatch):
    common = script("common")
    data = tmp_path / "train.extxyz"
    monkeypatch.setattr("sys.argv", ["benchmarks/some.py", "--data", str(data), "--num", "3"])
    path = common.save("some", {"rows": {}}, 7, tmp_path)
    record = json.loads(path.read_text())
    assert set(record) >= QUOTED | {"seed"}
    assert record["command"] == "python benchmarks/some.py --data train.extxyz --num 3"


def test_more_structures_are_the_same_and_the_rest(script, tmp_path):
    samples = script("samples")
    model = small_model(**deciding("focus"))
    config = SamplingConfig(jobs=1, gibbs_rounds=0, restarts=0, valence_rules=False)
    path = tmp_path / "seed0.extxyz"
    few, made = samples.structures(model, 2, path, 0, config)
    assert made["seconds"] > 0
    more, both = samples.structures(model, 3, path, 0, config)
    assert both["seconds"] > made["seconds"]
    assert [len(few), len(more)] == [2, 3]
    pieces = json.loads(path.with_suffix(".pieces.json").read_text())
    assert [piece["count"] for piece in pieces] == [2, 1]
    at_once, _ = samples.structures(model, 3, tmp_path / "other.extxyz", 0, config)
    for ours, theirs in zip(more, at_once, strict=True):
        assert (ours.numbers == theirs.numbers).all()
        assert abs(ours.positions - theirs.positions).max() < 1e-6
    again, quoted = samples.structures(model, 2, path, 0, config)
    assert again == few
    assert quoted["seconds"] == made["seconds"]  # of these alone
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    with pytest.raises(InputError, match="other model"):
        samples.structures(model, 2, path, 0, config)


def test_every_row_of_the_ablation_changes_what_is_measured(script):
    ablation = script("ablation")
    seen = {}
    for name, changes in ablation.ROWS.items():
        values = ablation.preset() | changes
        model = ablation.network(values, (1, 6, 8), 0)
        training = ablation.settings(ablation.TrainingConfig, values)
        sampling = ablation.settings(SamplingConfig, changes)
        what = repr((model.config, training, sampling))
        assert what not in seen, f"{name} is {seen.get(what)}"
        seen[what] = name
    # The preset's own settings of the representation arrive.
    base = ablation.network(ablation.preset(), (1, 6, 8), 0)
    assert base.config.settings["num_interactions"] == ablation.preset()["num_interactions"]


def test_steps_are_compared_under_the_same_setting_and_by_their_edges(script):
    training_step = script("training_step")
    ours, peer = training_step.OURS, training_step.PEER

    def row(seconds, edges, nodes):
        times = {"prepare_seconds": 0.0, "step_seconds": seconds}
        return times | {"edges": edges, "nodes": nodes, "partial_molecules": 1}

    rows = {
        ours: row(1.0, 100, 10),
        peer: row(12.0, 400, 15),
        f"{ours}, memory kept": row(0.5, 100, 10),
        f"{peer}, memory kept": row(4.0, 400, 15),
    }
    training_step.compare(rows)
    assert rows[peer]["times_ours"] == 12.0
    assert rows[peer]["times_ours_by_edges"] == 3.0
    assert rows[peer]["times_ours_by_nodes"] == 8.0
    assert rows[f"{peer}, memory kept"]["times_ours"] == 8.0
    assert rows[f"{ours}, memory kept"]["times_ours"] == 1.0
