"""Conformers of one molecule: how often each is seen, and on which side of the split they are."""

import json
import math

import pytest
import torch

from schnetgen_pyg import InputError, fit
from schnetgen_pyg.data.batches import EnsembleSampler
from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.training.config import TrainingConfig
from schnetgen_pyg.training.ensembles import sampler_of
from tests.conftest import small_model
from tests.generator.conditions.test_graph import GIVEN
from tests.molecules import embedded
from tests.training.test_generator import QUICK

TEXTS = ("CCO", "CC=O", "COC", "OCCO", "CO", "CC")


def ensembles(weights=(0.75, 0.25, 0.0)):
    found = []
    for text in TEXTS:
        for seed, weight in enumerate(weights):
            atoms = embedded(text)
            atoms.rattle(0.01, seed=seed)
            atoms.info |= {"smiles": text, "weight": weight}
            found.append(atoms)
    return as_data(found)


def test_every_pass_sees_every_molecule_once_and_conformers_by_their_weights():
    own = [[0, 1, 2], [3], [4, 5]]
    weights = torch.tensor([0.6, 0.4, 0.0, 1e-9, 1.0, 3.0])
    sampler = EnsembleSampler(own, weights, batch_size=2, num_steps=4000, seed=3)
    drawn = [sampler.batch(step) for step in range(4000)]
    for one, other in zip(drawn[::2], drawn[1::2], strict=True):  # a pass is of two steps
        owners = [next(k for k, group in enumerate(own) if n in group) for n in one + other]
        assert sorted(owners) == [0, 1, 2]
    share = torch.bincount(torch.tensor([k for one in drawn for k in one]), minlength=6) / 2000
    assert share == pytest.approx(torch.tensor([0.6, 0.4, 0.0, 1.0, 0.25, 0.75]), abs=0.04)
    again = EnsembleSampler(own, weights, batch_size=2, num_steps=4000, seed=3)
    again.start = 17  # a run that continues
    assert next(iter(again)) == drawn[17]


def test_processes_share_the_conformers_of_a_step():
    own, weights = [[0, 1], [2, 3], [4, 5], [6, 7]], torch.ones(8)
    whole = EnsembleSampler(own, weights, 4, 10, 0)
    shares = [EnsembleSampler(own, weights, 4, 10, 0) for _ in range(2)]
    for rank, one in enumerate(shares):
        one.rank, one.world_size = rank, 2
    for step in range(10):
        assert sorted(shares[0].batch(step) + shares[1].batch(step)) == sorted(whole.batch(step))


def test_a_training_keeps_molecules_on_one_side(tmp_path):
    settings = QUICK | {"num_validation": 6, "batch_size": 3}
    grouped = {"group_by": "smiles", "weight_by": "weight"}
    trained = fit(small_model(**GIVEN), ensembles(), tmp_path, **settings, **grouped)
    parts = json.loads((tmp_path / "split.json").read_text())
    sides = [{TEXTS[k // 3] for k in parts[name]} for name in ("train", "validation")]
    assert not sides[0] & sides[1]
    assert len(parts["validation"]) == 6
    assert trained.provenance["training"]["weight_by"] == "weight"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": -0.1}, r"structure 4: its 'weight' .* got -0.1"),
        ({"weight": "much"}, "got 'much'"),
        ({"weight": None}, "got None"),
        ({"smiles": None}, "structure 4"),
    ],
)
def test_what_cannot_be_weighed_is_named(changes, message):
    data = ensembles()
    data[4].info = {k: v for k, v in (data[4].info | changes).items() if v is not None}
    with pytest.raises(InputError, match=message):
        sampler_of(data, TrainingConfig(group_by="smiles", weight_by="weight"))


def test_weights_need_groups_and_one_that_is_not_zero():
    with pytest.raises(InputError, match="say by group_by"):
        TrainingConfig(weight_by="weight")
    with pytest.raises(InputError, match="of its group are 0"):
        sampler_of(ensembles((0.0, 0.0)), TrainingConfig(group_by="smiles", weight_by="weight"))


def test_what_cannot_be_weighed_is_named_as_it_was_given(tmp_path):
    """By its number among all structures, not among those that are left to train on."""
    data = ensembles()
    data[16].info = data[16].info | {"weight": math.nan}
    settings = QUICK | {"num_validation": 3, "group_by": "smiles", "weight_by": "weight"}
    for seed in range(3):
        with pytest.raises(InputError, match="structure 16: its 'weight'"):
            fit(small_model(**GIVEN), data, tmp_path / str(seed), **settings, seed=seed)
