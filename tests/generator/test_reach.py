"""What the rules of valence can make, against RDKit's perception and chemistry."""

import ase.build
import pytest
import torch
from ase.collections import g2

from schnetgen_pyg import InputError, fit
from schnetgen_pyg.chem.elements import VALENCE
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.data.conversion import as_data, to_ase
from schnetgen_pyg.generator.reach import out_of_reach, told
from tests.conftest import METHANE, deciding, small_model
from tests.training.test_generator import QUICK


def test_molecules_of_the_g2_set_against_rdkit():
    """Radicals, carbenes, molecules with separated charges and all kinds of closed shells."""
    molecules = [ase.build.molecule(name) for name in g2.names]
    molecules = [
        atoms for atoms in molecules if len(atoms) > 1 and VALENCE.keys() >= {*atoms.numbers}
    ]
    # The bond of H2 is longer than what counts as one anywhere else.
    molecules = [atoms for atoms in molecules if str(atoms.symbols) != "H2"]
    data = as_data(molecules)
    found = out_of_reach(data)
    wrong = {number for numbers in found.values() for number in numbers}
    assert len(molecules) > 100
    for number, atoms in enumerate(map(to_ase, data)):
        assert perceive(atoms).valid == (number not in wrong), atoms.symbols


def test_reasons():
    far = METHANE + METHANE
    far.positions[5:] += 6.0
    crowded = METHANE.copy()
    crowded.append("H")
    crowded.positions[5] = [0.0, 0.0, -1.05]
    radical = METHANE[:4]
    ion, triplet, unruled = METHANE.copy(), METHANE.copy(), ase.build.molecule("CH3SH")
    ion.info["charge"], triplet.info["spin_multiplicity"] = 1, 3
    data = as_data([METHANE, far, crowded, radical, ion, triplet, unruled])
    found = out_of_reach(data)
    assert found == {"charge": [4, 5], "bonds": [2], "fragments": [1], "closed shell": [3]}
    text = told(found, len(data))
    assert text.startswith("5 of 7 structures (71.4 %)")
    assert "1 of several fragments (structure 1)" in text


def test_training_says_it(isomers, tmp_path):
    """A part is told, all are refused, and a model without the rules has nothing to tell."""
    radicals = [METHANE[:4]] * 5
    parts = deciding("focus")
    with pytest.warns(UserWarning, match=r"5 of 25 structures \(20.0 %\) .* close all shells"):
        model = fit(small_model(**parts), [*isomers[:20], *as_data(radicals)], tmp_path, **QUICK)
    assert model.provenance["out_of_reach"] == {"closed shell": 5}
    with pytest.raises(InputError, match=r"5 of 5 structures .* neutral closed-shell"):
        fit(small_model(**parts), radicals, tmp_path / "all", **QUICK)
    settings = QUICK | {"num_validation": 1, "steps": 1}
    model = fit(small_model(), radicals, tmp_path / "paper", **settings)
    assert "out_of_reach" not in model.provenance


def test_many_at_once(isomers):
    """The answer for each does not depend on what it is asked together with."""
    mixed = [*isomers[:30], *as_data([METHANE[:4], ase.build.molecule("C6H6")]), *isomers[30:40]]
    assert out_of_reach(mixed) == {"closed shell": [30]}
    assert all(torch.equal(a.pos, b.pos) for a, b in zip(mixed[:30], isomers, strict=False))
