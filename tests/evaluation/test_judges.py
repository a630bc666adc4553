import ase
import numpy as np
import pytest
from ase.build import molecule

from schnetgen_pyg import InputError
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.evaluation.judges import JUDGES, Judge, Record, default_judges
from schnetgen_pyg.evaluation.judges.edm import stable_atoms
from schnetgen_pyg.evaluation.judging import ask, perceive_all
from schnetgen_pyg.testing.judge import check_judge

BROKEN = ase.Atoms("CH4", [[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9], [9, 9, 0]])


def judged(name, structures):
    """Records with the entries of one judge, and its rows."""
    judge = JUDGES[name]
    if not judge.installed:
        pytest.skip(f"needs {judge.module}")
    records = perceive_all(structures, jobs=1)
    ask(judge, structures, records, jobs=1)
    return records, judge.rows(records)


@pytest.mark.parametrize("name", list(JUDGES))
def test_contract(name):
    if not JUDGES[name].installed:
        pytest.skip(f"needs {JUDGES[name].module}")
    check_judge(JUDGES[name])


def _count(_atoms, _perception, asked=[]):  # noqa: B006
    asked.append(1)
    return {"asked": len(asked)}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"judge": lambda atoms, found: {"n": np.float64(1.0), "x": found.mol}}, "not plain JSON"),
        ({"judge": lambda atoms, found: {"n": (1, 2)}}, "not plain JSON"),
        ({"judge": _count}, "asked twice"),
        ({"judge": lambda atoms, found: atoms.rattle(0.1)}, "changed the structure"),
        ({"judge": lambda atoms, found: {"x": float("nan")}}, "not plain JSON"),
        (
            {"judge": lambda atoms, found: {"bonds": found.mol.GetNumBonds()}},
            "a torn molecule: a judge raises nothing",
        ),
        ({"judge": lambda atoms, found: None}, "says nothing of any structure"),
        ({"rows": lambda records: {"all": "many"}}, "must be a number"),
        ({"rows": lambda records: {"x": 1 / len(records) if records else np.nan}}, "no structures"),
        ({"verdict": lambda entry: 3}, "a verdict is text"),
        ({"name": "two words"}, "one ASCII word"),
    ],
)
def test_the_contract_finds_faults(fault, message):
    good = {
        "name": "size",
        "title": "Size",
        "judge": lambda atoms, found: {"atoms": len(atoms)},
        "rows": lambda records: {},
    }
    check_judge(Judge(**good))
    with pytest.raises(AssertionError, match=message):
        check_judge(Judge(**(good | fault)))


@pytest.mark.parametrize("name", ["CH4", "C2H4", "C2H2", "HCN", "H2O", "NH3", "C2H6", "CH3OH"])
def test_ordinary_molecules_are_stable(name):
    assert stable_atoms(molecule(name)).all()


def test_orders_follow_from_lengths():
    """A C–C distance read off the published tables, with their margins: 1.64, 1.39 and 1.23 Å."""
    for length, order in ((1.65, 0), (1.63, 1), (1.40, 1), (1.38, 2), (1.24, 2), (1.22, 3)):
        pair = ase.Atoms("C2", [[0, 0, 0], [length, 0, 0]])
        missing = 4 - order
        # So many hydrogens at each carbon make it stable.
        for side, end in ((-1, 0.0), (1, length)):
            for k in range(missing):
                turn = 2 * np.pi * k / max(missing, 1)
                # Beyond each other's reach, 1.09 Å from the carbon.
                place = [end + side * 0.5, 0.97 * np.cos(turn), 0.97 * np.sin(turn)]
                pair += ase.Atoms("H", [place])
        assert stable_atoms(pair)[:2].all(), length


def test_an_atom_too_far():
    atoms = molecule("CH4")
    atoms.positions[1] *= 1.5
    assert stable_atoms(atoms).tolist() == [False, False, True, True, True]


def test_stable_molecules_of_a_set(isomers):
    good = [to_ase(data) for data in isomers[:8]]
    records, _ = judged("edm", [*good, BROKEN, molecule("SiH4")])
    assert "edm" not in records[9]  # silicon is not in the tables
    rows = JUDGES["edm"].rows([*records, Record(failure="timeout")])
    assert rows["EDM: stable molecules (%)"] == 80
    assert rows["EDM: stable atoms (%)"] == pytest.approx(100 * 8 * 19 / (8 * 19 + 5))


def test_openbabel():
    two = molecule("CH4") + ase.Atoms(molecule("CH4").symbols, molecule("CH4").positions + 9)
    records, rows = judged("openbabel", [molecule("C6H6"), BROKEN, two])
    assert [record["openbabel"]["failure"] for record in records] == ["", "valence", "fragments"]
    assert rows["Open Babel: valid (%)"] == pytest.approx(100 / 3)


def test_posebusters(isomers):
    structures = [to_ase(isomers[0]), to_ase(isomers[1]), BROKEN]
    records, rows = judged("posebusters", structures)
    assert "posebusters" not in records[2]
    assert rows["PoseBusters: bond lengths (%)"] == 100
    of_all = rows["PoseBusters: of the valid (%)"] * 2 / 3
    assert rows["PoseBusters: of all (%)"] == pytest.approx(of_all)
    records[0]["posebusters"] = {"unfinished": "crash"}
    assert JUDGES["posebusters"].rows(records)["PoseBusters: bond lengths (%)"] == 50


def test_real_molecules_are_stable(isomers):
    structures = [to_ase(data) for data in isomers[::60]]
    entries = [JUDGES["edm"].judge(atoms, perceive(atoms)) for atoms in structures]
    stable = sum(entry["stable_atoms"] for entry in entries)
    assert stable > 0.99 * sum(map(len, structures))


def test_what_a_judge_needs_is_named():
    judge = Judge("x", "X", lambda *_: None, lambda _: {}, module="no_such_module", extra="x")
    with pytest.raises(InputError, match=r"'x' needs no_such_module; pip install .*\[x\]"):
        judge.require_installed()
    with pytest.raises(InputError, match=r"no judge is named 'emd'.*did you mean 'edm'"):
        JUDGES["emd"]
    assert {"rdkit", "edm"} <= set(default_judges())
    assert "posebusters-energy" not in default_judges()
