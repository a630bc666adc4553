import signal
import subprocess
import sys

import pytest
import torch
from torch_geometric.data import Data

from schnetgen_pyg import InputError
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.targets.labels import errors
from schnetgen_pyg.targets.prediction import predict
from schnetgen_pyg.training.config import PotentialTrainingConfig
from schnetgen_pyg.training.potential import PotentialModule, fit_potential
from tests.potentials.small import small_potential
from tests.targets.test_labels import springs

QUICK = {
    "steps": 12,
    "batch_size": 4,
    "learning_rate": 5e-3,
    "num_validation": 6,
    "validation_interval": 3,
    "checkpoint_interval": 2,
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
    found = sum(mean.value for mean in module.terms(batch).loss.values())
    expected = 0.0
    for index in (2, 0):
        one = model(data[index].z, data[index].pos, compute_forces=True)
        loss = 0.3 * (one.energy - data[index].energy).square()
        expected += float(loss + (one.forces - data[index].forces).square().sum() / 5) / 2
    assert float(found) == pytest.approx(expected, rel=1e-5)


KILLED = """
import os, signal, sys
from pathlib import Path
from schnetgen_pyg import fit_potential
from tests.targets.test_labels import springs
from tests.training.test_potential import AVERAGED, fresh

write, calls = Path.write_bytes, [1, 2, 3]

def dying(path, content):  # half of the third checkpoint is written, then the process is no more
    if path.name.endswith(".ckpt"):
        calls.pop()
    if calls:
        return write(path, content)
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

Path.write_bytes = dying
fit_potential(fresh(), springs(), sys.argv[1], **AVERAGED)
"""

AVERAGED = QUICK | {"ema_decay": 0.9, "schedule": "plateau", "warmup": 5}


def test_kill_9_in_the_middle_of_saving(tmp_path):
    """The run continues from a checkpoint that lies between two validations, to the same end."""
    settings = AVERAGED
    whole = fit_potential(fresh(), springs(), tmp_path / "whole", **settings)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "parts")]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    state = torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 4
    parts = fit_potential(fresh(), springs(), tmp_path / "parts", **settings)
    assert torch.equal(weights(whole), weights(parts))
    assert whole.provenance["metrics"] == parts.provenance["metrics"]
    states = [torch.load(tmp_path / n / "last.ckpt", weights_only=True) for n in ("whole", "parts")]
    for name, value in states[0]["state_dict"].items():
        assert torch.equal(value, states[1]["state_dict"][name]), name
    assert states[0]["callbacks"]["Validation"] == states[1]["callbacks"]["Validation"]


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


def test_uneven_data(tmp_path):
    """What some structures have and others not, of any kind, changes nothing."""
    plain = fit_potential(fresh(), springs(), tmp_path / "plain", **QUICK)
    uneven = springs()
    for number, one in enumerate(uneven):
        one.info["note"] = str(number) if number % 2 else number
        if number % 3 == 0:
            one.name, one.charges, one.dipole = "some", torch.zeros(5), torch.zeros(3)
            one.nested = {"a": [1, None]}
        if number % 3 == 1:
            one.name, one.charges = 7, torch.zeros(2, 2)
            del one.info["method"]
    for data in (uneven, uneven[::-1]):
        other = fit_potential(fresh(), data, tmp_path / str(id(data)), **QUICK)
        if data is uneven:
            assert torch.equal(weights(plain), weights(other))


def test_periodic_and_free_structures_in_one_batch(tmp_path):
    """In a box that is larger than the cutoff a molecule is what it is without one."""
    plain = fit_potential(fresh(), springs(), tmp_path / "plain", **QUICK)
    mixed = springs()
    for one in mixed[::2]:
        one.cell = 40.0 * torch.eye(3).unsqueeze(0)
    mixed[5].cell = 40.0 * torch.eye(3)
    found = fit_potential(fresh(), mixed, tmp_path / "mixed", **QUICK)
    assert torch.allclose(weights(plain), weights(found), atol=1e-5)
    for one in mixed[::2]:
        one.cell = 3.0 * torch.eye(3).unsqueeze(0)  # its images are neighbours now
    crowded = fit_potential(fresh(), mixed, tmp_path / "crowded", **QUICK)
    assert not torch.allclose(weights(plain), weights(crowded), atol=1e-3)
    complete = Potential("schnet", (1, 6), hidden_channels=8, cutoff=None, max_distance=9.0)
    with pytest.raises(InputError, match=r"structure 0: is periodic, .* no cutoff"):
        fit_potential(complete, mixed, tmp_path / "complete", **QUICK)
    assert not (tmp_path / "complete").exists()


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
    with pytest.raises(InputError, match="holds a run with other values of num_filters"):
        fit_potential(
            small_potential(elements=(1, 6)).float(), springs(), tmp_path / "run", **QUICK
        )
