import ase
import ase.io
import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.optimize import BFGS

from schnetgen_pyg import (
    InputError,
    Potential,
    PotentialCalculator,
    SchNetGen,
    generate,
    to_rdkit,
)
from schnetgen_pyg.chem.formulas import FormulaPattern
from schnetgen_pyg.chem.geometry import rmsd
from schnetgen_pyg.chem.identity import smiles
from schnetgen_pyg.cli import main
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.generator.sampling.streaming import generate_file
from schnetgen_pyg.relaxation.polish import Polish, polish
from tests.conftest import needs_gpu

NAME = "c7h10o2-painn-potential"
EV = 23.06  # kcal/mol


@pytest.fixture(scope="module")
def potential():
    return Potential.from_pretrained(NAME).double()


def shaken(atoms, seed=0):
    atoms = atoms.copy()
    atoms.rattle(0.06, seed=seed)
    return atoms


@pytest.fixture
def strained(isomers):
    """Of different sizes, so that rows of a batch are padded."""
    several = [to_ase(isomers[k]) for k in (2, 6)]
    several += [molecule(name) for name in ("CH3CH2OH", "CH4", "H2O")]
    return [shaken(ase.Atoms(a.numbers, a.positions)) for a in several]


def energies(molecules, potential):
    found = []
    for atoms in molecules:
        atoms = atoms.copy()
        atoms.calc = PotentialCalculator(potential)
        found.append(atoms.get_potential_energy())
    return np.array(found)


def test_ends_where_ase_ends(strained, potential):
    strained = [strained[k] for k in (0, 2, 4)]
    found = polish(strained, NAME, steps=300)
    relaxed = []
    for atoms in strained:
        atoms = atoms.copy()
        atoms.calc = PotentialCalculator(potential)
        BFGS(atoms, logfile=None).run(fmax=0.01, steps=300)
        relaxed.append(atoms)
    for ours, theirs in zip(found, relaxed, strict=True):
        assert rmsd(ours, theirs) < 0.02
    difference = energies(found, potential) - energies(relaxed, potential)
    assert np.abs(difference).max() * EV < 0.05
    assert all(atoms.info["polished"].startswith(f"{NAME}, ") for atoms in found)


def test_few_force_calls_release_most_of_the_strain(strained, potential):
    """No molecule gets a higher energy, however few they are; and no more calls are made."""
    before = energies(strained, potential)
    bottom = energies(polish(strained, potential, steps=300), potential)
    last = before
    for steps in (1, 2, 5, 30):
        found = polish(strained, potential, steps=steps)
        now = energies(found, potential)
        assert (now <= last + 1e-9).all()
        assert all(int(a.info["polished"].split()[-2]) <= steps for a in found)
        last = now
    assert ((before - last) >= 0.9 * (before - bottom)).all()
    one = polish(strained, potential, steps=1)
    assert all((a.positions == b.positions).all() for a, b in zip(one, strained, strict=True))


def test_the_lowest_geometry_is_taken(potential):
    """Steps that lead uphill, here the second, do no harm."""
    far = molecule("H2O")
    far.rattle(0.1, seed=1)
    found = [polish([far], potential, steps=steps)[0] for steps in range(1, 6)]
    assert not any(atoms.info["polished"].startswith("no") for atoms in found)
    assert (np.diff(energies(found, potential)) <= 1e-9).all()


def test_a_molecule_does_not_depend_on_the_others(strained, potential):
    together = polish(strained, potential, steps=20)
    for atoms, found in zip(strained, together, strict=True):
        alone = polish([atoms], potential, steps=20)[0]
        np.testing.assert_allclose(found.positions, alone.positions, atol=1e-7)
        assert found.info == alone.info


@needs_gpu
def test_a_gpu_finds_the_same(strained):
    on_gpu = Polish(NAME, 20, "cuda")(strained)
    for found, wanted in zip(on_gpu, Polish(NAME, 20)(strained), strict=True):
        np.testing.assert_allclose(found.positions, wanted.positions, atol=1e-6)


def test_molecules_keep_all_that_they_had_and_are_copies(strained, potential):
    atoms = strained[2]
    atoms.info["name"] = "ethanol"
    atoms.set_array("valence", np.arange(9))
    before = atoms.positions.copy()
    found = polish([atoms], potential)[0]
    assert found.info["name"] == "ethanol"
    assert found.arrays["valence"].tolist() == list(range(9))
    assert (atoms.positions == before).all()
    assert "polished" not in atoms.info


def test_a_fragment_stays(strained, potential):
    found = polish(strained, potential, fixed=4)
    for before, after in zip(strained, found, strict=True):
        assert (before.positions[:4] == after.positions[:4]).all()
        moved = np.linalg.norm(before.positions - after.positions, axis=1)[4:]
        assert (moved > 1e-4).all()


def test_bonds_stay_what_they_are(potential, isomers, strained):
    """A hydrogen that is too far away to count as bonded would come back."""
    apart = to_ase(isomers[3])
    hydrogen = len(apart) - 1
    distances = apart.get_distances(hydrogen, range(hydrogen))
    partner = int(np.argmin(distances))
    bond = apart.positions[hydrogen] - apart.positions[partner]
    apart.positions[hydrogen] += 0.18 * bond / np.linalg.norm(bond)
    kept, other = polish([apart, strained[0]], potential)
    assert (kept.positions == apart.positions).all()
    assert kept.info["polished"].startswith("no, its bonds would change (")
    assert not other.info["polished"].startswith("no")


def test_what_is_not_finite_moves_nothing(strained):
    broken = Potential("painn", elements=(1, 6, 8), hidden_channels=8, cutoff=4.0).double().eval()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    for before, after in zip(strained, polish(strained, broken), strict=True):
        assert (before.positions == after.positions).all()
        assert after.info["polished"].startswith("no, energy or forces are not finite")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.info.update(charge=1), "structure 0: .* knows neither charge nor spin"),
        (lambda a: a.symbols.__setitem__(0, "N"), "structure 0: has N, and .* knows CHO"),
        (lambda a: a.info.update(log_prob=-1.0, sample=7), "structure 7: log_prob in its info"),
        (lambda a: a.positions.fill(np.nan), "structure 0: the position of atom 0 is not finite"),
        (lambda a: (a.set_cell([9] * 3), a.set_pbc(True)), "structure 0: is periodic"),
    ],
)
def test_what_cannot_be_polished_is_named(potential, change, message):
    atoms = molecule("CH3OH")
    change(atoms)
    with pytest.raises(InputError, match=message):
        polish([atoms], potential)


def test_one_molecule_and_none(potential, strained):
    alone = polish(strained[4], potential, steps=3)
    assert (alone[0].positions == polish([strained[4]], potential, steps=3)[0].positions).all()
    with pytest.raises(InputError, match="molecules must be at least one, got none"):
        polish([], potential)
    with pytest.raises(InputError, match=r"structure 0: expected ase\.Atoms, got str"):
        polish(["x.extxyz"], potential)


def test_potentials_that_cannot_polish():
    with pytest.raises(InputError, match="nobody-has-trained-this"):
        Polish("nobody-has-trained-this")
    with pytest.raises(InputError, match="steps must be at least 1, got 0"):
        Polish(NAME, steps=0)
    with pytest.raises(InputError, match="one for energy"):
        Polish(Potential("schnet", elements=(1, 6), targets=("gap",)))


def test_what_may_be_generated_is_checked_before():
    ours = Polish(NAME)
    ours.check((1, 6, 7, 8), [FormulaPattern.parse("C7-9HxO2")])
    with pytest.raises(InputError, match=r"may have N, and .* knows CHO; .* such as CxOxHx"):
        ours.check((1, 6, 7, 8), [FormulaPattern.parse("C4*")])
    with pytest.raises(InputError, match=r"charge \+1"):
        ours.check((1, 6, 7, 8), [FormulaPattern.parse("C2H7O+")])


def test_generated_into_a_file(tmp_path):
    """What was killed continues with the same molecules; other settings are refused."""
    model = SchNetGen.from_pretrained("c7h10o2")
    given = {"seed": 3, "polish": Polish(NAME, steps=4)}
    path = tmp_path / "x.extxyz"
    drawn = generate(model, "C7H10O2", 3, seed=3)

    def killed(molecules, **_):
        yield next(iter(molecules))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_file(model, "C7H10O2", 3, path, progress=killed, **given)
    assert generate_file(model, "C7H10O2", 3, path, **given)
    found = ase.io.read(path, ":")
    for now, before in zip(found, drawn, strict=True):
        assert now.info["polished"] == f"{NAME}, 4 steps"
        assert 0 < np.abs(now.positions - before.positions).max() < 0.3
        assert smiles(to_rdkit(now)) == smiles(to_rdkit(before))
    assert not generate_file(model, "C7H10O2", 3, path, **given)
    with pytest.raises(InputError, match="other polish, polish_steps was 4, is now null"):
        generate_file(model, "C7H10O2", 3, path, seed=3)


def test_on_the_command_line(tmp_path, capsys):
    ase.io.write(tmp_path / "start.extxyz", molecule("H2CO")[:2])
    out = tmp_path / "x.extxyz"
    given = ["complete", str(tmp_path / "start.extxyz"), "--checkpoint", "c7h10o2", "--num", "2"]
    given += ["--polish", NAME, "--polish_steps", "3", "--out", str(out), "--device", "cpu"]
    assert main([*given, "--log_prob", "true"]) == 2
    assert "--log_prob is of the molecules as they are drawn" in capsys.readouterr().err
    assert not out.exists()
    assert main(given) == 0
    found = ase.io.read(out, ":")
    assert [atoms.info["polished"] for atoms in found] == [f"{NAME}, 3 steps"] * 2
    for atoms in found:
        np.testing.assert_allclose(atoms.positions[:2], molecule("H2CO").positions[:2], atol=1e-6)
