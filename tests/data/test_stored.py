import gc
import hashlib
import json
import pickle
import weakref

import ase.io
import numpy as np
import pytest
import torch
from ase.build import molecule
from torch.utils.data import DataLoader
from torch_geometric.data import Data

from schnetgen_pyg import InputError, load
from schnetgen_pyg.data.convert import convert
from schnetgen_pyg.data.digest import digest
from schnetgen_pyg.data.lewis_structures import states_in, with_lewis_structures
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.data.perceived import beyond_states, stored_states, with_stored_lewis
from schnetgen_pyg.data.readers import read
from schnetgen_pyg.data.readers.npz import save_npz
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.data.writers import write
from tests.conftest import METHANE


def various() -> list[Data]:
    """Structures of 1 to 6 atoms with attributes of every kind, which some lack."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for number, size in enumerate((4, 1, 6, 3)):
        data = Data(z=torch.full((size,), 6), pos=3 * torch.randn(size, 3, generator=generator))
        data.energy = torch.tensor([-1.5 - number], dtype=torch.float64)
        data.forces = torch.randn(size, 3, generator=generator)
        data.tags = torch.arange(size) > 1
        data.edge_index = torch.randint(size, (2, size + 1), generator=generator)
        data.charge, data.weight, data.zero_dim = 0, 0.1 * number, torch.tensor(number)
        data.info = {"name": f"Å {number}", "list": [1, None, {"a": 2.5}]}
        if number % 2:
            data.cell = 10 * torch.eye(3)[None]
            data.charges = torch.randn(size, generator=generator).double()
            data.labels = ["x"] * size
        made.append(data)
    return made


@pytest.fixture
def stored(tmp_path) -> StoredStructures:
    return convert(various(), out=tmp_path / "some.safetensors", perceive=False)


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        exact = {"rtol": 0, "atol": 0, "equal_nan": True}
        torch.testing.assert_close(other, one, **exact)  # also the type
        return True
    return type(one) is type(other) and one == other


def same_data(one: Data, other: Data) -> bool:
    a, b = one.to_dict(), other.to_dict()
    return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)


def test_every_attribute_comes_back(stored):
    """Also those that some lack, which the others then lack too."""
    assert len(stored) == 4
    assert all(map(same_data, stored, various()))
    assert same_data(stored[-1], various()[3])
    with pytest.raises(IndexError, match="structure 4 of 4"):
        stored[4]


def test_a_shape_that_differs_comes_back(tmp_path):
    """PyG could not join them."""
    structures = [
        Data(z=torch.tensor([2]), pos=torch.zeros(1, 3), x=x)
        for x in (torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(2, 3).double(), 5, "5", None)
    ]
    found = convert(structures, out=tmp_path / "x.safetensors", perceive=False)
    assert all(same(one.get("x"), two.get("x")) for one, two in zip(found, structures, strict=True))
    with pytest.raises(InputError, match="'x' cannot be taken in batches"):
        Molecules(found)


def test_some_of_them_stay_in_the_file(stored):
    for index in ([2, 0], slice(1, None), torch.tensor([3, 3]), []):
        part = stored[index]
        numbers = torch.arange(4)[
            index if isinstance(index, slice) else torch.as_tensor(index).long()
        ]
        assert isinstance(part, StoredStructures)
        assert [d.weight for d in part] == [various()[k].weight for k in numbers.tolist()]
        assert part.sizes.tolist() == [various()[k].z.numel() for k in numbers.tolist()]
    assert stored[[3, 2, 1]][[0, 2]][1].z.numel() == 1
    assert set(stored.only("z", "pos")[0].to_dict()) == {"z", "pos"}


def test_batches_are_those_of_a_list(stored):
    """With what stands for a missing value, shifted edges, and types."""
    chosen = [2, 0, 1]
    whole, part = Molecules(various())[chosen], Molecules(various())[[3, 1]]
    assert same_data(Molecules(stored)[chosen], whole)
    assert same_data(Molecules(stored[[1, 3]])[[1, 0]], part)


@pytest.mark.parametrize("workers", [0, 2])
def test_other_processes_open_the_file_themselves(stored, workers):
    batches = [[0, 2], [3, 1], [1]]
    molecules = Molecules(stored)
    loader = DataLoader(
        molecules,
        sampler=batches,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
    )
    wanted = [Molecules(various())[batch] for batch in batches]
    assert all(map(same_data, loader, wanted))
    content = pickle.dumps(stored[[3, 0]].only("z", "pos"))
    assert len(content) < 10_000
    assert torch.equal(pickle.loads(content)[0].pos, various()[3].pos)


def test_a_file_that_was_replaced_is_not_taken_for_the_old_one(stored):
    content = pickle.dumps(stored)
    convert(various()[:2], out=stored.path, perceive=False)
    assert len(stored[3].z) == 3  # it was open
    with pytest.raises(InputError, match="was replaced by another file"):
        pickle.loads(content)


def test_what_a_caller_changes_is_not_in_the_file(stored):
    stored[0].pos.zero_()
    stored[0].z.zero_()
    assert same_data(stored[0], various()[0])


@pytest.mark.parametrize("suffix", [".xyz", ".db", ".sdf", ".npz", ".extxyz.gz"])
def test_made_of_files(tmp_path, suffix):
    """What `load` reads of them, and where it is from."""
    frames = [molecule(name) for name in ("CH3OH", "CH3CH2OH", "C6H6", "CH3OCH3")]
    for number, atoms in enumerate(frames):
        atoms.info["id"] = number
    file = tmp_path / f"some{suffix}"
    if suffix == ".npz":
        save_npz(
            file,
            [
                Data(
                    z=torch.tensor(a.numbers), pos=torch.tensor(a.positions).float(), info={"id": k}
                )
                for k, a in enumerate(frames)
            ],
        )
    elif suffix == ".sdf":
        write(file, frames)
    else:
        ase.io.write(file, frames)
    found = convert(file, file, out=tmp_path / "some.safetensors", perceive=False)
    assert all(map(same_data, found, [*load(file), *load(file)]))
    assert isinstance(load(found.path), StoredStructures)
    content = file.read_bytes()
    entry = {"name": file.name, "bytes": len(content), "num_structures": 4}
    entry["sha256"] = hashlib.sha256(content).hexdigest()
    assert found.metadata["sources"] == [entry, entry]


def test_made_of_smiles(tmp_path):
    """Embedded; hydrogens, charges and names are there."""
    (tmp_path / "a.smi").write_text("CCO ethanol\n\n[NH4+]\n")
    (tmp_path / "b.csv").write_text("id,SMILES\n7,c1ccccc1\n")
    found = convert(tmp_path / "a.smi", tmp_path / "b.csv", out=tmp_path / "s.safetensors")
    assert [data.z.numel() for data in found] == [9, 5, 12]
    assert [data.info.get("name", data.info.get("id")) for data in found] == ["ethanol", None, "7"]
    assert found[1].charge == 1
    _, failed = with_stored_lewis(found)
    assert not failed
    (tmp_path / "a.smi").write_text("CCO\nCC(C\n")
    with pytest.raises(InputError, match=r"a\.smi: structure 1 \(line 2\): 'CC\(C' is no SMILES"):
        load(tmp_path / "a.smi")


def test_memory_is_bounded(tmp_path):
    """Of a long stream of structures few are alive at a time."""
    alive = most = 0

    def gone():
        nonlocal alive
        alive -= 1

    def stream():
        nonlocal alive, most
        for number in range(3000):
            data = Data(z=torch.tensor([2]), pos=torch.zeros(1, 3), number=number)
            weakref.finalize(data, gone)
            alive += 1
            most = max(most, alive)
            yield data
            if number % 500 == 0:
                gc.collect()

    found = convert(stream(), out=tmp_path / "many.safetensors", perceive=False)
    assert len(found) == 3000
    assert found[2999].number == 2999
    assert most <= 1200


def test_readers_give_structures_one_after_the_other(tmp_path):
    """A fault in a later one does not keep the first from coming."""
    from schnetgen_pyg.data.readers import CHUNK, stream

    ase.io.write(tmp_path / "long.xyz", [METHANE] * (CHUNK + 1))
    with (tmp_path / "long.xyz").open("a") as file:
        file.write("no frame\n")
    structures = stream(tmp_path / "long.xyz")
    assert next(structures).z.numel() == 5
    with pytest.raises(InputError, match=rf"long\.xyz: .*{CHUNK + 1} structures were read"):
        list(structures)


def test_a_fault_leaves_the_old_file(stored, tmp_path):
    """Named with file and structure; nothing else is left."""
    ase.io.write(tmp_path / "bad.xyz", [METHANE, ase.Atoms("CO", np.zeros((2, 3)))])
    before = stored.path.read_bytes()
    with pytest.raises(InputError, match=r"bad\.xyz: structure 1: all coordinates are zero"):
        convert(tmp_path / "bad.xyz", out=stored.path)
    assert stored.path.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"bad.xyz", stored.path.name}
    with pytest.raises(InputError, match="structure 0: 'when' holds what JSON cannot"):
        convert([Data(**various()[0].to_dict(), when=object())], out=stored.path)
    with pytest.raises(InputError, match=r"written as \.safetensors"):
        convert(tmp_path / "bad.xyz", out=tmp_path / "x.npz")


def test_what_is_no_such_file_is_refused(stored, tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(stored.path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"damaged\.safetensors: not a readable file"):
        load(damaged)
    model = tmp_path / "model.safetensors"
    from tests.conftest import small_model

    small_model().save(model)
    with pytest.raises(InputError, match="holds no structures but a model"):
        load(model)
    with pytest.raises(InputError, match="make one file of all"):
        load(stored.path, model)
    with pytest.raises(InputError, match="keys and units are told when it is made"):
        load(stored.path, units={"energy": "eV"})


def test_the_file_is_one_of_safetensors(stored):
    """Which any program reads, and runs nothing."""
    from safetensors.numpy import load_file

    arrays = load_file(stored.path)
    assert arrays["ptr"].tolist() == [0, 4, 5, 11, 14]
    assert np.array_equal(arrays["pos"], np.concatenate([d.pos.numpy() for d in various()]))
    assert json.dumps(stored.metadata)


def test_the_digest_is_that_of_a_list(isomers, tmp_path):
    found = convert(isomers[:5], out=tmp_path / "i.safetensors", perceive=False)
    assert digest(found) == digest(isomers[:5])
    assert digest(found[[3, 1]]) == digest([isomers[3], isomers[1]])


def test_perception_is_that_of_a_list(tmp_path, isomers):
    """Lewis structures, why there are none, valence states, and who has others."""
    frames = [molecule(name) for name in ("CH3NO2", "CH3", "C2H6", "NH3")]
    file = tmp_path / "some.extxyz"
    ase.io.write(file, [*frames, ase.Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"charge": -1})])
    whole = read(file)
    found = convert(file, out=tmp_path / "some.safetensors")
    wanted, failed = with_lewis_structures(whole)
    kept, theirs = with_stored_lewis(found)
    assert theirs == failed == {"radical": [1]}
    learnable = [data for data in wanted if data is not None]
    for one, two in zip(kept, learnable, strict=True):
        assert torch.equal(one.formal_charge, two.formal_charge)
        assert torch.equal(one.valence, two.valence)
    states = states_in(learnable)
    assert stored_states(kept) == states
    assert beyond_states(kept, states) == []
    assert beyond_states(kept, states_in(learnable[1:])) == [0]
    unperceived = convert(file, out=tmp_path / "other.safetensors", perceive=False)
    with pytest.raises(InputError, match="made without perception"):
        with_stored_lewis(unperceived)
