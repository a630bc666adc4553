"""A target of a user's own, in this file alone: the radius of gyration."""

import ase.io
import pytest
import torch
from torch import nn

from schnetgen_pyg import fit_potential
from schnetgen_pyg.cli import main
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.targets import TARGETS, Target
from schnetgen_pyg.targets.labels import errors
from schnetgen_pyg.targets.prediction import predict
from schnetgen_pyg.testing.target import check_target


class Gyration(Target):
    def readout(self, hidden_channels):
        return nn.Sequential(
            nn.Linear(hidden_channels, hidden_channels), nn.SiLU(), nn.Linear(hidden_channels, 1)
        )


RADIUS = Gyration("radius_of_gyration", "Å", extensive=False)
TARGETS.register("radius_of_gyration", RADIUS)


def with_radius(data):
    data = data.clone()
    data.radius_of_gyration = (data.pos - data.pos.mean(0)).square().sum(1).mean().sqrt()
    return data


def test_contract():
    check_target(RADIUS)


def test_train_save_load_and_predict(isomers, tmp_path):
    data = [with_radius(one) for one in isomers[:60]]
    torch.manual_seed(0)
    model = Potential(
        "schnet",
        elements=(1, 6, 8),
        targets=("radius_of_gyration",),
        hidden_channels=32,
        num_interactions=2,
        cutoff=8.0,
    )
    model.fit_statistics(data)
    key = "radius_of_gyration_mae (Å)"
    before = errors(predict(model, data), data, model.targets)[key]
    trained = fit_potential(
        model,
        data,
        tmp_path,
        steps=100,
        batch_size=10,
        learning_rate=2e-3,
        ema_decay=0.0,
        num_validation=10,
        num_test=5,
        validation_interval=50,
        accelerator="cpu",
    )
    loaded = Potential.from_pretrained(tmp_path / "model.safetensors")
    found = predict(loaded, data)
    assert errors(found, data, loaded.targets)[key] < 0.7 * before
    assert trained.provenance["test"][key] > 0
    radius = loaded(data[3].z, data[3].pos).radius_of_gyration
    assert float(radius.detach()) == pytest.approx(float(found[3].radius_of_gyration), abs=1e-4)


def test_commands(isomers, tmp_path, capsys):
    """The label is an entry of a file's comment line; so is the prediction."""
    data = [with_radius(one) for one in isomers[:12]]
    for one in data:
        one.info = {"radius_of_gyration": float(one.radius_of_gyration)}
    labels, run = tmp_path / "labels.extxyz", tmp_path / "run"
    ase.io.write(labels, [to_ase(one) for one in data])
    quick = ["--steps=4", "--num_validation=2", "--accelerator=cpu", "--settings.cutoff=4.0"]
    command = ["fit-potential", "--data", str(labels), "--out", str(run), *quick]
    assert main([*command, "--targets", "radius_of_gyration", "--num_test=2"]) == 0
    assert "radius_of_gyration_mae (Å): " in capsys.readouterr().out
    model, found = str(run / "model.safetensors"), tmp_path / "found.extxyz"
    assert main(["predict", str(labels), "--checkpoint", model, "--out", str(found)]) == 0
    assert "radius_of_gyration_mae (Å): " in capsys.readouterr().out
    predicted = ase.io.read(found, 0).info["radius_of_gyration"]
    assert predicted != data[0].info["radius_of_gyration"]
    assert 2 < predicted < 3
