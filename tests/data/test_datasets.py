import bz2
import io
import tarfile

import ase
import ase.db
import ase.io
import numpy as np
import pytest
import torch
from ase.units import Hartree
from torch_geometric.data import Data
from torch_geometric.datasets import MD17, QM9
from torch_geometric.loader import DataLoader

from schnetgen_pyg import InputError, load
from schnetgen_pyg.data import datasets, download
from schnetgen_pyg.data.conversion import as_data, from_ase, to_ase
from schnetgen_pyg.data.readers.npz import save_npz

METHANE = """5
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


def archive(path, records):
    with tarfile.open(path, "w:bz2") as tar:
        for index, text in enumerate(records, 1):
            member = tarfile.TarInfo(f"dsgdb9nsd_{index:06d}.xyz")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


def test_qm9_records(tmp_path):
    second = METHANE.replace("gdb 1", "gdb 2")
    structures = load(archive(tmp_path / "dsgdb9nsd.xyz.tar.bz2", [second, METHANE]))
    assert [d.index for d in structures] == [1, 2]
    assert structures[0].z.tolist() == [6, 1, 1, 1, 1]
    assert float(structures[0].pos[1, 2]) == pytest.approx(1.9761204e-3)
    assert float(structures[0].energy) == pytest.approx(-40.47893 * Hartree)


def test_damaged_archives(tmp_path):
    path = archive(tmp_path / "x.tar.bz2", [METHANE] * 3)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"x.tar.bz2: the archive is damaged or truncated"):
        load(path)
    with pytest.raises(InputError, match=r"dsgdb9nsd_000002.xyz: not a QM9 record"):
        load(archive(tmp_path / "y.tar.bz2", [METHANE, METHANE.replace("5\n", "9\n", 1)]))
    (tmp_path / "z.tar.bz2").write_bytes(bz2.compress(b"no tar"))
    with pytest.raises(InputError, match=r"z.tar.bz2"):
        load(tmp_path / "z.tar.bz2")


def test_checksum_and_missing_network(tmp_path, monkeypatch):
    wrong = archive(tmp_path / "w.tar.bz2", [METHANE])
    with pytest.raises(InputError, match=r"w.tar.bz2: checksum .* but dsC7O2H10nsd.* has c750"):
        load("qm9-c7h10o2", path=wrong)

    def offline(*args, **kwargs):
        raise ConnectionError

    monkeypatch.setattr(download.pooch, "retrieve", offline)
    with pytest.raises(InputError, match=r"could not be fetched.*springernature.*path instead"):
        load("qm9-c7h10o2")


def test_named_data_set_from_the_disk(tmp_path, monkeypatch):
    path = archive(tmp_path / "dsgdb9nsd.xyz.tar.bz2", [METHANE, METHANE.replace("gdb 1", "gdb 2")])
    (tmp_path / "uncharacterized.txt").write_text("header\n\n  2  C  CC\n 21 compounds")
    monkeypatch.setattr(datasets, "download", lambda remote, path=None: tmp_path / remote.name)
    assert [d.index for d in load("qm9", path=path)] == [1]


def test_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"qm8: no such file.*qm9-c7h10o2"):
        load("qm8")


def test_npz_round_trip_and_errors(tmp_path, isomers):
    save_npz(tmp_path / "a.npz", isomers[:5])
    for a, b in zip(load(tmp_path / "a.npz"), isomers[:5], strict=True):
        assert torch.equal(a.z, b.z)
        assert torch.equal(a.pos, b.pos)
        assert torch.equal(a.energy, b.energy)
    np.savez(tmp_path / "b.npz", z=np.ones(3))
    with pytest.raises(InputError, match=r"b.npz: lacks the arrays \['pos', 'n_atoms'\]"):
        load(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", z=np.ones(3), pos=np.ones((3, 3)), n_atoms=[2])
    with pytest.raises(InputError, match="n_atoms sums to 2"):
        load(tmp_path / "c.npz")
    np.savez(tmp_path / "e.npz", z=[6, 1], pos=np.ones((2, 3)), n_atoms=[1, 1], energy=[1.0])
    with pytest.raises(InputError, match=r"e.npz: energy has 1 entries, expected 2"):
        load(tmp_path / "e.npz")
    np.savez(tmp_path / "d.npz", z=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"d.npz: not a readable npz"):
        load(tmp_path / "d.npz")


def test_cache(tmp_path, isomers, monkeypatch):
    from schnetgen_pyg.data.conversion import to_ase

    path = tmp_path / "large.extxyz"
    ase.io.write(path, [to_ase(d) for d in isomers[:1200]])
    assert path.stat().st_size > 2**20
    first = load(path)
    monkeypatch.setattr(datasets, "read_any", lambda path: pytest.fail("was not cached"))
    assert torch.equal(load(path)[7].pos, first[7].pos)
    assert torch.equal(load(path)[7].energy, first[7].energy)


def same(a, b) -> bool:
    """Whether two structures hold the same, to the types."""
    if set(a.keys()) != set(b.keys()):
        return False
    pairs = [(a[key], b[key]) for key in a.keys()]  # noqa: SIM118
    return all(
        torch.equal(x, y) and x.dtype == y.dtype if isinstance(x, torch.Tensor) else x == y
        for x, y in pairs
    )


def test_the_cache_returns_what_the_file_does(tmp_path, isomers):
    """Also what only some structures have: energies, forces, numbers, information."""
    from ase.calculators.singlepoint import SinglePointCalculator

    from schnetgen_pyg.data.conversion import to_ase
    from schnetgen_pyg.data.readers.ase_formats import read

    frames = [to_ase(data) for data in isomers[:6]]
    for frame in frames:
        frame.calc, frame.info = None, {}
    frames[1].calc = SinglePointCalculator(frames[1], energy=-3.5)
    frames[2].calc = SinglePointCalculator(frames[2], energy=2.0, forces=frames[2].positions)
    frames[4].info = {"smiles": "CCO", "number": 3, "weight": 0.1, "good": True}
    path = tmp_path / "mixed.extxyz"
    ase.io.write(path, frames)
    direct = read(path)
    direct[5].index = 77
    assert [d.get("energy") is not None for d in direct] == [False, True, True] + [False] * 3
    save_npz(tmp_path / "cached.npz", direct)
    cached = load(tmp_path / "cached.npz")
    assert [same(a, b) for a, b in zip(direct, cached, strict=True)] == [True] * 6


def test_cached_qm9_keeps_its_numbers(tmp_path):
    path = archive(tmp_path / "some.tar.bz2", [METHANE, METHANE.replace("gdb 1", "gdb 2")])
    save_npz(tmp_path / "cached.npz", load(path))
    assert [data.index for data in load(tmp_path / "cached.npz")] == [1, 2]


def test_embedded(isomers):
    assert len(isomers) >= 1000
    counts = torch.stack([d.z.bincount(minlength=9) for d in isomers])
    assert (counts[:, [1, 6, 8]] == torch.tensor([10, 7, 2])).all()


def gdb9_folder(root):
    """A QM9 folder of PyG with two molecules, as its own download would leave it."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    raw = root / "raw"
    raw.mkdir(parents=True)
    with Chem.SDWriter(str(raw / "gdb9.sdf")) as writer:
        for text in ("C", "CO"):
            mol = Chem.AddHs(Chem.MolFromSmiles(text))
            AllChem.EmbedMolecule(mol, randomSeed=1)
            writer.write(mol)
    names = "mol_id,A,B,C,mu,alpha,homo,lumo,gap,r2,zpve,u0,u298,h298,g298,cv,"
    names += "u0_atom,u298_atom,h298_atom,g298_atom"
    rows = [",".join([f"gdb_{k}"] + ["1.0"] * 10 + [f"-{k}.5"] + ["1.0"] * 8) for k in (1, 2)]
    (raw / "gdb9.sdf.csv").write_text("\n".join([names, *rows]) + "\n")
    (raw / "uncharacterized.txt").write_text("\n" * 9 + "9 x\n" + "end\n")
    return raw


def test_sdf_with_the_table_beside(tmp_path):
    raw = gdb9_folder(tmp_path)
    structures = load(raw / "gdb9.sdf")
    assert [d.z.numel() for d in structures] == [5, 6]
    assert float(structures[1].energy) == pytest.approx(-2.5 * Hartree)


def test_pyg_data_sets_go_in_unchanged(tmp_path):
    gdb9_folder(tmp_path / "qm9")
    structures = as_data(QM9(tmp_path / "qm9"))
    assert [d.z.numel() for d in structures] == [5, 6]
    raw = tmp_path / "md17" / "raw" / "rmd17" / "npz_data"
    raw.mkdir(parents=True)
    np.savez(
        raw / "rmd17_ethanol.npz",
        nuclear_charges=[6, 8],
        coords=np.ones((3, 2, 3)),
        energies=np.ones(3),
        forces=np.ones((3, 2, 3)),
    )
    assert [d.z.tolist() for d in as_data(MD17(tmp_path / "md17", "revised ethanol"))] == [
        [6, 8]
    ] * 3
    batch = next(iter(DataLoader(structures, batch_size=2)))
    assert [d.z.numel() for d in as_data(batch)] == [5, 6]
    assert as_data([Data(z=torch.tensor([6.0]), pos=torch.zeros(1, 3))])[0].z.dtype == torch.int64


def test_trajectories_of_md17(tmp_path):
    """Both spellings of the arrays; kcal/mol to eV."""
    rng = np.random.default_rng(0)
    pos, forces = rng.normal(size=(2, 4, 3, 3))
    energy, z = rng.normal(size=4), np.array([8, 1, 1])
    np.savez(tmp_path / "a.npz", R=pos, E=energy, F=forces, Z=z)
    np.savez(tmp_path / "b.npz", coords=pos, energies=energy, forces=forces, nuclear_charges=z)
    for name in ("a.npz", "b.npz"):
        data = load(tmp_path / name)
        assert len(data) == 4
        assert data[2].z.tolist() == [8, 1, 1]
        assert float(data[2].energy) == pytest.approx(energy[2] * 0.0433641)
        assert np.allclose(data[2].forces.numpy(), forces[2] * 0.0433641, atol=1e-5)
    np.savez(tmp_path / "c.npz", R=pos[0], E=energy, F=forces, Z=z)
    with pytest.raises(InputError, match=r"R and F must have shape \[num_frames, 3, 3\]"):
        load(tmp_path / "c.npz")


def test_databases_of_iso17(tmp_path):
    with ase.db.connect(tmp_path / "reference.db") as database:
        for k in range(3):
            forces = np.full((3, 3), 0.5 + k)
            database.write(
                ase.Atoms("OH2", np.eye(3)), total_energy=-76.0 - k, data={"atomic_forces": forces}
            )
    data = load(tmp_path / "reference.db")
    assert [float(d.energy) for d in data] == [-76.0, -77.0, -78.0]
    assert torch.equal(data[1].forces, torch.full((3, 3), 1.5))
    (tmp_path / "broken.db").write_text("nothing")
    with pytest.raises(InputError, match=r"broken.db: cannot be read"):
        load(tmp_path / "broken.db")


def test_cells_and_info_are_cached(tmp_path):
    atoms = ase.Atoms("C2", [[0, 0, 0], [1, 1, 1]], cell=np.eye(3) * 3, pbc=True)
    atoms.info = {"source": 7, "method": "none"}
    structures = [from_ase(atoms), from_ase(ase.Atoms("C"))]
    save_npz(tmp_path / "s.npz", structures)
    data = load(tmp_path / "s.npz")
    assert torch.equal(data[0].cell, structures[0].cell)
    assert data[1].get("cell") is None
    assert data[0].info == {"source": 7, "method": "none"}
    assert to_ase(data[0]).pbc.all()
