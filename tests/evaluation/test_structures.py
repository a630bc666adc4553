"""What can be judged, and what is refused or judged otherwise."""

import ase
import ase.io
import pytest
import torch
from ase.build import molecule
from torch_geometric.data import Batch, Data

from schnetgen_pyg import InputError, evaluate
from tests.conftest import METHANE
from tests.test_cli import run

AMMONIUM = ase.Atoms("NH4", METHANE.positions * 0.94, info={"charge": 1})


def in_a_box(pbc=True):
    atoms = molecule("H2O", cell=[5, 6, 7], pbc=pbc)
    atoms.center()
    return atoms


@pytest.mark.parametrize("pbc", [True, (True, False, False)])
def test_periodic_structures_are_refused(pbc, tmp_path, capsys):
    structures = [METHANE, in_a_box(pbc)]
    with pytest.raises(InputError, match=r"structure 1: H2O is periodic .*pbc = False"):
        evaluate(structures, jobs=1)
    with pytest.raises(InputError, match="test: structure 1: H2O is periodic"):
        evaluate([METHANE], test=structures, jobs=1)
    ase.io.write(tmp_path / "box.extxyz", structures)
    for command in ("evaluate", "report"):
        assert run(command, tmp_path / "box.extxyz", "--jobs=1") == 2
        assert "box.extxyz: structure 1: H2O is periodic" in capsys.readouterr().err


def test_a_box_without_periodicity_is_nothing():
    data = Data(z=torch.tensor([1, 1]), pos=torch.tensor([[0.0, 0, 0], [0, 0, 0.74]]))
    data.cell = torch.zeros(1, 3, 3)
    assert evaluate([in_a_box(False), data], jobs=1).figures()["valid"] == 2


def test_batches():
    one = Data(z=torch.tensor([1, 1]), pos=torch.tensor([[0.0, 0, 0], [0, 0, 0.74]]))
    assert evaluate([Batch.from_data_list([one, one]), METHANE], jobs=1).figures()["n"] == 3


def test_a_charge_is_judged_with_it():
    radical = molecule("CH3")
    radical.info["spin_multiplicity"] = 2
    told = Data(z=torch.tensor(AMMONIUM.numbers), pos=torch.tensor(AMMONIUM.positions), charge=1)
    neutral = ase.Atoms("NH4", AMMONIUM.positions)
    result = evaluate([AMMONIUM, told, neutral, METHANE, radical], judges=("edm",), jobs=1)
    assert [r["failure"] for r in result.records] == ["", "", "radical", "", "radical"]
    assert [r.get("smiles") for r in result.records[:2]] == ["[NH4+]"] * 2
    assert [r.get("charge") for r in result.records] == [1, 1, None, None, None]
    # Tables of neutral molecules say nothing of ions.
    assert ["edm" in r for r in result.records] == [False, False, True, True, False]
    text = result.summary()
    assert "charged structures: 2, judged with their charge" in text
    assert "unpaired electrons: 1" in text


@pytest.mark.parametrize(
    "info", [{"charge": "one"}, {"charge": 0.5}, {"charge": float("nan")}, {"spin_multiplicity": 0}]
)
def test_charges_that_are_none(info):
    (name,) = info
    atoms = METHANE.copy()
    atoms.info = info
    with pytest.raises(
        InputError, match=rf"structure 1: .*({name} must be a whole number|multiplicity of 0)"
    ):
        evaluate([METHANE, atoms], jobs=1)


def test_open_babel_is_not_asked_of_ions():
    pytest.importorskip("openbabel")
    result = evaluate([AMMONIUM, METHANE], judges=("openbabel",), jobs=1)
    assert "openbabel" not in result.records[0]
    assert result.to_pandas().loc["Open Babel: valid (%)", "generated"] == 100
