"""The condition with a latent: evidence lower bound, its divergence, and draws by the seed."""

import copy
import math

import pytest
import torch
from rdkit import Chem
from rdkit.Chem import AllChem
from torch_geometric.data import Data

from schnetgen_pyg import InputError, conformers
from schnetgen_pyg.data.graph_features import graph_of_smiles
from schnetgen_pyg.generator.conditions.latent import FREE, SIZE, Gaussian, divergence
from schnetgen_pyg.generator.losses import loss_terms
from schnetgen_pyg.generator.sampling.conformers import conformer_log_prob
from schnetgen_pyg.generator.sampling.given_graphs import known_to
from schnetgen_pyg.generator.sampling.latents import estimate, with_latents
from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNN
from schnetgen_pyg.testing import check_condition
from schnetgen_pyg.training.config import TrainingConfig
from schnetgen_pyg.training.generator import GeneratorModule
from tests.conftest import small_model
from tests.generator.conditions.test_graph import GIVEN, molecules, seeded

LATENT = GIVEN | {"conditions": ("latent",)}
FINE = {"num_bins": 121, "max_distance": 6.0, "elements": (1, 6, 8, 9)}


def awake(model, strength=0.1):
    """With last layers that say something, as after a training."""
    condition = model.conditions["latent"]
    for layer in (condition.molecule, condition.atom, condition.next):
        torch.nn.init.normal_(layer.weight, std=0.1)
    for reader in (condition.prior, condition.posterior):
        torch.nn.init.normal_(reader.last.weight, std=strength)
    return model


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return awake(small_model(**LATENT, **FINE)).eval()


def test_contract(model):
    check_condition("latent", copy.deepcopy(model), molecules("CC(=O)O", "C=CC"))


def test_the_divergence_is_that_of_torch_and_zero_of_the_same():
    q, p = (Gaussian(torch.randn(5, SIZE), 0.3 * torch.randn(5, SIZE)) for _ in range(2))
    assert torch.equal(divergence(p, p), torch.zeros(5, SIZE))
    one, other = (torch.distributions.Normal(g.mean, g.log_std.exp()) for g in (q, p))
    torch.testing.assert_close(divergence(q, p), torch.distributions.kl_divergence(one, other))


def test_a_new_model_knows_nothing_of_the_positions():
    fresh = small_model(**LATENT)
    logged = {}
    found = loss_terms(fresh, molecules("CC(=O)O"), seeded(), logged=logged)
    assert not bool(found["kl"].total.any())
    assert float(logged["kl_of_molecule"].value) == 0


def test_what_it_costs_is_weighted_and_logged(model):
    batch, told = molecules("CC(=O)O", "C=CCO"), []
    for weight in (1.0, 0.25):
        logged = {}
        terms = loss_terms(model, batch, seeded(), kl_weight=weight, logged=logged)
        told.append((float(terms["kl"].value.detach()), logged))
    assert told[1][0] == pytest.approx(0.25 * told[0][0])
    of_z = [float(told[0][1][f"kl_of_z{k}"].value) for k in range(SIZE)]
    of_molecule = float(told[0][1]["kl_of_molecule"].value)
    assert sum(of_z) == pytest.approx(of_molecule, rel=1e-5)
    distances = 8 * 7 / 2 + 10 * 9 / 2
    cost = sum(max(2 * one - 18 * FREE, 0) for one in of_z)  # of 18 atoms in two molecules
    assert 0 < cost < 2 * of_molecule
    assert told[0][0] == pytest.approx(cost / distances, rel=1e-4)


def test_the_posterior_sees_the_conformer_and_every_part_learns(model):
    batch = molecules("CC(=O)O", "C=CCO")
    moved = copy.copy(batch)
    moved.pos = batch.pos.clone()
    moved.pos[:8] += 0.3 * torch.randn(8, 3)
    told = []
    for one in (batch, moved):
        partial = Data(atom=torch.arange(18), next_atom=torch.arange(2), molecule=torch.arange(2))
        model.conditions["latent"].prepare(partial, one)
        told.append((partial.latent_kl, partial.graph_molecule, partial.graph_atoms))
    assert (told[0][0][:8] - told[1][0][:8]).abs().amax() > 1e-5
    assert torch.equal(told[0][0][8:], told[1][0][8:])  # another molecule
    assert (told[0][2][:8] - told[1][2][:8]).abs().amax() > 1e-5
    assert torch.equal(told[0][1], told[1][1])  # the molecule's own vector is the encoder's
    learning = copy.deepcopy(model)
    terms = loss_terms(learning, batch, seeded())
    torch.stack([mean.value for mean in terms.values()]).sum().backward()
    for name, weights in learning.conditions["latent"].named_parameters():
        assert weights.grad is not None, name


def test_the_weight_rises_as_half_a_cosine(model):
    module = GeneratorModule(model, TrainingConfig(steps=1000, kl_weight=0.05))
    module.model.train()
    found = []
    for step in (0, 250, 500, 1000):
        GeneratorModule.global_step = step  # Lightning's is its trainer's
        found.append(module.kl_weight())
    del GeneratorModule.global_step
    assert found == pytest.approx([1e-4, (1e-4 + 0.05) / 2, 0.05, 0.05])
    module.model.eval()
    assert module.kl_weight() == 0.05


def test_a_training_takes_its_weight(model):
    batch, costs = molecules("CC(=O)O"), []
    for weight in (1.0, 0.25):
        module = GeneratorModule(model, TrainingConfig(kl_weight=weight))
        module.model.eval()
        loss = module.terms(batch, 0).loss
        costs.append((float(loss["kl"].value.detach()), float(loss["distance"].value.detach())))
    assert costs[1][0] == pytest.approx(0.25 * costs[0][0], rel=1e-5)
    assert costs[1][1] == pytest.approx(costs[0][1], rel=1e-6)


def test_graph_beside_it_is_refused():
    with pytest.raises(InputError, match="leave graph out"):
        small_model(**LATENT | {"conditions": ("graph", "latent")})


def test_the_estimate_rises_from_the_bound_to_the_exact_value():
    """p(z) = N(0, 1), p(x | z) = N(z, 1), so that p(x) = N(0, √2); q is not the true posterior."""
    prior, q, x = (torch.distributions.Normal(*two) for two in ((0.0, 1.0), (0.4, 0.9), (0.0, 1.0)))
    exact = float(torch.distributions.Normal(0.0, math.sqrt(2.0)).log_prob(torch.tensor(1.2)))
    z = q.sample((64, 4000)).double()
    decoder, ratio = x.log_prob(1.2 - z), prior.log_prob(z) - q.log_prob(z)
    zero = torch.zeros(4000)
    bound = float((decoder + ratio).mean())
    kl = float(torch.distributions.kl_divergence(q, prior))
    assert bound == pytest.approx(float(decoder.mean()) - kl, abs=0.01)
    means = [bound]
    for samples in (2, 8, 64):
        found = estimate(decoder[:samples], ratio[:samples], zero)
        means.append(float(found.value.mean()))
        assert found.parts["distance"] + found.parts["latent"] == pytest.approx(found.value)
    assert means == sorted(means)
    assert means[0] < exact - 0.02
    assert means[-1] == pytest.approx(exact, abs=0.005)
    scatter = float(found.value.std())  # of the last, over repetitions
    assert float(found.standard_error.mean()) == pytest.approx(scatter, rel=0.15)


def test_latents_of_the_posterior_and_of_the_prior_lead_to_the_same_density():
    model = awake(small_model(**LATENT, **FINE), 0.02).eval()
    mol = Chem.AddHs(Chem.MolFromSmiles("F"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    plain = copy.deepcopy(model)
    torch.nn.init.zeros_(plain.conditions["latent"].posterior.last.weight)
    found, other = (conformer_log_prob(one, mol, num_samples=24) for one in (model, plain))
    error = math.hypot(float(found.standard_error), float(other.standard_error))
    assert 0 < error < 0.5
    assert abs(float(found.value - other.value)) < 4 * error
    far = Chem.Mol(mol)
    far.GetConformer().SetPositions(mol.GetConformer().GetPositions() * 2)
    impossible = conformer_log_prob(model, far, num_samples=2, num_orders=2)
    assert torch.isneginf(impossible.value).all()
    assert float(impossible.standard_error) == 0


def test_conformers_are_the_same_in_any_batch_and_their_latents_differ(model):
    texts = ["CO", "CC=O"]
    settings = {"seed": 7, "prune": 0, "gibbs_rounds": 0}
    alone = [conformers(model, text, 3, **settings)[0] for text in texts]
    beside = conformers(model, texts, 3, batch_size=6, **settings)
    for one, other in zip(alone, beside, strict=True):
        assert one.number.tolist() == other.number.tolist()
        for place in range(len(one)):
            a, b = (x.mol.GetConformer(place).GetPositions() for x in (one, other))
            assert abs(a - b).max() < 1e-3


def test_a_latent_is_that_of_its_number_and_attempt(model):
    known = known_to(model, [graph_of_smiles(text) for text in ("CO", "CCO")])
    own = [known[0], known[1], known[1], known[1]]
    number, attempt = torch.tensor([3, 3, 4, 3]), torch.tensor([0, 0, 0, 1])
    told = [one.vectors for one in with_latents(model, own, 7, number, attempt)]
    (alone,) = with_latents(model, known[1:], 7, number[1:2], attempt[1:2])
    assert torch.equal(alone.vectors, told[1])
    for other in told[2:]:
        assert (other - told[1]).abs().amax() > 1e-3
    assert (told[1] - known[1].vectors).abs().amax() > 1e-3


def test_its_encoder_is_handed_out(model, tmp_path):
    model.save(tmp_path / "x.safetensors")
    found = BoltzmannGNN.from_pretrained(tmp_path / "x.safetensors")
    again = BoltzmannGNN.from_generator(model)
    assert torch.equal(found.from_smiles(["CCO"]), again.from_smiles(["CCO"]))
