import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from schnetgen_pyg import InputError, load
from schnetgen_pyg.data.molecules import Molecules
from tests.conftest import batch_of

TYPES = {"float": torch.float32, "double": torch.float64, "int": torch.int64, "bool": torch.bool}


def random(shape, dtype, generator):
    return (4 * torch.randn(shape, generator=generator)).to(dtype)


#: Of each kind of attribute: the value of a structure with n atoms and m edges.
KINDS = {
    "per_atom": lambda n, m, t, g: random((n,), t, g),
    "vectors": lambda n, m, t, g: random((n, 2, 3), t, g),
    "scalar": lambda n, m, t, g: random((), t, g),
    "per_graph": lambda n, m, t, g: random((1, 2), t, g),
    "three_numbers": lambda n, m, t, g: random((3,), t, g),
    "edge_attr": lambda n, m, t, g: random((m, 2), t, g),
    "edge_index": lambda n, m, t, g: torch.randint(n, (2, m), generator=g),
    "focus_index": lambda n, m, t, g: torch.randint(n, (1,), generator=g),
    "number": lambda n, m, t, g: int(torch.randint(99, (), generator=g)),
    "smiles": lambda n, m, t, g: "C" * n,
}


#: What stands for it where a structure with n atoms lacks it.
ABSENT = {
    "per_atom": lambda n: (n,),
    "vectors": lambda n: (n, 2, 3),
    "scalar": lambda n: (),
    "per_graph": lambda n: (1, 2),
    "three_numbers": lambda n: (3,),
    "edge_attr": lambda n: (0, 2),
    "edge_index": lambda n: (2, 0),
    "focus_index": lambda n: (0,),
    "number": lambda n: (),
}


@st.composite
def structures(draw):
    """Structures with any of the attributes, which of them lack which, and some of their numbers.
    The first one has four atoms and lacks nothing."""
    sizes = [4, *draw(st.lists(st.integers(1, 5), max_size=4))]
    chosen = sorted(draw(st.sets(st.sampled_from(sorted(KINDS)), max_size=5)))
    types = [TYPES[draw(st.sampled_from(sorted(TYPES)))] for _ in chosen]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    made = []
    for size in sizes:
        edges = draw(st.integers(0, 3))
        data = Data(z=torch.ones(size).long(), pos=torch.randn(size, 3, generator=generator))
        for name, dtype in zip(chosen, types, strict=True):
            data[name] = KINDS[name](size, edges, dtype, generator)
        made.append(data)
    others = st.integers(1, len(sizes) - 1) if len(sizes) > 1 else st.nothing()
    lacking = {name: draw(st.sets(others)) for name in chosen}
    taken = draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=6))
    return made, lacking, taken


def assert_same(found, wanted):
    for name in wanted.keys():  # noqa: SIM118
        if isinstance(wanted[name], torch.Tensor):
            torch.testing.assert_close(found[name], wanted[name], equal_nan=True, rtol=0, atol=0)
        else:
            assert found[name] == wanted[name], name


@given(structures())
@settings(deadline=None)
def test_a_batch_is_that_of_pyg(drawn):
    made, _, taken = drawn
    found = Molecules(made)[taken]
    wanted = Batch.from_data_list([made[k] for k in taken])
    assert set(found.keys()) == set(wanted.keys())
    assert_same(found, wanted)


@given(structures())
@settings(deadline=None)
def test_what_is_missing_reads_as_not_a_number(drawn):
    """The batch is PyG's of structures that have NaN, or no rows of edges, for what they lack."""
    made, lacking, taken = drawn
    filled = [data.clone() for data in made]
    for name, numbers in lacking.items():
        for number in numbers:
            del made[number][name]
            if name == "smiles":
                filled[number].smiles = "none"
                continue
            shape = ABSENT[name](filled[number].num_nodes)
            dtype = torch.as_tensor(filled[0][name]).dtype
            if 0 not in shape and not dtype.is_floating_point:
                dtype = torch.float64
                for data in filled:
                    data[name] = torch.as_tensor(data[name]).double()
            nan = torch.nan if dtype.is_floating_point else 0
            filled[number][name] = torch.full(shape, nan, dtype=dtype)
    found = Molecules(made)[taken]
    if "smiles" in found:
        found.smiles = [text or "none" for text in found.smiles]
    assert_same(found, Batch.from_data_list([filled[k] for k in taken]))


def labelled(size: int, **attributes) -> Data:
    data = batch_of([size]).to_data_list()[0]
    for name, value in attributes.items():
        data[name] = value
    return data


def test_labels_of_the_library():
    """Energies in double precision, a cell for each graph, forces for each atom."""
    cell = 5 * torch.eye(3)
    batch = Molecules(
        [
            labelled(1, energy=torch.tensor(-1.5), forces=torch.ones(1, 3), cell=cell),
            labelled(3, energy=torch.tensor([[2.5]]), index=7),
            labelled(2, energy=-0.1, info={"smiles": "C"}),
        ]
    )[[1, 2, 0]]
    assert batch.energy.tolist() == [2.5, -0.1, -1.5]
    assert batch.energy.dtype == torch.float64
    assert torch.equal(batch.cell, torch.stack([cell * 0, cell * 0, cell]))
    assert batch.forces.shape == batch.pos.shape
    assert torch.equal(batch.forces.isfinite().all(1), batch.batch == 2)
    assert batch.info == [None, {"smiles": "C"}, None]
    assert batch.index.nan_to_num(-1).tolist() == [7, -1, -1]


def test_the_number_of_a_structure_is_no_atom():
    batch = Molecules([labelled(2, index=torch.tensor([k])) for k in (5, 6)])[[1, 1, 0]]
    assert batch.index.tolist() == [6, 6, 5]


def test_all_batches_have_the_same_attributes():
    molecules = Molecules([labelled(2, charge=1, name="a"), labelled(3)])
    assert set(molecules[[0]].keys()) == set(molecules[[1]].keys())


def test_learning_goes_on_elsewhere():
    data = labelled(3)
    data.pos.requires_grad_()
    assert not Molecules([data])[[0]].pos.requires_grad


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"pairs": torch.ones(4, 4)}, r"structure 1: 'pairs' has shape \[4, 4\].*0 has \[3, 3\]"),
        ({"energy": torch.ones(4)}, r"structure 1: 'energy' must have shape \[1\], got \[4\]"),
        ({"adj": torch.eye(4).to_sparse()}, "structure 1: 'adj' is a sparse"),
        ({"pos": torch.ones(4, 2)}, r"structure 1: needs z \[num_atoms\] and pos"),
    ],
)
def test_what_cannot_be_kept_is_named(attributes, message):
    with pytest.raises(InputError, match=message):
        Molecules([labelled(3, pairs=torch.ones(3, 3)), labelled(4, **attributes)])
    with pytest.raises(InputError, match="no structures"):
        Molecules([])


def test_real_files_with_and_without_forces(shared):
    names = ("acetylacetone_isolated_atoms", "acac_test_dihedral", "ethanol_test_H_removal")
    files = [shared / "forces" / f"{name}.xyz.gz" for name in (*names, "ethanol_train")]
    data = load(*files)
    batch = Molecules(data)[range(0, len(data), 7)]
    chosen = data[::7]
    assert torch.equal(batch.energy, torch.cat([one.energy for one in chosen]))
    has = torch.tensor(["forces" in one for one in chosen])
    assert 0 < has.sum() < len(has)
    known = batch.forces.isfinite().all(1)
    assert torch.equal(known, has[batch.batch])
    wanted = torch.cat([one.forces for one in chosen if "forces" in one])
    assert torch.equal(batch.forces[known], wanted)
