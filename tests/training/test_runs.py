"""What every run promises: a schedule that survives a stop, averaged weights, noise by the seed."""

import math

import pytest
import torch
from torch_geometric.data import Batch

from schnetgen_pyg import SchNetGen, TrainingConfig, fit
from schnetgen_pyg.generator.losses import loss_terms
from schnetgen_pyg.report.pictures import training_log
from schnetgen_pyg.training.generator import GeneratorModule
from tests.conftest import deciding, small_model
from tests.training.test_generator import QUICK, weights


class Stopped(Exception):
    """In the middle of a run."""


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_the_schedule_goes_on_where_a_run_was_stopped(isomers, tmp_path, monkeypatch, schedule):
    """To the same weights; and the rate rises from nothing once, and falls to a hundredth."""
    settings = QUICK | {
        "steps": 20,
        "schedule": schedule,
        "warmup": 6,
        "checkpoint_interval": 5,
        "learning_rate": 1e-2,
        "validation_interval": 1,
        "num_validation": 2,
    }
    whole = fit(small_model(), isomers[:20], tmp_path / "whole", **settings)
    terms = GeneratorModule.terms

    def stopping(self, batch, *seed):
        if self.model.training and self.global_step == 13:
            raise Stopped
        return terms(self, batch, *seed)

    with monkeypatch.context() as patch:
        patch.setattr(GeneratorModule, "terms", stopping)
        with pytest.raises(Stopped):
            fit(small_model(), isomers[:20], tmp_path / "parts", **settings)
    parts = fit(small_model(), isomers[:20], tmp_path / "parts", **settings)
    assert torch.equal(weights(whole), weights(parts))
    rates = training_log(tmp_path / "parts")["learning_rate"].dropna()
    assert rates.iloc[0] < 0.5e-2
    assert rates.max() <= 1e-2
    assert rates.iloc[-1] == pytest.approx(1e-2 if schedule == "constant" else 1e-4, rel=0.7)
    after = rates[rates.index >= 13]
    assert (after.diff().dropna() <= 0).all()  # no second warmup


def test_averaged_weights_are_the_average(isomers, tmp_path):
    """Of the weights after each step, which a run without averages has as well."""
    decay, steps = 0.6, 4
    each = [
        weights(fit(small_model(), isomers[:20], tmp_path / str(k), **(QUICK | {"steps": k})))
        for k in range(1, steps + 1)
    ]
    average = each[0]
    for later in each[1:]:
        average = decay * average + (1 - decay) * later
    settings = QUICK | {"steps": steps, "ema_decay": decay}
    found = fit(small_model(), isomers[:20], tmp_path / "averaged", **settings)
    assert torch.allclose(weights(found), average, atol=1e-6)
    assert not torch.allclose(weights(found), each[-1], atol=1e-4)


def test_all_that_is_drawn_is_drawn_from_the_seed(isomers):
    """Orders, steps, focuses and noise: whatever torch's own generator stands at."""
    model = small_model(**deciding("next_type", "valence_state", "hydrogens", "focus"))
    batch = Batch.from_data_list(isomers[:4])
    settings = {"noise": 0.05, "num_hydrogen_steps": 2}

    def losses(seed, state):
        torch.manual_seed(state)
        found = loss_terms(model, batch, torch.Generator().manual_seed(seed), **settings)
        return torch.stack([mean.value.detach().float() for mean in found.values()])

    assert torch.equal(losses(0, 0), losses(0, 1))
    assert not torch.allclose(losses(0, 0), losses(1, 0), atol=1e-4)


def test_the_strong_preset_trains_on_molecules_with_small_errors(isomers):
    """The network sees placed atoms beside their places, by hundredths of an Å; the molecules that
    the distances are measured in stay as they are."""
    model = SchNetGen.from_preset(
        elements=(1, 6, 8), hidden_channels=16, num_filters=8, num_interactions=1, num_gaussians=8
    )
    module = GeneratorModule(model, TrainingConfig.from_preset())
    seen = []
    model.representation.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[1].distance.detach())
    )
    batch = Batch.from_data_list(isomers[:8])
    true = torch.cat([torch.pdist(one.pos) for one in isomers[:8]])
    module.terms(batch, 0)
    nearest = (seen[0][:, None] - true).abs().amin(1)
    bonds = seen[0].sort().values[:30], true.sort().values[:30]
    assert nearest.max() > 1e-4  # none of the noise: all distances would be true ones
    assert (bonds[0] - bonds[1]).abs().max() < 0.2
    assert math.isclose(float(bonds[0].mean()), float(bonds[1].mean()), abs_tol=0.05)
