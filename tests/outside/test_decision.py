"""A decision from outside the package: whether the next atom will be in a ring, which is decided
before its valence state."""

from typing import ClassVar

import networkx
import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data
from torch_geometric.utils import scatter

from schnetgen_pyg import InputError, SchNetGen, fit, generate
from schnetgen_pyg.chem.bonds import batch_adjacency
from schnetgen_pyg.generator.decisions import DECISIONS, Decision
from schnetgen_pyg.generator.decisions.base import chosen, mean_loss
from schnetgen_pyg.generator.random_numbers import choose
from schnetgen_pyg.representations.layers import mlp
from schnetgen_pyg.testing import check_decision
from tests.conftest import deciding, small_model


def in_rings(adjacency, atoms):
    graph = networkx.from_numpy_array(adjacency.numpy())
    rings = {atom for ring in networkx.minimum_cycle_basis(graph) for atom in ring}
    return torch.tensor([int(atom in rings) for atom in range(atoms)])


class RingMember(Decision):
    after = ("next_type",)
    keeps: ClassVar = {"ring": torch.long}

    def __init__(self, config):
        super().__init__(config)
        channels = config.hidden_channels
        self.layers = mlp([channels, channels, 2])
        self.told = nn.Embedding(2, channels)

    def log_prob(self, step):
        size = step.partial.ptr.numel() - 1
        pooled = scatter(step.y, step.partial.batch, dim_size=size, reduce="mean")
        return self.layers(pooled).log_softmax(1)

    def loss(self, step, molecules):
        bonds, mask = batch_adjacency(molecules)
        sizes = mask.sum(1).tolist()
        true = torch.cat([in_rings(b[:n, :n], n) for b, n in zip(bonds, sizes, strict=True)])
        true = true[step.partial.next_atom]
        loss = mean_loss(self.log_prob(step), true)
        step.decide(ring=true)
        return loss

    def draw(self, step, draft):
        kept = draft.state.kept.setdefault("ring", torch.zeros_like(draft.z))
        log_prob = self.log_prob(step)
        if not draft.forced:
            kept[:, draft.placed] = choose(log_prob, draft.keys(draft.placed, 7))
        choice = kept[:, draft.placed]
        step.decide(ring=choice)
        return chosen(log_prob, choice)

    def new_atom(self, step):
        return self.told(step.known["ring"]) if "ring" in step.known else None


DECISIONS.register("ring", RingMember)
SETTINGS = deciding("next_type", "focus")
RINGS = SETTINGS | {"decisions": ("next_type", "ring", "focus", "distance")}


@pytest.mark.parametrize("name", ["next_type", "ring", "focus", "distance"])
def test_contract(name, isomers):
    molecules = Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in isomers[:3]])
    check_decision(name, small_model(**RINGS), molecules, "C3H6O")


def test_train_save_load_and_generate(isomers, tmp_path):
    settings = {"steps": 3, "batch_size": 4, "num_validation": 2, "validation_interval": 3}
    fit(small_model(**RINGS), isomers[:20], tmp_path, accelerator="cpu", num_samples=0, **settings)
    loaded = SchNetGen.from_pretrained(tmp_path / "model.safetensors")
    assert isinstance(loaded.decisions["ring"], RingMember)
    molecules = generate(loaded, "C4H8O", 5, gibbs_rounds=0)
    assert all(len(atoms.arrays["ring"]) == len(atoms) for atoms in molecules)


def test_what_it_needs_is_named():
    with pytest.raises(InputError, match="RingMember comes after next_type"):
        small_model(**SETTINGS | {"decisions": ("ring", "focus", "distance")})
    with pytest.raises(InputError, match=r"no decision is named 'rings'.*did you mean 'ring'"):
        small_model(**SETTINGS | {"decisions": ("next_type", "rings", "focus", "distance")})
