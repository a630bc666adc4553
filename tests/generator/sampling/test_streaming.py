import ase.io
import pytest

from schnetgen_pyg import InputError, SamplingConfig, generate
from schnetgen_pyg.data.readers import read
from schnetgen_pyg.generator.sampling.streaming import generate_file
from tests.conftest import full_disk

FAST = {"grid_extent": 2.0, "grid_spacing": 0.4, "temperature": 0.5}


def test_killed_generation_continues(model, tmp_path):
    """What was written before the kill stays, also when it came in the middle of a line."""
    config = SamplingConfig(**FAST, batch_size=2)
    generate_file(model, "CH4", 7, tmp_path / "whole.extxyz", config=config)

    class Killed(Exception):
        pass

    def kill_at_five(molecules, **_):
        for number, atoms in enumerate(molecules):
            if number == 5:
                raise Killed
            yield atoms

    path = tmp_path / "killed.extxyz"
    with pytest.raises(Killed):
        generate_file(model, "CH4", 7, path, config=config, progress=kill_at_five)
    partial = tmp_path / "killed.extxyz.partial.extxyz"
    partial.write_text(partial.read_text()[:-9])
    with pytest.raises(InputError, match="seed was 0, is now 1"):
        generate_file(model, "CH4", 7, path, config=config, seed=1)
    built = []
    generate_file(
        model,
        "CH4",
        7,
        path,
        config=config,
        progress=lambda m, **_: (built.append(a) or a for a in m),
    )
    assert [atoms.info["sample"] for atoms in built] == [4, 5, 6]
    assert path.read_text() == (tmp_path / "whole.extxyz").read_text()
    assert len(ase.io.read(path, ":")) == 7
    left = sorted(p.name for p in tmp_path.iterdir() if not p.name.endswith(".made.json"))
    assert left == ["killed.extxyz", "whole.extxyz"]


def test_a_finished_file_is_left_alone(model, tmp_path):
    config, path = SamplingConfig(**FAST), tmp_path / "x.extxyz"

    def make(num=2, **changes):
        return generate_file(model, "CH4", num, path, config=config, **changes)

    assert make()
    before = path.stat().st_mtime_ns
    assert not make()
    assert path.stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"seed was 0, is now 1.*--overwrite"):
        make(seed=1)
    with pytest.raises(InputError, match="num_molecules was 2, is now 3"):
        make(3)
    assert path.stat().st_mtime_ns == before
    assert make(3, seed=1, overwrite=True)
    assert len(ase.io.read(path, ":")) == 3
    path.write_text("of the user")
    with pytest.raises(InputError, match="is there already"):
        make(3, seed=1)


@pytest.mark.parametrize("name", ["x@1.extxyz", "x@300K.db", "x.sdf", "x.csv", "x.xyz.gz"])
def test_every_format_holds_the_same_molecules(model, tmp_path, name):
    path, config = tmp_path / name, SamplingConfig(**FAST)
    assert generate_file(model, "CH4", 3, path, config=config)
    assert not generate_file(model, "CH4", 3, path, config=config)
    if name == "x.csv":
        assert len(path.read_text().splitlines()) == 4
        return
    found = read(path)
    wanted = generate(model, "CH4", 3, config=config)
    for data, atoms in zip(found, wanted, strict=True):
        assert data.z.tolist() == atoms.numbers.tolist()
        assert data.pos.numpy() == pytest.approx(atoms.positions, abs=1e-4)


def test_full_disk_loses_no_molecule(model, tmp_path):
    config = SamplingConfig(**FAST, batch_size=2)
    generate_file(model, "CH4", 6, tmp_path / "whole.extxyz", config=config)
    path = tmp_path / "full.extxyz"
    with full_disk(1500), pytest.raises(InputError, match=r"partial.extxyz: could not be written"):
        generate_file(model, "CH4", 6, path, config=config)
    assert not path.exists()
    generate_file(model, "CH4", 6, path, config=config)
    assert path.read_text() == (tmp_path / "whole.extxyz").read_text()
