import os
from pathlib import Path

import pytest

from schnetgen_pyg import InputError
from schnetgen_pyg.data.readers import read
from schnetgen_pyg.data.writers import file_format, keep_whole_frames, write
from schnetgen_pyg.storage.atomic import replacing
from tests.conftest import METHANE


@pytest.mark.parametrize("suffix", [".xyz", ".extxyz", ".db", ".extxyz.gz", ".xyz.bz2"])
def test_what_is_written_is_read(tmp_path, suffix):
    path = tmp_path / f"two{suffix}"
    write(path, [METHANE, METHANE[:3]])
    first, second = read(path)
    assert first.pos.numpy() == pytest.approx(METHANE.positions, abs=1e-6)
    assert second.z.tolist() == [6, 1, 1]
    assert os.listdir(tmp_path) == [path.name]


def test_a_format_for_one_structure_is_refused():
    with pytest.raises(InputError, match=r"x.cube: no format for several structures"):
        file_format("x.cube")


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
