"""Every format keeps the contract; what is special to one is tested below."""

import bz2
import contextlib
import gzip
import io
import lzma
import sqlite3
import tarfile

import ase
import ase.db
import ase.io
import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, Hartree, kcal, mol
from hypothesis import given, settings
from rdkit import Chem
from rdkit.Chem import AllChem
from torch_geometric.data import Data

from schnetgen_pyg import InputError, load
from schnetgen_pyg.data.readers import find_reader, read
from schnetgen_pyg.data.readers.ase_formats import read_ase
from schnetgen_pyg.data.readers.npz import save_npz
from schnetgen_pyg.testing.reader import check_reader
from tests.conftest import METHANE
from tests.data.test_molecules import structures

QM9_RECORD = """5
gdb 1\t157.7\t157.7\t157.7\t0.\t13.2\t-0.4\t0.1\t0.5\t35.\t0.\t-40.47893\t-40.5\t-40.5\t-40.5\t6.5\t
C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689
H\t 0.002150416\t-0.0060313176\t 1.9761204*^-3\t 0.133921
H\t 1.0117308433\t 1.4637511618\t 2.7657*^-4\t 0.133922
H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923
H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923
1341.307\t1341.3284\t1341.365
C\tC\t
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
"""


def qm9_archive(path, records=(QM9_RECORD,) * 2):
    with tarfile.open(path, "w:bz2" if path.suffix == ".bz2" else "w") as tar:
        for index, text in enumerate(records, 1):
            member = tarfile.TarInfo(f"dsgdb9nsd_{index:06d}.xyz")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


def labelled_frames() -> list[ase.Atoms]:
    """Four molecules, of which some have labels, information or a cell."""
    frames = [molecule(name) for name in ("CH4", "H2O", "CH3CH2OH", "C6H6")]
    frames[1].calc = SinglePointCalculator(frames[1], energy=-3.5)
    frames[2].calc = SinglePointCalculator(frames[2], energy=2.0, forces=frames[2].positions)
    frames[2].info = {"smiles": "CCO", "number": 3, "weight": 0.1, "good": True}
    frames[3].set_cell(np.eye(3) * 9)
    frames[3].pbc = True
    return frames


def sdf_text(smiles=("C", "CO", "O")) -> str:
    mols = [Chem.AddHs(Chem.MolFromSmiles(text)) for text in smiles]
    for mol_ in mols:
        AllChem.EmbedMolecule(mol_, randomSeed=1)
    return "".join(Chem.MolToMolBlock(mol_) + "$$$$\n" for mol_ in mols)


def trajectory(path, names=("R", "E", "F", "Z")):
    rng = np.random.default_rng(0)
    pos, forces = rng.normal(size=(2, 4, 3, 3))
    arrays = (pos, rng.normal(size=4), forces, np.array([8, 1, 1]))
    np.savez(path, **dict(zip(names, arrays, strict=True)), theory="none")


WRITE = {
    "frames.extxyz": lambda path: ase.io.write(path, labelled_frames()),
    "frames.xyz": lambda path: ase.io.write(path, labelled_frames(), format="xyz"),
    "frames@2.XYZ": lambda path: ase.io.write(path.open("w"), labelled_frames(), format="extxyz"),
    "frames.db": lambda path: ase.io.write(path, labelled_frames()),
    "frames.traj": lambda path: ase.io.write(path, labelled_frames()),
    "records.SDF": lambda path: path.write_text(sdf_text()),
    "arrays.npz": lambda path: save_npz(path, read_frames(path.parent)),
    "trajectory.npz": trajectory,
    "qm9.tar.bz2": qm9_archive,
    "qm9.tar": qm9_archive,
    "frames.extxyz.gz": lambda path: ase.io.write(path, labelled_frames()),
    "records.sdf.xz": lambda path: path.write_bytes(lzma.compress(sdf_text().encode())),
}


def read_frames(folder) -> list[Data]:
    ase.io.write(folder / "in-between.extxyz", labelled_frames())
    return read(folder / "in-between.extxyz")


@pytest.mark.parametrize("name", WRITE)
def test_contract(tmp_path, name):
    WRITE[name](tmp_path / name)
    inner = name.removesuffix(".gz").removesuffix(".xz")
    check_reader(find_reader(inner) or read_ase, tmp_path / name)


@pytest.mark.parametrize("suffix", [".extxyz", ".db", ".extxyz.bz2"])
def test_labels_and_information_are_kept(tmp_path, suffix):
    path = tmp_path / f"frames{suffix}"
    ase.io.write(path, labelled_frames())
    bare, energy, both, periodic = read(path)
    assert "energy" not in bare
    assert "cell" not in bare
    assert energy.energy.item() == -3.5
    assert "forces" not in energy
    assert torch.allclose(both.forces, both.pos)
    assert torch.equal(periodic.cell, 9 * torch.eye(3).unsqueeze(0))
    if suffix != ".db":  # ASE's writer leaves info out of databases
        assert both.info == {"smiles": "CCO", "number": 3, "weight": 0.1, "good": True}


def same(a: Data, b: Data) -> bool:
    """Whether two structures hold the same, to the types."""
    first, second = a.to_dict(), b.to_dict()
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) and value.dtype == second[name].dtype
        if isinstance(value, torch.Tensor)
        else repr(value) == repr(second[name])
        for name, value in first.items()
    )


def test_npz_keeps_what_files_say(tmp_path):
    made = read(qm9_archive(tmp_path / "a.tar")) + read_frames(tmp_path)
    save_npz(tmp_path / "a.npz", made)
    assert all(same(a, b) for a, b in zip(read(tmp_path / "a.npz"), made, strict=True))


@given(structures())
@settings(deadline=None, max_examples=50)
def test_npz_keeps_any_attribute(tmp_path_factory, drawn):
    made, lacking, _ = drawn
    for name, numbers in lacking.items():
        for number in numbers:
            del made[number][name]
    for data in made:
        if "scalar" in data:  # comes back with one entry
            data.scalar = data.scalar.reshape(1)
    path = tmp_path_factory.mktemp("npz") / "any.npz"
    save_npz(path, made)
    assert all(same(a, b) for a, b in zip(read(path), made, strict=True))


def test_npz_refuses_what_it_cannot_keep(tmp_path):
    data = Data(z=torch.ones(1), pos=torch.zeros(1, 3), info={1: "a key that is no text"})
    with pytest.raises(InputError, match="'info' holds what JSON cannot"):
        save_npz(tmp_path / "x.npz", [data])
    data.info = torch.zeros(1, dtype=torch.bfloat16)
    with pytest.raises(InputError, match=r"'info': NumPy has no torch.bfloat16"):
        save_npz(tmp_path / "x.npz", [data])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.ones(3)}, r"lacks the arrays \['pos', 'n_atoms'\]"),
        ({"z": np.ones(3), "pos": np.ones((3, 3)), "n_atoms": [2]}, "n_atoms sums to 2"),
        (
            {"z": [6, 1], "pos": np.ones((2, 3)), "n_atoms": [1, 1], "energy": [1.0]},
            r"energy has 1 entries, expected 2",
        ),
        ({"z": np.array([{}], dtype=object)}, "not a readable npz"),
        (
            {"Z": [8], "R": np.ones((1, 3)), "E": [1], "F": np.ones((1, 3))},
            r"R and F must have shape \[num_frames, 1, 3\]",
        ),
    ],
)
def test_npz_that_does_not_fit(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=rf"a.npz: {message}"):
        read(tmp_path / "a.npz")


def test_npz_of_others(tmp_path):
    """Arrays of any name, per atom and per structure; what is neither is left out and said."""
    arrays = {"charges": [0.1, 0.2, 0.3], "gap": [4, 5], "name": ["a", "b"], "units": ["e"]}
    np.savez(tmp_path / "a.npz", z=[1, 1, 8], pos=np.eye(3), n_atoms=[2, 1], **arrays)
    with pytest.warns(UserWarning, match=r"left out of .*a.npz: units \[1\]"):
        first, second = read(tmp_path / "a.npz")
    assert first.charges.tolist() == [0.1, 0.2]
    assert (second.gap.tolist(), second.name) == ([5], "b")


@pytest.mark.parametrize(
    "names", [("R", "E", "F", "Z"), ("coords", "energies", "forces", "nuclear_charges")]
)
def test_trajectories_of_md17_are_in_ev(tmp_path, names):
    trajectory(tmp_path / "a.npz", names)
    data = read(tmp_path / "a.npz")
    arrays = dict(np.load(tmp_path / "a.npz"))
    assert len(data) == 4
    assert data[2].z.tolist() == [8, 1, 1]
    assert data[2].energy.item() == pytest.approx(arrays[names[1]][2] * kcal / mol)
    assert data[2].forces.numpy() == pytest.approx(arrays[names[2]][2] * kcal / mol, abs=1e-5)


def test_qm9_records(tmp_path):
    second = QM9_RECORD.replace("gdb 1", "gdb 2")
    made = read(qm9_archive(tmp_path / "dsgdb9nsd.xyz.tar.bz2", [second, QM9_RECORD]))
    assert [data.index for data in made] == [1, 2]
    assert made[0].z.tolist() == [6, 1, 1, 1, 1]
    assert made[0].pos[1, 2].item() == pytest.approx(1.9761204e-3)
    assert made[0].energy.item() == pytest.approx(-40.47893 * Hartree)
    info, units = made[0].info, made[0].info["units"]
    assert info["gap"] == pytest.approx(0.5 * Hartree)
    assert info["alpha"] == pytest.approx(13.2 * Bohr**3)
    assert (info["mu"], info["Cv"]) == (0.0, 6.5)
    found = [units[name] for name in ("gap", "alpha", "mu", "Cv")]
    assert found == ["eV", "Å³", "D", "cal/(mol K)"]


def test_damaged_qm9_archives(tmp_path):
    path = qm9_archive(tmp_path / "x.tar.bz2", [QM9_RECORD] * 3)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"x.tar.bz2: the archive is damaged or truncated"):
        read(path)
    records = [QM9_RECORD, QM9_RECORD.replace("5\n", "9\n", 1)]
    with pytest.raises(InputError, match=r"y.tar: dsgdb9nsd_000002.xyz: not a QM9 record"):
        read(qm9_archive(tmp_path / "y.tar", records))
    (tmp_path / "z.tar.bz2").write_bytes(bz2.compress(b"no tar"))
    with pytest.raises(InputError, match=r"z.tar.bz2"):
        read(tmp_path / "z.tar.bz2")


def test_databases_of_iso17(tmp_path):
    with ase.db.connect(tmp_path / "reference.db") as database:
        for k in range(3):
            forces = np.full((3, 3), 0.5 + k)
            database.write(
                ase.Atoms("OH2", np.eye(3)), total_energy=-76.0 - k, data={"atomic_forces": forces}
            )
    data = read(tmp_path / "reference.db")
    assert [d.energy.item() for d in data] == [-76.0, -77.0, -78.0]
    assert torch.equal(data[1].forces, torch.full((3, 3), 1.5))


def test_an_sdf_with_pygs_table_beside(tmp_path):
    (tmp_path / "gdb9.sdf").write_text(sdf_text(("C", "CO")))
    (tmp_path / "gdb9.sdf.csv").write_text("mol_id,u0,u298\ngdb_1,-1.5,0\ngdb_2,-2.5,0\n")
    made = read(tmp_path / "gdb9.sdf")
    assert [data.energy.item() for data in made] == pytest.approx([-1.5 * Hartree, -2.5 * Hartree])


def test_an_invalid_sdf_record_is_named(tmp_path):
    path = tmp_path / "three.sdf.gz"
    path.write_bytes(gzip.compress(sdf_text().replace("  6  5", "  x  5").encode()))
    with pytest.raises(InputError, match=r"three.sdf.gz: structure 1 is not a valid SDF record"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing.xyz", None, "no such file"),
        ("empty.xyz", b"", "the file is empty"),
        ("empty.xyz.gz", gzip.compress(b"", mtime=0), "the file is empty"),
        (
            "cut.xyz.gz",
            gzip.compress(b"1\n\nC 0 0 0\n" * 99, mtime=0)[:-9],
            "the archive is truncated",
        ),
        ("text.xyz", b"this is\nnot a structure\n", "line 1: expected the number of atoms"),
        ("text.unknown", b"this is\nnot a structure\n", "cannot be read as a structure file"),
        ("bad.sdf", b"this is\nnot\nan sdf\nfile\n$$$$\n", "structure 0"),
        ("broken.db", b"nothing", "cannot be read"),
        ("nan.xyz", b"1\n\nC 0 0 0\n1\n\nC nan 0 0\n", "structure 1: the position of atom 0"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: {message}"):
        read(tmp_path / name)


def test_energy_comes_from_extxyz(isomers):
    assert isomers[0].energy.dtype == torch.float64
    assert -900 < isomers[0].energy.item() < -700


@pytest.mark.parametrize(
    ("name", "number", "labels"),
    [
        ("forces/ethanol_test_dimers.xyz.gz", None, {"energy"}),
        ("forces/3BPA_train_300K.xyz.gz", 500, {"energy", "forces", "info"}),
        ("crystals/mlearn_Cu_test.npz", 31, {"cell", "energy_eV", "forces_eV_A", "virial_stress"}),
        ("forces/ethanol_ccsd_t_train.npz", 1000, {"energy", "forces", "info"}),
        ("rmd17/rmd17_ethanol.npz", 9633, {"energy", "forces", "info"}),
    ],
)
def test_real_files(shared, name, number, labels):
    data = read(shared / name)
    assert number in (None, len(data))
    assert labels <= set(data[0].to_dict())


def test_a_reader_gives_data(tmp_path):
    path = tmp_path / "a.xyz"
    ase.io.write(path, METHANE)
    with pytest.raises(InputError, match=r"a.xyz: structure 0: the reader gave Atoms"):
        read(path, lambda path: ase.io.read(path, index=":"))


def water_trajectory(path, **more):
    pos = np.random.default_rng(1).normal(size=(4, 3, 3))
    np.savez(path, z=np.array([8, 1, 1]), R=pos, **more)
    return path


@pytest.mark.parametrize("name", ["charge", "Q", "total_charge"])
def test_charges_of_trajectories_are_read(tmp_path, name):
    path = water_trajectory(tmp_path / "ions.npz", **{name: np.array([1.0, 1.0, 0.0, -1.0])})
    assert [data.charge for data in read(path)] == [1, 1, 0, -1]


def test_a_cell_of_a_trajectory_holds_for_all_frames(tmp_path):
    cell = np.array([[9.0, 0, 0], [1, 8, 0], [0, 2, 7]])
    for name, array in (("cell", cell), ("cell", cell[None]), ("lattice", cell.T)):
        for data in read(water_trajectory(tmp_path / "periodic.npz", **{name: array})):
            assert data.cell.tolist() == [cell.tolist()]


@pytest.mark.parametrize("name", ["other.db", "other.json"])
def test_what_is_no_database_of_ase_is_left_as_it_is(tmp_path, name):
    path = tmp_path / name
    if path.suffix == ".db":
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE mine (a)")
    else:
        path.write_text('{"a": 1}')
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"{name}: is no database of ASE"):
        read(path)
    assert path.read_bytes() == before


def test_the_suffix_of_a_packed_file_may_be_in_capitals(tmp_path):
    for suffix, packer in ((".GZ", gzip), (".BZ2", bz2), (".XZ", lzma)):
        path = tmp_path / f"A.XYZ{suffix}"
        path.write_bytes(packer.compress(b"1\n\nH 0 0 0\n"))
        assert len(read(path)) == 1


def test_an_empty_label_of_a_record_is_named(tmp_path):
    path = tmp_path / "a.sdf"
    path.write_text(sdf_text(["C"]).replace("$$$$", "> <energy (eV)>\n\n\n$$$$"))
    with pytest.raises(InputError, match=r"structure 0: energy \(eV\) is empty"):
        read(path)


def test_a_folder_and_a_list_are_no_file(tmp_path):
    with pytest.raises(InputError, match="is a folder; name a file in it"):
        load(tmp_path)
    with pytest.raises(InputError, match=r"got list; .*load\(one, another\)"):
        load(["a.xyz", "b.xyz"])
