import json
import os
import pickle

import ase
import joblib
import pytest
from ase.build import molecule

from schnetgen_pyg import InputError, evaluate
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.evaluation.distributions import compare
from schnetgen_pyg.evaluation.evaluation import evaluate_each
from schnetgen_pyg.evaluation.judges import JUDGES, Judge, Record
from schnetgen_pyg.evaluation.judging import ask, perceive_all

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


def test_order_is_kept_over_chunks(isomers):
    records = evaluate(isomers[:110], jobs=2).records
    for number in range(5, 110, 23):
        (alone,) = evaluate([isomers[number]], jobs=2).records
        assert records[number] == alone


def test_the_molecule_is_kept_beside_the_record(isomers):
    result = evaluate([isomers[0], BROKEN], train=isomers[:1], jobs=1)
    mol, torn = (record.mol for record in result.records)
    assert [atom.GetAtomicNum() for atom in mol.GetAtoms()] == isomers[0].z.tolist()
    assert mol.GetConformer().GetPositions() == pytest.approx(to_ase(isomers[0]).positions)
    assert sum(bond.GetBondTypeAsDouble() for bond in mol.GetBonds()) > mol.GetNumBonds()
    assert torn.GetNumBonds() == 0
    assert result.references["train"][0].mol is None
    assert json.loads(json.dumps(result.records)) == result.records
    assert len(pickle.dumps(result.records[0])) < 10_000  # of ten thousand: 100 MB at most


def _die(atoms, _):
    os._exit(9)


def test_a_judge_that_dies_loses_its_own_entry_only():
    structures = [molecule("CH4")]
    records = perceive_all(structures, jobs=1)
    ask(Judge("deadly", "Deadly", _die, lambda records: {}), structures, records, jobs=1)
    assert records[0]["deadly"] == {"unfinished": "crash"}
    assert records[0]["smiles"] == "C"


def test_perception_that_does_not_end_in_time():
    result = evaluate([molecule("C60")], jobs=1, timeout=1e-3)
    assert result.records == [Record(failure="timeout")]
    assert result.records[0].mol is None
    assert result.figures()["failures"] == {"timeout": 1}
    assert "failed: timeout" in result.summary()


def _refuse(atoms, _):
    raise ZeroDivisionError("no such atom")


def test_an_exception_of_a_judge_is_named():
    judge = Judge("x", "X", _refuse, lambda _: {})
    message = r"'x' fails on CH4 \(C\): ZeroDivisionError: no such atom"
    with joblib.parallel_config("threading"):
        records = perceive_all([molecule("CH4")], jobs=1)
        with pytest.raises(InputError, match=message):
            ask(judge, [molecule("CH4")], records, jobs=1)


def test_judges_by_name(isomers):
    bare = evaluate(isomers[:2], judges=("rdkit",), jobs=1)
    assert list(bare.figures()["judges"]) == ["rdkit"]
    with pytest.raises(InputError, match="did you mean 'edm'"):
        evaluate(isomers[:2], judges=("emd",))


def test_energies_are_tested_on_so_many_valid_structures(isomers):
    if not JUDGES["posebusters-energy"].installed:
        pytest.skip("needs posebusters")
    samples = [[*isomers[:3], BROKEN], [BROKEN]]
    first, second = evaluate_each(samples, judges=(), energy_tests=1, jobs=1)
    assert sum("posebusters-energy" in record for record in first.records) == 1
    assert first.figures()["judges"]["posebusters-energy"]["PoseBusters: energies tested"] == 1
    assert "posebusters-energy" not in second.figures()["judges"]
    records = perceive_all([to_ase(isomers[0])], jobs=1)
    ask(JUDGES["posebusters-energy"], [to_ase(isomers[0])], records, jobs=1, seconds=-1)
    assert "posebusters-energy" not in records[0]  # no time was left


def test_files(isomers, tmp_path):
    from schnetgen_pyg.data.writers import write

    write(tmp_path / "some.extxyz", [to_ase(d) for d in isomers[:3]])
    figures = evaluate(tmp_path / "some.extxyz", train=str(tmp_path / "some.extxyz")).figures()
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
