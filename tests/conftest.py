import contextlib
import os
import resource
from pathlib import Path
from typing import Any

import ase
import pytest
import torch
from torch_geometric.data import Batch, Data

from schnetgen_pyg import SchNetGen, load

SHARED = Path(__file__).parents[2] / "shared" / "data"

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))

needs_gpu = pytest.mark.gpu


def pytest_collection_modifyitems(items):
    """Tests for a GPU are skipped without one; those of kernels run in Triton's interpreter too."""
    if torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1":
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCHNETGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def isomers() -> list[Data]:
    """The embedded data set."""
    return load("c7h10o2-xtb")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data beside the repository, where it is present."""
    if not SHARED.is_dir():
        pytest.skip("the real data are not beside the repository")
    return SHARED


@contextlib.contextmanager
def full_disk(room: int):
    """No file can grow beyond ``room`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def model() -> SchNetGen:
    return small_model()


#: Settings of small networks.
SMALL: dict[str, dict[str, Any]] = {
    "schnet": {"num_filters": 12, "num_interactions": 2, "num_gaussians": 20},
    "dtnn": {"num_factors": 12, "num_interactions": 2},
    "painn": {"num_interactions": 2, "num_radial": 20},
    "dimenetpp": {"num_blocks": 1, "out_emb_channels": 16, "int_emb_size": 8},
    "equivariant_transformer": {"num_layers": 2, "num_rbf": 16, "num_heads": 4},
    "allegro": {"num_layers": 1, "num_tensor_features": 4, "l_max": 1},
    "gmnn": {},
}


def small_model(**changes) -> SchNetGen:
    torch.manual_seed(1)
    settings = {
        "hidden_channels": 16,
        "num_bins": 150,
        "num_head_layers": 2,
        "elements": (1, 6, 8),
        **SMALL.get(changes.get("representation", "schnet"), {}),
    }
    return SchNetGen(**(settings | changes)).eval()


def deciding(*names: str) -> dict[str, Any]:
    """Settings of a generator that also decides on these."""
    order = ("next_type", "valence_state", "hydrogens", "focus")
    conditions = ["remaining_formula"] if {"next_type", "hydrogens"} & {*names} else []
    return {
        "order": "bonded",
        "decisions": (*(name for name in order if name in names), "distance"),
        "conditions": conditions + ["valence_states"] * ("valence_state" in names),
    }


def batch_of(sizes, seed=0, spread=2.0) -> Data:
    """Random molecules of the given sizes."""
    generator = torch.Generator().manual_seed(seed)
    elements = torch.tensor([1, 6, 8])
    return Batch.from_data_list(
        [
            Data(
                z=elements[torch.randint(3, (size,), generator=generator)],
                pos=spread * torch.randn(size, 3, generator=generator),
            )
            for size in sizes
        ]
    )


METHANE = ase.Atoms(
    "CH4",
    [
        [0, 0, 0],
        [0.63, 0.63, 0.63],
        [-0.63, -0.63, 0.63],
        [-0.63, 0.63, -0.63],
        [0.63, -0.63, -0.63],
    ],
)
