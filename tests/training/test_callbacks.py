import os
import shutil

import pytest
import torch

from schnetgen_pyg import InputError
from schnetgen_pyg.training.checkpoints import LAST, PREVIOUS, CheckpointFiles
from tests.conftest import full_disk


def state(step: int) -> dict:
    return {"global_step": step, "weights": torch.full((1000,), float(step))}


@pytest.fixture
def saved(tmp_path):
    """Two checkpoints, of steps 1 and 2."""
    for step in (1, 2):
        CheckpointFiles().save_checkpoint(state(step), tmp_path / LAST)
    return tmp_path / LAST


def step_of(path) -> int:
    return CheckpointFiles().load_checkpoint(path, weights_only=True)["global_step"]


def test_the_one_before_is_kept(saved):
    assert sorted(os.listdir(saved.parent)) == [LAST, PREVIOUS]
    assert step_of(saved) == 2
    assert step_of(saved.with_name(PREVIOUS)) == 1


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(saved, damage):
    damage(saved)
    files = CheckpointFiles()
    with pytest.warns(UserWarning, match=r"last.ckpt: cannot be read.*previous.ckpt, at step 1"):
        loaded = files.load_checkpoint(saved, weights_only=True)
    assert loaded["global_step"] == 1
    files.save_checkpoint(state(3), saved)  # which must not keep the damaged one
    assert step_of(saved) == 3
    assert step_of(saved.with_name(PREVIOUS)) == 1


def test_no_checkpoint_that_can_be_read(saved):
    truncate(saved)
    shutil.copyfile(saved, saved.with_name(PREVIOUS))
    with pytest.raises(InputError, match=r"last.ckpt: .*previous.ckpt: .*remove these files"):
        step_of(saved)
    saved.with_name(PREVIOUS).unlink()
    with pytest.raises(InputError, match=r"last.ckpt: cannot be read.*remove these files"):
        step_of(saved)


def test_full_disk_keeps_the_last_checkpoint(saved):
    with full_disk(2000), pytest.raises(InputError, match=r"last.ckpt: could not be written"):
        CheckpointFiles().save_checkpoint(state(3), saved)
    assert step_of(saved) == 2
    assert sorted(os.listdir(saved.parent)) == [LAST, PREVIOUS]
