"""Groups with formal charges, ions and heavier elements keep their SMILES: through `evaluate`, and
through files."""

import ase
import pytest
from ase.build import molecule
from rdkit import Chem

from schnetgen_pyg import evaluate, load
from schnetgen_pyg.chem.identity import has_smiles
from schnetgen_pyg.data.writers import write
from schnetgen_pyg.evaluation.judges.rdkit import OWN_SMILES
from tests.molecules import CHARGED_GROUPS, HEAVIER, IONS, embedded

TEXTS = [*CHARGED_GROUPS, *HEAVIER, *IONS]


@pytest.fixture(scope="module")
def structures():
    return [embedded(text) for text in TEXTS]


def stating(atoms, text):
    return ase.Atoms(atoms.numbers, atoms.positions, info=atoms.info | {"smiles": text})


def own_share(result):
    return result.figures()["judges"]["rdkit"].get(OWN_SMILES)


def test_they_keep_their_smiles_in_an_evaluation(structures):
    result = evaluate(structures, judges=(), jobs=1)
    assert [record.get("smiles") for record in result.records] == [
        Chem.CanonSmiles(text) for text in TEXTS
    ]
    charged = [bool(record.get("formal_charges")) for record in result.records]
    assert charged == [any(sign in text for sign in ("+]", "-]")) for text in TEXTS]
    assert OWN_SMILES not in result.to_pandas().index  # none states one


def test_they_keep_their_smiles_in_records(structures, tmp_path):
    write(tmp_path / "made.sdf", structures)
    with Chem.SDMolSupplier(str(tmp_path / "made.sdf")) as records:
        found = [Chem.MolToSmiles(mol, isomericSmiles=False) for mol in records]
    assert found == [Chem.CanonSmiles(text) for text in TEXTS]
    again = load(tmp_path / "made.sdf")
    result = evaluate(again, judges=(), jobs=1)
    assert result.figures()["valid"] == len(TEXTS)
    assert own_share(result) == 100  # the records state their SMILES


def test_the_ceiling_is_of_those_that_state_a_smiles(structures):
    acetone, ethane = molecule("CH3COCH3"), molecule("C2H6")
    broken = ase.Atoms("CH4", 9.0 * molecule("CH4").positions)
    real = [
        *map(stating, structures, TEXTS),
        stating(acetone, "CC(O)=C"),
        stating(broken, "C"),
        stating(ethane, "no SMILES"),
        ethane,
    ]
    result = evaluate([ethane], test=real, judges=(), jobs=1)
    table = result.to_pandas()
    assert table.loc[OWN_SMILES, "generated"] == ""
    assert table.loc[OWN_SMILES, "test"] == pytest.approx(
        100 * len(TEXTS) / (len(TEXTS) + 3), abs=0.01
    )
    assert [r.get("own_smiles") for r in result.references["test"][-4:]] == [False] * 3 + [None]


def test_a_structure_that_is_not_finished_is_not_its_own(monkeypatch):
    from schnetgen_pyg.evaluation import judging
    from schnetgen_pyg.parallel import Failure

    monkeypatch.setattr(
        judging, "each_in_processes", lambda *_, **__: iter([(0, Failure("timeout"))])
    )
    (record,) = judging.perceive_all([stating(molecule("CH4"), "C")], jobs=1)
    assert record == {"failure": "timeout", "own_smiles": False}


@pytest.mark.parametrize(
    ("found", "text", "same"),
    [
        ("C[C@H](N)C(=O)O", "OC(=O)[C@H](N)C", True),  # the mirror image
        ("F/C=C/F", "FC=CF", True),
        ("[H]/N=C(\\C)O", "N=C(C)O", True),  # a hydrogen that only says how it is arranged
        ("CC(O)=N", "[H]/N=C(\\C)O", True),
        ("[2H]OC", "CO", True),
        ("O=N(=O)C", "C[N+](=O)[O-]", True),  # as RDKit reads it
        ("CCO", "COC", False),
        ("CC(N)=O", "CC([O-])=[NH2+]", False),
        ("CCO", "CC(", False),
    ],
)
def test_the_same_smiles(found, text, same):
    assert has_smiles(Chem.AddHs(Chem.MolFromSmiles(found)), text) == same
    assert not has_smiles(None, text)
