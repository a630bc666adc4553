import ase
import numpy as np
import pytest
from ase.build import molecule

from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.evaluation.distributions import QUANTITIES, compare, measure


def test_kinds_and_values():
    found = measure([molecule("CH3OH"), molecule("C2H6")], ["", ""])
    assert {k: v.size for k, v in found.values["bonds"].items()} == {
        "C-H": 9,
        "C-O": 1,
        "H-O": 1,
        "C-C": 1,
    }
    assert set(found.values["angles"]) == {"H-C-H", "H-C-O", "C-O-H", "C-C-H"}
    assert set(found.values["torsions"]) == {"H-C-O-H", "H-C-C-H"}
    assert found.values["torsions"]["H-C-C-H"].size == 9
    assert found.environments["C(CHHH)"] == 2
    assert sum(found.environments.values()) == 14
    chloride = measure([molecule("CH3Cl")])
    assert chloride.environments["C(ClHHH)"] == 1


def test_a_set_is_at_no_distance_of_itself_in_any_order(isomers):
    structures = [to_ase(data) for data in isomers[:20]]
    rings = ["3 6"] * 20
    same = compare(measure(structures[::-1], rings), measure(structures, rings))
    for quantity in QUANTITIES:
        assert same[quantity]["mean"] == pytest.approx(0, abs=1e-9)
        assert not same[quantity]["missing"]
    assert same["environments"] == same["rings"] == 0
    assert same["rings_per_structure"] == {"3": [1, 1], "6": [1, 1]}


def test_stretched_by_a_tenth(isomers):
    """The Wasserstein distance of a scaled distribution is the shift of its mean."""
    structures = [to_ase(data) for data in isomers[:20]]
    stretched = [ase.Atoms(a.numbers, 1.05 * a.positions) for a in structures]
    one, other = measure(stretched), measure(structures)
    found = compare(one, other)
    mean = other.values["bonds"]["C-H"].mean()
    assert found["bonds"]["types"]["C-H"] == pytest.approx(0.05 * mean, rel=1e-6)
    assert found["angles"]["mean"] < 1e-3


def test_nothing_to_compare():
    found = compare(measure([ase.Atoms("He")]), measure([molecule("CH4")], [""]))
    assert found["bonds"]["mean"] is None
    assert found["bonds"]["missing"] == ["C-H"]
    assert found["environments"] == 1
    assert compare(measure([]), measure([]))["rings"] == 0


def test_radial_distribution_integrates_to_the_number_of_pairs():
    found = measure([molecule("CH4")] * 3)
    r, g = found.rdf("C-H")
    assert (g * 4 * np.pi * r**2).sum() * (r[1] - r[0]) == pytest.approx(4)
