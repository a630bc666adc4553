import os
import signal
from collections import Counter

import ase.build
import numpy as np
import pytest
import torch
from ase.symbols import symbols2numbers
from hypothesis import given
from hypothesis import strategies as st

from schnetgen_pyg import InputError, SamplingConfig, SchNetGen, evaluate, generate, log_prob
from schnetgen_pyg.chem.bonds import connectivity
from schnetgen_pyg.chem.elements import VALENCE
from schnetgen_pyg.chem.formulas import FormulaPattern
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.generator.sampling.formulas import check_patterns
from schnetgen_pyg.generator.sampling.streaming import generate_file
from schnetgen_pyg.generator.training_set import TrainingSet
from tests.conftest import METHANE, deciding, needs_gpu, small_model

FAST = {"grid_extent": 2.0, "grid_spacing": 0.4, "temperature": 0.5}


def test_formula_and_order(model):
    molecules = generate(model, "C2H4O", 6, **FAST)
    for atoms in molecules:
        assert atoms.get_chemical_formula() == "C2H4O"
        assert list(atoms.numbers[-4:]) == [1] * 4
        assert np.isfinite(atoms.positions).all()
    assert len({tuple(atoms.numbers) for atoms in molecules}) > 1
    assert [atoms.info["sample"] for atoms in molecules] == list(range(6))


class DyingModel(SchNetGen):
    """Kills the process it is called in."""

    def step(self, *_, **__):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_dies_is_named():
    model = DyingModel(small_model().config)
    with pytest.raises(InputError, match="lower jobs"):
        generate(model, "C2H4O", 4, batch_size=2, jobs=2, **FAST)


def test_same_molecules_in_any_number_of_processes(model):
    formulas = ["C2H4O", "CH4"]
    reference = generate(model, formulas, 6, seed=3, batch_size=2, jobs=1, **FAST)
    molecules = generate(model, formulas, 6, seed=3, batch_size=2, jobs=2, **FAST)
    for one, other in zip(reference, molecules, strict=True):
        assert np.allclose(one.positions, other.positions, atol=1e-5)
        assert one.info["sample"] == other.info["sample"]


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_same_molecules_in_any_batch(model, batch_size):
    reference = generate(model, "C2H4O", 7, seed=3, batch_size=16, **FAST)
    molecules = generate(model, "C2H4O", 7, seed=3, batch_size=batch_size, **FAST)
    for a, b in zip(reference, molecules, strict=True):
        assert (a.numbers == b.numbers).all()
        assert abs(a.positions - b.positions).max() == 0


def test_memory_bound_does_not_change_molecules(model):
    reference = generate(model, "CH4", 4, **FAST)
    molecules = generate(model, "CH4", 4, max_elements=1, **FAST)
    assert all(
        abs(a.positions - b.positions).max() == 0 for a, b in zip(reference, molecules, strict=True)
    )


def test_seeds_differ(model):
    a, b = (generate(model, "CH4", 1, seed=s, **FAST)[0] for s in (0, 1))
    assert abs(a.positions - b.positions).max() > 0.1


PARTS = [
    deciding("focus"),
    deciding("focus", "next_type"),
    deciding("focus", "next_type", "hydrogens"),
    deciding("focus", "next_type", "hydrogens", "valence_state"),
]


@pytest.mark.parametrize("parts", PARTS, ids=["focus", "type", "hydrogens", "states"])
class TestFocus:
    """The mixture over focuses, with its parts switched on one by one."""

    def test_seeds_batches_and_formula(self, parts):
        model = small_model(**parts)
        reference = generate(model, "C2H4O", 7, seed=3, batch_size=16)
        molecules = generate(model, "C2H4O", 7, seed=3, batch_size=3)
        for a, b in zip(reference, molecules, strict=True):
            assert (a.numbers == b.numbers).all()
            assert abs(a.positions - b.positions).max() < 1e-5
            assert a.get_chemical_formula() == "C2H4O"
            assert list(a.numbers[-4:]) == [1] * 4

    def test_log_prob_is_that_of_log_prob(self, parts):
        """Whatever the batch is."""
        model = small_model(**parts)
        settings = {"seed": 2, "restarts": 0, "gibbs_rounds": 0, "log_prob": True}
        molecules = generate(model, "C2H2O", 4, temperature=1.0, batch_size=3, **settings)
        found = log_prob(model, molecules).value
        sampled = torch.tensor([m.info["log_prob"] for m in molecules])
        # An untrained model may be driven to what its own rules forbid, or forget what it foretold.
        assert torch.isfinite(sampled).any()
        assert torch.allclose(found, sampled, atol=1e-3)

    def test_fragment_comes_back_unchanged(self, parts):
        model = small_model(**parts)
        fragment = METHANE[:3]
        fragment.translate([5.0, -3.0, 1.0])
        for atoms in generate(model, "C2H4O", 3, fragment=fragment):
            assert abs(atoms.positions[:3] - fragment.positions).max() < 1e-5
            assert atoms.get_chemical_formula() == "C2H4O"


@pytest.mark.parametrize("formula", ["C3H6O", "CH4", "H2", "C2"])
def test_scaffolds_are_begun_anew(formula):
    """Whatever the batches are, and never more often than asked for."""
    parts = deciding("focus", "next_type", "hydrogens", "valence_state")
    model = small_model(**parts)
    settings = {"seed": 1, "gibbs_rounds": 0, "valence_rules": formula != "C2"}
    few = generate(model, formula, 12, restarts=0, **settings)
    many = generate(model, formula, 12, restarts=29, **settings)
    other = generate(model, formula, 12, restarts=29, batch_size=5, **settings)
    for a, b in zip(many, other, strict=True):
        assert abs(a.positions - b.positions).max() < 1e-5
        assert a.get_chemical_formula() == b.get_chemical_formula()
    if formula == "C3H6O":
        valid = [sum(not r["failure"] for r in evaluate(m, jobs=1).records) for m in (few, many)]
        assert valid[1] > valid[0]


@pytest.mark.parametrize("parts", PARTS, ids=["focus", "type", "hydrogens", "states"])
@pytest.mark.parametrize("representation", ["schnet", "painn", "allegro"])
def test_mixed_formulas(parts, representation):
    """A molecule is the same beside larger and smaller ones as among its own kind, hydrogens one by
    one and several at once."""
    settings = {"cutoff": 4.0} if representation != "schnet" else {}
    model = small_model(**parts, representation=representation, **settings)
    formulas = ["C2H4O", "CH4", "C4H6O", "H2", "C3H8"]
    for how in ({"gibbs_rounds": 1, "restarts": 2}, {"gibbs_rounds": 0, "valence_rules": False}):
        mixed = generate(model, formulas, 20, seed=4, **how)
        parted = generate(model, formulas, 20, seed=4, batch_size=3, **how)
        for place, formula in enumerate(formulas):
            alone = generate(model, formula, 20, seed=4, **how)
            for k in range(place, 20, len(formulas)):
                for other in (parted[k], alone[k]):
                    assert mixed[k].get_chemical_formula() == formula
                    assert (mixed[k].numbers == other.numbers).all()
                    assert abs(mixed[k].positions - other.positions).max() < 1e-4
                    assert mixed[k].info == other.info


def test_any_formula_of_the_training(model):
    """Where the model has no p(Z): as often as they were in it."""
    methane, ethanal = ase.build.molecule("CH4"), ase.build.molecule("CH3CHO")
    model.training_set = TrainingSet.of([methane, methane, methane, ethanal])
    drawn = [atoms.get_chemical_formula() for atoms in generate(model, num_molecules=60, **FAST)]
    assert set(drawn) == {"CH4", "C2H4O"}
    assert 35 <= drawn.count("CH4") <= 55
    some = generate(model, "O1-2*", 3, **FAST)
    assert {atoms.get_chemical_formula() for atoms in some} == {"C2H4O"}
    with pytest.raises(InputError, match=r"none of the formulas .* knows 2, such as CH4, C2H4O"):
        generate(model, "C3-4*", 3, **FAST)


def test_any_formula_of_the_model():
    """By p(Z), the same whatever the batches, with a fragment in it where there is one."""
    parts = deciding("focus", "next_type", "hydrogens", "valence_state")
    model = small_model(**parts, max_counts=(12, 5, 2))
    molecules = generate(model, num_molecules=30, seed=2, restarts=1)
    formulas = [atoms.get_chemical_formula() for atoms in molecules]
    assert len(set(formulas)) > 10
    others = generate(model, num_molecules=30, seed=2, restarts=1, batch_size=7)
    for one, other in zip(molecules, others, strict=True):
        assert (one.numbers == other.numbers).all()
        assert abs(one.positions - other.positions).max() < 1e-4
    for atoms in generate(model, "C2-4HxO1", 8, restarts=0):
        counts = Counter(atoms.symbols)
        assert 2 <= counts["C"] <= 4
        assert counts["O"] == 1
    fragment = METHANE[:3]
    for atoms in generate(model, "C1-4Hx", 5, fragment=fragment):
        assert abs(atoms.positions[:3] - fragment.positions).max() < 1e-5
    with pytest.raises(InputError, match=r"the fragment CH2 has more C than .* at most 0"):
        generate(model, "HxO1-2", 5, fragment=fragment)
    with pytest.raises(InputError, match="no closed-shell molecule that was asked for"):
        generate(model, "C6-9Hx", 5)
    with pytest.raises(InputError, match="never seen S"):
        generate(model, "C1-3HxSx", 5)
    with pytest.warns(UserWarning, match="it makes at most C: 5"):
        generate(model, "C2-30Hx", 2, restarts=0)


def test_marginal_over_focuses_sums_to_one():
    model = small_model(**deciding("focus"))
    z, pos = torch.tensor([6, 8, 6, 6]), torch.randn(4, 3)
    result = model(z, pos, torch.tensor([1, 6]), torch.tensor([0, 0, 0, 1]))
    assert torch.allclose(result.exp().sum(1), torch.ones(4), atol=1e-4)


def test_rules_keep_an_untrained_model_within_valences():
    """Nothing has more neighbours than its valence, whatever the network says."""
    model = small_model(**deciding("focus", "next_type", "hydrogens"))
    for atoms in generate(model, "C5H8O2", 12, temperature=1.0):
        mol = connectivity(atoms)
        for atom in mol.GetAtoms():
            assert atom.GetDegree() <= VALENCE[atom.GetAtomicNum()]


@pytest.mark.filterwarnings("ignore:C2H6O")
def test_what_is_placed_at_the_edge_of_a_bond_is_bonded():
    """At this temperature everything that is allowed is as probable, so that many atoms are as far
    from their focus, and as near to others, as the rules let them."""
    free = {"temperature": 1e3, "max_surprise": 1e9, "gibbs_rounds": 0, "refinement_steps": 0}
    molecules = generate(SchNetGen.from_pretrained("c7h10o2"), "C2H6O", 500, **free)
    farthest = [atoms.get_distances(0, [1, 2]).max() for atoms in molecules]
    assert max(farthest) > 1.7  # a C-C bond ends at 1.748 Å
    assert all(not record["failure"] for record in evaluate(molecules, judges=()).records)


def test_fragment_comes_back_unchanged(model):
    fragment = METHANE[:3]
    fragment.translate([5.0, -3.0, 1.0])
    for atoms in generate(model, "C2H4O", 3, fragment=fragment, **FAST):
        assert list(atoms.numbers[:3]) == list(fragment.numbers)
        assert abs(atoms.positions[:3] - fragment.positions).max() < 1e-5
        assert atoms.get_chemical_formula() == "C2H4O"
        assert abs(atoms.positions[3:] - fragment.positions.mean(0)).max() < 3.5


def test_numbers_instead_of_a_formula(model):
    a = generate(model, "CH4", 1, **FAST)[0]
    b = generate(model, symbols2numbers("CH4"), 1, **FAST)[0]
    assert abs(a.positions - b.positions).max() == 0


@pytest.mark.parametrize(
    ("formula", "changes", "message"),
    [
        ("C2N", {}, "never seen N; it was trained on CHO"),
        ("Q9", {}, "Q is no element"),
        ([], {}, "expected a formula, several, or atomic numbers"),
        ("CH3O+", {}, r"has charge \+1, and the model has seen no atom with such"),
        ("CH3.", {}, "unpaired electron"),
        ("CD4", {}, "'D' is an isotope"),
        ("13CH4", {}, "'13' is an isotope or a number of molecules"),
        ("CH4", {"temperature": 0.0}, "temperature must be positive, got 0"),
        ("CH4", {"choice_temperature": -1.0}, "choice_temperature must be positive"),
        ("CO", {"fragment": METHANE[:3]}, "CH2 has more H than the formula CO"),
        ("C2H6", {"fragment": METHANE}, "none of its atoms lacks a bond"),
    ],
)
def test_bad_input(model, formula, changes, message):
    with pytest.raises(InputError, match=message):
        generate(model, formula, 1, **(FAST | changes))


def test_log_prob_of_elements_the_model_has_not_seen(model):
    silane = METHANE.copy()
    silane.symbols[0] = "Si"
    with pytest.raises(InputError, match="structure 0: the model has never seen Si"):
        log_prob(model, [silane])


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("CH9", "has 15 electrons"),
        ("CH3", "has 9 electrons"),
        ("CH6", "make 5 bonds, which cannot connect 7 atoms"),
        ("C2H8", "make 8 bonds, which cannot connect 10 atoms"),
        ("H4O2", "cannot connect 6 atoms"),
        ("CO", "C has the valence 4, all other atoms have 2"),
        ("C", "C has the valence 4, all other atoms have 0"),
    ],
)
def test_formulas_without_any_molecule(formula, reason, tmp_path):
    focus = small_model(**deciding("focus"))
    with pytest.raises(InputError, match=rf"formula {formula}: .*{reason}.*valence_rules"):
        generate(focus, formula, 1)
    with pytest.raises(InputError, match=reason):
        generate_file(focus, formula, 1, tmp_path / "x.xyz")
    assert not list(tmp_path.iterdir())


def test_impossible_formulas_where_rules_do_not_apply(model):
    assert len(generate(model, "CH6", 1, **FAST)[0]) == 7
    focus = small_model(**deciding("focus"))
    assert len(generate(focus, "CH6", 1, valence_rules=False)[0]) == 7
    beyond_rules = small_model(**deciding("focus"), elements=(1, 16))
    assert len(generate(beyond_rules, "SH6", 1)[0]) == 7


@given(st.lists(st.sampled_from([6, 7, 8]), min_size=1, max_size=7), st.randoms())
def test_formulas_of_real_molecules_are_accepted(heavy, random):
    """A random connected graph within valences, hydrogens on what is left of them."""
    free = [VALENCE[heavy[0]]]
    for number in heavy[1:]:
        places = [k for k, left in enumerate(free) if left]
        if not places:
            break
        free[random.choice(places)] -= 1
        free.append(VALENCE[number] - 1)
    for _ in range(random.randint(0, 4)):  # rings and multiple bonds
        open_places = [k for k, left in enumerate(free) if left]
        if len(open_places) > 1:
            for k in random.sample(open_places, 2):
                free[k] -= 1
    numbers = heavy[: len(free)] + [1] * sum(free)
    focus = small_model(**deciding("focus"), elements=(1, 6, 7, 8))
    assert check_patterns(focus, [FormulaPattern.of(numbers)], None, SamplingConfig())
    for more in ([1], [1, 1]):
        beyond = FormulaPattern.of(numbers + more * 9)
        with pytest.raises(InputError, match="no closed-shell molecule"):
            check_patterns(focus, [beyond], None, SamplingConfig())


@needs_gpu
def test_cpu_and_gpu_agree():
    model = small_model()
    on_cpu = generate(model, "C2H4O", 8, **FAST)
    on_gpu = generate(model.cuda(), "C2H4O", 8, **FAST)
    same = [
        abs(a.positions - b.positions).max() < 1e-4 for a, b in zip(on_cpu, on_gpu, strict=True)
    ]
    assert sum(same) >= 7


@needs_gpu
@pytest.mark.parametrize("cutoff", [None, 3.0])
def test_focus_on_the_gpu(cutoff):
    """Every part of the mixture: molecules of the formula, as probable as the CPU says."""
    model = small_model(cutoff=cutoff, **PARTS[-1]).cuda()
    molecules = generate(model, "C2H4O", 6, seed=2)
    assert {atoms.get_chemical_formula() for atoms in molecules} == {"C2H4O"}
    assert all(np.isfinite(atoms.positions).all() for atoms in molecules)
    on_gpu = log_prob(model, molecules).value
    on_cpu = log_prob(model.cpu(), molecules).value
    # Rounding may move what the rules see of an untrained model's molecule.
    close = torch.isclose(on_gpu, on_cpu, atol=0.05)
    assert close.sum() >= 4


@needs_gpu
def test_bundled_model_on_the_gpu():
    """Valid molecules, whatever the size of the batch; most are those of the CPU, for a rounding
    that moves one choice changes all that follow."""
    model = SchNetGen.from_pretrained("c7h10o2")
    on_cpu = generate(model, "C7H10O2", 32, jobs=1)
    on_gpu = generate(model.cuda(), "C7H10O2", 32)
    in_parts = generate(model, "C7H10O2", 32, batch_size=10)
    assert sum(perceive(atoms).valid for atoms in on_gpu) >= 31
    for others, least in ((on_cpu, 16), (in_parts, 24)):
        pairs = zip(others, on_gpu, strict=True)
        same = [abs(a.positions - b.positions).max() < 1e-2 for a, b in pairs]
        assert sum(same) >= least
