"""What a model has seen: hashed, in its file, and told to whoever asks."""

import warnings

import numpy as np
import pytest
import torch
from ase.build import molecule

from schnetgen_pyg import InputError, SchNetGen, fit, generate
from schnetgen_pyg.chem.identity import IDENTITIES, describe
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.generator.training_set import TrainingSet
from tests.conftest import METHANE, small_model


def identities(structures, name):
    return {describe(to_ase(data))[name] for data in structures}


@pytest.fixture(scope="module")
def seen(isomers):
    return TrainingSet.of(isomers[:30])


def test_a_file_holds_what_was_seen_and_the_same_weights(isomers, seen, tmp_path):
    model = small_model()
    model.training_set = seen
    model.save(tmp_path / "m.safetensors")
    back = SchNetGen.from_pretrained(tmp_path / "m.safetensors")
    for name in IDENTITIES:
        known, others = identities(isomers[:30], name), identities(isomers[30:60], name)
        assert back.training_set.holds(name, known | others) == known
    assert back.training_set.formulas == {"C7H10O2": 30}
    assert back.training_set.digest == seen.digest
    weights = model.state_dict()
    assert back.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[k]) for k, value in back.state_dict().items())


def test_structures_that_are_no_molecules_are_counted_and_have_a_scaffold():
    torn = molecule("C2H6")
    torn.positions[-1] += 9
    record = TrainingSet.of([torn, METHANE])
    assert record.formulas == {"C2H6": 1, "CH4": 1}
    assert len(record.hashes["scaffold"]) == 2
    assert record.holds("smiles", ["C", "CC"]) == {"C"}
    assert (record.elements, record.sizes) == ((1, 6), (5, 8))


def test_a_hundred_thousand_molecules_take_a_megabyte():
    draw = np.random.default_rng(0)
    hashes = {k: np.unique(draw.integers(0, 1 << 40, 100_000, dtype="u8")) for k in IDENTITIES}
    hashes["scaffold"] = hashes["scaffold"][:30_000]
    record = TrainingSet({"C7H10O2": 100_000}, hashes)
    content = record.to_tensor()
    assert content.numel() < 1.1e6
    back = TrainingSet.from_tensor(content)
    assert all(np.array_equal(back.hashes[k], record.hashes[k]) for k in IDENTITIES)


def test_damage_is_named(seen):
    content = seen.to_tensor()
    for damaged in (content[: len(content) // 2], content[:0], torch.zeros(9, dtype=torch.uint8)):
        with pytest.raises(InputError, match="record of the training molecules is damaged"):
            TrainingSet.from_tensor(damaged)


def test_two_trainings(isomers, seen):
    other = TrainingSet.of([*isomers[20:40], METHANE])
    both = seen.merged(other)
    assert both.formulas == {"C7H10O2": 50, "CH4": 1}
    names = identities(isomers[:50], "smiles")
    assert both.holds("smiles", names | {"C"}) == identities(isomers[:40], "smiles") | {"C"}
    assert seen.merged(None) is seen.merged(seen) is seen


def test_what_is_outside(isomers):
    record = TrainingSet.of([*isomers[:3], METHANE])
    assert record.outside([1, 6, 1, 1, 1]) == ""
    text = record.outside([6] * 12 + [1] * 26)
    assert "C12H26 has 38 atoms" in text
    assert "4 structures: they have 5 to 19 atoms; none has this formula" in text
    assert "C7H10O2 the most frequent" in text
    text = record.outside([7, 1, 1, 1, 6, 1, 1, 1])
    assert "none holds N;" in text
    assert "they have" not in text


def test_generate_warns_of_what_was_not_seen(isomers, tmp_path):
    model = small_model()
    model.training_set = TrainingSet.of([METHANE])
    model.save(tmp_path / "m.safetensors")
    model = SchNetGen.from_pretrained(tmp_path / "m.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        (made,) = generate(model, "CH4", 1)
    assert made.info["generator"] == str(tmp_path / "m.safetensors")
    assert made.info["training_set"] == model.training_set.digest
    with pytest.warns(UserWarning, match="H2O has 3 atoms and is outside .* they have 5 atoms"):
        generate(model, "H2O", 1)


def test_training_records_all_it_was_given(isomers, tmp_path):
    def train(model, data, out, steps):
        options = {"num_samples": 0, "validation_interval": 2, "accelerator": "cpu"}
        return fit(model, data, out, steps=steps, num_validation=2, batch_size=2, **options)

    first = train(small_model(), isomers[:6], tmp_path / "a", 2)
    assert first.training_set.digest == TrainingSet.of(isomers[:6]).digest
    assert train(small_model(), isomers[:6], tmp_path / "a", 4).training_set.formulas == {
        "C7H10O2": 6
    }
    tuned = train(first, isomers[4:9], tmp_path / "b", 2).training_set
    names = identities(isomers[:12], "smiles")
    assert tuned.holds("smiles", names) == identities(isomers[:9], "smiles")


@pytest.mark.parametrize("name", ["c7h10o2", "c7h10o2-paper"])
def test_bundled_models_know_their_molecules(name, shared):
    from schnetgen_pyg import load

    record = SchNetGen.from_pretrained(name).training_set
    assert record.formulas == {"C7H10O2": 2_000}
    known = identities(load(shared / "c7h10o2" / "train.extxyz.gz")[::20], "stereo_smiles")
    others = identities(load(shared / "c7h10o2" / "test.extxyz.gz")[::40], "smiles")
    assert record.holds("stereo_smiles", known) == known
    assert not record.holds("smiles", others)
