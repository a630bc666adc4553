"""Two processes that share a batch train as one that has all of it."""

import json
import subprocess
import sys

import pytest
import torch

from schnetgen_pyg import SchNetGen, fit_potential
from schnetgen_pyg.data.batches import BatchSampler
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.training.config import TrainingConfig
from schnetgen_pyg.training.generator import GeneratorModule
from tests.targets.test_labels import springs
from tests.training.on_two_processes import GENERATOR, SETTINGS, new_generator, new_potential

pytestmark = pytest.mark.slow


def trained(kind, out):
    command = [sys.executable, "-m", "tests.training.on_two_processes", kind, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    loader = Potential if kind == "potential" else SchNetGen
    return loader.from_pretrained(out / "model.safetensors").state_dict()


def agree(found, expected):
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=2e-6), name


def test_potential(tmp_path):
    expected = fit_potential(new_potential(), springs(), tmp_path / "one", **SETTINGS)
    agree(trained("potential", tmp_path / "two"), expected.state_dict())


def test_generator(tmp_path, isomers):
    """Each process draws orders, noise and steps of its share: so does the one here."""
    found = trained("generator", tmp_path)
    model = new_generator().train()
    module = GeneratorModule(model, TrainingConfig(**GENERATOR))
    indices = json.loads((tmp_path / "split.json").read_text())["train"]
    data = Molecules([isomers[k] for k in indices])
    optimizer = torch.optim.Adam(model.parameters(), lr=module.config.learning_rate)
    for step in range(GENERATOR["steps"]):
        chosen = BatchSampler(len(data), 5, 6, 0).batch(step)
        shares = [module.terms(data[chosen[k::2]], step, 2, k).loss for k in (0, 1)]
        joined = [shares[0][name].join(mean).value for name, mean in shares[1].items()]
        optimizer.zero_grad()
        torch.stack(joined).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), GENERATOR["gradient_clip"])
        optimizer.step()
    agree(found, model.state_dict())
