"""``schnetgen probe``: from a file to surfaces."""

import ase.io
import pytest
from ase.build import molecule

from schnetgen_pyg.cli import main
from schnetgen_pyg.potentials.model import Potential
from tests.potentials.small import small_potential


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ase.io.write("two.extxyz", [molecule("H2O"), molecule("CH4")])
    small_potential().save("own.safetensors")
    return tmp_path


def probe(*options):
    return main(
        ["probe", "two.extxyz", "--potential", "own.safetensors", "--spacing=0.25", *options]
    )


def test_volumes_need_no_further_package(place, capsys):
    assert probe("--probe", "C", "--number", "1", "--out", "x.cube") == 0
    said = capsys.readouterr().out
    assert "structure 1 of 2 in two.extxyz" in said
    assert "wrote x.cube, x.potential.cube" in said
    assert len(ase.io.read("x.potential.cube")) == 5
    before = (place / "x.potential.cube").read_bytes()
    assert probe("--probe", "H", "--number", "1", "--out", "x.cube") == 2
    assert "x.cube: " in capsys.readouterr().err
    assert (place / "x.potential.cube").read_bytes() == before


def test_mesh_picture_and_page(place):
    pytest.importorskip("skimage")
    assert probe("--out", "x.ply", "--picture", "x.png") == 0
    assert probe("--out", "x.html") == 0
    assert {"x.ply", "x.png", "x.html"} < {path.name for path in place.iterdir()}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--probe", "Br"], "the potential has never seen 'Br'; it is for H, C, O"),
        (["--number", "2"], "two.extxyz: has no structure number 2; the last of its 2 is number 1"),
        (["--number", "-1"], "two.extxyz: has no structure number -1"),
        (["--level", "0"], "level must be positive, in Å⁻²"),
        (["--spacing", "2"], "spacing must be positive and at most 0.26 Å"),
        (["--picture", "x.jpg"], "x.jpg: is written as .png"),
        (["--potential", "none"], "none: neither a file nor a bundled checkpoint"),
        (["--potential", "dipole.safetensors"], "the potential is for dipole, and"),
    ],
)
def test_what_cannot_be_probed(options, said, place, capsys):
    Potential("painn", (1, 6, 8), ["dipole"], hidden_channels=8).save("dipole.safetensors")
    before = {path.name for path in place.iterdir()}
    assert probe("--out", "x.cube", *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert {path.name for path in place.iterdir()} == before


def test_a_periodic_structure_is_named(place, capsys):
    ase.io.write("two.extxyz", ase.Atoms("CO", [[0, 0, 0], [0, 0, 1.2]], cell=[4, 4, 4], pbc=True))
    assert probe("--out", "x.cube") == 2
    assert "two.extxyz" in (line := capsys.readouterr().err)
    assert "is periodic, and the surface closes about molecules only" in line
