"""Vectors of molecules from their graphs."""

import pytest
import torch

from schnetgen_pyg.data.graph_features import GraphBatch, graph_of_smiles
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNN, BoltzmannGNNConfig
from schnetgen_pyg.representations.graph_encoder import GRAPH_LAYERS
from tests.conftest import small_model
from tests.generator.conditions.test_graph import GIVEN

SMILES = ["CCO", "C[N+](C)(C)CC(=O)[O-]", "[Na+].[Cl-]", "[CH3]", "F/C=C/F"]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return BoltzmannGNN(BoltzmannGNNConfig("gps", channels=16, num_layers=2, elements=(1, 6, 8)))


def test_a_vector_does_not_depend_on_the_batch_or_the_writing(model):
    told = model.eval().from_smiles(SMILES)
    assert told.shape == (5, 16)
    for row, text in zip(told, SMILES, strict=True):
        torch.testing.assert_close(model.from_smiles([text])[0], row)
        graph = GraphBatch.of_graphs([graph_of_smiles(text)])
        torch.testing.assert_close(model(*graph[:3])[0], row)
    torch.testing.assert_close(model.from_smiles(["OCC"])[0], told[0])
    assert not torch.allclose(model.from_smiles(["F/C=C\\F"])[0], told[4])


def test_a_saved_encoder_says_the_same(model, tmp_path):
    model.provenance = {"data": "mine"}
    model.save(tmp_path / "x.safetensors")
    found = BoltzmannGNN.from_pretrained(tmp_path / "x.safetensors")
    assert (found.config, found.provenance) == (model.config, model.provenance)
    assert torch.equal(found.from_smiles(SMILES), model.eval().from_smiles(SMILES))


@pytest.mark.parametrize("text", ["C(", "", "C(C)(C)(C)(C)C", "CC*"])
def test_what_is_no_molecule_is_named(model, text):
    with pytest.raises(InputError, match="molecule 1"):
        model.from_smiles(["C", text])


@pytest.mark.parametrize("encoder", GRAPH_LAYERS)
def test_the_encoder_of_a_generator_is_handed_out(tmp_path, encoder):
    """From memory and from its file, with the vectors that the generator's decoder is told."""
    generator = small_model(**GIVEN, encoder=encoder, elements=(1, 6, 8))
    generator.provenance = {"step": 7}
    generator.save(tmp_path / "conformers.safetensors")
    graphs = [graph_of_smiles(text) for text in SMILES[:2]]
    told = generator.conditions["graph"].encode(graphs)[1]
    for found in (
        BoltzmannGNN.from_generator(generator),
        BoltzmannGNN.from_pretrained(tmp_path / "conformers.safetensors"),
    ):
        torch.testing.assert_close(found.from_smiles(SMILES[:2]), told)
        assert (found.config.layers, found.config.elements) == (encoder, (1, 6, 8))
        assert found.provenance == {"generator": {"step": 7}}
        found.save(tmp_path / "boltzmann.safetensors")
        again = BoltzmannGNN.from_pretrained(tmp_path / "boltzmann.safetensors")
        assert torch.equal(again.from_smiles(SMILES), found.from_smiles(SMILES))


def test_a_generator_without_graphs_has_no_encoder(tmp_path):
    small_model().save(tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"x\.safetensors: is a generator that is told no 2-D"):
        BoltzmannGNN.from_pretrained(tmp_path / "x.safetensors")
