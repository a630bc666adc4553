"""A representation from outside the package: smooth counts of neighbours, by element."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from schnetgen_pyg import InputError, Potential, SchNetGen, fit, generate
from schnetgen_pyg.representations import REPRESENTATIONS, Representation
from schnetgen_pyg.representations.base import check_width_and_cutoff
from schnetgen_pyg.representations.layers import CosineCutoff, GaussianSmearing
from schnetgen_pyg.targets.prediction import predict
from schnetgen_pyg.testing import check_representation
from tests.conftest import deciding


@dataclass(frozen=True)
class CountsSettings:
    hidden_channels: int = 24
    num_gaussians: int = 8
    cutoff: float = 5.0

    def __post_init__(self):
        check_width_and_cutoff(self)


class Counts(Representation):
    """x_i = silu(W [e(z_i) + Σ_j f(d_ij) e(z_j) ∘ V g(d_ij)])."""

    Settings = CountsSettings

    def __init__(self, settings=None, **changes):
        super().__init__(settings, **changes)
        channels = self.hidden_channels
        self.embedding = nn.Embedding(101, channels)
        self.expansion = GaussianSmearing(0.0, self.cutoff, self.settings.num_gaussians)
        self.weight = nn.Linear(self.settings.num_gaussians, channels)
        self.envelope = CosineCutoff(self.cutoff)
        self.out = nn.Linear(channels, channels)

    def reset_parameters(self):
        for layer in (self.embedding, self.weight, self.out):
            layer.reset_parameters()

    def forward(self, z, graph, *, extra=None):
        x = self.embedding(z) if extra is None else self.embedding(z) + extra
        weight = self.weight(self.expansion(graph.distance))
        weight = weight * self.envelope(graph.distance).unsqueeze(1)
        return nn.functional.silu(self.out(x + graph.aggregate(x, graph.weights(weight))))


REPRESENTATIONS.register("counts", Counts)


def test_contract():
    check_representation(Counts(hidden_channels=12))


def test_in_a_generator(isomers, tmp_path):
    settings = {"steps": 3, "batch_size": 4, "num_validation": 2, "validation_interval": 3}
    model = SchNetGen(
        representation="counts",
        num_gaussians=6,
        hidden_channels=16,
        elements=(1, 6, 8),
        **deciding("next_type", "valence_state", "hydrogens", "focus"),
    )
    assert model.representation.settings == CountsSettings(16, 6, 5.0)  # its own default cutoff
    fit(model, isomers[:20], tmp_path, accelerator="cpu", num_samples=0, **settings)
    loaded = SchNetGen.from_pretrained(tmp_path / "model.safetensors")
    assert isinstance(loaded.representation, Counts)
    assert loaded.config == model.config
    assert len(generate(loaded, "C3H6O", 3)) == 3


def test_in_a_potential(isomers, tmp_path):
    potential = Potential("counts", elements=(1, 6, 8), hidden_channels=16)
    potential.save(tmp_path / "p.safetensors")
    loaded = Potential.from_pretrained(tmp_path / "p.safetensors")
    for one, other in zip(
        predict(potential, isomers[:2]), predict(loaded, isomers[:2]), strict=True
    ):
        assert torch.equal(one.energy, other.energy)
        assert torch.allclose(one.forces, other.forces)


def test_wrong_settings_are_named():
    with pytest.raises(InputError, match=r"Counts has .*num_gaussians"):
        SchNetGen(representation="counts", num_interactions=2)
    with pytest.raises(InputError, match="did you mean 'num_gaussians'"):
        Potential("counts", num_gaussian=3)
    with pytest.raises(InputError, match="a representation named 'counts' is there already"):
        REPRESENTATIONS.register("counts", type("Other", (Counts,), {}))
