"""Bond orders that generated molecules bring along."""

import numpy as np
import pytest
from ase.build import molecule
from rdkit import Chem

from schnetgen_pyg import InputError, SchNetGen, generate, to_rdkit
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.chem.molecules import known_or_perceived
from schnetgen_pyg.chem.perception import perceive


@pytest.fixture(scope="module")
def generated():
    return generate(SchNetGen.from_pretrained("c7h10o2"), "C7H10O2", 64, seed=5, jobs=1)


def test_what_was_built_is_what_is_perceived(generated):
    """In nearly all: a strained molecule may have two readings."""
    agree = 0
    for atoms in generated:
        assert {"formal_charge", "valence"} <= atoms.arrays.keys()
        found = perceive(atoms).mol
        agree += found is not None and smiles(to_rdkit(atoms)) == smiles(found)
    assert agree >= 63


def test_nothing_is_perceived(generated, monkeypatch):
    monkeypatch.setattr("schnetgen_pyg.chem.molecules.perceive", None)
    for atoms in generated[:8]:
        mol = to_rdkit(atoms)
        assert mol.GetNumConformers() == 1
        assert np.allclose(mol.GetConformer().GetPositions(), atoms.positions)


def test_bonds_that_are_others_by_now(generated):
    """A molecule that was taken apart since is judged by its positions."""
    atoms = generated[0].copy()
    atoms.positions[-1] += 5.0
    assert known_or_perceived(atoms).failure == "fragments"
    with pytest.raises(InputError, match=r"C7H10O2: is no valid molecule \(fragments\)"):
        to_rdkit(atoms)


def test_charges_and_multiple_bonds():
    nitro = molecule("CH3NO2")
    order = {"C": 4, "N": 4, "H": 1}
    oxygens = [k for k, symbol in enumerate(nitro.symbols) if symbol == "O"]
    valence = [order.get(symbol, 2) for symbol in nitro.symbols]
    valence[oxygens[0]] = 1
    charge = [int(symbol == "N") for symbol in nitro.symbols]
    charge[oxygens[0]] = -1
    nitro.set_array("valence", np.array(valence))
    nitro.set_array("formal_charge", np.array(charge))
    mol = to_rdkit(nitro)
    assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == "C[N+](=O)[O-]"
    assert mol.GetAtomWithIdx(oxygens[0]).GetFormalCharge() == -1
