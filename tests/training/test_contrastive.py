"""Pre-training by comparison with conformers."""

import pytest
import torch
from torch_geometric.data import Batch

from schnetgen_pyg import InputError
from schnetgen_pyg.data.graph_features import with_graphs
from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNN, BoltzmannGNNConfig
from schnetgen_pyg.training import contrastive
from schnetgen_pyg.training.contrastive import (
    ContrastiveConfig,
    ContrastiveModule,
    fit_contrastive,
    info_nce,
)
from tests.training.test_ensembles import ensembles
from tests.training.test_generator import QUICK

SMALL = BoltzmannGNNConfig(channels=16, num_layers=2, elements=(1, 6, 8))


def test_the_objective_is_zero_of_what_is_found_and_log_n_of_what_says_nothing():
    own = torch.eye(4)
    loss, found = info_nce(own, own, 0.01)
    assert loss.max() < 1e-6
    assert found.tolist() == [1.0] * 4
    nothing, _ = info_nce(torch.ones(4, 3), torch.ones(4, 3), 0.1)
    assert nothing == pytest.approx(torch.full((4,), 4.0).log())
    wrong, found = info_nce(own, own.roll(1, 0), 1.0)
    assert wrong.min() > nothing.max()
    assert not found.any()


def test_both_directions_count_alike():
    """Graphs among conformers, and conformers among graphs."""
    one, other = torch.randn(2, 6, 4)
    loss, found = info_nce(one, other, 0.3)
    turned, _ = info_nce(other, one, 0.3)
    assert torch.allclose(loss, turned)
    logits = torch.nn.functional.cosine_similarity(one[:, None], other[None], dim=2) / 0.3
    ways = [-logits.log_softmax(dim).diagonal() for dim in (0, 1)]
    assert not torch.allclose(*ways)
    assert torch.allclose(loss, (ways[0] + ways[1]) / 2, atol=1e-6)
    assert found.tolist() == (logits.argmax(1) == torch.arange(6)).float().tolist()


def test_the_generative_part_is_a_bound_of_the_other_vector():
    """Squared error of what is drawn from the latent, and the latent's divergence as torch has it;
    the vector that is asked for is no way to make it easy."""
    part = contrastive._Reconstruction(4)
    torch.nn.init.zeros_(part.latent.weight)
    mean, log_std = torch.randn(4), 0.5 * torch.randn(4)
    part.latent.bias.data = torch.cat([mean, log_std])
    given, wanted = torch.randn(5, 4), torch.randn(5, 4, requires_grad=True)
    posterior = torch.distributions.Normal(mean, log_std.exp())
    cost = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).mean()

    def found(seed):
        return part(given, wanted, torch.Generator().manual_seed(seed))

    assert found(0) == found(0) != found(1)
    part.back = torch.nn.Identity()
    drawn = torch.stack([found(seed) for seed in range(2000)]).mean() / 5
    error = (mean - wanted).square().mean() + (2 * log_std).exp().mean()
    assert float(drawn) == pytest.approx(float(error + cost), rel=0.05)
    found(0).backward()
    assert wanted.grad is None


def test_a_molecule_is_validated_once(tmp_path, monkeypatch):
    """Two of its conformers would be each other's wrong answer."""
    seen = []

    def run(trainer, module, train, validation, **_):
        seen.append([sorted(one.z.tolist()) for one in validation])
        raise KeyboardInterrupt

    monkeypatch.setattr(contrastive, "run", run)
    settings = {"num_validation": 9, "steps": 2, "accelerator": "cpu", "num_interactions": 1}
    with pytest.raises(KeyboardInterrupt):
        fit_contrastive(ensembles(), tmp_path, model=BoltzmannGNN(SMALL), **settings)
    assert len(seen[0]) == 3  # of three molecules with three conformers each


def test_it_learns_which_conformer_is_whose():
    torch.manual_seed(0)
    batch = Batch.from_data_list(with_graphs(ensembles((1.0,))))
    module = ContrastiveModule(BoltzmannGNN(SMALL), ContrastiveConfig(num_interactions=1))
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        terms = module.terms(batch, step)
        loss = torch.stack([mean.value for mean in terms.loss.values()]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(terms.loss["contrastive"].value.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert float(terms.logged["found"].value) == 1.0
    for name, weights in module.model.named_parameters():
        assert weights.grad is not None, name


def test_a_run_writes_an_encoder_and_continues(tmp_path):
    settings = {k: v for k, v in QUICK.items() if k in vars(ContrastiveConfig())}
    settings |= {"num_validation": 3, "batch_size": 3, "num_interactions": 1, "steps": 4}
    first = fit_contrastive(ensembles(), tmp_path, model=BoltzmannGNN(SMALL), **settings)
    assert first.provenance["objective"] == "GraphMVP"
    found = BoltzmannGNN.from_pretrained(tmp_path / "model.safetensors")
    assert torch.equal(found.from_smiles(["CCO"]), first.from_smiles(["CCO"]))
    settings["steps"] = 6
    further = fit_contrastive(ensembles(), tmp_path, model=BoltzmannGNN(SMALL), **settings)
    assert further.provenance["step"] == 6
    assert not torch.equal(further.from_smiles(["CCO"]), first.from_smiles(["CCO"]))


def test_conformers_must_name_their_molecule(tmp_path):
    data = ensembles()
    del data[2].info["smiles"]
    with pytest.raises(InputError, match="structure 2: no 'smiles' in its info"):
        fit_contrastive(data, tmp_path)
