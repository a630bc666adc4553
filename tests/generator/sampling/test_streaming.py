import ase.io
import pytest

from schnetgen_pyg import InputError, SamplingConfig
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


def test_full_disk_loses_no_molecule(model, tmp_path):
    config = SamplingConfig(**FAST, batch_size=2)
    generate_file(model, "CH4", 6, tmp_path / "whole.extxyz", config=config)
    path = tmp_path / "full.extxyz"
    with full_disk(1500), pytest.raises(InputError, match=r"partial.extxyz: could not be written"):
        generate_file(model, "CH4", 6, path, config=config)
    assert not path.exists()
    generate_file(model, "CH4", 6, path, config=config)
    assert path.read_text() == (tmp_path / "whole.extxyz").read_text()
