import json

import pytest
import torch
from torch_geometric.data import Batch, Data

from schnetgen_pyg import InputError
from schnetgen_pyg.data.batches import BatchSampler
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.data.splits import split
from tests.conftest import batch_of


def test_batches_cover_every_molecule_once_per_pass():
    sampler = BatchSampler(10, 3, 8, seed=0)
    first, second = ([i for b in range(k, k + 4) for i in sampler.batch(b)] for k in (0, 4))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    sampler.start = 5
    assert list(sampler) == [sampler.batch(k) for k in (5, 6, 7)]
    whole = sampler.batch(2)
    sampler.world_size = 2
    shares = []
    for sampler.rank in (0, 1):
        shares += sampler.batch(2)
    assert sorted(shares) == sorted(whole)


def test_molecules_are_taken_as_pyg_would_collate_them():
    structures = batch_of([3, 1, 5, 2]).to_data_list()
    taken = Molecules(structures)[[2, 0, 3]]
    expected = Batch.from_data_list([structures[k] for k in (2, 0, 3)])
    for name in ("z", "pos", "batch", "ptr"):
        assert torch.equal(taken[name], expected[name]), name


@pytest.fixture
def structures() -> list[Data]:
    return batch_of([3] * 50).to_data_list()


def test_split_is_kept(structures, tmp_path):
    path = tmp_path / "split.json"
    train, validation = split(structures, 10, 3, path)
    assert sorted(train + validation) == list(range(50))
    assert split(structures, 10, 99, path) == (train, validation)
    assert json.loads(path.read_text())["seed"] == 3
    with pytest.raises(InputError, match=r"split.json.*50 structures, the data hold 49"):
        split(structures[:49], 10, 3, path)
    with pytest.raises(InputError, match="cannot hold out 9 of 9"):
        split(structures[:9], 9, 0)


@pytest.mark.parametrize("change", ["position", "type", "order"])
def test_a_split_is_of_these_very_structures(structures, tmp_path, change):
    path = tmp_path / "split.json"
    split(structures, 10, 3, path)
    other = [data.clone() for data in structures]
    if change == "position":
        other[7].pos[0, 1] += 0.001
    elif change == "type":
        other[7].z[2] = 7
    else:
        other.reverse()
    with pytest.raises(InputError, match=r"split.json.*of other ones.*another folder"):
        split(other, 10, 3, path)


def test_a_split_of_an_earlier_version_is_taken(structures, tmp_path):
    path = tmp_path / "split.json"
    expected = split(structures, 10, 3, path)
    saved = json.loads(path.read_text())
    del saved["data"]
    path.write_text(json.dumps(saved))
    assert split(structures, 10, 3, path) == expected


@pytest.mark.parametrize("text", ["", "[]", '{"train": [1]}', "{"])
def test_a_damaged_split_is_named(structures, tmp_path, text):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(InputError, match=r"split.json: damaged; remove it"):
        split(structures, 10, 3, tmp_path / "split.json")


def test_single_atoms_are_counted_and_left_out():
    sizes = [1, 3, 2, 1, 4, 5]
    structures = batch_of(sizes).to_data_list()
    with pytest.warns(UserWarning, match="2 of 6 structures are single atoms"):
        train, validation = split(structures, 1, 0)
    assert sorted(train + validation) == [1, 2, 4, 5]
    with (
        pytest.warns(UserWarning, match="1 of 1 structures"),
        pytest.raises(InputError, match="two atoms or more"),
    ):
        split(structures[:1], 0, 0)
