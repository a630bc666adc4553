"""Scaffolds and linkers are cut as chemists cut them, and what was made of them is counted."""

import ase
import numpy as np
import pytest
from rdkit import Chem

from schnetgen_pyg.data.writers import write

from ..molecules import embedded
from .conftest import called


@pytest.fixture
def tasks(script):
    return script("fragment_tasks")


@pytest.fixture
def completions(script):
    return script("completions")


@pytest.mark.parametrize(
    ("text", "chains"),
    [
        ("Cc1ccoc1", ("*C",)),
        ("OCc1cc(C)ccc1", ("*C", "*CO")),
        ("CC1(C)CO1", ("*C", "*C")),
        ("c1ccoc1", None),  # nothing beside it
        ("CCO", None),
    ],
)
def test_scaffolds_and_their_side_chains(tasks, text, chains):
    task = tasks.scaffold_task(embedded(text))
    if chains is None:
        assert task is None
        return
    assert task.chains == chains
    assert task.known == Chem.CanonSmiles(text)
    fragment = task.fragment
    assert (fragment.numbers != 1).all()
    assert len(fragment) == Chem.MolFromSmiles(text).GetNumAtoms() - sum(
        len(chain) - 1 for chain in chains
    )
    # What lacks a bond is open; the oxygen of a ring lacks none.
    assert (fragment.open == (fragment.lacking > 0)).all()
    assert not fragment.open[fragment.numbers == 8].any()


def test_what_an_exocyclic_double_bond_holds_is_of_the_scaffold(tasks):
    task = tasks.scaffold_task(embedded("O=C1CCCC1C"))
    assert task.chains == ("*C",)
    assert 8 in task.fragment.numbers


def test_linkers_join_two_parts(tasks):
    mol = Chem.MolFromSmiles("CCOCC")
    assert tasks.linkers(mol) == [(2,)]
    ring = Chem.MolFromSmiles("C1CCCCC1")
    assert tasks.linkers(ring) == []  # one cut leaves it in one piece
    longer = tasks.linkers(Chem.MolFromSmiles("CCCCCC"))
    assert sorted(longer) == [(2,), (2, 3), (3,)]


def test_a_linker_task_leaves_both_parts(tasks):
    atoms = embedded("CCOCC")
    task = tasks.linker_task(atoms, (0, 0))
    assert task.heavy == 5
    assert task.fragment.parts.max() == 1
    assert 8 not in task.fragment.numbers
    assert int(task.fragment.open.sum()) == 2
    assert tasks.pattern_of(task).heavy == (5, 5)
    assert tasks.linker_task(embedded("C1CC1"), (0, 0)) is None


def numbered_as(fragment, text, turn=0):
    """A molecule whose first ring has the numbers that it has in the fragment, turned by some
    places."""
    mol = Chem.MolFromSmiles(text)
    ring = list(mol.GetRingInfo().AtomRings()[0])
    ring = ring[turn:] + ring[:turn]
    order = [0]
    while len(order) < len(ring):
        pairs = [pair for pair in fragment.bonds.tolist() if order[-1] in pair]
        order.append(next(k for pair in pairs for k in pair if k not in order))
    first = [ring[order.index(k)] for k in range(len(ring))]
    rest = [k for k in range(mol.GetNumAtoms()) if k not in ring]
    return Chem.RenumberAtoms(mol, [*first, *rest])


def test_bond_orders_are_those_of_the_fragment(tasks, completions):
    """Also where an aromatic ring has its double bonds elsewhere; a reduced one is another, and
    so is what lost a bond."""
    benzene = tasks.scaffold_task(embedded("Cc1ccccc1")).fragment
    for turn in (0, 1):
        assert completions.orders_kept(numbered_as(benzene, "Oc1ccccc1", turn), benzene)
        assert not completions.orders_kept(numbered_as(benzene, "OC1=CCCC=C1", turn), benzene)
    saturated = tasks.scaffold_task(embedded("CC1CC1")).fragment
    assert completions.orders_kept(numbered_as(saturated, "OC1CC1"), saturated)
    assert not completions.orders_kept(Chem.MolFromSmiles("CCCO"), saturated)


def test_recovery(completions):
    found = [1, 10, None, 11]
    assert completions.recovery(found, 1) == 0.25
    assert completions.recovery(found, 10) == 0.5
    assert completions.recovery(found, 100) == 0.75
    assert completions.by_frequency([0.5, 0.0], 1) == 0.25
    assert completions.by_frequency([0.5, 0.0], 2) == pytest.approx(0.375)
    rows = [
        {"valid": 4, "unmoved": 5, "unique": 2, "orders_kept": 4, "found_at": 3},
        {"valid": 0, "unmoved": 5, "unique": 0, "orders_kept": 0, "found_at": None},
    ]
    row = completions.together(rows, 5)
    assert (row["valid"], row["unmoved"], row["unique"], row["orders_kept"]) == (0.4, 1, 0.5, 1)
    assert (row["found_in_1"], row["found_in_5"]) == (0, 0.5)


def test_a_fragment_that_moved_by_a_bit_has_moved(tasks, completions):
    atoms = embedded("Cc1ccoc1")
    fragment = tasks.scaffold_task(atoms).fragment
    grown = ase.Atoms(fragment.numbers, fragment.positions) + ase.Atoms("C", [[9.0, 0, 0]])
    assert completions.unmoved(grown, fragment)
    grown.positions[0, 0] = np.nextafter(grown.positions[0, 0], 99.0)
    assert not completions.unmoved(grown, fragment)


def test_from_the_command_to_the_table(script, completions, files, tmp_path, monkeypatch):
    """Of a model without training: fragments stay, and what it refuses is named."""
    tables = script("tables_of_targets")
    write(tmp_path / "test.extxyz", [embedded(t) for t in ("CCOC(C)=O", "CC1CC1", "Cc1ccsc1")])
    options = ["--checkpoint", files / "tiny.safetensors", "--test", tmp_path / "test.extxyz"]
    options += ["--train", files / "train.extxyz", "--num", 3, "--draws", 3, "--relaxed", 0]
    name, record = called(monkeypatch, completions, tmp_path, *options, "--jobs", 1)
    assert name == "completions_tiny"
    scaffolds, linkers = record["rows"]["scaffolds"], record["rows"]["linkers"]
    assert (scaffolds["tasks"], scaffolds["draws"]) == (1, 3)
    assert len(scaffolds["refused"]) == 1
    assert "never seen S" in scaffolds["refused"][0]
    assert linkers["tasks"] == 1
    assert scaffolds["unmoved"] == linkers["unmoved"] == 1
    assert set(scaffolds["frequency"]) == {"1", "3"}
    assert "| scaffolds | 1 × 3 | " in tables.completions("qm9", record)
    monkeypatch.setattr(completions, "measured", None)  # stored rows serve again
    again = called(monkeypatch, completions, tmp_path, *options, "--jobs", 1)[1]
    assert again["rows"] == record["rows"]
