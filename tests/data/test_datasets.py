import os

import ase.io
import pytest
import torch

from schnetgen_pyg import InputError, SchNetGen, evaluate, load
from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.data import cache, datasets, download
from schnetgen_pyg.data.cache import LARGE
from schnetgen_pyg.data.conversion import to_ase
from tests.conftest import METHANE
from tests.data.test_readers import QM9_RECORD, qm9_archive


def test_checksum_and_missing_network(tmp_path, monkeypatch):
    wrong = qm9_archive(tmp_path / "w.tar.bz2")
    with pytest.raises(InputError, match=r"w.tar.bz2: checksum .* but dsC7O2H10nsd.* has c750"):
        load("qm9-c7h10o2", path=wrong)

    def offline(*args, **kwargs):
        raise ConnectionError

    monkeypatch.setattr(download.pooch, "retrieve", offline)
    with pytest.raises(InputError, match=r"could not be fetched.*springernature.*path instead"):
        load("qm9-c7h10o2")


def test_named_data_set_from_the_disk(tmp_path, monkeypatch):
    records = [QM9_RECORD.replace("gdb 1", f"gdb {k}") for k in (1, 2, 3)]
    path = qm9_archive(tmp_path / "dsgdb9nsd.xyz.tar.bz2", records)
    (tmp_path / "uncharacterized.txt").write_text("header\n\n  2  C  CC\n 21 compounds")
    monkeypatch.setattr(datasets, "download", lambda remote, path=None: tmp_path / remote.name)
    assert [data.index for data in load("qm9", path=path)] == [1, 3]


def test_unknown_names_and_paths_without_a_name(tmp_path):
    with pytest.raises(InputError, match=r"qm8: no such file.*did you mean 'qm9'.*qm9-c7h10o2"):
        load("qm8")
    ase.io.write(tmp_path / "a.xyz", METHANE)
    with pytest.raises(InputError, match=r"b.xyz is for data sets by name"):
        load(tmp_path / "a.xyz", path=tmp_path / "b.xyz")


def test_a_large_file_is_parsed_once(tmp_path, isomers):
    path, cell = tmp_path / "large.extxyz", torch.eye(3)
    frames = [to_ase(data) for data in isomers[:1200]]
    frames[3].set_cell(cell.numpy())
    frames[3].pbc = True
    ase.io.write(path, frames)
    assert path.stat().st_size > LARGE
    first, second = load(path), load(path)
    for a, b in zip(first, second, strict=True):
        assert a.to_dict().keys() == b.to_dict().keys()
        assert torch.equal(a.pos, b.pos)
        assert torch.equal(a.energy, b.energy)
        assert a.info == b.info
    assert torch.equal(second[3].cell, cell.unsqueeze(0))
    # The parsed form is taken while size and time of the file stay, and no longer.
    content, status = path.read_bytes(), path.stat()
    path.write_bytes(b"x" * len(content))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert torch.equal(load(path)[7].pos, first[7].pos)
    os.utime(path)
    with pytest.raises(InputError, match=r"large.extxyz"):
        load(path)


def test_a_large_file_is_parsed_anew_for_other_labels(tmp_path, monkeypatch, isomers):
    monkeypatch.setattr(cache, "LARGE", 1)
    ase.io.write(tmp_path / "a.extxyz", to_ase(isomers[0]))
    (first,) = load(tmp_path / "a.extxyz")
    (other,) = load(tmp_path / "a.extxyz", units={"energy": "meV"})
    assert other.energy.item() == pytest.approx(first.energy.item() / 1000)
    assert load(tmp_path / "a.extxyz")[0].energy == first.energy


def test_embedded(isomers):
    assert len(isomers) >= 1000
    counts = torch.stack([data.z.bincount(minlength=9) for data in isomers])
    assert (counts[:, [1, 6, 8]] == torch.tensor([10, 7, 2])).all()


def test_real_molecules_that_no_model_has_seen():
    """Of QM9, without the isomers; with properties and their units."""
    structures = load("qm9-held-out")
    assert len(structures) == 1000
    formulas = {hill_formula(data.z.tolist()) for data in structures}
    assert "C7H10O2" not in formulas
    assert len(formulas) > 100
    gaps = [data.info["gap"] for data in structures]
    assert 5 < sum(gaps) / 1000 < 8
    assert structures[0].info["units"]["gap"] == "eV"
    model = SchNetGen.from_pretrained("qm9")
    judged = evaluate(structures[:200], model=model, judges=(), jobs=1).figures()
    assert judged["valid"] > 195
    assert judged["novelty"] > 0.9
