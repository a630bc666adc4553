import pytest
import torch
from torch_geometric.data import Data

from schnetgen_pyg import InputError
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.potentials.labels import errors
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.potentials.prediction import predict
from schnetgen_pyg.training import potential as training
from schnetgen_pyg.training.potential import PotentialModule, PotentialTrainingConfig, fit_potential
from tests.potentials.test_labels import springs
from tests.potentials.test_potentials import small_potential

QUICK = {
    "steps": 12,
    "batch_size": 4,
    "learning_rate": 5e-3,
    "num_validation": 6,
    "validation_interval": 3,
    "accelerator": "cpu",
    "plateau_patience": 1,
}


def fresh() -> Potential:
    torch.manual_seed(3)
    return Potential(
        "schnet", (1, 6), hidden_channels=12, num_filters=12, num_interactions=1, cutoff=4.0
    )


def weights(model: Potential) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_errors_fall(tmp_path):
    data = springs()
    model = fit_potential(
        fresh(), data, tmp_path, **(QUICK | {"steps": 60, "num_test": 4, "ema_decay": 0.9})
    )
    before = fresh()
    before.fit_statistics(data)
    first, last = (
        errors(predict(m, data), data)["forces_mae_mev_per_angstrom"] for m in (before, model)
    )
    assert last < 0.8 * first
    assert model.provenance["method"] == "springs"
    assert model.provenance["test"]["num_structures"] == 4
    assert model.provenance["num_training"] == 26
    assert Potential.from_pretrained(tmp_path / "model.safetensors").provenance["test"]


def test_loss_is_that_of_the_paper():
    data = springs(3)
    batch = Molecules(data)[[2, 0]]
    model = small_potential(elements=(1, 6)).float()
    module = PotentialModule(model, PotentialTrainingConfig(energy_weight=0.3))
    found = module.losses(batch, *module.residuals(batch))
    for row, index in enumerate((2, 0)):
        one = model(data[index].z, data[index].pos, compute_forces=True)
        loss = 0.3 * (one.energy - data[index].energy).square()
        loss = loss + (one.forces - data[index].forces).square().sum() / 5
        assert float(found[row].detach()) == pytest.approx(float(loss.detach()), rel=1e-5)


@pytest.mark.parametrize(
    "settings",
    [{"ema_decay": 0.0}, {"ema_decay": 0.9, "schedule": "cosine", "warmup": 5}],
    ids=["plateau", "averaged"],
)
def test_continued_run_equals_an_uninterrupted_one(tmp_path, monkeypatch, settings):
    settings = QUICK | settings
    whole = fit_potential(fresh(), springs(), tmp_path / "whole", **settings)
    save = training._SaveAfterValidation.on_validation_end

    def stop(self, trainer, module):
        save(self, trainer, module)
        if trainer.global_step == 6:
            raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(training._SaveAfterValidation, "on_validation_end", stop)
        with pytest.raises(RuntimeError, match="killed"):
            fit_potential(fresh(), springs(), tmp_path / "parts", **settings)
    parts = fit_potential(fresh(), springs(), tmp_path / "parts", **settings)
    assert torch.equal(weights(whole), weights(parts))
    assert whole.provenance["metrics"] == parts.provenance["metrics"]
    states = [torch.load(tmp_path / n / "last.ckpt", weights_only=True) for n in ("whole", "parts")]
    for name, value in states[0]["state_dict"].items():
        assert torch.equal(value, states[1]["state_dict"][name]), name
    assert states[0]["callbacks"] == states[1]["callbacks"] or settings["ema_decay"]


def test_run_that_stands_is_ended(tmp_path):
    """The rate halves at every validation and the run ends; called again it stays ended."""
    settings = QUICK | {"learning_rate": 1e-12, "patience": 2, "ema_decay": 0.0}
    for _ in range(2):
        model = fit_potential(fresh(), springs(), tmp_path, **settings)
        state = torch.load(tmp_path / "last.ckpt", weights_only=True)
        assert state["global_step"] <= 9
        assert model.provenance["step"] <= 3


def test_energies_alone(tmp_path):
    data = [Data(z=d.z, pos=d.pos, energy=d.energy) for d in springs()]
    model = fit_potential(fresh(), data, tmp_path, test=data[:3], **QUICK)
    assert "forces_mae_mev_per_angstrom" not in model.provenance["test"]


def test_refused(tmp_path):
    with pytest.raises(InputError, match="energy_weight must be positive, got 0"):
        PotentialTrainingConfig(energy_weight=0)
    bare = [Data(z=d.z, pos=d.pos) for d in springs(8)]
    with pytest.raises(InputError, match=r"^structure 0: has no energy"):
        fit_potential(fresh(), bare, tmp_path, **QUICK)
    with pytest.raises(InputError, match="test structure 0: has no energy"):
        fit_potential(fresh(), springs(8), tmp_path, test=bare, **QUICK)
    with pytest.raises(InputError, match="cannot hold out 6 of 6 structures"):
        fit_potential(fresh(), springs(6), tmp_path, **QUICK)
    fit_potential(fresh(), springs(), tmp_path / "run", **(QUICK | {"steps": 3}))
    with pytest.raises(InputError, match="holds a run of"):
        fit_potential(
            small_potential(elements=(1, 6)).float(), springs(), tmp_path / "run", **QUICK
        )
