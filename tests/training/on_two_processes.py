"""Train on two processes: ``python -m tests.training.on_two_processes KIND FOLDER``."""

import sys

import torch

from schnetgen_pyg import SchNetGen, fit, fit_potential, load
from schnetgen_pyg.potentials.model import Potential
from tests.conftest import small_model
from tests.targets.test_labels import springs

#: Five molecules in a batch: the shares of two processes are unequal.
SETTINGS = {
    "steps": 6,
    "batch_size": 5,
    "num_validation": 6,
    "validation_interval": 3,
    "checkpoint_interval": 3,
    "gradient_clip": 1.0,
    "accelerator": "cpu",
}
GENERATOR = SETTINGS | {"num_samples": 0, "position_noise": 0.02, "partial_molecules": 5}


def new_potential() -> Potential:
    torch.manual_seed(0)
    return Potential("painn", (1, 6), hidden_channels=8, num_interactions=2, cutoff=4.0)


def new_generator() -> SchNetGen:
    return small_model()


if __name__ == "__main__":
    torch.set_num_threads(1)
    kind, out = sys.argv[1:]
    if kind == "potential":
        fit_potential(new_potential(), springs(), out, devices=2, strategy="ddp", **SETTINGS)
    else:
        fit(new_generator(), load("c7h10o2-xtb")[:20], out, devices=2, strategy="ddp", **GENERATOR)
