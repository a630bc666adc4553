import bz2
import gzip
import lzma
import os
from pathlib import Path

import ase
import ase.io
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from schnetgen_pyg.chem.elements import hill_formula, parse_formula
from schnetgen_pyg.data.conversion import as_data, check, from_ase, to_ase
from schnetgen_pyg.data.readers.ase_formats import read
from schnetgen_pyg.data.writers import write
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.storage.atomic import replacing
from tests.conftest import METHANE


@given(st.dictionaries(st.sampled_from(["C", "H", "O", "N", "F"]), st.integers(1, 12), min_size=1))
def test_formula_round_trip(counts):
    numbers = parse_formula("".join(f"{s}{n}" for s, n in counts.items()))
    assert numbers.numel() == sum(counts.values())
    assert torch.equal(parse_formula(hill_formula(numbers)).sort().values, numbers.sort().values)


@pytest.mark.parametrize("text", ["", "C7H10Zz", "12", "C7(", "hello"])
def test_bad_formula_names_the_text(text):
    with pytest.raises(InputError, match=r"formula|unknown element"):
        parse_formula(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Data(z=torch.ones(2)), "has no 'pos'"),
        (Data(pos=torch.ones(2, 3)), "has no 'z'"),
        (Data(z=torch.ones(2), pos=torch.ones(3, 2)), r"\[2, 3\], got \[3, 2\]"),
        (Data(z=torch.ones(0), pos=torch.ones(0, 3)), "at least one atom"),
        (Data(z=torch.ones(1), pos=torch.full((1, 3), torch.nan)), "atom 0 is not finite"),
        (Data(z=torch.tensor([6.5]), pos=torch.zeros(1, 3)), "atomic number of atom 0 is 6.5"),
        (Data(z=torch.tensor([6, 0]), pos=torch.ones(2, 3)), "atom 1 has atomic number 0"),
    ],
)
def test_check_names_structure_and_value(data, message):
    with pytest.raises(InputError, match=message) as error:
        check(data, "the fifth")
    assert "the fifth" in str(error.value)


def test_ase_round_trip():
    back = to_ase(from_ase(METHANE))
    assert (back.numbers == METHANE.numbers).all()
    assert abs(back.positions - METHANE.positions).max() < 1e-6


def test_as_data_takes_what_users_have():
    data = from_ase(METHANE)
    data.y = torch.ones(1)
    for given_structures in (data, METHANE, [data, METHANE], Batch.from_data_list([data, data])):
        result = as_data(given_structures)
        assert all(torch.equal(item.z, data.z) for item in result)
    assert len(as_data([Batch.from_data_list([data, data]), METHANE])) == 3
    assert as_data(data)[0].y is not None
    with pytest.raises(InputError, match="got str"):
        as_data(["CH4"])


@pytest.mark.parametrize("suffix", [".xyz", ".extxyz", ".db", ".extxyz.gz", ".xyz.bz2"])
def test_files(tmp_path, suffix):
    path = tmp_path / f"two{suffix}"
    write(path, [METHANE, METHANE])
    structures = read(path)
    assert len(structures) == 2
    assert torch.allclose(structures[1].pos, from_ase(METHANE).pos, atol=1e-6)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", [".sdf", ".SDF", ".sdf.gz", ".sdf.bz2", ".sdf.xz"])
def test_every_record_of_an_sdf_is_read(tmp_path, suffix):
    from rdkit import Chem
    from rdkit.Chem import AllChem

    mols = [Chem.AddHs(Chem.MolFromSmiles(text)) for text in ("C", "CO", "O")]
    for mol in mols:
        AllChem.EmbedMolecule(mol, randomSeed=1)
    content = "".join(Chem.MolToMolBlock(mol) + "$$$$\n" for mol in mols).encode()
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    path = tmp_path / f"three{suffix}"
    path.write_bytes(pack.get(path.suffix, bytes)(content))
    assert [data.z.numel() for data in read(path)] == [5, 6, 3]
    path.write_bytes(pack.get(path.suffix, bytes)(content.replace(b"  6  5", b"  x  5")))
    with pytest.raises(InputError, match=r"three.*: structure 1 is not a valid SDF record"):
        read(path)


def test_energy_comes_from_extxyz(isomers):
    assert isomers[0].energy.dtype == torch.float64
    assert -900 < float(isomers[0].energy) < -700


def test_bad_files(tmp_path):
    path = tmp_path / "cut.extxyz.gz"
    plain = tmp_path / "plain.extxyz"
    ase.io.write(plain, [METHANE] * 50)
    path.write_bytes(gzip.compress(plain.read_bytes())[:-40])
    with pytest.raises(InputError, match=r"cut.extxyz.gz.*truncated"):
        read(path)
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "nothing.xyz")
    (tmp_path / "empty.xyz").touch()
    with pytest.raises(InputError, match=r"empty.xyz: the file is empty"):
        read(tmp_path / "empty.xyz")
    (tmp_path / "text.xyz").write_text("this is\nnot a structure\n")
    with pytest.raises(InputError, match=r"text.xyz: cannot be read"):
        read(tmp_path / "text.xyz")
    (tmp_path / "bad.sdf").write_text("this is\nnot\nan sdf\nfile\n$$$$\n")
    with pytest.raises(InputError, match=r"bad.sdf"):
        read(tmp_path / "bad.sdf")
    nan = "1\n\nC nan 0 0\n"
    (tmp_path / "nan.xyz").write_text("1\n\nC 0 0 0\n" + nan)
    with pytest.raises(InputError, match=r"nan.xyz: structure 1: the position of atom 0"):
        read(tmp_path / "nan.xyz")


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
