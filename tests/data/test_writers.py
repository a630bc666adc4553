import csv
import os
from pathlib import Path

import ase.build
import ase.db
import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from rdkit import Chem

from schnetgen_pyg import InputError, load
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.readers import read
from schnetgen_pyg.data.writers import file_format, keep_whole_frames, write
from schnetgen_pyg.storage.atomic import replacing
from tests.conftest import METHANE


def ethanol(number: int):
    """With all kinds of things that structures carry."""
    atoms = molecule("CH3CH2OH")
    atoms.calc = SinglePointCalculator(atoms, energy=-4.2, forces=np.full((9, 3), 0.25))
    atoms.arrays["forces_std"] = np.full((9, 3), 0.125)
    words = {"name": f"ethanol {number}", "method": "gfn2-xtb", "looks_like_a_number": "17"}
    numbers = {"sample": number, "energy_std": np.float64(0.5), "charge": 0, "large": 2**70}
    odd = {"odd key!": 1, "C": 3, "flag": True, "vector": np.arange(3.0), "list": [1, 2]}
    atoms.info = words | numbers | odd
    return atoms


def broken():
    atoms = METHANE.copy()
    atoms.positions[4] += 3
    return atoms


@pytest.mark.parametrize("name", ["two", "two@300K", "two@1", "@"])
@pytest.mark.parametrize("suffix", [".xyz", ".extxyz", ".db", ".extxyz.gz", ".xyz.bz2"])
def test_what_is_written_is_read(tmp_path, suffix, name):
    path = tmp_path / f"{name}{suffix}"
    write(path, [METHANE, METHANE[:3]])
    first, second = read(path)
    assert first.pos.numpy() == pytest.approx(METHANE.positions, abs=1e-6)
    assert second.z.tolist() == [6, 1, 1]
    assert os.listdir(tmp_path) == [path.name]


def test_a_format_for_one_structure_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"x.cube: no format for several structures"):
        file_format("x.cube")
    with pytest.raises(InputError, match=r"'.xzy' \(did you mean '.xyz'\?\); take .extxyz"):
        file_format("x.xzy")
    with pytest.raises(InputError, match=r"noext: has no suffix that says which format"):
        file_format("noext")
    with pytest.raises(InputError, match="is a folder"):
        file_format(tmp_path)
    assert file_format("/dev/null") == "extxyz"


def test_a_database_keeps_all_that_structures_carry(tmp_path):
    path = tmp_path / "x.db"
    write(path, [ethanol(0), ethanol(1)])
    with ase.db.connect(path) as database:
        assert database.count("method=gfn2-xtb,energy_std<1,name=ethanol 1") == 1
        row = database.get(sample=1)
        assert row.energy == -4.2
        assert row.forces == pytest.approx(np.full((9, 3), 0.25))
        assert row.data["arrays"]["forces_std"] == pytest.approx(np.full((9, 3), 0.125))
        kept = {**row.key_value_pairs, **row.data["info"]}
    wanted = ethanol(1).info
    assert kept.pop("vector").tolist() == wanted.pop("vector").tolist()
    assert kept == wanted
    assert all(type(kept[key]) is type(wanted[key]) for key in ("flag", "charge", "name"))


def test_a_database_is_read_with_its_info(tmp_path):
    write(tmp_path / "x.db", [ethanol(0), ethanol(1)])
    info = read(tmp_path / "x.db")[1].info
    assert (info["sample"], info["method"], info["looks_like_a_number"]) == (1, "gfn2-xtb", "17")


def test_records_keep_names_and_properties(tmp_path):
    path = tmp_path / "x.sdf"
    write(path, [ethanol(0), METHANE, broken()])
    first, second, third = Chem.SDMolSupplier(str(path), removeHs=False, sanitize=False)
    assert first.GetProp("_Name") == "ethanol 0"
    assert (first.GetProp("smiles"), first.GetProp("energy (eV)")) == ("CCO", "-4.2")
    assert first.GetProp("vector") == "0.0 1.0 2.0"
    assert first.GetProp("forces_std").splitlines()[8] == "0.125 0.125 0.125"
    assert first.GetConformer().GetPositions() == pytest.approx(ethanol(0).positions, abs=1e-4)
    assert second.GetProp("_Name") == "1"
    assert third.GetProp("failure") == "fragments"
    assert third.GetNumAtoms() == 5
    assert [len(data.z) for data in read(path)] == [9, 5, 5]


def test_smiles_of_valid_molecules_and_a_word_about_the_others(tmp_path):
    with pytest.warns(UserWarning, match="1 of 3 structures are no valid molecules"):
        write(tmp_path / "x.smi", [ethanol(0), broken(), METHANE])
    assert (tmp_path / "x.smi").read_text() == "CCO ethanol 0\nC 2\n"


def test_a_table_has_a_row_of_every_structure(tmp_path):
    write(tmp_path / "x.csv", [ethanol(0), broken()])
    with (tmp_path / "x.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first["smiles"] == "CCO"
    assert first["inchikey"] == "LFQSCWFLJHTTHZ-UHFFFAOYSA-N"
    assert (first["formula"], first["valid"], first["energy (eV)"]) == ("C2H6O", "True", "-4.2")
    assert (first["method"], first["sample"]) == ("gfn2-xtb", "0")
    assert (second["valid"], second["failure"], second["smiles"]) == ("False", "fragments", "")


@pytest.mark.parametrize("suffix", [".sdf", ".smi", ".csv"])
def test_a_cell_is_refused_where_the_format_has_none(tmp_path, suffix):
    crystal = METHANE.copy()
    crystal.cell, crystal.pbc = [9, 9, 9], True
    with pytest.raises(InputError, match=rf"x{suffix}: structure 1: is periodic"):
        write(tmp_path / f"x{suffix}", [METHANE, crystal])
    assert os.listdir(tmp_path) == []


def test_what_a_format_cannot_keep_is_named(tmp_path):
    atoms = METHANE.copy()
    atoms.info["object"] = object()
    with pytest.raises(InputError, match=r"x.db: the structures cannot be written as db"):
        write(tmp_path / "x.db", [atoms])


def test_whole_frames_are_kept(tmp_path):
    path = tmp_path / "partial.extxyz"
    write(path, [METHANE] * 3)
    content = path.read_bytes()
    for size in range(0, len(content), 37):
        path.write_bytes(content[:size])
        frames = keep_whole_frames(path)
        assert path.read_bytes() == content[: frames * len(content) // 3]
        assert frames == size // (len(content) // 3)
    assert keep_whole_frames(tmp_path / "nothing") == 0


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("old")

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text("half of the new")
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"kept.txt: could not be written.*No space"):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["kept.txt"]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"x.xyz: could not be written"):
        write(tmp_path / "file" / "x.xyz", [METHANE])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_is_named(tmp_path):
    with pytest.raises(InputError, match="could not be written"), replacing(tmp_path / "x"):
        Path("/dev/full").write_text("x" * 100_000)


def test_texts_of_several_lines_do_not_break_a_file_of_frames(tmp_path):
    """Such as a property of an SDF file; and what a CIF says of its space group is its symbol."""
    ase.io.write(tmp_path / "x.cif", ase.build.bulk("Cu", cubic=True))
    (crystal,) = load(tmp_path / "x.cif")
    crystal.info["note"] = "two\nlines"
    crystal.info["more"] = {"of": ["these\r\nthree", 1]}
    write(tmp_path / "x.extxyz", [to_ase(crystal)] * 2)
    for one in load(tmp_path / "x.extxyz"):
        assert one.info["spacegroup"] == "P 1"
        assert one.info["note"] == "two lines"
        assert one.info["more"] == {"of": ["these three", 1]}
        assert one.z.tolist() == [29] * 4
    assert crystal.info["note"] == "two\nlines"
