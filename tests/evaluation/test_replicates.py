import json

import ase
import pytest

from schnetgen_pyg import InputError
from schnetgen_pyg.evaluation.evaluation import evaluate_each
from schnetgen_pyg.evaluation.replicates import Replicates

BROKEN = ase.Atoms("CH4", [[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9], [9, 9, 0]])


def test_mean_and_deviation(isomers, tmp_path):
    samples = [isomers[:4], [*isomers[4:6], BROKEN, BROKEN], [*isomers[:3], BROKEN]]
    evaluations = evaluate_each(samples, train=isomers[:2], jobs=1)
    assert [e.figures()["valid"] for e in evaluations] == [4, 2, 3]
    assert [e.figures()["matches"]["train"]["smiles"] for e in evaluations] == [2, 0, 2]
    replicates = Replicates(evaluations, ["a", "b", "c"])
    rows = replicates.rows()
    assert rows["valid (%)"] == [100, 50, 75]
    assert rows["failed: fragments"] == [0, 2, 1]
    figures = replicates.figures()
    assert figures["summary"]["valid (%)"]["mean"] == 75
    assert figures["summary"]["valid (%)"]["deviation"] == pytest.approx(25)
    replicates.save(tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text()) == json.loads(json.dumps(figures))
    frame = replicates.to_pandas()
    assert list(frame.columns) == ["mean", "±", "train"]
    assert frame.loc["structures", "train"] == 2
    assert "3 samples" in replicates.summary()


def test_one_sample_has_no_deviation(isomers):
    with pytest.raises(InputError, match="samples must be at least 2"):
        Replicates([], [])
