"""Properties as a condition: any columns of the data, any of them given."""

import copy
import math
from dataclasses import replace

import ase.io
import ase.units
import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

from schnetgen_pyg import InputError, SchNetGen, fit, generate, load, log_prob
from schnetgen_pyg.data.conversion import from_ase, to_ase
from schnetgen_pyg.data.convert import convert
from schnetgen_pyg.data.properties import Property, properties_in, property_values
from schnetgen_pyg.generator.conditions.hiding import NOTHING, hide_some
from schnetgen_pyg.generator.losses import losses
from schnetgen_pyg.testing import check_condition
from tests.conftest import deciding, small_model
from tests.molecules import embedded
from tests.training.test_generator import QUICK, weights

ALL = deciding("next_type", "valence_state", "hydrogens", "focus")
CONDITIONS = (*ALL["conditions"], "properties")
GAP, MU = Property("gap", 4.0, 1.0, 2.0, 7.0, "eV"), Property("mu", 1.0, 0.5, 0.0, 3.0)


def told(**changes) -> SchNetGen:
    """A small model that knows of two properties, and of p(Z)."""
    known = {"conditions": CONDITIONS, "properties": (GAP, MU), "max_counts": (12, 8, 3)}
    return small_model(**(ALL | known | changes))


def awake(model: SchNetGen) -> SchNetGen:
    """With other last layers than zeros."""
    generator = torch.Generator().manual_seed(5)
    for weight in model.conditions["properties"].parameters():
        if not weight.any():
            weight.data.normal_(std=0.5, generator=generator)
    return model


def with_properties(structures) -> list[Data]:
    return [
        Data(z=d.z, pos=d.pos, gap=2.0 + 0.2 * k, info={"mu": 0.1 * k})
        for k, d in enumerate(structures)
    ]


def same(one, other, atol=1e-4) -> bool:
    return all(
        a.numbers.tolist() == b.numbers.tolist() and abs(a.positions - b.positions).max() < atol
        for a, b in zip(one, other, strict=True)
    )


def test_contract(isomers):
    molecules = Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in isomers[:3]])
    molecules.gap, molecules.mu = torch.tensor([2.5, 4.0, 9.0]), torch.tensor([0.1, 1.0, 2.0])
    check_condition("properties", told(), molecules)


def test_a_value_beyond_the_range_is_not_its_edge():
    condition = awake(told()).conditions["properties"]
    values = torch.tensor([[7.0, 1.0], [9.0, 1.0], [11.0, 1.0]])
    edge, beyond, far = condition(Data(properties=values))
    assert (edge - beyond).abs().max() > 0.1
    assert (far - beyond).abs().max() > 0.1


def test_what_is_told_in_training():
    """Nothing of a fifth of the molecules, any subset of the others; their partial molecules and
    their formula alike."""
    model = told()
    size = 4000
    molecules = Data(ptr=torch.arange(size + 1), gap=torch.full((size,), 4.0), mu=torch.ones(size))
    hide_some(model.conditions.values(), molecules, torch.Generator().manual_seed(0))
    given = torch.stack([molecules.gap, molecules.mu], 1).isfinite()
    for subset, expected in (
        ((False, False), NOTHING + (1 - NOTHING) / 3),
        ((True, False), (1 - NOTHING) / 6),
        ((True, True), (1 - NOTHING) / 3),
    ):
        share = (given == torch.tensor(subset)).all(1).float().mean().item()
        assert share == pytest.approx(expected, abs=0.03)


def test_partial_molecules_and_the_formula_are_told_the_same(isomers, monkeypatch):
    model = told()
    condition = model.conditions["properties"]
    seen = {}
    forward, of_molecules = condition.forward, condition.of_molecules
    monkeypatch.setattr(
        condition, "forward", lambda p: seen.update(partial=copy.copy(p)) or forward(p)
    )
    monkeypatch.setattr(
        condition, "of_molecules", lambda m: seen.update(whole=copy.copy(m)) or of_molecules(m)
    )
    batch = Batch.from_data_list([Data(z=d.z, pos=d.pos) for d in isomers[:8]])
    batch.gap, batch.mu = torch.linspace(2, 6, 8), torch.linspace(0, 2, 8)
    losses(model, batch, torch.Generator().manual_seed(1))
    whole = torch.stack([seen["whole"].gap, seen["whole"].mu], 1)
    assert 0 < int(whole.isnan().sum()) < 16
    assert torch.equal(
        whole[seen["partial"].molecule].nan_to_num(-1), seen["partial"].properties.nan_to_num(-1)
    )
    assert batch.gap.isfinite().all()  # what was given stays


def test_a_new_model_begins_as_one_without():
    without = small_model(**ALL | {"max_counts": (12, 8, 3)})
    model = told()
    model.load_state_dict(without.state_dict(), strict=False)
    asked = {"targets": {"gap": 4.0}, "seed": 1}
    assert same(generate(model, None, 3, **asked), generate(without, None, 3, seed=1), 1e-6)


def test_molecules_of_a_batch_have_their_own_targets():
    model = awake(told())
    gaps = [2.5, None, 6.5, 2.5]
    mixed = generate(model, "C4H8O", 4, seed=2, targets={"gap": gaps, "mu": [1.0, math.nan] * 2})
    assert [atoms.info.get("gap_target") for atoms in mixed] == [2.5, None, 6.5, 2.5]
    assert [atoms.info.get("gap_unit") for atoms in mixed] == ["eV", None, "eV", "eV"]
    for number, targets in enumerate(
        ({"gap": 2.5, "mu": 1.0}, {}, {"gap": 6.5, "mu": 1.0}, {"gap": 2.5})
    ):
        alone = generate(model, "C4H8O", 4, seed=2, targets=targets)
        assert same([mixed[number]], [alone[number]])
    assert not same([mixed[3]], [generate(model, "C4H8O", 4, seed=2)[3]])


@pytest.mark.slow
def test_in_any_batch_and_number_of_processes():
    model = awake(told())
    settings = {"seed": 3, "targets": {"gap": [3.0, 5.0] * 4}, "guidance": 1.0}
    reference = generate(model, None, 8, **settings, jobs=1)
    for split in ({"batch_size": 3, "jobs": 1}, {"batch_size": 2, "jobs": 2}):
        assert same(reference, generate(model, None, 8, **settings, **split))


def test_log_prob_is_that_of_what_was_told():
    model = awake(told())
    settings = {"seed": 2, "restarts": 0, "gibbs_rounds": 0, "temperature": 1.0}
    targets = {"gap": 6.5}
    made = generate(model, "C2H2O", 4, targets=targets, log_prob=True, guidance=0.5, **settings)
    said = torch.tensor([atoms.info["log_prob"] for atoms in made])
    assert said.isfinite().any()
    found = log_prob(model, made, targets=targets, composition=True)
    known = found.value - found.parts["composition"]
    assert torch.allclose(known, said, atol=1e-3)
    other = log_prob(model, made, composition=True)
    assert not torch.allclose(other.value - other.parts["composition"], said, atol=1e-2)
    assert (other.parts["composition"] - found.parts["composition"]).abs().max() > 1e-3


@pytest.fixture(scope="module")
def by_size(tmp_path_factory):
    """A model trained on methane and propane, told a number by which they can be told apart."""
    pair, data = (embedded("C"), embedded("CCC")), []
    for k in range(30):
        atoms = pair[k % 2].copy()
        atoms.info = {"size": 1.0 + 2.0 * (k % 2) + 0.01 * k}
        data.append(from_ase(atoms))
    model = small_model(
        **ALL | {"conditions": CONDITIONS, "properties": properties_in(data, ["size"])},
        elements=(1, 6),
        max_counts=(8, 3),
    )
    quick = QUICK | {"steps": 60, "learning_rate": 1e-2, "validation_interval": 60}
    return fit(model, data, tmp_path_factory.mktemp("size"), hydrogen_steps=1, **quick)


def share_of_methane(model, **settings) -> float:
    made = generate(model, None, 60, seed=0, gibbs_rounds=0, restarts=0, **settings)
    return sum(atoms.symbols.count("C") == 1 for atoms in made) / 60


def test_the_composition_follows(by_size):
    """Asked for a value, the model draws the formula that has it; asked for nothing, any."""
    low, high = (share_of_methane(by_size, targets={"size": size}) for size in (1.1, 3.2))
    assert low > 0.8
    assert high < 0.2
    assert 0.2 < share_of_methane(by_size) < 0.8


def test_guidance_exaggerates(by_size):
    """In between, where the model is not sure."""
    told = [share_of_methane(by_size, targets={"size": 1.9}, guidance=w) for w in (0.0, 2.0)]
    untold = share_of_methane(by_size)
    assert abs(told[1] - untold) >= abs(told[0] - untold)


def test_training_with_any_subset_of_labels(isomers, tmp_path):
    """In memory and in a file to the same weights; a structure may lack any."""
    data = with_properties(isomers[:24])
    del data[3].gap
    data[4].gap = math.nan
    data[5].info = {"mu": "0.25"}  # as tables have it
    for k in range(6, 24):
        del data[k].info["mu"]
    known = properties_in(data, ["gap", "mu"])
    assert known[1].high == pytest.approx(0.4)
    stored = convert(data, out=tmp_path / "data.safetensors", jobs=1)
    assert properties_in(stored, ["gap", "mu"]) == known
    quick = QUICK | {"steps": 4, "validation_interval": 2, "num_samples": 1}
    found = [
        fit(told(properties=known), structures, tmp_path / name, **quick)
        for name, structures in (("list", data), ("stored", stored))
    ]
    assert torch.equal(*map(weights, found))
    loaded = SchNetGen.from_pretrained(tmp_path / "list" / "model.safetensors")
    assert loaded.config == found[0].config
    assert loaded.config.properties == known
    made = (generate(m, "C4H8O", 2, targets={"mu": 0.2}) for m in (loaded, found[0]))
    assert same(*made, 1e-6)


def test_a_name_that_points_to_atoms_elsewhere_is_a_plain_number(isomers, tmp_path):
    """PyG shifts what is called an index by the atoms before it."""
    data = [
        Data(z=d.z, pos=d.pos, refractive_index=1.3 + 0.01 * k) for k, d in enumerate(isomers[:12])
    ]
    known = properties_in(data, ["refractive_index"])
    model = told(properties=known)
    seen = []
    condition = model.conditions["properties"]
    condition.register_forward_hook(lambda _, given, __: seen.append(given[0].properties))
    fit(model, data, tmp_path, **(QUICK | {"steps": 4}))
    values = torch.cat(seen)
    values = values[values.isfinite()]
    assert 1.29 < values.min() <= values.max() < 1.42


def test_starting_from_a_model_that_knows_less(isomers, tmp_path):
    """Step by step: none, one property, two. What was known stays."""
    data = with_properties(isomers[:20])
    gap, mu = properties_in(data, ["gap", "mu"])
    quick = QUICK | {"steps": 3, "validation_interval": 3}
    plain = small_model(**ALL | {"max_counts": (12, 8, 3)})
    fit(plain, data, tmp_path / "none", **quick)
    still = {"learning_rate": 1e-12}
    first = fit(
        told(properties=(gap,)),
        data,
        tmp_path / "one",
        init=tmp_path / "none/model.safetensors",
        **quick | still,
    )
    parent = SchNetGen.from_pretrained(tmp_path / "none/model.safetensors")
    settings = {"seed": 1, "gibbs_rounds": 0}
    assert same(
        generate(first, "C4H8O", 3, targets={"gap": 3.0}, **settings),
        generate(parent, "C4H8O", 3, **settings),
        1e-3,
    )
    awake(first).save(tmp_path / "awake.safetensors")
    second = fit(
        told(properties=(mu, gap)),
        data,
        tmp_path / "two",
        init=tmp_path / "awake.safetensors",
        **quick | still,
    )
    targets = {"targets": {"gap": 3.0}, "seed": 1, "gibbs_rounds": 0}
    assert same(
        generate(second, "C4H8O", 3, **targets), generate(first, "C4H8O", 3, **targets), 1e-3
    )
    for fewer, message in (
        ({"properties": (mu,)}, "also knows .*gap"),
        (
            {"properties": (), "conditions": ALL["conditions"]},
            "also knows the conditions properties",
        ),
    ):
        with pytest.raises(InputError, match=message):
            fit(told(**fewer), data, tmp_path / "x", init=tmp_path / "awake.safetensors", **quick)
    with pytest.warns(UserWarning, match="no structure has a number 'gap'"):
        fit(first, isomers[:20], tmp_path / "without", **quick)


def test_what_is_wrong_with_the_data_is_named(isomers, tmp_path):
    data = with_properties(isomers[:12])
    for names, message in (
        (["gapp"], r"'gapp' \(did you mean 'gap'\?\); there are gap, mu"),
        (["z"], "another meaning"),
    ):
        with pytest.raises(InputError, match=message):
            properties_in(data, names)
    with pytest.raises(InputError, match=r"no structure has a number 'gap'.*no numbers of mol"):
        fit(told(), [Data(z=d.z, pos=d.pos) for d in isomers[:12]], tmp_path, **QUICK)
    for value in (torch.tensor([[2.5]]), np.array(2.5), np.float32(2.5), [2.5], "2.5"):
        data[4].gap = value
        assert property_values(data, ["gap"])["gap"][4] == 2.5
    for value, message in (
        (torch.ones(3), "structure 4.*must be one number"),
        ("many", "structure 4.*must be one number, got many"),
        (math.inf, "structure 4.*is inf"),
        (True, "structure 4.*must be one number"),
        (torch.tensor([True]), "structure 4.*must be one number"),
    ):
        data[4].gap = value
        with pytest.raises(InputError, match=message):
            properties_in(data, ["gap"])
    with pytest.raises(InputError, match="is 1 in all structures"):
        properties_in([Data(z=d.z, pos=d.pos, gap=1.0) for d in isomers[:4]], ["gap"])


def test_units_are_kept_and_compared(isomers, tmp_path):
    frames = []
    for k in range(12):
        atoms = to_ase(isomers[k])
        atoms.calc = None
        atoms.info = {"gap_Ha": 0.1 + 0.01 * k, "mu": 0.1 * k}
        frames.append(atoms)
    ase.io.write(tmp_path / "a.extxyz", frames)
    data = load(tmp_path / "a.extxyz", keys={"gap": "gap_Ha"}, units={"mu": "D"})
    stored = convert(
        tmp_path / "a.extxyz",
        out=tmp_path / "a.safetensors",
        keys={"gap": "gap_Ha"},
        units={"mu": "D"},
        jobs=1,
    )
    for structures in (data, stored):
        gap, mu = properties_in(structures, ["gap", "mu"])
        assert (gap.unit, mu.unit) == ("eV", "D")
        assert gap.low == pytest.approx(0.1 * ase.units.Hartree)
    with pytest.raises(InputError, match=r"mu is in D in the data, and in e Å in the model"):
        fit(told(properties=(gap, replace(mu, unit="e Å"))), data, tmp_path / "run", **QUICK)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            {"gop": 4.0},
            r"'gop', which none reads \(did you mean 'gap'\?\).*any of gap \(eV\), mu may",
        ),
        ({"gap": "much"}, "gap must be a number, got 'much'"),
        ({"gap": [4.0, 5.0]}, "one for each of the 3 molecules"),
        ({"gap": math.inf}, "'gap' is not finite"),
        (["gap"], "targets must be a dict"),
    ],
)
def test_targets_that_cannot_be(targets, message):
    with pytest.raises(InputError, match=message):
        generate(told(), "C4H8O", 3, targets=targets)


def test_a_target_outside_of_the_training_is_told():
    with pytest.warns(UserWarning, match=r"gap = 9 eV is outside of what the model saw, 2 to 7 eV"):
        generate(told(), "CH4", 2, targets={"gap": [3.0, 9.0]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conditions": ALL["conditions"]}, "conditions must be with properties"),
        ({"properties": ()}, "properties must be those that"),
        ({"properties": (GAP, GAP)}, "properties must be different"),
        ({"properties": ("gap",)}, r"'gap' says nothing of its mean.*properties_in"),
    ],
)
def test_configurations_that_cannot_be(changes, message):
    with pytest.raises(InputError, match=message):
        told(**changes)
