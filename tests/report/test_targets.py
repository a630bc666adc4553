"""What was asked beside what came out; fragments in the gallery."""

import ase.build
import pytest

from schnetgen_pyg import evaluate
from schnetgen_pyg.report.gallery import molecule_rows
from schnetgen_pyg.report.targets import target_plots


def structures():
    found = [ase.build.molecule("C6H6") for _ in range(4)]
    for number, atoms in enumerate(found):
        atoms.info |= {"gap_target": 4.0 + number, "gap_unit": "eV", "gap_predicted": 4.5 + number}
        atoms.info["mu_target"] = float("nan") if number else 1.0
    found[0].info["gap"] = 7.0
    found[3].info["gap_predicted"] = float("nan")
    return found


def test_targets_and_what_is_known():
    predicted, computed, unknown = target_plots(structures())
    assert (predicted["name"], predicted["unit"], predicted["source"]) == ("gap", "eV", "predicted")
    assert predicted["points"] == [[0, 4.0, 4.5], [1, 5.0, 5.5], [2, 6.0, 6.5]]
    assert predicted["error"] == pytest.approx(0.5)
    assert (computed["source"], computed["points"]) == ("computed", [[0, 4.0, 7.0]])
    assert (unknown["name"], unknown["asked"], unknown["points"]) == ("mu", 1, [])
    assert unknown["error"] is None
    assert target_plots([ase.build.molecule("CH4")]) == []


def test_a_fragment_is_drawn_in_its_own_colour():
    plain, grown = ase.build.molecule("C6H6"), ase.build.molecule("C6H6")
    grown.info["given"] = 3
    rows, drawings = molecule_rows([plain, grown], evaluate([plain, grown], jobs=1))
    assert "given" not in rows[0]
    assert rows[1]["given"] == 3
    colours = [
        {part.split("'")[0] for part in drawings[row["drawing"]].split("stroke='")[1:]}
        for row in rows
    ]
    assert len(colours[1] - colours[0]) == 1
