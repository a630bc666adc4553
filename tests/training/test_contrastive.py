"""Pre-training by comparison with conformers."""

import pytest
import torch
from torch_geometric.data import Batch

from schnetgen_pyg import InputError
from schnetgen_pyg.data.graph_features import with_graphs
from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNN, BoltzmannGNNConfig
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
