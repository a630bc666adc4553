"""A training that goes wrong stops, says why, and keeps what was good."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch_geometric.data import Data

from schnetgen_pyg import InputError, SchNetGen, fit, fit_potential, generate
from schnetgen_pyg.data.splits import split
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.targets import TARGETS, Target
from tests.conftest import small_model
from tests.targets.test_labels import springs
from tests.training.test_generator import QUICK as GENERATOR
from tests.training.test_potential import QUICK, fresh


class PerBond(nn.Module):
    """The mean over a structure, by one less than its atoms: not finite for a single one."""

    fitted = True

    def __init__(self, channels):
        super().__init__()
        self.layer = nn.Linear(channels, 1)

    def fit(self, structures):
        pass

    def forward(self, features):
        size = torch.bincount(features.batch, minlength=features.num_graphs)
        y = self.layer(features.x)[:, 0]
        total = y.new_zeros(features.num_graphs).index_add(0, features.batch, y)
        return (total / (size - 1)).double()


class Sharp(Target):
    """A quantity whose network fails for some structures."""

    def head(self, hidden_channels, elements):
        return PerBond(hidden_channels)


TARGETS.register("test_sharp", Sharp("test_sharp"))


class Root(PerBond):
    """The root of the same: finite for a single atom, but without a slope."""

    def forward(self, features):
        size = torch.bincount(features.batch, minlength=features.num_graphs)
        y = self.layer(features.x)[:, 0].square()
        total = y.new_zeros(features.num_graphs).index_add(0, features.batch, y)
        return (total * (size - 1)).sqrt().double()


class Rotten(PerBond):
    """With a weight that no loss sees, and that is lost at the fourth call."""

    def __init__(self, channels):
        super().__init__(channels)
        self.spare, self.calls = nn.Parameter(torch.zeros(3)), 0

    def forward(self, features):
        self.calls += 1
        if self.calls == 4:
            self.spare.data.fill_(torch.nan)
        return super().forward(features)


class Perishable(Target):
    """A quantity whose network does not last."""

    def head(self, hidden_channels, elements):
        return Rotten(hidden_channels)


TARGETS.register("test_rotten", Perishable("test_rotten"))


class Steep(Target):
    """A quantity whose network has no slope for some structures."""

    def head(self, hidden_channels, elements):
        return Root(hidden_channels)


TARGETS.register("test_steep", Steep("test_steep"))


def with_an_atom_alone(place: int, name: str = "test_sharp") -> list[Data]:
    """Where a network of several atoms fails."""
    label = {name: torch.tensor([1.0])}
    data = [Data(z=d.z, pos=d.pos, **label) for d in springs(20)]
    data[place] = Data(z=torch.tensor([6]), pos=torch.zeros(1, 3), **label)
    return data


def sharp(name: str = "test_sharp") -> Potential:
    torch.manual_seed(0)
    settings = {"hidden_channels": 8, "num_filters": 8, "num_interactions": 1, "cutoff": 4.0}
    return Potential("schnet", (1, 6), (name,), **settings)


def all_finite(path) -> bool:
    state = torch.load(path, weights_only=True)["state_dict"]
    return all(bool(value.isfinite().all()) for value in state.values())


ONE_BY_ONE = QUICK | {"steps": 40, "batch_size": 2, "checkpoint_interval": 1, "num_validation": 2}


def test_the_structure_to_blame_is_named_and_the_rest_kept(tmp_path):
    """Whether it is trained on or held out."""
    parts = split(springs(20), num_validation=2, seed=0)
    for part, what in (("train", "the loss"), ("validation", "the validation loss")):
        place, out = parts[part][1], tmp_path / part
        with pytest.raises(InputError, match=rf"{what} is not finite: structure {place} alone"):
            fit_potential(sharp(), with_an_atom_alone(place), out, **ONE_BY_ONE)
        if (out / "last.ckpt").is_file():
            assert all_finite(out / "last.ckpt")
            Potential.from_pretrained(out / "model.safetensors")


def test_a_gradient_that_is_not_finite_spoils_no_weights(tmp_path):
    place = split(springs(20), num_validation=2, seed=0)["train"][0]
    data = with_an_atom_alone(place, "test_steep")
    with pytest.raises(InputError, match=rf"the gradient is not finite: structure {place} alone"):
        fit_potential(sharp("test_steep"), data, tmp_path, **ONE_BY_ONE)
    if (tmp_path / "last.ckpt").is_file():
        assert all_finite(tmp_path / "last.ckpt")


def test_weights_that_are_not_finite_replace_no_checkpoint(tmp_path):
    label = {"test_rotten": torch.tensor([1.0])}
    data = [Data(z=one.z, pos=one.pos, **label) for one in springs(20)]
    settings = ONE_BY_ONE | {"validation_interval": 1000}
    with pytest.raises(InputError, match=r"at step 4 some of the weights are not finite: no struc"):
        fit_potential(sharp("test_rotten"), data, tmp_path, **settings)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 3
    assert all_finite(tmp_path / "last.ckpt")


def test_a_model_is_kept_where_no_validation_came_before(tmp_path):
    """Steps before the bad structure are not lost, though nothing was saved yet."""
    settings = ONE_BY_ONE | {"validation_interval": 1000, "checkpoint_interval": 1000}
    seeds = iter(range(20))
    while True:  # until it is not in the very first batch
        out = tmp_path / f"{next(seeds)}"
        with pytest.raises(InputError, match="structure 3 alone") as told:
            fit_potential(sharp(), with_an_atom_alone(3), out, seed=int(out.name), **settings)
        if "at step 0" not in str(told.value):
            break
    kept = Potential.from_pretrained(out / "model.safetensors")
    assert f"at step {kept.provenance['step']} " in str(told.value)
    assert not torch.equal(
        kept.representation.embedding.weight, sharp().representation.embedding.weight
    )


def test_a_training_that_diverges(tmp_path):
    """No structure is to blame, and what was saved before stays."""
    settings = QUICK | {"checkpoint_interval": 1, "ema_decay": 0.0}
    fit_potential(fresh(), springs(), tmp_path, **(settings | {"steps": 4}))
    with pytest.raises(InputError, match=r"not finite: no structure alone.*lower learning_rate"):
        fit_potential(fresh(), springs(), tmp_path, **(settings | {"learning_rate": 1e36}))
    assert all_finite(tmp_path / "last.ckpt")
    assert Potential.from_pretrained(tmp_path / "model.safetensors").provenance["step"] <= 4


def test_another_learning_rate_of_a_run_that_continues(isomers, tmp_path):
    """It is taken: with one of almost zero the weights stand still."""

    def run(steps, rate):
        settings = GENERATOR | {"steps": steps, "learning_rate": rate}
        return fit(small_model(), isomers[:20], tmp_path, **settings).state_dict()

    before, after = run(4, 1e-3), run(8, 1e-12)
    for name, value in before.items():
        assert torch.allclose(value, after[name], atol=1e-7), name


def test_weights_that_are_not_finite_are_neither_saved_nor_used(tmp_path):
    model = small_model()
    good = tmp_path / "model.safetensors"
    model.save(good)
    content = good.read_bytes()
    with torch.no_grad():
        next(model.parameters())[0] = torch.nan
    with pytest.raises(InputError, match=r"weights in .* are not finite"):
        model.save(good)
    assert good.read_bytes() == content
    with pytest.raises(InputError, match=r"the model: .* not finite"):
        generate(model, "CH4", 1)
    weights = load_file(good)
    with safe_open(good, framework="pt") as file:
        header = file.metadata()
    next(iter(weights.values())).fill_(torch.inf)
    save_file(weights, good, header)
    with pytest.raises(InputError, match=r"model.safetensors: .* not finite"):
        SchNetGen.from_pretrained(good)


def test_a_fragment_of_atoms_in_one_place():
    model = small_model()
    twice = Data(z=torch.tensor([6, 6]), pos=torch.zeros(2, 3))
    with pytest.raises(InputError, match=r"fragment: (atoms 0 and 1|all coordinates)"):
        generate(model, "C3H8", 1, fragment=twice)


def test_what_no_generator_can_learn_is_refused_first(tmp_path, isomers):
    """Before anything is written."""
    twice, box = [one.clone() for one in isomers[:2]]
    twice.pos[5] = twice.pos[2]
    box.cell = 10 * torch.eye(3).unsqueeze(0)
    for wrong, message in (
        (twice, r"structure 0: atoms 2 and 5 are 0 Å apart"),
        (box, r"structure 1: is periodic"),
    ):
        with pytest.raises(InputError, match=message):
            fit(small_model(), [*isomers[5:7], wrong], tmp_path / "run", **GENERATOR)
    assert not (tmp_path / "run").exists()
