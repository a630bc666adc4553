import json
import pickle

import pytest
import torch
from safetensors.torch import save_file
from scipy.spatial.transform import Rotation
from torch_geometric.data import Data

from schnetgen_pyg import InputError, SchNetGen, generate
from schnetgen_pyg import log_prob as log_prob_of
from schnetgen_pyg.accelerated import chunks
from schnetgen_pyg.generator.losses import losses
from schnetgen_pyg.generator.new_atom_product import NewAtomProduct
from schnetgen_pyg.generator.placement import PENALTY
from schnetgen_pyg.representations import REPRESENTATIONS
from tests.conftest import batch_of, deciding, full_disk, small_model


@pytest.fixture
def inputs():
    batch = batch_of([5, 1, 8])
    return batch.z, batch.pos, torch.tensor([6, 1, 8]), batch.batch


def test_distributions_sum_to_one(model, inputs):
    log_prob = model(*inputs)
    assert log_prob.shape == (14, 150)
    assert torch.allclose(log_prob.exp().sum(1), torch.ones(14), atol=1e-5)


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_every_representation(inputs, name):
    """The same distributions from one partial molecule as from the steps of a training batch,
    and molecules from all of them."""
    model = small_model(
        representation=name, cutoff=4.0, **deciding("focus", "next_type", "hydrogens")
    )
    z, pos, next_z, batch = inputs
    remaining = torch.ones(3, 3)
    log_prob = model(z, pos, next_z, batch, remaining=remaining)
    assert torch.allclose(log_prob.exp().sum(1), torch.ones(14), atol=1e-5)
    parts = losses(model, batch_of([5, 8]), torch.Generator().manual_seed(0))
    assert all(torch.isfinite(part) for part in parts.values())
    molecules = generate(model, "C2H2O", 2, seed=0, temperature=1.0, log_prob=True)
    again = log_prob_of(model, molecules).value
    sampled = torch.tensor([atoms.info["log_prob"] for atoms in molecules])
    assert torch.allclose(again, sampled, atol=1e-3)


@pytest.mark.parametrize("cutoff", [None, 3.0])
def test_invariance(inputs, cutoff):
    model = small_model(cutoff=cutoff)
    z, pos, next_z, batch = inputs
    reference = model(z, pos, next_z, batch)
    rotation = torch.tensor(Rotation.random(rng=0).as_matrix()).float()
    for moved in (pos @ rotation.T, -pos, pos + 7.0):
        assert torch.allclose(model(z, moved, next_z, batch), reference, atol=1e-4)
    order = torch.randperm(14)
    permuted = model(z[order], pos[order], next_z, batch[order])
    assert torch.allclose(permuted, reference[order], atol=1e-4)


def test_batch_equals_single(inputs):
    model = small_model(cutoff=3.0, **deciding("focus"))
    z, pos, next_z, batch = inputs
    together = model(z, pos, next_z, batch)
    for graph in range(3):
        mask = batch == graph
        alone = model(z[mask], pos[mask], next_z[graph : graph + 1])
        assert torch.allclose(alone, together[mask], atol=1e-5)


def test_new_atom_matters(model, inputs):
    z, pos, next_z, batch = inputs
    assert not torch.allclose(model(*inputs), model(z, pos, next_z.flip(0), batch), atol=1e-3)


def test_new_atom_product():
    x, new, batch = torch.randn(5, 3), torch.randn(2, 3), torch.tensor([0, 0, 1, 1, 1])
    assert torch.allclose(NewAtomProduct()(x, new, batch), x * new[batch])


def test_wrong_shapes(model):
    z = torch.tensor([6, 6])
    with pytest.raises(InputError, match=r"\[2, 3\], got \[3, 2\]"):
        model(z, torch.zeros(3, 2), torch.tensor([1]))
    with pytest.raises(InputError, match=r"next_z.*\[1\], got \[2\]|next_z"):
        model(z, torch.zeros(2, 3), torch.tensor([[1, 1]]))


def test_paper_architecture():
    model = SchNetGen()
    assert len(model.representation.interactions) == 9
    assert model.distance.bins.centers.numel() == 300
    widths = [layer.out_features for layer in model.distance.head if hasattr(layer, "out_features")]
    assert widths == sorted(widths)
    assert widths[-1] == 300


def test_save_and_load(model, inputs, tmp_path):
    model.provenance = {"steps": 3}
    model.save(tmp_path / "m.safetensors")
    loaded = SchNetGen.from_pretrained(tmp_path / "m.safetensors")
    assert loaded.config == model.config
    assert loaded.provenance == {"steps": 3}
    assert torch.equal(loaded(*inputs), model(*inputs))


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code in the file was executed')",))


def test_loading_runs_no_code_and_names_the_file(model, tmp_path):
    path = tmp_path / "evil.safetensors"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match=r"evil.safetensors: not a readable safetensors"):
        SchNetGen.from_pretrained(path)
    with pytest.raises(InputError, match="neither a file nor a bundled checkpoint"):
        SchNetGen.from_pretrained("no-such-model")
    model.save(tmp_path / "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:500])
    with pytest.raises(InputError, match=r"cut.safetensors"):
        SchNetGen.from_pretrained(tmp_path / "cut.safetensors")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format": 99, "config": {}}, "checkpoint format 99.*reads format"),
        (None, "checkpoint format None"),
        ({"format": 1, "config": {"elements": [1]}}, "checkpoint format 1.*reads format"),
        ({"format": 2, "config": {"elements": [1], "warp": 9}}, r"unknown settings \['warp'\]"),
        ({"format": 2}, "no configuration with elements"),
        ({"format": 2, "config": {}}, "no configuration with elements"),
        ({"format": 2, "config": [1, 6]}, "no configuration with elements"),
        ({"format": 2, "config": {"elements": ["C"]}}, "configuration cannot be used"),
        ({"format": 2, "config": {"elements": [999]}}, "configuration cannot be used"),
        ({"format": 2, "config": {"elements": [1], "num_bins": "x"}}, "cannot be used"),
        ({"format": 2, "config": {"elements": [1], "num_bins": 1}}, "num_bins must be at least 2"),
        ({"format": 2, "config": {"elements": [1]}}, "weights and configuration disagree"),
    ],
)
def test_checkpoints_of_another_version(header, message, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, path, {"schnetgen_pyg": json.dumps(header)})
    with pytest.raises(InputError, match=message) as error:
        SchNetGen.from_pretrained(path)
    assert "other.safetensors" in str(error.value)


def test_full_disk_keeps_the_old_checkpoint(model, tmp_path):
    path = tmp_path / "m.safetensors"
    model.save(path)
    before = path.read_bytes()
    with full_disk(2000), pytest.raises(InputError, match=r"m.safetensors: could not be written"):
        model.save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("parts", [{}, deciding("focus")], ids=["paper", "focus"])
def test_scores_are_log_probabilities_up_to_a_constant(parts, monkeypatch):
    """Whole or in blocks; with a focus, in reach of it."""
    model = small_model(**parts).eval()
    batch = batch_of([5, 8])
    partial = Data(pos=3 * batch.pos, batch=batch.batch)
    x = torch.randn(13, 16)
    focus = torch.tensor([2, 9])
    arguments = x, partial, focus if parts else None
    expected = model.distance.scores(*arguments).log_softmax(1)
    monkeypatch.setattr(chunks, "CPU_CHUNK", 4 * 150)
    with torch.no_grad():
        scores = model.distance.scores(*arguments)
        assert torch.allclose(scores.log_softmax(1), expected, atol=1e-5)
        if not parts:
            return
        near = model.distance.scores(*arguments, reach=1.5)
    to_focus = (partial.pos - partial.pos[focus[batch.batch]]).norm(dim=1, keepdim=True)
    bins = near.shape[1]
    centers = model.distance.bins.centers[:bins]
    reached = (centers - to_focus).abs() <= 1.5
    assert torch.allclose(near[reached], scores[:, :bins][reached], atol=1e-5)
    assert (near[(centers - to_focus).abs() > 6.0] == PENALTY).any()
    beyond = model.distance.bins.centers[bins:] - to_focus
    assert (beyond > 1.5).all()
