"""The likelihood is a density: it sums and integrates to one over all that a model can decide."""

import math

import ase
import numpy as np
import pytest
import torch
from ase import build
from scipy.spatial.transform import Rotation

from schnetgen_pyg import InputError, SamplingConfig, SchNetGen, generate, log_prob
from schnetgen_pyg.chem.bonds import bond_limits
from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.data.lewis_structures import states_in, with_lewis_structures
from schnetgen_pyg.generator import placement
from schnetgen_pyg.generator.draft import Draft, State
from schnetgen_pyg.generator.sampling.builder import Builder
from schnetgen_pyg.generator.sampling.likelihood import follow, log_prob_of
from schnetgen_pyg.generator.shells import FREE, SHORTEST_BOND
from tests.conftest import METHANE, deciding, small_model
from tests.molecules import embedded

FREELY = SamplingConfig(valence_rules=False)
ALL = deciding("focus", "next_type", "hydrogens", "valence_state")


def strong(**changes) -> SchNetGen:
    """A small model with opinions: what it decides is far from equally probable."""
    model = small_model(**changes)
    with torch.no_grad():
        for decision in model.decisions.values():
            for layer in list(decision.modules())[::-1]:
                if isinstance(layer, torch.nn.Linear):
                    layer.weight *= 10
                    break
    return model


def balls(center, inner, outer, rng):
    """Uniform points between two radii about each center [num, 3]."""
    direction = rng.normal(size=center.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    radius = np.cbrt(rng.uniform(inner**3, outer**3))
    return center + radius[:, None] * direction


def volume(inner, outer):
    return 4 / 3 * math.pi * (outer**3 - inner**3)


@pytest.mark.parametrize("rules", [True, False])
def test_two_atoms_against_a_radial_integral(rules):
    """Random weights: a density in Å⁻³ over the shell around the first atom."""
    model = strong(**deciding("focus"))
    least, most = (SHORTEST_BOND, 1.0) if rules else (0.0, FREE)
    longest = float(bond_limits(torch.tensor(6), torch.tensor(8)))
    nodes, weights = np.polynomial.legendre.leggauss(120)
    radius = (0.5 * (most - least) * nodes + 0.5 * (most + least)) * longest
    pos = torch.zeros(120, 2, 3)
    pos[:, 1, 2] = torch.tensor(radius)
    state = State.start(torch.tensor([6, 8]).expand(120, -1), pos)
    found = log_prob_of(follow(model, state, SamplingConfig(valence_rules=rules)))
    shell = 4 * math.pi * radius**2 * 0.5 * (most - least) * longest * weights
    total = float((found.value.double().exp().numpy() * shell).sum())
    assert found.error.max() < 0.01
    assert total == pytest.approx(1.0, abs=0.01)


def test_two_atoms_without_a_focus():
    """Over the ball that the distances reach, from bin to bin."""
    model = strong(max_distance=1.6, num_bins=17)
    nodes, weights = np.polynomial.legendre.leggauss(4)
    radius = (0.1 * np.arange(16)[:, None] + 0.05 * (nodes + 1)).ravel()
    pos = torch.zeros(64, 2, 3)
    pos[:, 1, 0] = torch.tensor(radius)
    state = State.start(torch.tensor([6, 8]).expand(64, -1), pos)
    found = log_prob_of(follow(model, state, SamplingConfig()))
    shell = 4 * math.pi * radius**2 * 0.05 * np.tile(weights, 16)
    total = (found.value.double().exp().numpy() * shell).sum()
    assert float(total) == pytest.approx(1.0, abs=float(found.error.max()))


def states_of(model, number):
    """Numbers of the states that an element can have."""
    return [k for k, state in enumerate(model.config.states) if state[0] == number]


@pytest.mark.parametrize("parts", [deciding("focus", "next_type"), ALL], ids=["types", "states"])
def test_three_atoms_sum_to_one(parts):
    """Over the types, the valence states, the focus and both positions, by Monte Carlo: the mean of
    p / q over molecules drawn from a density q of our own."""
    model, num, rng = small_model(**parts), 300, np.random.default_rng(0)
    z = np.where(rng.random((num, 1)) < 0.5, [[6, 6, 8]], [[6, 8, 6]])
    q = np.full(num, 0.5)
    numbers = torch.tensor(z)
    pos = np.zeros((num, 3, 3))
    reach = lambda a, b: FREE * bond_limits(numbers[:, a], numbers[:, b]).numpy()  # noqa: E731
    pos[:, 1] = balls(pos[:, 0], 0.0, reach(0, 1), rng)
    q /= volume(0.0, reach(0, 1))
    other = rng.integers(2, size=num)
    outer = np.stack([reach(0, 2), reach(1, 2)], 1)
    rows = np.arange(num)
    pos[:, 2] = balls(pos[rows, other], 0.0, outer[rows, other], rng)
    near = np.linalg.norm(pos[:, :2] - pos[:, 2:], axis=2) < outer
    q *= (near / volume(0.0, outer)).mean(1)
    state = State.start(numbers, torch.tensor(pos, dtype=torch.float32))
    if "valence_state" in parts["decisions"]:
        own = {number: states_of(model, number) for number in (6, 8)}
        drawn_states = [[rng.choice(own[number]) for number in row] for row in z.tolist()]
        state.valence_state.copy_(torch.tensor(np.array(drawn_states)))
        q /= len(own[6]) ** 2 * len(own[8])
    found = log_prob_of(follow(model, state, FREELY))
    ratio = found.value.double().exp().numpy() / q
    error = ratio.std() / math.sqrt(num)
    assert error < 0.12
    assert ratio.mean() == pytest.approx(1.0, abs=3 * error)
    assert torch.equal(sum(found.parts.values()), found.value)


def with_hydrogens(scaffold, counts):
    """Hydrogens around the atoms of a scaffold, 1 Å from each."""
    pos = list(scaffold)
    for place, count in enumerate(counts):
        away = scaffold[place] - np.mean(scaffold, 0)
        away = away / np.linalg.norm(away)
        axis = np.cross(away, [0.3, 0.5, 0.8])
        tilted = Rotation.from_rotvec(axis / np.linalg.norm(axis) * 0.8).apply(away)
        for k in range(count):
            pos.append(scaffold[place] + Rotation.from_rotvec(away * 2.1 * k).apply(tilted))
    return np.array(pos)


def test_hydrogens_sum_to_one():
    """C2H4O on C–C–O is acetaldehyde or vinyl alcohol."""
    model = strong(**deciding("focus", "next_type", "hydrogens"))
    scaffold = np.array([[0.0, 0, 0], [1.4, 0, 0], [2.0, 1.25, 0]])
    found = []
    for counts in ((3, 1, 0), (2, 1, 1)):
        molecule = ase.Atoms("CCOHHHH", with_hydrogens(scaffold, counts))
        result = log_prob(model, molecule)
        found.append(float(result.parts["hydrogens"]))
        assert float(result.value) == pytest.approx(float(sum(result.parts.values())))
    assert max(found) < 0.0
    assert np.exp(found).sum() == pytest.approx(1.0, abs=1e-5)


@pytest.fixture(scope="module")
def bundled():
    return SchNetGen.from_pretrained("qm9")


@pytest.mark.parametrize(
    "settings",
    [{}, {"gibbs_rounds": 0, "restarts": 0}, {"valence_rules": False}],
    ids=["default", "first scaffold", "no rules"],
)
def test_generated_molecules_have_the_log_prob_of_log_prob(bundled, settings):
    """After restarts and Gibbs rounds, which are not the model's: that of the finished molecule."""
    molecules = generate(bundled, "C4H6O", 3, seed=4, log_prob=True, **settings)
    rules = settings.get("valence_rules", True)
    found = log_prob(bundled, molecules, valence_rules=rules)
    given = [atoms.info["log_prob"] for atoms in molecules]
    assert np.isfinite(given).sum() >= 2
    assert np.allclose(given, found.value, atol=1e-3)
    plain = generate(bundled, "C4H6O", 3, seed=4, **settings)
    for one, other in zip(plain, molecules, strict=True):
        assert abs(one.positions - other.positions).max() == 0
        assert "log_prob" not in one.info


def test_a_molecule_grown_on_a_fragment(bundled):
    fragment = generate(bundled, "C4H6O", 1, seed=4)[0][:3]
    molecules = generate(bundled, "C4H6O", 2, fragment=fragment, log_prob=True)
    given = [atoms.info["log_prob"] for atoms in molecules]
    assert np.allclose(given, log_prob(bundled, molecules, placed=3).value, atol=1e-3)


def test_a_turned_molecule_is_as_probable(bundled):
    """The lattice of the norms does not turn with it: the difference is within the error."""
    (atoms,) = generate(bundled, "C3H6O", 1, seed=1)
    turned = []
    for turn in Rotation.random(4, rng=0):
        other = atoms.copy()
        other.positions = turn.apply(other.positions) + 3.0
        turned.append(other)
    found = log_prob(bundled, turned)
    assert found.error.max() < 0.01 * len(atoms)
    assert np.ptp(found.value.numpy()) <= float(found.error.max())


def test_a_displaced_atom_is_less_probable_and_one_without_a_bond_impossible(bundled):
    atoms = generate(bundled, "C3H6O", 1, seed=1)[0]
    moved = [atoms.copy(), atoms.copy(), atoms.copy()]
    bond = atoms.positions[-1] - atoms.positions[np.argmin(atoms.get_distances(-1, range(4)))]
    sideways = np.cross(bond, [0.3, 0.5, 0.8])
    moved[1].positions[-1] += 0.3 * sideways / np.linalg.norm(sideways)
    moved[2].positions[-1] += 2 * bond
    here, aside, broken = log_prob(bundled, moved).value.tolist()
    assert here > aside + 5
    assert broken == -math.inf


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"info": {"charge": 1}}, "structure 1: has charge .1"),
        ({"info": {"spin_multiplicity": 3}}, "structure 1: has charge .0, spin multiplicity 3"),
        ({"cell": [9.0] * 3, "pbc": True}, "structure 1: is periodic"),
    ],
)
def test_what_a_generator_does_not_make_is_refused(changes, message):
    model = small_model(max_distance=3.0, num_bins=30)
    other = ase.Atoms(METHANE.numbers, METHANE.positions, **changes)
    with pytest.raises(InputError, match=message):
        log_prob(model, [METHANE, other])
    if "cell" not in changes:
        with pytest.raises(InputError, match=r"fragment: (has|no bond orders of CH4 .charge .1)"):
            generate(model, "C2H6", 1, fragment=other)


def test_placed_atoms_are_counted():
    with pytest.raises(InputError, match="placed must be 1 to 5"):
        log_prob(small_model(), METHANE, placed=6)
    nothing_left = log_prob(small_model(), METHANE, placed=5)
    assert float(nothing_left.value) == 0.0


def drawn(model, numbers, size, count, config):
    """The first ``size`` atoms of many molecules, as the loop draws them."""
    z = torch.tensor(numbers).expand(count, -1).clone()
    index = torch.arange(count)
    state = State.start(z, torch.zeros(count, len(numbers), 3))
    restart, states = torch.zeros_like(index), model.config.states
    draft = Draft(state, 1, index, 7, config, restart, states=states)
    with torch.inference_mode():
        Builder(model, draft).run(size)
    return draft


def chi2(seen, expected):
    """Over the options that are expected five times, all others taken together."""
    common = expected >= 5
    seen, expected = (np.append(x[common], x[~common].sum()) for x in (seen, expected))
    keep = expected > 1
    return ((seen - expected) ** 2 / np.where(keep, expected, 1))[keep].sum(), int(keep.sum())


def test_default_types_are_as_frequent_as_they_are_probable():
    model, count = strong(**deciding("focus", "next_type")), 2000
    z = torch.tensor([[6, 6, 8], [6, 8, 6]])
    pos = torch.tensor([[0.0, 0, 0], [1.4, 0, 0], [2.0, 1.2, 0]]).expand(2, -1, -1).clone()
    p = follow(model, State.start(z, pos), FREELY).parts["next_type"].exp()
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-5)
    assert abs(float(p[0]) - 0.5) > 0.1
    found = drawn(model, [6, 6, 8], 2, count, FREELY).z[:, 1]
    error = math.sqrt(0.25 / count)
    assert float((found == 6).float().mean()) == pytest.approx(float(p[0]), abs=4 * error)


def test_default_valence_states_are_as_frequent_as_they_are_probable():
    """Of a carbon, which comes first; a hydrogen has none."""
    model, count = strong(**ALL), 2000
    own = states_of(model, 6)
    pos = torch.tensor([[0.0, 0, 0], [1.1, 0, 0]]).expand(len(own), -1, -1).clone()
    state = State.start(torch.tensor([6, 1]).expand(len(own), -1), pos)
    state.valence_state[:, 0] = torch.tensor(own)
    p = follow(model, state, FREELY).parts["valence_state"].exp().numpy()
    assert p.sum() == pytest.approx(1.0, abs=1e-5)
    assert p.max() > 1.2 / len(own)
    found = drawn(model, [6, 1], 2, count, FREELY).valence_state[:, 0]
    numbers = torch.bincount(found, minlength=len(model.config.states))[own].numpy()
    assert numbers.sum() == count
    statistic, options = chi2(numbers, count * p)
    assert options > 5
    assert statistic < options + 5 * math.sqrt(2 * options)


def fond_of(distance, width):
    """A model whose distances to all atoms are a Gaussian (Å)."""
    model = small_model(num_bins=600, **deciding("focus"))
    with torch.no_grad():
        last = model.distance.head[-1]
        last.weight.zero_()
        last.bias.copy_(-0.5 * ((model.distance.bins.centers - distance) / width) ** 2)
    return model


def test_without_rules_an_atom_need_not_be_bonded_to_its_focus():
    """C–O 2.1 Å apart, where 1.63 Å is the longest bond."""
    model = fond_of(2.1, 0.3)
    for rules in (True, False):
        config = SamplingConfig(valence_rules=rules)
        found = drawn(model, [6, 8], 2, 50, config).pos[:, 1].norm(dim=1)
        assert ((found < 1.64) == rules).all()
        pos = torch.tensor([[[0.0, 0, 0], [2.1, 0, 0]]])
        followed = follow(model, State.start(torch.tensor([[6, 8]]), pos), config)
        assert bool(torch.isfinite(log_prob_of(followed).value)) is not rules


def test_the_default_temperature_around_a_focus_is_as_documented():
    """A Gaussian of 0.3 Å about 1.4 Å becomes one of 0.3 · √0.04 Å."""
    model, count = fond_of(1.4, 0.3), 1500
    radius = np.linspace(1.1, 1.7, 2001)
    cdf = np.cumsum(radius**2 * np.exp(-0.5 * ((radius - 1.4) / 0.06) ** 2))
    found = drawn(model, [6, 8], 2, count, FREELY).pos[:, 1].norm(dim=1).sort().values
    expected = np.interp(found.numpy(), radius, cdf / cdf[-1])
    # Kolmogorov and Smirnov, at 0.1 %.
    assert abs(expected - (np.arange(count) + 0.5) / count).max() < 1.95 / math.sqrt(count)


def test_the_default_temperature_on_the_grid_is_as_documented():
    """The mean log-probability of what is drawn is that of softmax(log p / 0.01)."""
    model, count = small_model(), 200
    grid = placement.grid(4.4, 0.2)
    with torch.inference_mode():
        table = model(torch.tensor([6]), torch.zeros(1, 3), torch.tensor([8]))[0].double()
        found = drawn(model, [6, 8], 2, count, SamplingConfig()).pos[:, 1]
    score = lambda pos: table[(pos.norm(dim=1) / model.distance.bins.spacing).round().long()]  # noqa: E731
    p = (score(grid) / 0.01).softmax(0)
    mean = (p * score(grid)).sum()
    deviation = (p * (score(grid) - mean) ** 2).sum().sqrt()
    difference = score(found).mean() - mean
    assert abs(float(difference)) < 4 * float(deviation) / math.sqrt(count) + 1e-6


def test_ions_and_formal_charges():
    """A molecule with formal charges is as probable as its Lewis structure, whether it says it or
    it is perceived; another charge is refused."""
    nitro, ion = embedded("C[N+](=O)[O-]"), embedded("C[NH3+]")
    ion.info["charge"] = 1
    data, _ = with_lewis_structures(as_data([nitro, ion]))
    model = small_model(**ALL, elements=(1, 6, 7, 8), states=states_in(data))
    found = log_prob(model, [nitro, ion])
    assert torch.isfinite(found.value).all()
    assert torch.allclose(log_prob(model, data).value, found.value, atol=1e-4)
    neutral = small_model(**ALL, elements=(1, 6, 7, 8))
    with pytest.raises(InputError, match=r"structure 0: has charge \+1, and the model has seen no"):
        log_prob(neutral, [ion])
    boxed, triplet = ion.copy(), ion.copy()
    boxed.set_cell([9.0] * 3)
    boxed.pbc = True
    triplet.info["spin_multiplicity"] = 3
    for wrong, cause in ((boxed, "is periodic"), (triplet, "closed-shell molecules only")):
        with pytest.raises(InputError, match=cause):
            log_prob(model, [wrong])


def test_with_the_formula():
    """ln p(Z) is added, and named."""
    model = small_model(**ALL, max_counts=(8, 3, 2))
    molecules = [build.molecule(name) for name in ("CH3CHO", "CH4")]
    bare, whole = log_prob(model, molecules), log_prob(model, molecules, composition=True)
    formulas = torch.stack(
        [
            model.composition.counts(torch.tensor(one.numbers), torch.zeros(len(one)).long(), 1)[0]
            for one in molecules
        ]
    )
    own = model.composition.log_prob(formulas)
    assert torch.allclose(whole.value, bare.value + own, atol=1e-5)
    assert torch.equal(whole.parts["composition"], own)
    with pytest.raises(InputError, match=r"no p\(Z\)"):
        log_prob(small_model(**ALL), molecules, composition=True)
