"""A fingerprint as a condition: molecules that are like another one."""

import numpy as np
import pytest
import torch
from rdkit import Chem
from torch_geometric.data import Batch, Data

from schnetgen_pyg import InputError, SchNetGen, fit, generate, load
from schnetgen_pyg.chem.fingerprints import packed_fingerprint, similarity
from schnetgen_pyg.data.conversion import from_ase, to_ase
from schnetgen_pyg.data.convert import convert
from schnetgen_pyg.data.fingerprints import STORED, fingerprints_of
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.generator.sampling.streaming import generate_file
from schnetgen_pyg.testing import check_condition
from tests.conftest import METHANE, deciding, small_model
from tests.molecules import embedded
from tests.training.test_generator import QUICK, weights

ALL = deciding("next_type", "valence_state", "hydrogens", "focus")
SMILES = ("C", "CCO", "c1ccccc1O", "C[N+](=O)[O-]", "CC#N", "C1CC1")


def told() -> SchNetGen:
    changes = {"conditions": [*ALL["conditions"], "fingerprint"], "max_counts": (12, 8, 3)}
    return small_model(**ALL | changes)


def bits_of(smiles: str) -> np.ndarray:
    return packed_fingerprint(Chem.MolFromSmiles(smiles))


@pytest.fixture(scope="module")
def structures():
    return [from_ase(embedded(text)) for text in SMILES]


def test_contract(structures):
    molecules = Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in structures[:3]])
    molecules.fingerprint = fingerprints_of(structures[:3])
    check_condition("fingerprint", told(), molecules)


def test_a_structure_has_the_bits_of_its_smiles(structures, tmp_path):
    """So that a SMILES can be asked for; also from a file, which keeps them."""
    expected = np.stack([bits_of(text) for text in SMILES])
    assert (fingerprints_of(structures).numpy() == expected).all()
    assert expected.any(1).all()  # methane, too: zeros stand for nothing
    convert(structures, out=tmp_path / "a.safetensors", jobs=1)
    stored = StoredStructures(tmp_path / "a.safetensors")
    assert (fingerprints_of(stored[[4, 1]]).numpy() == expected[[4, 1]]).all()


def test_what_is_no_molecule_has_none(structures):
    broken = Data(z=structures[1].z[:-1], pos=structures[1].pos[:-1])
    assert not fingerprints_of([broken]).any()


@pytest.mark.parametrize(
    "target",
    ["OCC", Chem.MolFromSmiles("CCO"), embedded("CCO"), from_ase(embedded("CCO"))],
    ids=lambda target: type(target).__name__,
)
def test_targets_of_every_kind(target):
    (atoms,) = generate(told(), "C2H6O", 1, targets={"fingerprint": target})
    assert atoms.info["fingerprint_target"] == "CCO"
    found = told().conditions["fingerprint"].target("fingerprint", target)
    assert (found.numpy() == bits_of("CCO")).all()


def test_a_target_for_each(structures):
    made = generate(told(), "CH4", 3, targets={"fingerprint": ["CCO", None, "CC#N"]})
    assert [atoms.info.get("fingerprint_target") for atoms in made] == ["CCO", None, "CC#N"]


def test_structures_for_each_into_a_file(structures, tmp_path):
    given = {"fingerprint": [to_ase(structures[1]), to_ase(structures[2])]}
    assert generate_file(told(), "CH4", 2, tmp_path / "a.extxyz", targets=given)
    found = [data.info["fingerprint_target"] for data in load(tmp_path / "a.extxyz")]
    assert found == ["CCO", "Oc1ccccc1"]


@pytest.mark.parametrize("target", ["C1CC", "", 4.0, METHANE[:3]])
def test_what_is_no_target(target):
    with pytest.raises(InputError, match=r"fingerprint must be a molecule|is no valid molecule"):
        generate(told(), "CH4", 1, targets={"fingerprint": target})


def test_training_in_memory_and_from_a_file(isomers, tmp_path, monkeypatch):
    """To the same weights, also from a file of an earlier version, which is told."""
    data = [Data(z=d.z, pos=d.pos) for d in isomers[:20]]
    stored = convert(data, out=tmp_path / "data.safetensors", jobs=1)
    quick = QUICK | {"steps": 4, "validation_interval": 2}
    found = [fit(told(), data, tmp_path / "list", **quick)]
    found.append(fit(told(), stored, tmp_path / "stored", **quick))
    monkeypatch.setattr(StoredStructures, "has_array", lambda self, key: key != STORED)
    with pytest.warns(UserWarning, match="has no fingerprints"):
        found.append(fit(told(), stored, tmp_path / "old", **quick))
    reference = weights(found[0])
    assert all(torch.equal(weights(one), reference) for one in found[1:])
    learned = found[0].conditions["fingerprint"].features.weight
    assert learned.any()


def test_molecules_become_like_the_target(tmp_path):
    """A model that was trained on two makes the one that is asked for."""
    pair = [embedded("CC=O"), embedded("C1CO1")]  # one formula
    data = [from_ase(pair[k % 2].copy()) for k in range(30)]
    model = told()
    quick = QUICK | {"steps": 200, "learning_rate": 1e-2, "validation_interval": 200}
    trained = fit(model, data, tmp_path, hydrogen_steps=1, **quick)
    asked = [bits_of("CC=O"), bits_of("C1CO1")]
    share = []
    for text in ("CC=O", "C1CO1"):
        made = generate(trained, "C2H4O", 40, targets={"fingerprint": text}, gibbs_rounds=0)
        bits = fingerprints_of([from_ase(atoms) for atoms in made]).numpy()
        share.append((similarity(bits, asked[0]) > similarity(bits, asked[1])).mean())
    assert share[0] > share[1] + 0.3


def test_similarity():
    one = bits_of("CCO")
    assert similarity(one, one) == 1
    assert 0 < similarity(one, bits_of("CCN")) < 1
    assert similarity(np.stack([one, one]), bits_of("CCO")).tolist() == [1, 1]
