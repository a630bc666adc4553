import json
import os
import time

import ase
import pytest
from ase.build import molecule

from schnetgen_pyg import InputError, evaluate
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.evaluation.distributions import compare
from schnetgen_pyg.evaluation.judges import records as conventions

BROKEN = ase.Atoms("CH4", [[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9], [9, 9, 0]])


def test_counts(isomers):
    known, unseen, fresh = isomers[:6], isomers[6:10], isomers[10:11]
    generated = [*known[:2], known[0], unseen[0], *fresh, BROKEN]
    result = evaluate(generated, train=known, test=unseen)
    figures = result.figures()
    assert (figures["n"], figures["valid"]) == (6, 5)
    assert figures["failures"] == {"fragments": 1}
    # The broken structure has a scaffold too: that of methane.
    assert figures["unique"]["scaffold"] == 5
    assert figures["matches"]["train"]["scaffold"] == 2
    for name in ("fingerprint", "smiles", "stereo_smiles"):
        assert figures["unique"][name] == 4
        assert figures["matches"]["train"][name] == 2
        assert figures["hits"]["train"][name] == 3
        assert figures["matches"]["test"][name] == 1
        assert figures["new"][name] == 1
    assert figures["references"]["train"]["valid"] == 6


def test_distributions_are_those_that_were_compared(isomers):
    result = evaluate([*isomers[:3], BROKEN], train=isomers[3:6], test=isomers[6:9], jobs=1)
    assert list(result.distributions) == ["generated", "valid", "train", "test"]
    assert [d.structures for d in result.distributions.values()] == [4, 3, 3, 3]
    assert list(result.distances) == ["generated", "valid", "train"]
    for name, found in result.distances.items():
        assert found == compare(result.distributions[name], result.distributions["test"])
    alone = evaluate([BROKEN], jobs=1)
    assert list(alone.distributions) == ["generated"]
    assert not alone.distances


def test_outputs(isomers, tmp_path):
    result = evaluate(isomers[:3], train=isomers[:2])
    result.save(tmp_path / "figures.json")
    assert json.loads((tmp_path / "figures.json").read_text()) == result.figures()
    table = result.to_pandas()
    assert list(table.columns) == ["generated", "train"]
    assert table.loc["train found (smiles)", "generated"] == 2
    assert "rdkit" in result.summary()


def test_order_is_kept_over_chunks(isomers, monkeypatch):
    monkeypatch.setattr(conventions, "CHUNK", 4)
    smiles = [record["smiles"] for record in evaluate(isomers[:23], jobs=2).records]
    assert smiles == [evaluate([data], jobs=2).records[0]["smiles"] for data in isomers[:23]]


@pytest.mark.parametrize(("fault", "failure"), [("hang", "timeout"), ("die", "crash")])
def test_a_structure_that_hangs_or_kills_loses_nothing_else(monkeypatch, fault, failure):
    """The worst structure imaginable: its process never answers, or is gone."""
    original = conventions.judge_all

    def judge_all(structures):
        for atoms in structures:
            if len(atoms) == 1:
                time.sleep(1000) if fault == "hang" else os._exit(9)
        return original(structures)

    monkeypatch.setattr(conventions, "judge_all", judge_all)
    monkeypatch.setattr(conventions, "CHUNK", 3)
    methane = molecule("CH4")
    structures = [methane] * 4 + [ase.Atoms("C")] + [methane] * 4
    records = evaluate(structures, jobs=2, timeout=5.0).records
    assert [record["failure"] for record in records] == [""] * 4 + [failure] + [""] * 4


def test_files_and_names(isomers, tmp_path):
    from schnetgen_pyg.data.writers import write

    write(tmp_path / "some.extxyz", [to_ase(d) for d in isomers[:3]])
    figures = evaluate(tmp_path / "some.extxyz", train="c7h10o2-xtb").figures()
    assert figures["matches"]["train"]["smiles"] == 3


def test_positions_that_are_not_numbers():
    broken = molecule("CH4")
    broken.positions[2] = float("nan")
    with pytest.raises(InputError, match="structure 1: the position of atom 2 is not finite"):
        evaluate([molecule("CH4"), broken])


@pytest.mark.parametrize("jobs", [0, -1])
def test_jobs_that_are_none(jobs):
    with pytest.raises(InputError, match=f"jobs must be at least 1.*got {jobs}"):
        evaluate([BROKEN], jobs=jobs)


def test_nothing_valid():
    result = evaluate([BROKEN])
    assert result.figures()["valid"] == 0
    assert "fragments" in result.summary()


def test_real_sets(shared):
    from schnetgen_pyg import load

    structures = load(shared / "c7h10o2" / "train.extxyz.gz")[:300]
    figures = evaluate([to_ase(d) for d in structures], train=structures).figures()
    assert figures["valid"] >= 299
    assert figures["matches"]["train"]["smiles"] >= 299
