"""Every frame of an xyz file, in the dialects that programs write; or what is lost, and where."""

import codecs

import ase.io
import pytest
import torch
from ase.units import Hartree
from hypothesis import given, settings
from hypothesis import strategies as st

from schnetgen_pyg import InputError, load
from tests.data.test_readers import QM9_RECORD

FRAME = "3\nenergy={}\nN 0 0 0.2\nH 0 0.9 -0.3\nH 0 -0.9 -0.3\n"
PLAIN = "3\n{}\nN 0 0 0.2\nH 0 0.9 -0.3\nH 0 -0.9 -0.3\n"


def written(tmp_path, content, name="a.xyz"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@given(st.lists(st.sampled_from(["", "\n", "  \n", "\t\n\n"]), min_size=2, max_size=6))
@settings(deadline=None, max_examples=20)
def test_every_frame_is_read_whatever_is_empty_between(tmp_path_factory, gaps):
    text = "".join(gap + FRAME.format(-float(k)) for k, gap in enumerate(gaps)) + gaps[0]
    for ending in ("\n", "\r\n"):
        path = written(tmp_path_factory.mktemp("xyz"), text.replace("\n", ending))
        assert [data.energy.item() for data in load(path)] == [-float(k) for k in range(len(gaps))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FRAME + "\n\nthe end\n", r"line 8: .*structure 1, got 'the end'; 1 structures were read"),
        (FRAME + FRAME.rsplit("H", 1)[0], r"structure 1 \(line 6\): 3 atoms .* only 2 lines"),
        (FRAME.replace("3", "2", 1), r"line 5: expected the number of atoms of structure 1"),
        (FRAME + FRAME.replace("3", "4", 1) + FRAME, r"structure 1 \(line 6\): not in the xyz"),
        (FRAME.replace("\nH", "\n\nH", 1), r"structure 0 \(line 1\): 3 atoms .* only 2 lines"),
        (FRAME.replace("N 0", "Nn 0"), r"structure 0 \(line 1\): atom 0 has the element 'Nn'"),
        (FRAME.replace("N 0", "N x"), r"structure 0 \(line 1\): not in the xyz format"),
        (FRAME.format("high"), r"structure 0: energy must be a number, got 'high'"),
        (FRAME.format('"1 2"'), r"structure 0: energy must have shape \[1\], got \[2\]"),
        (PLAIN.format("energy step=3"), r"structure 0: energy must be a number, got .*True"),
        (FRAME.format("nan"), r"structure 0: energy is not finite"),
        (
            PLAIN.format("positions{atomic_unit} a=1"),
            "structure 0 .*: i-PI states its positions in atomic_unit",
        ),
    ],
)
def test_what_is_lost_or_wrong_is_said(tmp_path, text, message):
    with pytest.raises(InputError, match=rf"a.xyz: {message}"):
        load(written(tmp_path, text.replace("{}", "-1.0")))


WATER = "3\n\nO 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692\n"


@pytest.mark.parametrize(
    "content",
    [
        WATER.replace("O", "8").replace("H", "1"),
        WATER.replace("O", "o").replace(" ", "\t"),
        WATER.replace("H", "D"),
        WATER.replace("0.1173", "1.173D-01").replace("0.7572", "7572.d-4"),
        WATER.replace("0.1173", "1.173*^-1"),
        codecs.BOM_UTF8 + WATER.encode(),
        WATER.encode("utf-16"),
        WATER.replace("\n\n", "\nÅngström\n").encode("latin-1"),
        WATER.replace("\n\n", "\nProperties, and the Lattice of water\n"),
        WATER.replace("\n\n", "\nenergy -76.4 Hartree\n"),
        WATER.replace("\n\n", "\nProperties=pos:R:3:species:S:1 \n")
        .replace("O 0 0 0.1173", "0 0 0.1173 8")
        .replace("H 0 0.7572 -0.4692", "0 0.7572 -0.4692 T")
        .replace("H 0 -0.7572 -0.4692", "0 -0.7572 -0.4692 h"),
    ],
)
def test_dialects(tmp_path, content):
    (data,) = load(written(tmp_path, content))
    assert data.z.tolist() == [8, 1, 1]
    assert data.pos[:, 2].tolist() == pytest.approx([0.1173, -0.4692, -0.4692])
    assert abs(data.pos[:, 1]).tolist() == pytest.approx([0, 0.7572, 0.7572])
    assert "energy" not in data


def test_deuterium_keeps_its_mass(tmp_path):
    (data,) = load(written(tmp_path, WATER.replace("\nH 0 -", "\nD 0 -")))
    assert data.masses.tolist() == pytest.approx([15.999, 1.008, 2.014], abs=1e-3)


def test_records_of_qm9_stand_where_frames_do(tmp_path):
    second = QM9_RECORD.replace("gdb 1", "gdb 2")
    made = load(written(tmp_path, QM9_RECORD + WATER + second))
    assert [data.z.numel() for data in made] == [5, 3, 5]
    assert made[0].energy.item() == pytest.approx(-40.47893 * Hartree)
    assert [data.get("index") for data in made] == [1, None, 2]


def test_comments_columns_and_vectors_are_kept(tmp_path):
    text = (
        '2\nLattice="4 0 0 0 5 0 0 0 6" Properties=species:S:1:pos:R:3:force:R:3:site:S:1 '
        'note=x path="1 2 3"\nO 0 0 0 1 2 3 a\nH 0 0 1 4 5 6 b\n'
        "1\nseen by a person\nHe 0 0 0\n"
    )
    first, second = load(written(tmp_path, text, "a@2.extxyz"))
    assert torch.equal(first.force, torch.arange(1.0, 7).double().reshape(2, 3))
    assert first.site == ["a", "b"]
    assert first.info == {"note": "x", "path": [1, 2, 3]}
    assert first.cell[0].diag().tolist() == [4, 5, 6]
    assert second.info == {"comment": "seen by a person"}


def test_columns_without_names_are_said(tmp_path):
    with pytest.warns(UserWarning, match=r"a.xyz: atoms have 5 columns"):
        load(written(tmp_path, WATER.replace("\nO 0 0 0.1173", "\nO 0 0 0.1173 -0.8")))


EXTENDED = "3\n{} Properties=species:S:1:pos:R:3\n" + WATER.split("\n", 2)[2]


def test_a_quote_that_is_never_closed_is_said(tmp_path):
    with pytest.raises(InputError, match=r"structure 0 .*: a quote .* is never closed"):
        load(written(tmp_path, EXTENDED.format('note="the first energy=-1.0')))


@pytest.mark.parametrize("energy", ["-1.5D+01", "-0.15d2", "-1.5*^1", '"-1.5D+01"'])
def test_exponents_of_fortran_in_the_comment(tmp_path, energy):
    (water,) = load(written(tmp_path, EXTENDED.format(f"energy={energy} name=1D2")))
    assert water.energy.tolist() == [-15.0]
    assert water.info == {"name": "1D2"}


@pytest.mark.parametrize("said", ["units=nm", "unit=nm", "units=nm energy=-1.0"])
def test_a_unit_of_length_is_that_of_positions(tmp_path, said):
    (water,) = load(written(tmp_path, EXTENDED.format(said)))
    (plain,) = load(written(tmp_path, WATER))
    torch.testing.assert_close(water.pos, 10 * plain.pos)
    assert not water.info


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("energy=-1.0 energy=-2.0", "states energy twice, -1.0 and -2.0"),
        ('charge=1 config="a b" charge=0', "states charge twice, 1 and 0"),
        ("Properties=species:S:1:x:R:3", r"name no column pos \(species, x\)"),
    ],
)
def test_what_ase_would_drop_without_a_word(tmp_path, comment, message):
    path = written(tmp_path, FRAME.format(-1.0) + PLAIN.format(comment))
    with pytest.raises(InputError, match=rf"structure 1 \(line 6\): .*{message}"):
        load(path)


def test_the_same_said_twice_is_said_once(tmp_path):
    path = written(
        tmp_path, PLAIN.format("energy=-1.0 comment='energy=-2.0 of another' energy=-1.0")
    )
    assert load(path)[0].energy.item() == -1.0


def test_units_beyond_ascii_come_back(tmp_path):
    """ASE writes them as JSON escapes, and would read them without the backslash."""
    atoms = ase.Atoms("CO", [[0, 0, 0], [0, 0, 1.1]], info={"units": {"alpha": "Å³"}, "alpha": 2.0})
    ase.io.write(tmp_path / "a.extxyz", atoms)
    (data,) = load(tmp_path / "a.extxyz")
    assert data.info["units"] == {"alpha": "Å³"}
