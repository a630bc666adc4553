"""Conformers of given molecules: an untrained model keeps bonds, rings and stereochemistry."""

import ase.units
import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import AllChem

from schnetgen_pyg import InputError, conformers, generate, log_prob, to_rdkit
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.generator.sampling.conformers import conformer_log_prob
from tests.conftest import small_model
from tests.generator.conditions.test_graph import GIVEN, awake
from tests.molecules import embedded

FINE = {"num_bins": 481, "max_distance": 12.0, "elements": (1, 6, 7, 8, 9, 11, 16, 17, 35)}
ALL = {**GIVEN, "conditions": ("remaining_formula", "valence_states", "graph")}


@pytest.fixture(scope="module")
def model():
    return awake(small_model(**GIVEN, **FINE))


def built_as(text, found):
    """Of every conformer the SMILES with stereochemistry that its positions and bonds say."""
    return {smiles(to_rdkit(atoms), stereo=True) for atoms in found.atoms()}


@pytest.mark.parametrize(
    "text",
    [
        "C[C@H](F)[C@@H](Cl)O",
        "C[C@H]1CC[C@@H](F)CC1",
        "C/C=C/C=C\\C",
        "C1CCC/C=C/CC1",  # a trans double bond in a ring
        "O=C1N[C@@H]2CS[C@@H](C)[C@@H]2N1",
        "C1CC2CCC1C2",
        "C1CCCCCCCCCCC1",
        "O=[N+]([O-])c1ccccc1",
        "C[S@](=O)CC",
        "FC(F)(F)C#N",
    ],
)
def test_graphs_and_stereochemistry_are_kept(model, text):
    (found,) = conformers(model, text, 4, prune=0)
    assert len(found) >= 1
    assert len(found) + found.failures.total() == 4
    given = Chem.MolFromSmiles(text)
    if all(e.specified == Chem.StereoSpecified.Specified for e in Chem.FindPotentialStereo(given)):
        asked = Chem.AddHs(given)
        assert built_as(text, found) == {smiles(asked, stereo=True)}
    else:
        bare = [smiles(to_rdkit(atoms)) for atoms in found.atoms()]
        assert {*bare} == {smiles(given)}


@pytest.mark.parametrize("text", ["C[C@H](F)[C@@H](Cl)O", "C/C=C\\C"])
def test_sides_are_right_at_the_first_attempt(model, text):
    """Not drawn until they are."""
    (found,) = conformers(model, text, 12, prune=0, restarts=0)
    assert len(found) >= 10
    assert not found.failures["stereo"]


def test_rings_close(model):
    """Of 40 rings of eight, 2 do where atoms may go farther than the others can reach."""
    (found,) = conformers(model, "C1CCCCCCC1", 40, prune=0, restarts=0)
    assert len(found) >= 8


@pytest.mark.filterwarnings("ignore:.*left open")
def test_conformers_are_the_same_in_any_batch(model):
    texts = ["CCO", "C1CCC1C(=O)O", "C[C@H](F)Cl"]
    alone = [conformers(model, text, 5, seed=7, prune=0)[0] for text in texts]
    for size in (3, 64):
        beside = conformers(model, texts, 5, seed=7, prune=0, batch_size=size)
        for one, other in zip(alone, beside, strict=True):
            assert one.number.tolist() == other.number.tolist()
            for place in range(len(one)):
                a, b = (x.mol.GetConformer(place).GetPositions() for x in (one, other))
                assert abs(a - b).max() < 1e-3
    again = conformers(model, "CCO", 5, seed=8, prune=0)[0]
    pos = [x.mol.GetConformer(0).GetPositions() for x in (alone[0], again)]
    assert abs(pos[0] - pos[1]).max() > 0.1


def test_hydrogens_one_by_one_and_refined():
    model = small_model(**ALL, **FINE, refinement=True)
    for settings in ({"gibbs_rounds": 0}, {"gibbs_rounds": 0, "refinement_steps": 0}):
        (found,) = conformers(model, "CC(N)=O", 4, prune=0, **settings)
        assert len(found) == 4
        assert built_as("CC(N)=O", found) == {"CC(N)=O"}


@pytest.mark.parametrize(
    ("text", "number"), [("[Na+]", 1), ("O", 2), ("[NH4+]", 2), ("Cl", 2), ("N#N", 2)]
)
def test_small_molecules(model, text, number):
    (found,) = conformers(model, text, number, prune=0)
    assert len(found) == number
    assert [len(atoms) for atoms in found.atoms()] == [found.mol.GetNumAtoms()] * number


def test_what_cannot_be_is_named_as_failed(model):
    # Norbornane with one of its bridgeheads turned outside in.
    (found,) = conformers(model, "F[C@@H]1C[C@H]2CC[C@@H]1C2", 4, restarts=1)
    assert found.failures.total() + found.count.sum() == 4
    assert found.failures.total() > 0
    # Cubane in one attempt by a model that knows nothing.
    (nothing,) = conformers(model, "C12C3C4C1C5C2C3C45", 3, restarts=0)
    assert len(nothing) == 0
    assert nothing.atoms() == []
    assert nothing.failures == {"bonds": 3}
    assert nothing.failure.startswith("3 of 3 failed: 3 as an atom found no place")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CI", "never seen I"),
        ("C" * 100, "302 atoms with its hydrogens, and conformers are built of 200"),
        ("C1CC", "no SMILES"),
        ("CC(C)(C)(C)C", "valence"),
        ("CP", "never seen P"),
    ],
)
def test_bad_molecules_are_refused(model, text, message):
    with pytest.raises(InputError, match=message):
        conformers(model, text, 2)


def test_atoms_that_the_model_has_never_seen_are_named():
    model = small_model(**ALL, **FINE)
    with pytest.raises(InputError, match=r"N with charge \+1, 4 bond orders.*as atom 1"):
        conformers(model, "C[NH3+]", 2)


def test_models_of_the_other_kind_are_refused(model):
    with pytest.raises(InputError, match="take one of the preset conformers"):
        conformers(small_model(), "CCO", 2)
    data = as_data([embedded("CO")])[0]
    for call in (lambda: generate(model, "CH4O", 1), lambda: log_prob(model, data)):
        with pytest.raises(InputError, match="molecules that are given"):
            call()
    for changes in ({"num": 0}, {"prune": -1}, {"kelvin": 0}, {"rank": "energy"}):
        with pytest.raises(InputError):
            conformers(model, "CO", **changes)
    for decisions in (("parent", "focus", "distance"), ("focus", "parent", "distance")):
        with pytest.raises(InputError, match="decisions"):
            small_model(**GIVEN | {"decisions": decisions})


def test_open_stereocentres_are_said(model):
    with pytest.warns(UserWarning, match="1 of its stereocentres"):
        conformers(model, "CC(F)Cl", 1)


class Longest:
    """A potential that likes molecules with large distances from the first atom."""

    targets, elements = {"energy": None}, (1, 6, 8)

    def __call__(self, z, pos, batch):
        first = pos[torch.searchsorted(batch, batch)]
        far = (pos - first).norm(dim=1).double()
        return {
            "energy": -0.05 * torch.zeros(int(batch.max()) + 1).double().index_add(0, batch, far)
        }

    def state_dict(self):
        return {"weight": torch.zeros(1)}


def test_a_potential_ranks_and_weighs(model):
    (found,) = conformers(model, "CCCO", 12, rank=Longest(), kelvin=500.0, prune=0.3)
    assert (np.diff(found.energy) >= 0).all()
    assert found.count.sum() == 12
    assert found.weight.sum() == pytest.approx(1.0)
    ratio = np.exp(-(found.energy[-1] - found.energy[0]) / (ase.units.kB * 500.0))
    assert found.weight[-1] / found.weight[0] == pytest.approx(ratio)
    assert found.mol.GetConformer(0).GetDoubleProp("energy") == pytest.approx(found.energy[0])
    assert found.atoms()[0].get_potential_energy() == pytest.approx(found.energy[0])
    for text, message in (("CF", "does not know F"), ("C[NH3+]", "does not know")):
        with pytest.raises(InputError, match=message):
            conformers(model, text, 1, rank=Longest())


def test_log_prob_ranks_and_is_that_of_a_given_conformer(model):
    (found,) = conformers(model, "Cl", 3, rank="log_prob", prune=0)
    assert (np.diff(found.log_prob) <= 0).all()
    # Both atoms are alike in all orders but the one: hydrogen comes last.
    own = conformer_log_prob(model, found.mol)
    assert own.value.tolist() == pytest.approx(found.log_prob.tolist(), abs=0.02)
    several = conformer_log_prob(model, found.mol, num_orders=2)
    assert torch.allclose(several.value, own.value, atol=0.02)
    moved = Chem.Mol(found.mol)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    for conformer in moved.GetConformers():
        conformer.SetPositions(conformer.GetPositions() @ turn + 3.0)
    assert torch.allclose(conformer_log_prob(model, moved).value, own.value, atol=0.02)
    far = Chem.Mol(found.mol)
    for conformer in far.GetConformers():
        conformer.SetPositions(conformer.GetPositions() * 2.0)
    assert torch.isneginf(conformer_log_prob(model, far).value).all()


def test_given_conformers_have_all_their_atoms(model):
    with pytest.raises(InputError, match="no conformers"):
        conformer_log_prob(model, Chem.MolFromSmiles("CO"))
    bare = Chem.MolFromSmiles("CO")
    AllChem.EmbedMolecule(bare, randomSeed=1)
    with pytest.raises(InputError, match="lacks hydrogens"):
        conformer_log_prob(model, bare)


def test_the_density_of_water_is_that_of_its_steps():
    """Each step by the model's own distributions, its norm by a sum over a fine grid."""
    model = small_model(**GIVEN | {"conditions": ()}, **FINE)
    mol = Chem.AddHs(Chem.MolFromSmiles("O"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    pos = torch.tensor(mol.GetConformer().GetPositions(), dtype=torch.float32)
    found = conformer_log_prob(model, mol)
    both = []
    for first, second in ((1, 2), (2, 1)):
        total = 0.0
        for placed, new in (([0], first), ([0, first], second)):
            z = torch.tensor([8, 1][: len(placed)])
            with torch.no_grad():
                focus = torch.tensor([0])
                table = model(z, pos[placed], torch.tensor([1]), next_focus=focus)
            total += step_log_density(table, pos[placed], pos[new])
        both.append(total)
    error = float(found.error[0]) + 0.02
    assert min(abs(float(found.value[0]) - one) for one in both) < error


def step_log_density(table, placed, new):
    """Log-density (1/Å³) of a hydrogen about an oxygen, which is first."""
    longest = 1.15 * (0.66 + 0.31)
    axis = torch.arange(-longest, longest, 0.02)
    grid = torch.cartesian_prod(axis, axis, axis)

    def score(points):
        distance = torch.cdist(points + placed[0], placed)
        place = (distance / 0.025).clamp(max=479.0)
        lower = place.long()
        rows = torch.arange(len(placed)).expand(len(points), -1)
        value = torch.lerp(table[rows, lower], table[rows, lower + 1], place - lower).sum(1)
        value[(distance[:, 0] > longest) | (distance[:, 0] < 0.65 * longest)] = -torch.inf
        if len(placed) > 1:
            value[distance[:, 1] < 1.15 * 0.62] = -torch.inf
        return value

    norm = score(grid).logsumexp(0) + 3 * np.log(0.02)
    return float(score((new - placed[0])[None])[0] - norm)
